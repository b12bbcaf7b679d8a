//! Many processes that lock names on one server, played in one process, by a clock of its own.
//!
//! What is played is keyward's `mysql:` as its code has it: a local queue for each name, hand-overs within
//! a process, one waiter of a process for each name at the server, commands gathered into one statement
//! for each session, sessions that are opened when they are needed and closed when they are idle, and
//! heartbeats. What a step *costs* is not known here: [`Costs`] are measured by whoever runs it.
//!
//! * **E1** Same seed, same outcome.
//! * **E2** Processor time is spent on cores, of which there are only so many: on one machine for all
//!   ([`Machine::Shared`]), or on the server's ([`Machine::Apart`], where each process has a core of its own).
//!   Who waits for a core waits in order of asking. A process runs on one core at a time, as a
//!   current-thread runtime does, and deals with all that has come until it has one in one go.
//! * **E3** Time that nobody computes in (the kernel waking a thread, a cable) is a delay and no load.
//! * **E4** The server grants a name in the order of asking, to sessions.
//!
//! Not played: waits that are given up, losses, waits of more than a minute (which would go to the end of
//! the server's queue then), the politeness for pollers, tokens from a table.
#![allow(
    clippy::exhaustive_structs,
    clippy::exhaustive_enums,
    reason = "nobody but the benches beside it sees them"
)]

mod agenda;
mod client;
mod cores;
mod server;
#[cfg(test)]
mod tests;
mod world;

use crate::histogram::Histogram;

pub use world::play;

/// What each step costs, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Costs {
    /// Processor time of a process for one statement, from sending it to having read its answer.
    pub client_statement: u64,
    /// Processor time of a process for each lock or release in it, with the task that has asked.
    pub client_command: u64,
    /// The same for each name of a heartbeat.
    pub client_check: u64,
    /// Processor time of a process for a timer that fires.
    pub client_timer: u64,
    /// And for being woken after a rest, of [`RESTED`] or more.
    pub client_rested: u64,
    /// Processor time of a process for a session that is opened.
    pub client_connect: u64,
    /// Processor time of the server for a statement with one call, which is prepared.
    pub server_alone: u64,
    /// Processor time of the server for any other statement.
    pub server_text: u64,
    /// And for each call in it.
    pub server_call: u64,
    /// And for each name of a heartbeat.
    pub server_check: u64,
    /// And for a session that has rested, while others have not.
    pub server_rested: u64,
    /// And instead, if all of the server has.
    pub server_roused: u64,
    /// Processor time of the server for a waiter that blocks and is woken.
    pub server_wake: u64,
    /// Processor time of the server for a session that is opened.
    pub server_connect: u64,
    /// Delay of a message between two who are idle, one way.
    pub wire: u64,
    /// And one more, to a session that has rested, whose thread at the server has to be woken.
    pub rouse: u64,
    /// Delay from a release to its waiter's answer being under way.
    pub hand_over: u64,
    /// Timers fire at whole multiples of this, each process having its own; or, if it is zero, at any time.
    pub timer_tick: u64,
    /// And so much later.
    pub timer_late: u64,
    /// How many round trips it takes to open a session.
    pub connect_trips: u64,
    /// Bytes of the server for a session.
    pub session_bytes: u64,
}

impl Costs {
    /// On a machine that computes so many times as slowly.
    #[must_use]
    pub fn on_slower(mut self, times: f64) -> Self {
        for cost in [
            &mut self.client_statement,
            &mut self.client_command,
            &mut self.client_check,
            &mut self.client_timer,
            &mut self.client_rested,
            &mut self.client_connect,
            &mut self.server_alone,
            &mut self.server_text,
            &mut self.server_call,
            &mut self.server_check,
            &mut self.server_rested,
            &mut self.server_roused,
            &mut self.server_wake,
            &mut self.server_connect,
        ] {
            *cost = (*cost as f64 * times) as u64;
        }
        self
    }
}

/// Who has done nothing for so long has to be woken, and has lost what it had in the caches: in nanoseconds.
pub const RESTED: u64 = 500_000;

/// Who computes where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// All on one machine with so many cores.
    Shared {
        /// Of the machine.
        cores: usize,
    },
    /// The server on a machine of its own, at a distance.
    Apart {
        /// Of the server.
        cores: usize,
        /// In nanoseconds, beside what the kernel takes.
        round_trip: u64,
    },
}

/// What the tasks of all processes do, all the time: pause, take a name, hold it, release it.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Of each process.
    pub tasks: u32,
    /// So many, of which each task takes any; or one for each task, which nobody else wants.
    pub names: Option<u32>,
    /// In nanoseconds.
    pub hold: u64,
    /// In nanoseconds, on average; each is from half of it to one and a half.
    pub pause: u64,
}

/// What is played.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How many.
    pub processes: u32,
    /// What they do.
    pub workload: Workload,
    /// And where.
    pub machine: Machine,
    /// Between the heartbeats of a session, in nanoseconds.
    pub heartbeat: u64,
    /// What happens before counts for nothing, in nanoseconds.
    pub warm_up: u64,
    /// What counts, in nanoseconds.
    pub length: u64,
    /// Of all that is random.
    pub seed: u64,
}

/// What has come of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Acquisitions per second.
    pub rate: f64,
    /// From asking for a name to having it.
    pub waits: Histogram,
    /// The most at one time.
    pub sessions: usize,
    /// Processor time of the server, in cores.
    pub server_cores: f64,
    /// Processor time of all processes, in cores.
    pub client_cores: f64,
    /// Per second.
    pub statements: f64,
    /// Heartbeats among them.
    pub heartbeats: f64,
}
