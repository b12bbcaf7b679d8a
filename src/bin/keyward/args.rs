//! The command line, as clap reads it; its comments are the help and the manual pages.

use std::{ffi::OsString, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::exit;

/// Run a program under a named lock
///
/// A lock has a name and lives in a store: a directory of this host, or a MySQL or MariaDB server that
/// several hosts use. Whoever locks the same name in the same store waits for the others.
///
/// The store is named by a URL, best in the environment (KEYWARD_URL): everybody on the host can read
/// a command line, and a URL may have a password in it.
///
///     export KEYWARD_URL=file:///run/lock/backup
///
///     keyward run nightly -- /usr/local/bin/backup --all
#[derive(Parser)]
#[command(
    name = "keyward",
    version,
    verbatim_doc_comment,
    after_help = exit::TABLE,
    arg_required_else_help = true,
    max_term_width = 100,
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say what happens, on standard error
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Take the lock, run the program, release the lock
    ///
    /// The program has our standard input, output and error, and KEYWARD_NAME, KEYWARD_BACKEND and, if
    /// the lock has one, its fencing token KEYWARD_TOKEN in its environment.
    ///
    /// HUP, INT, QUIT, TERM, USR1, USR2, WINCH, TSTP and CONT are forwarded to it, unless the terminal has
    /// sent them to both. If keyward is killed, the program is killed, and the lock is free; the
    /// program's own children are not killed, nor is a program that has become a user whom keyward may
    /// not signal.
    #[command(after_help = exit::TABLE)]
    Run(Run),
    /// Run the program if the lock is free
    ///
    /// Without a program the lock is taken and released at once: 0 if it could be had, 75 if others hold
    /// it. Who tries at that moment finds it held; to look without taking it, use inspect.
    #[command(after_help = exit::TABLE)]
    Try(Try),
    /// Wait until the lock can be had, and release it at once
    ///
    /// It stands in the queue as everybody else does, so it returns when those before it have
    /// finished.
    #[command(after_help = exit::TABLE)]
    Wait(Wait),
    /// Show who holds the lock
    ///
    /// 0 if nobody does, 75 if somebody does. Looking takes no lock and is in nobody's way. The answer may be out of date when it is printed: to
    /// act on it, use try with a program.
    #[command(after_help = exit::TABLE)]
    Inspect(Inspect),
    /// Try out whether the store does what locks need
    ///
    /// Locks a name of its own (keyward-doctor-…), from two handles and another process, some hundred
    /// times, and prints what it finds. Other names are not touched, and nothing is left behind.
    #[command(after_help = exit::TABLE)]
    Doctor(Doctor),
    /// Print the completions for a shell
    Completions { shell: Shell },
    /// Print a manual page: of keyward, or of one of its commands
    Man { command: Option<String> },
}

#[derive(Args)]
pub(crate) struct Store {
    /// The store, as in file:///run/lock/backup; best given in the environment
    ///
    /// Everybody on the host can read a command line. The help does not show what the variable has.
    #[arg(long, env = "KEYWARD_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) url: Option<String>,
}

#[derive(Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    pub(crate) store: Store,
    /// What to put before the name
    #[arg(
        long,
        env = "KEYWARD_PREFIX",
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) prefix: String,
    /// The name of the lock; one that begins with '-' in two parts, as in --prefix=- and the rest
    pub(crate) name: String,
}

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) lock: Lock,
    /// How long to wait for the lock, as in 500ms, 5s, 2m or 1h, once the store is reached; without, for
    /// ever
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Do not wait if others hold the lock
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) hold: Hold,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct Try {
    #[command(flatten)]
    pub(crate) lock: Lock,
    #[command(flatten)]
    pub(crate) hold: Hold,
    /// The program and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) lock: Lock,
    /// How long to wait for the lock, as in 500ms, 5s, 2m or 1h, once the store is reached; without, for
    /// ever
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) lock: Lock,
}

#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) store: Store,
}

/// How a lock is held while a program runs.
#[derive(Args)]
pub(crate) struct Hold {
    /// Hold it together with others who say so too
    #[arg(long)]
    pub(crate) shared: bool,
    /// What to do with the program if the lock is lost while it runs
    #[arg(long, value_enum, value_name = "WHAT", default_value = "term")]
    pub(crate) on_lost: OnLost,
    /// With --on-lost term: how long the program has to end before it is killed
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    pub(crate) grace: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLost {
    /// Ask it to end (TERM), and kill it after the grace; exit 76
    Term,
    /// Kill it at once; exit 76
    Kill,
    /// Only say so; exit as the program does
    Ignore,
}

/// As in URLs: a whole number and a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "a time is a whole number and ms, s, m or h";
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(EXPECTED)?;
    let number: u64 = text[..digits].parse().map_err(|_| EXPECTED)?;
    let milliseconds = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(EXPECTED),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or(EXPECTED)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_a_unit() {
        for (text, milliseconds) in [("0ms", 0), ("250ms", 250), ("5s", 5_000), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 s", "5d", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("18446744073709551615h").is_err(), "more than a clock can count");
    }
}
