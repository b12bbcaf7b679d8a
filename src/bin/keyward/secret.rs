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
    let given: Vec<_> = given.map(|arg| arg.to_string_lossy().into_owned()).collect();
    mask(text, given.iter().map(String::as_str))
}

/// Whether [`masked`] finds all passwords in what clap says: it leaves out control characters, and what a
/// terminal takes for a command, so that a password with one is there without them.
pub(crate) fn is_maskable(args: impl IntoIterator<Item: AsRef<str>>) -> bool {
    let is_secret = |arg: &str| user(arg).is_some() || !values(arg).is_empty();
    let mut args = args.into_iter();
    !args.any(|arg| arg.as_ref().contains(char::is_control) && is_secret(arg.as_ref()))
}

/// Whether a name is a URL with a password, or a part of one.
pub(crate) fn is_in(name: &str) -> bool {
    let is_url = name.contains("://") || name.starts_with("mysql:");
    let has_password = |user: &str| user.split_once(':').is_some_and(|(_, word)| !word.is_empty());
    is_url && user(name).is_some_and(has_password) || !values(name).is_empty()
}

/// The text, without the passwords of these arguments: all places are found before one is masked, since a
/// password may be within another, or overlap it.
pub(crate) fn mask<'a>(text: &str, args: impl Iterator<Item = &'a str>) -> String {
    let mut hidden = Vec::new();
    for [before, secret, after] in args.flat_map(secrets) {
        let plain = format!("{before}{secret}{after}");
        let quoted = format!("{plain:?}");
        for shown in [&plain, &quoted[1..quoted.len() - 1]] {
            let found = text.match_indices(shown);
            hidden.extend(found.map(|(at, _)| at + before.len()..at + shown.len() - after.len()));
        }
    }
    hidden.sort_by_key(|place| place.start);
    let (mut masked, mut end) = (String::new(), 0);
    for place in hidden {
        if place.start > end || masked.is_empty() {
            masked.push_str(&text[end..place.start]);
            masked.push('…');
        }
        end = end.max(place.end);
    }
    masked + &text[end..]
}

/// What is not to be seen of an argument, each with what it stands between.
fn secrets(arg: &str) -> Vec<[&str; 3]> {
    let mut secrets = Vec::new();
    if let Some(secret) = user(arg) {
        secrets.push(["", secret, "@"]);
        // Of an option that it does not know, clap says what is before the `=`.
        let option = arg.split_once('=').map(|(option, _)| option);
        let before = arg.split_once(secret).map_or("", |(before, _)| before);
        let begin = option.and_then(|option| option.strip_prefix(before)).unwrap_or_default();
        if arg.starts_with('-') && !begin.is_empty() && begin.len() < secret.len() {
            secrets.push(["", begin, ""]);
        }
    }
    secrets.extend(values(arg).into_iter().map(|(key, value)| [key, value, ""]));
    secrets
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
        let arg = "mysql://app:s\"'3@db?password=x\\'y";
        for text in [arg.to_owned(), format!("{arg:?}")] {
            let masked = mask(&format!("no {text} x"), [arg].into_iter());
            assert_eq!(masked.replace('"', ""), "no mysql://…@db?password=… x");
        }
        let masked = mask("a 1 b", ["vol:1@host"].into_iter());
        assert_eq!(masked, "a 1 b", "more than the secret");
        let args = ["?password=a", "?password=b;pwd=bpassword=ab"];
        let masked = mask(&args.join(" "), args.into_iter());
        assert_eq!(masked, "?password=… ?password=…;pwd=…", "one within another");
        let arg = "x&password=a://user:b;c@host";
        assert_eq!(mask(arg, [arg].into_iter()), "x&password=…@host", "one overlaps the other");
    }

    #[test]
    fn an_option_that_ends_within_a_password_is_masked() {
        let mask = |text: &str, arg| super::mask(text, [arg].into_iter());
        let arg = "--urlmysql://app:s3c=ret@db";
        assert_eq!(mask("no '--urlmysql://app:s3c'", arg), "no '--urlmysql://…'");
        let arg = "--url=mysql://app:s3c=ret@db";
        assert_eq!(mask("no '--url' here", arg), "no '--url' here");
    }

    #[test]
    fn what_clap_leaves_out_of_a_password_leaves_nothing_of_it() {
        assert!(!is_maskable(["run", "mysql://app:s3\u{1b}cret@db"]));
        assert!(!is_maskable(["--password=s3\tcret"]));
        assert!(is_maskable(["run", "mysql://app:s3cret@db", "a\u{1b}name"]));
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
