//! URLs of backends: `scheme:path?option=value&…`.
//!
//! Our own few lines and not a general URL parser, since what goes after the scheme is the backend's
//! business: a path here, a list of hosts there.
//!
//! 1. Whatever is not understood is an error that lists what would be: a typing mistake must not
//!    weaken a lock silently.
//! 2. No error and no `Debug` shows what stands after the scheme, where a password may be.
#![forbid(unsafe_code)]

use std::{fmt, time::Duration};

use percent_encoding::percent_decode_str;

use crate::error::{Error, ErrorKind};

/// The parts of a backend's URL.
pub(crate) struct BackendUrl {
    scheme: String,
    rest: String,
    /// Decoded; those that have been taken are gone.
    options: Vec<(String, String)>,
    /// Those that the backend has asked for.
    known: Vec<&'static str>,
    /// Whether the question mark may have been a part of a password, and so what follows it: only
    /// then does an `@` come after it.
    may_be_password: bool,
}

#[cfg_attr(
    not(all(feature = "file", feature = "mysql")),
    allow(dead_code, reason = "not each backend has options of each kind")
)]
impl BackendUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once(':').ok_or_else(|| {
            bad("a url starts with its scheme and a colon, as in \"file:///var/lib/locks\"")
        })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut options = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| bad("an option of the url has no value: say name=value"))?;
            options.push((name.to_owned(), decode(value)?));
        }
        let (scheme, rest) = (scheme.to_ascii_lowercase(), rest.to_owned());
        let may_be_password = query.contains('@');
        Ok(Self { scheme, rest, options, known: Vec::new(), may_be_password })
    }

    /// What stands in the query, as an error may show it (2).
    fn shown<'t>(&self, text: &'t str) -> &'t str {
        if self.may_be_password { "…" } else { text }
    }

    /// Whether the question mark, and so what stands before it, may be a part of a password.
    #[cfg(feature = "mysql")]
    pub(crate) const fn may_be_password(&self) -> bool {
        self.may_be_password
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// What stands between the colon and the question mark, as it stands there.
    pub(crate) fn rest(&self) -> &str {
        &self.rest
    }

    /// Takes the value of an option; its last one if it is given twice.
    pub(crate) fn option(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let mut value = None;
        self.options.retain(|(other, given)| {
            let taken = other == name;
            if taken {
                value = Some(given.clone());
            }
            !taken
        });
        value
    }

    /// Takes an option that is one of a few words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.option(name) else { return Ok(None) };
        let found = choices.iter().find(|(word, _)| *word == value).map(|(_, choice)| *choice);
        found.map(Some).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            let value = self.shown(&value);
            bad(format!("the url's option {name} is one of {}, not {value:?}", words.join(", ")))
        })
    }

    /// Takes an option that is a length of time.
    pub(crate) fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, Error> {
        let Some(value) = self.option(name) else { return Ok(None) };
        duration(&value).map(Some).ok_or_else(|| {
            let value = self.shown(&value);
            bad(format!("the url's option {name} is a time like 150ms, 5s or 2m, not {value:?}"))
        })
    }

    /// Takes an option that is a length of time, or a number of seconds.
    pub(crate) fn seconds(&mut self, name: &'static str) -> Result<Option<Duration>, Error> {
        let Some(value) = self.option(name) else { return Ok(None) };
        let seconds = value.parse().ok().map(Duration::from_secs).or_else(|| duration(&value));
        seconds.map(Some).ok_or_else(|| {
            let value = self.shown(&value);
            bad(format!(
                "the url's option {name} is seconds, or a time like 250ms or 2m, not {value:?}"
            ))
        })
    }

    /// Takes an option that is a number.
    pub(crate) fn number(&mut self, name: &'static str) -> Result<Option<usize>, Error> {
        let Some(value) = self.option(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|e| {
            let value = self.shown(&value);
            bad(format!("the url's option {name} is a number, not {value:?}")).with_source(e)
        })
    }

    /// Refuses whatever has not been taken.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Some((name, _)) = self.options.first() else { return Ok(()) };
        let name = self.shown(name);
        let known = match &*self.known {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        let scheme = &self.scheme;
        Err(bad(format!("{scheme} urls have no option {name:?}; the options are: {known}")))
    }
}

impl fmt::Debug for BackendUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendUrl").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// `%41` to `A`.
pub(crate) fn decode(text: &str) -> Result<String, Error> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|e| bad("the url is no utf-8 once decoded").with_source(e))
}

/// An [`ErrorKind::InvalidUrl`] with that message.
pub(crate) fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidUrl).with_message(message)
}

#[cfg_attr(
    not(all(feature = "file", feature = "mysql")),
    allow(dead_code, reason = "not each backend has options of each kind")
)]
/// A whole number and `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let mut url = BackendUrl::parse("FILE:///a%20b?x=1&y=%26&x=2&d=150ms").unwrap();
        assert_eq!((url.scheme(), url.rest()), ("file", "///a%20b"));
        assert_eq!(url.option("x").as_deref(), Some("2"));
        assert_eq!(url.option("y").as_deref(), Some("&"));
        assert_eq!(url.option("z"), None);
        assert_eq!(url.duration("d").unwrap(), Some(Duration::from_millis(150)));
        url.finish().unwrap();
    }

    #[test]
    fn what_may_be_a_part_of_a_password_is_not_told() {
        for url in [
            "mysql://root:1?hunter2=x@h/",
            "mysql://root:1?x=1&hunter2=y@h/",
            "mysql://root:1?hunter2=y&x=z@h/", // the `@` is in an option that is known
        ] {
            let mut url = BackendUrl::parse(url).unwrap();
            url.option("x");
            let error = url.finish().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let parse = || BackendUrl::parse("mysql://root:1?x=hunter2@h/").unwrap();
        for error in [
            parse().choice("x", &[("y", 1)]).unwrap_err(),
            parse().duration("x").unwrap_err(),
            parse().seconds("x").unwrap_err(),
            parse().number("x").unwrap_err(),
        ] {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be() {
        let mut url = BackendUrl::parse("file:///d?namse=oslo").unwrap();
        let names = url.choice("names", &[("native", 0), ("oslo", 1)]).unwrap();
        assert_eq!(names, None);
        let error = url.finish().unwrap_err().to_string();
        assert!(error.contains("namse") && error.contains("names"), "{error}");

        let mut url = BackendUrl::parse("file:///d?names=olso&wait=5").unwrap();
        let error = url.choice("names", &[("native", 0), ("oslo", 1)]).unwrap_err().to_string();
        assert!(error.contains("native, oslo"), "{error}");
        assert!(url.duration("wait").is_err(), "a number without a unit");
        for bad in ["", "no-scheme", "file:///d?x", "file:///d?x=%ff"] {
            assert_eq!(BackendUrl::parse(bad).unwrap_err().kind(), ErrorKind::InvalidUrl, "{bad}");
        }
    }

    #[test]
    fn durations() {
        let second = Some(Duration::from_secs(1));
        assert_eq!((duration("1000ms"), duration("1s")), (second, second));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        for bad in ["", "5", "s", "1.5s", "-1s", "1 s", "1d", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let url = BackendUrl::parse("mysql://root:hunter2@host/db?passwd=hunter2").unwrap();
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(!url.finish().unwrap_err().to_string().contains("hunter2"));
    }
}
