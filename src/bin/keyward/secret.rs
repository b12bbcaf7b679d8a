//! Passwords that were typed in the wrong place: what of an argument is one, and how it is kept out of what
//! is printed (C4).
//!
//! There is one rule for all output: what was given to us, argument by argument, tells what the passwords
//! are; they are replaced wherever they turn up, as they are and as they are quoted. A name with a password
//! in it is refused, since a store shows its names to others.

use std::env;

/// What has a password for its value, in URLs and in connection strings.
const KEYS: [&str; 3] = ["password=", "passwd=", "pwd="];

/// The text, without the passwords of our command line and of the store's URL.
pub(crate) fn masked(text: &str) -> String {
    let given = env::args_os().chain(env::var_os("KEYWARD_URL"));
    given.fold(text.to_owned(), |text, arg| mask(text, &arg.to_string_lossy()))
}

/// Whether a name is a URL with a password, or a part of one.
pub(crate) fn is_in(name: &str) -> bool {
    let is_url = name.contains("://") || name.starts_with("mysql:");
    let has_password = |user: &str| user.split_once(':').is_some_and(|(_, word)| !word.is_empty());
    is_url && user(name).is_some_and(has_password) || !values(name).is_empty()
}

fn mask(mut text: String, arg: &str) -> String {
    let mut replace = |before: &str, secret: &str, after: &str| {
        let masked = format!("{before}…{after}");
        let plain = format!("{before}{secret}{after}");
        let quoted = plain.escape_debug().to_string();
        text = text.replace(&plain, &masked).replace(&quoted, &masked);
    };
    if let Some(secret) = user(arg) {
        replace("", secret, "@");
    }
    for (key, value) in values(arg) {
        replace(key, value, "");
    }
    text
}

/// The user and the password of whatever looks like a URL.
fn user(arg: &str) -> Option<&str> {
    let (_, rest) = arg.split_once(':')?;
    let (secret, _) = rest.rsplit_once('@')?;
    let secret = secret.trim_start_matches('/');
    (!secret.is_empty()).then_some(secret)
}

/// The passwords among the parameters, each with its key.
fn values(arg: &str) -> Vec<(&str, &str)> {
    let parts = arg.split(['?', '&', ';']);
    let found = parts.filter_map(|part| {
        // Of options, what is behind the hyphens.
        let part = part.trim_start_matches('-').trim_start();
        let key = KEYS.into_iter().find(|key| {
            part.get(..key.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(key))
        })?;
        let (key, value) = part.split_at(key.len());
        (!value.is_empty()).then_some((key, value))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_wherever_they_are() {
        let table = [
            ("mysql://app:s3cret@db/locks", Some("app:s3cret")),
            ("--ulr=mysql://app:p@ss@db", Some("app:p@ss")),
            ("mysql:app:s3cret@db", Some("app:s3cret")),
            ("file:///run/lock", None),
            ("vol-42", None),
        ];
        for (arg, expected) in table {
            assert_eq!(user(arg), expected, "{arg}");
        }
        let table = [
            ("mysql://db/locks?user=a&Password=s3=cret&x=y", Some(("Password=", "s3=cret"))),
            ("Server=db; Pwd=s3cret;", Some(("Pwd=", "s3cret"))),
            ("--password=s3cret", Some(("password=", "s3cret"))),
            ("?password=", None),
            ("ümlaut", None),
        ];
        for (arg, expected) in table {
            assert_eq!(values(arg), Vec::from_iter(expected), "{arg}");
        }
    }

    #[test]
    fn they_are_masked_as_they_are_and_quoted() {
        let arg = "mysql://app:s\"3@db?password=x\\y";
        for text in [arg.to_owned(), format!("{arg:?}")] {
            let masked = mask(format!("no {text} x"), arg);
            assert_eq!(masked.replace('"', ""), "no mysql://…@db?password=… x");
        }
        assert_eq!(mask("a 1 b".to_owned(), "vol:1@host"), "a 1 b", "more than the secret");
    }

    #[test]
    fn names_with_a_password_are_told_from_others() {
        for name in ["mysql://a:b@c", "x://a:b@c/d", "mysql:a:b@c", "?password=x", "a;pwd=x"] {
            assert!(is_in(name), "{name}");
        }
        for name in ["vol-42", "a:b:c@d", "https://user@host/x", "host@lvm#pool", "a password=b"] {
            assert!(!is_in(name), "{name}");
        }
    }
}
