//! What is said on standard error: one line each, with `keyward: ` before it, without passwords (C4) and
//! without characters that do something to a terminal.
//!
//! That nobody reads it is no failure: nothing here panics when the other end is closed, and from
//! [`install`] to [`finish`] nothing waits for it ([`voice`](crate::voice)).

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
    sync::{Mutex, MutexGuard, PoisonError},
};

use clap::error::{ContextKind, ErrorKind};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{exit, secret, voice::Voice};

/// Whoever speaks for us; nobody before [`install`] and after [`finish`].
static VOICE: Mutex<Option<Voice>> = Mutex::new(None);

fn voice() -> MutexGuard<'static, Option<Voice>> {
    VOICE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line.
pub(crate) fn line(message: impl fmt::Display) {
    put(&format!("keyward: {message}"));
}

fn put(text: &str) {
    let mut line = clean(text).into_bytes();
    line.push(b'\n');
    match &*voice() {
        Some(voice) => voice.say(line),
        None => drop(io::stderr().write_all(&line)),
    }
}

/// As it may be printed, in one line: for standard output as well.
pub(crate) fn clean(text: &str) -> String {
    printable(&secret::masked(text))
}

fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_debug()),
            c => line.push(c),
        }
    }
    line
}

/// One line, with what has caused it.
pub(crate) fn failed(what: impl fmt::Display, error: &dyn Error) {
    line(format_args!("{what}: {}", chain(error)));
}

/// An error and what has caused it.
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
    text
}

/// What clap has to say: help, or what is wrong with the command line.
///
/// clap quotes what it does not understand, and that may be anything.
pub(crate) fn usage(mut error: clap::Error) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_help {
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    // It may have been meant as a name, for which clap's advice, to put `--` before it, is wrong: what
    // follows that is the program. Where it resembles an option, that is advice enough.
    let may_be_a_name = error.kind() == ErrorKind::UnknownArgument
        && error.get(ContextKind::SuggestedArg).is_none()
        && error.remove(ContextKind::Suggested).is_some();
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let text = match secret::is_maskable(args) {
        true => secret::masked(&error.render().to_string()),
        false => format!("error: {}", error.kind()),
    };
    let mut lines: Vec<_> = text.lines().map(printable).collect();
    if may_be_a_name {
        let tip = "  tip: a name that begins with '-' is given in two parts, as in '--prefix=-' and the rest";
        lines.extend([String::new(), tip.to_owned()]);
    }
    let text = lines.join("\n") + "\n";
    drop(io::stderr().write_all(text.as_bytes()));
    ExitCode::from(exit::USAGE)
}

/// From now on nobody waits for those who read. And has what the library tells through `tracing` said
/// here: warnings, or with `verbose` all of it.
pub(crate) fn install(verbose: bool) {
    // Where there is no thread to be had, there is none for the signals either, and we do not get far.
    *voice() = Voice::start(io::stderr()).ok();
    // Of a loss we speak ourselves, and say what becomes of the program.
    let filter = if verbose { "warn,keyward=debug" } else { "warn,keyward::observe=off" };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(|| Events)
        .with_ansi(false)
        .event_format(Line)
        .init();
}

/// Waits a moment for those who read what has been said.
pub(crate) fn finish() {
    let voice = voice().take();
    if let Some(voice) = voice {
        voice.end();
    }
}

/// Takes an event at a time.
struct Events;

impl Write for Events {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        put(String::from_utf8_lossy(event).trim_end_matches('\n'));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
    fn a_line_is_one_and_does_nothing_to_a_terminal() {
        assert_eq!(printable("a\nb\r\u{1b}[31m\u{9b}ü"), "a b \\u{1b}[31m\\u{9b}ü");
    }
}
