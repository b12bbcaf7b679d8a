//! What is said on standard error: one line each, with `keyward: ` before it, and no password (C4).
//!
//! That nobody reads it is no failure: nothing here panics when the other end is closed.

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use clap::error::ErrorKind;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::exit;

/// One line.
pub(crate) fn line(message: impl fmt::Display) {
    drop(writeln!(io::stderr(), "keyward: {message}"));
}

/// One line, with what has caused it.
pub(crate) fn failed(what: impl fmt::Display, error: &dyn Error) {
    line(format_args!("{what}: {}", chain(error)));
}

/// An error and what has caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // Some errors have their cause in their text already.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text.replace(['\n', '\r'], " ")
}

/// What clap has to say: help, or what is wrong with the command line.
///
/// clap quotes what it does not understand, and that may be a URL in the wrong place.
pub(crate) fn usage(error: &clap::Error, args: impl Iterator<Item = OsString>) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_help {
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let mut text = error.render().to_string();
    for arg in args {
        if let Some(secret) = secret(&arg.to_string_lossy()) {
            text = text.replace(secret, "…");
        }
    }
    drop(io::stderr().write_all(text.as_bytes()));
    ExitCode::from(exit::USAGE)
}

/// The user and the password of whatever looks like a URL.
fn secret(arg: &str) -> Option<&str> {
    let (_, rest) = arg.split_once(':')?;
    let (secret, _) = rest.rsplit_once('@')?;
    let secret = secret.trim_start_matches('/');
    (!secret.is_empty()).then_some(secret)
}

/// Has what the library tells through `tracing` said here: warnings, or with `verbose` all of it.
pub(crate) fn install(verbose: bool) {
    // Of a loss we speak ourselves, and say what becomes of the program.
    let filter = if verbose { "warn,keyward=debug" } else { "warn,keyward::observe=off" };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(false)
        .event_format(Line)
        .init();
}

/// An event as a line of ours.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("keyward: ")?;
        if *event.metadata().level() == Level::ERROR {
            writer.write_str("error: ")?;
        }
        ctx.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
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
            assert_eq!(secret(arg), expected, "{arg}");
        }
    }
}
