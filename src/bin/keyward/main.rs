//! `keyward`: runs a program under a named lock; see `docs/command.md`.
//!
//! C1. A program runs only while its lock is held by this process, which outlives it ([`run`]); if this
//!     process is killed, the kernel kills the program ([`child`]).
//! C2. Nothing is held or queued once this process has ended, however it ends.
//! C3. A signal that ends the wait ends this process by that very signal, after C2 ([`signals`]).
//! C4. No output has a password in it: URLs are never printed, and what was typed in the wrong place is
//!     masked ([`secret`]).
//! C5. Nothing that is to be done waits for those who read what we say ([`voice`]).
//!
//! Everything async runs on the main thread: the kernel kills the program when the *thread* that has
//! started it ends, not the process.
#![forbid(unsafe_code)]

mod args;
mod child;
mod doctor;
mod exit;
mod inspect;
mod pages;
mod probes;
mod run;
mod say;
mod secret;
mod signals;
mod take;
mod voice;
mod watcher;

use std::{
    future::Future,
    process::{ExitCode, id},
};

use clap::Parser;
use signal_hook::low_level::emulate_default_handler;
use tokio::runtime::Builder;

use crate::{
    args::{Cli, Command},
    exit::{End, SIGNALLED},
};

fn main() -> ExitCode {
    if let Some(ended) = child::become_the_program().or_else(watcher::watch) {
        return ended;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return say::usage(error),
    };
    say::install(cli.verbose);
    let end = match cli.command {
        Command::Run(run) => on_this_thread(run::run(run)),
        Command::Try(attempt) => on_this_thread(run::attempt(attempt)),
        Command::Wait(wait) => on_this_thread(run::wait(wait)),
        Command::Inspect(inspect) => on_this_thread(inspect::inspect(inspect)),
        Command::Doctor(doctor) => on_this_thread(doctor::doctor(doctor)),
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { command } => pages::man(command.as_deref()),
    };
    say::finish();
    match end {
        End::Code(code) => ExitCode::from(code),
        End::Signal(signal) => {
            // The first process of a container is not killed by what it sends to itself.
            if id() != 1 {
                drop(emulate_default_handler(signal));
            }
            ExitCode::from(SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or(0)))
        }
    }
}

fn on_this_thread(work: impl Future<Output = End>) -> End {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say::failed("no runtime could be made", &error);
            return End::Code(exit::UNAVAILABLE);
        }
    };
    let end = runtime.block_on(work);
    // What may still be under way is a look at a file, or at a server that does not answer.
    runtime.shutdown_background();
    end
}
