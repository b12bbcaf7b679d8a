//! One process: locks, reads, computes, writes, lets go, and again, until its input ends.
//!
//! It is killed with the thread that has started it, however that ends: a process that is stopped reads
//! no end of an input.

use std::{
    io::{Read, stdin},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::time::sleep;

use super::{
    Outcome,
    checker::Row,
    log::{Event, Id, Log, now},
    register::Register,
    text,
};

/// One lock, as a program uses it.
pub(crate) trait Lock: Send + Sync {
    /// Waits for it; its token, if it has such.
    fn acquire(&mut self) -> impl Future<Output = Outcome<Option<u64>>> + Send;

    /// Does the work as long as the lock is held: `None` if it was lost meanwhile.
    fn hold<T: Send>(
        &self,
        work: impl Future<Output = T> + Send,
    ) -> impl Future<Output = Option<T>> + Send {
        async { Some(work.await) }
    }

    /// Whether it is still held, for those who ask before they write.
    fn vouch(&self) -> impl Future<Output = Vouched> + Send {
        async { Vouched::Unasked }
    }

    /// Lets go. False if it had been lost.
    fn release(&mut self) -> impl Future<Output = Outcome<bool>> + Send;
}

/// What the lock says of itself before a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vouched {
    Held,
    Lost,
    Unasked,
}

/// What a process is told by its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    /// That nobody else has or had.
    pub(crate) process: u64,
    /// The server's, where the row is.
    pub(crate) register: String,
    pub(crate) table: String,
    pub(crate) log: String,
    /// Whether reads and writes show their token.
    pub(crate) fenced: bool,
    /// How long it computes.
    pub(crate) compute: Duration,
}

impl Orders {
    pub(crate) fn words(&self) -> [String; 6] {
        [
            self.process.to_string(),
            self.register.clone(),
            self.table.clone(),
            self.log.clone(),
            if self.fenced { "fenced" } else { "bare" }.to_owned(),
            self.compute.as_micros().to_string(),
        ]
    }

    /// What [`words`](Self::words) were made of.
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        let [process, register, table, log, fenced, compute] = words else { return None };
        Some(Self {
            process: process.parse().ok()?,
            register: register.clone(),
            table: table.clone(),
            log: log.clone(),
            fenced: fenced == "fenced",
            compute: Duration::from_micros(compute.parse().ok()?),
        })
    }
}

/// In the process that works, first of all: true from when its input has ended.
pub(crate) fn until_told() -> Arc<AtomicBool> {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("to die with the parent");
    let ended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ended);
    thread::spawn(move || {
        // Whether it ends well or not, there is nobody any more.
        stdin().read_to_end(&mut Vec::new()).ok();
        flag.store(true, Ordering::Release);
    });
    ended
}

/// Failures in a row after which it is no use.
const ENOUGH: u32 = 40;

/// Does operations until it is told to end.
pub(crate) async fn run(orders: Orders, mut lock: impl Lock, ended: &AtomicBool) -> Outcome<()> {
    let log = Log::open(Path::new(&orders.log))?;
    let mut register = Register::new(&orders.register, &orders.table);
    let (mut count, mut failures) = (0, 0);
    while !ended.load(Ordering::Acquire) {
        count += 1;
        let id = Id::new(orders.process, count);
        match operation(&orders, id, &log, &mut register, &mut lock).await {
            Ok(()) => failures = 0,
            Err(error) => {
                log.note(id, Event::Failed);
                failures += 1;
                if failures > ENOUGH {
                    return Err(error);
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    Ok(())
}

async fn operation(
    orders: &Orders,
    id: Id,
    log: &Log,
    register: &mut Register,
    lock: &mut impl Lock,
) -> Outcome<()> {
    log.note(id, Event::Asks);
    let token = lock.acquire().await?;
    log.note(id, Event::Had(token));
    let worked = lock.hold(work(orders, id, log, register, token, &*lock)).await;
    let worked = worked.unwrap_or_else(|| {
        log.note(id, Event::Told);
        Ok(())
    });
    log.note(id, Event::LetsGo);
    if !lock.release().await? {
        log.note(id, Event::Late);
    }
    worked
}

/// What is done under the lock.
async fn work(
    orders: &Orders,
    id: Id,
    log: &Log,
    register: &mut Register,
    token: Option<u64>,
    lock: &impl Lock,
) -> Outcome<()> {
    let fence = if orders.fenced { Some(token.ok_or("there is no token")?) } else { None };
    let Some(read) = register.read(fence).await? else {
        log.note(id, Event::Refused);
        return Ok(());
    };
    log.note(id, Event::Read(read.value, read.writer));
    sleep(orders.compute).await;
    let begun = now();
    match lock.vouch().await {
        Vouched::Held => log.note(id, Event::Vouched(begun)),
        Vouched::Unasked => {}
        Vouched::Lost => {
            log.note(id, Event::Told);
            return Ok(());
        }
    }
    log.note(id, Event::Writes);
    let row = Row { value: read.value + 1, writer: id.0 };
    let done = register.write(row, fence).await?;
    log.note(id, if done { Event::Acked } else { Event::Refused });
    Ok(())
}
