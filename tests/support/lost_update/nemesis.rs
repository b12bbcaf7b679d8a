//! Lets processes work, and stops, wakes, kills and replaces them meanwhile.
//!
//! Stops last up to twice the lease's time, and meet anybody at any moment; several may be stopped at
//! once. Who is killed is replaced at once, under a new number. The first stop is aimed: it meets a
//! process that computes under the lock, and lasts longer than the lease, and until others have had the
//! lock if they can. The second evil is a kill. So no run passes without what it is about.
//!
//! No process is left: each is killed with the handle of it, and dies with the thread that has started it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{
    Outcome,
    log::{Event, Id, Line, Log, Reader, now},
    text,
};

/// What is to be done to whom.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) processes: usize,
    /// How many operations are to have the lock, at least.
    pub(crate) operations: usize,
    /// The time of a lease that is not renewed; half of the longest stop.
    pub(crate) ttl: Duration,
    /// Whether a holder that is stopped for longer has lost the lock.
    pub(crate) loses: bool,
    /// From one evil to the next, on average.
    pub(crate) pause: Duration,
    /// When it is over, also without them.
    pub(crate) limit: Duration,
}

/// What has been done, and what has been written down.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) lines: Vec<Line>,
    pub(crate) stops: usize,
    /// Of these, those of a process that was computing under the lock, for longer than the lease.
    pub(crate) long_stops: usize,
    pub(crate) kills: usize,
    pub(crate) time: Duration,
}

/// A process that works.
struct Worker {
    process: Child,
    input: Option<ChildStdin>,
    number: u64,
    /// While it is stopped: when it goes on, and after how many operations.
    stopped: Option<(Instant, usize)>,
}

impl Worker {
    fn start(mut command: Command, number: u64) -> Outcome<Self> {
        let mut process = command.stdin(Stdio::piped()).spawn().map_err(text)?;
        let input = process.stdin.take();
        Ok(Self { process, input, number, stopped: None })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Returns when every thread of it stands.
    fn stop(&mut self, time: Duration) -> Outcome<()> {
        kill_process(self.pid(), Signal::STOP).map_err(text)?;
        let status = waitpid(Some(self.pid()), WaitOptions::UNTRACED).map_err(text)?;
        if status.is_none_or(|(_, status)| !status.stopped()) {
            return Err("a process has ended instead of standing still".to_owned());
        }
        self.stopped = Some((Instant::now() + time, 0));
        Ok(())
    }

    fn go_on(&mut self) -> Outcome<()> {
        self.stopped = None;
        kill_process(self.pid(), Signal::CONT).map_err(text)
    }

    /// Ends it as it wants to end: with its operation.
    fn end(mut self) -> Outcome<()> {
        self.input = None;
        let begun = Instant::now();
        loop {
            match self.process.try_wait().map_err(text)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("a process has ended: {status}")),
                None if begun.elapsed() > Duration::from_secs(60) => {
                    return Err("a process does not end".to_owned());
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be dead already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Runs processes that `command` makes, each with a number of its own, until the plan is done.
pub(crate) fn run(
    plan: &Plan,
    log: &Path,
    seed: u64,
    mut command: impl FnMut(u64) -> Outcome<Command>,
) -> Outcome<Ran> {
    drop(Log::open(log)?);
    let mut seen =
        Seen { reader: Reader::open(log)?, lines: Vec::new(), had: 0, last: BTreeMap::new() };
    let mut dice = Dice(seed | 1);
    let mut numbers = 1..;
    let mut start = || {
        let number = numbers.next().ok_or("no number")?;
        Worker::start(command(number)?, number)
    };
    let mut workers = (0..plan.processes).map(|_| start()).collect::<Outcome<Vec<_>>>()?;
    let (begun, mut next) = (Instant::now(), Instant::now() + plan.pause);
    let (mut stops, mut long_stops, mut kills) = (0, 0, 0);
    while seen.look()? < plan.operations || long_stops == 0 || kills == 0 {
        if begun.elapsed() > plan.limit {
            break;
        }
        wake(&mut workers, seen.had)?;
        thread::sleep(Duration::from_millis(1));
        if seen.had == 0 || Instant::now() < next {
            continue;
        }
        if long_stops == 0 {
            // Nobody else is stopped yet.
            if aimed(plan, &mut workers, &mut seen)? {
                (stops, long_stops) = (1, 1);
                next = Instant::now() + plan.ttl;
            }
            continue;
        }
        next = Instant::now() + dice.up_to(plan.pause * 2);
        let victim = &mut workers[dice.below(plan.processes as u64) as usize];
        if victim.stopped.is_some() {
            continue; // it has its evil
        }
        if kills == 0 || dice.below(4) == 0 {
            victim.process.kill().map_err(text)?;
            *victim = start()?;
            kills += 1;
        } else {
            let time = dice.up_to(plan.ttl * 2);
            victim.stop(time)?;
            seen.look()?;
            stops += 1;
            long_stops += usize::from(time > plan.ttl && seen.computes(victim.number));
        }
    }
    let time = begun.elapsed();
    workers.iter_mut().try_for_each(Worker::go_on)?;
    // All at once, or one would wait for another that works on.
    workers.iter_mut().for_each(|worker| worker.input = None);
    workers.into_iter().try_for_each(Worker::end)?;
    seen.look()?;
    Ok(Ran { lines: seen.lines, stops, long_stops, kills, time })
}

/// Lets those go on who have been stopped for long enough.
fn wake(workers: &mut [Worker], had: usize) -> Outcome<()> {
    for worker in workers {
        match worker.stopped {
            Some((until, after)) if until <= Instant::now() && after <= had => worker.go_on()?,
            Some(_) => {}
            None => {
                if let Some(status) = worker.process.try_wait().map_err(text)? {
                    return Err(format!("a process has ended by itself: {status}"));
                }
            }
        }
    }
    Ok(())
}

/// Stops one that computes under the lock; false if none was met.
fn aimed(plan: &Plan, workers: &mut [Worker], seen: &mut Seen) -> Outcome<bool> {
    let Some(worker) = workers.iter_mut().find(|worker| seen.computes(worker.number)) else {
        return Ok(false);
    };
    worker.stop(plan.ttl * 3 / 2)?;
    let had = seen.look()?;
    if !seen.computes(worker.number) {
        worker.go_on()?; // it was done just before
        return Ok(false);
    }
    if let (true, Some((_, after))) = (plan.loses, &mut worker.stopped) {
        *after = had + 3; // the first of them has come to an end
    }
    Ok(true)
}

/// What has been written down so far.
struct Seen {
    reader: Reader,
    lines: Vec<Line>,
    had: usize,
    /// Of each process.
    last: BTreeMap<u64, Event>,
}

impl Seen {
    /// Reads on; how many operations have had the lock.
    fn look(&mut self) -> Outcome<usize> {
        for line in self.reader.more()? {
            self.had += usize::from(matches!(line.event, Event::Had(_)));
            self.last.insert(line.id.process(), line.event);
            self.lines.push(line);
        }
        Ok(self.had)
    }

    fn computes(&self, process: u64) -> bool {
        matches!(self.last.get(&process), Some(Event::Read(..)))
    }
}

/// Numbers that a seed gives again.
struct Dice(u64);

impl Dice {
    const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(most.as_micros()).unwrap()))
    }
}
