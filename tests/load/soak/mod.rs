//! Row 33: a soak. Crews of this process and of others lock and unlock, a nemesis with a seed kills,
//! freezes, cuts and restarts whatever there is, and a judge who does not trust keyward reads what they
//! have written.
//!
//! `KEYWARD_LOAD_SOAK` says for how many seconds, `KEYWARD_LOAD_SEED` from which seed. All three backends
//! are soaked at the same time, each from a process of its own whose memory, descriptors and threads are
//! watched. The journal of a soak that has found something stays.

mod crew;
mod judge;
mod log;
mod nemesis;

use std::{
    collections::{BTreeMap, VecDeque},
    env, fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use keyward::{Locks, memory::MemoryBackend};

pub(crate) use self::crew::run;
use self::{
    crew::{Crew, NAMES},
    judge::{Judge, Rules},
    log::{Log, What},
    nemesis::{Mate, Nemesis, Store},
};
use crate::{
    dice::Dice,
    measure::{descriptors, live, no_session_is_left, resident, threads, trim},
    proxy::{Proxy, Target},
    server::Server,
    sessions::{millis, secs},
    stage::{Backend, Stage},
};

/// The shortest `ttl`, since everything that is waited for here is a part of it.
const OPTIONS: &str = "ttl=3&heartbeat=500ms&connect_timeout=5";

/// A heartbeat, the two seconds that the docs give a server that is slow, and what a busy machine takes.
const TOLD_ON_SERVERS: Duration = Duration::from_millis(500 + 2_000 + 2_000);

/// The second of the docs, and what a busy machine takes.
const TOLD_ON_FILES: Duration = Duration::from_millis(1_000 + 2_000);

/// They are told first; this is for the holder to write it down.
const TOLD_IN_MEMORY: Duration = Duration::from_millis(1_000);

/// How often the journal is judged. Then memory is looked at, while the judge has least in mind.
const SEGMENT: Duration = Duration::from_secs(15);

/// For how many of those the journal stays readable.
const REMEMBERED: usize = 8;

fn seconds() -> u64 {
    let seconds = env::var("KEYWARD_LOAD_SOAK").unwrap_or_else(|_| "60".to_owned());
    let number = seconds.parse().ok().filter(|&number| number > 0);
    number.unwrap_or_else(|| panic!("KEYWARD_LOAD_SOAK={seconds} is no number of seconds, from 1"))
}

/// Given, or one that is printed.
fn seed() -> u64 {
    match env::var("KEYWARD_LOAD_SEED") {
        Ok(seed) => {
            seed.parse().unwrap_or_else(|_| panic!("KEYWARD_LOAD_SEED={seed} is no number"))
        }
        Err(_) => u64::from(std::process::id()) ^ (crate::oracle::now() % 1_000_000),
    }
}

/// What this process has, at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    live: usize,
    resident: u64,
    descriptors: usize,
    threads: u64,
}

impl Sample {
    fn take(judge: &Judge) -> Self {
        // The judge has just read and dropped a journal, whose memory the allocator keeps for the next one.
        trim();
        Self {
            live: live().saturating_sub(judge.weight()),
            resident: resident().saturating_sub(judge.weight() as u64 / 1024),
            descriptors: descriptors(),
            threads: threads(),
        }
    }
}

/// The store, who uses it from other processes, and how it is reached from this one.
async fn set_up(stage: &Stage, log: &Arc<Log>, dice: &mut Dice) -> (Nemesis, Vec<String>) {
    let mut mates = Vec::new();
    let mut mate = |url: String, user: String, proxy| {
        let process = crew::start(&url, log, dice.roll(u64::from(u32::MAX)));
        mates.push(Mate { process, url, user, proxy });
    };
    let (store, urls) = match stage.backend {
        Backend::Memory => {
            let url = stage.url("");
            let faults = MemoryBackend::named(url.strip_prefix("memory:").unwrap()).faults();
            (Store::Memory(faults), vec![url; 2])
        }
        Backend::File => {
            let url = stage.url("");
            (0..3).for_each(|_| mate(url.clone(), String::new(), None));
            (Store::File(stage.path().join("locks")), vec![url])
        }
        Backend::MySql(kind) => {
            let server = Arc::new(Server::start(kind));
            for i in 0..4 {
                server.create_user(&format!("crew{i}"), "").await;
            }
            for i in 0..3 {
                let user = format!("crew{i}");
                if i == 0 {
                    mate(format!("{}&{OPTIONS}", server.url_as(&user)), user, None);
                } else {
                    let proxy = Proxy::start(Target::Port(server.port()));
                    let url = server.tcp_url_as(&user, proxy.port());
                    mate(format!("{url}?{OPTIONS}"), user, Some(proxy));
                }
            }
            let url = format!("{}&{OPTIONS}", server.url_as("crew3"));
            (Store::MySql(server), vec![url])
        }
        Backend::Registry => panic!("it has no leases"),
    };
    let (log, done) = (Arc::clone(log), BTreeMap::new());
    let dice = Dice::new(dice.roll(u64::from(u32::MAX)));
    (Nemesis { log, store, mates, dice, done }, urls)
}

/// Everybody comes to an end, and then nothing is left.
async fn finish(stage: &Stage, mut nemesis: Nemesis, crew: Crew, locks: Vec<Locks>) -> Nemesis {
    for mate in &mut nemesis.mates {
        mate.process.tell("stop");
        // A wait whose bytes are lost would end by itself, but a minute later.
        if let Some(proxy) = &mate.proxy {
            nemesis.log.cut(What::Sever, mate.process.id());
            proxy.reset();
        }
    }
    let ended = tokio::time::timeout(secs(90), crew.stop()).await;
    stage.check(ended.is_ok(), || "the crew of this process does not come to an end".to_owned());
    for mate in &mut nemesis.mates {
        // It may have been started a moment ago.
        let mut said = mate.process.answer().await;
        if said == "ready" {
            said = mate.process.answer().await;
        }
        stage.check(said == "closed", || format!("another process: {said}"));
    }
    for name in NAMES {
        let begun = Instant::now();
        let next = locks[0].lock_named(name).timeout(secs(10)).await;
        stage.took("until the next one has a name, after it all", begun.elapsed());
        match next {
            Ok(lease) => drop(lease.release().await),
            Err(e) => stage.violation(format!("after it all, {name}: {e}")),
        }
        let waiters = locks[0].inspect(name).await.map_or(0, |status| status.waiters);
        stage.check(waiters == 0, || format!("{waiters} still wait for {name}"));
    }
    for locks in locks {
        let closed = tokio::time::timeout(secs(10), locks.close()).await;
        stage.check(closed.is_ok(), || "the locks do not close".to_owned());
    }
    if let Store::MySql(server) = &nemesis.store {
        no_session_is_left(stage, server).await;
    }
    nemesis
}

pub(crate) async fn mixed_faults(stage: Arc<Stage>) {
    let (seconds, seed) = (seconds(), seed());
    let label = stage.backend.label();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("soak-{label}-{seed}-{}.journal", std::process::id()));
    let log = Log::open(&path);
    let mut dice = Dice::new(seed);
    let (nemesis, urls) = set_up(&stage, &log, &mut dice).await;
    let mut locks = Vec::new();
    for url in urls {
        locks.push(Locks::connect(url).await.unwrap());
    }
    let crew = Crew::start(&locks, &log, dice.roll(u64::from(u32::MAX)));
    let until = Instant::now() + secs(seconds);
    let nemesis = tokio::spawn(nemesis.haunt(until));

    let is_server = matches!(stage.backend, Backend::MySql(_));
    let told_within = match stage.backend {
        Backend::MySql(_) => TOLD_ON_SERVERS,
        Backend::File => TOLD_ON_FILES,
        _ => TOLD_IN_MEMORY,
    };
    let mut judge = Judge::new(Rules { told_within, freezing_loses: is_server });
    let (mut read, mut samples) = (0, Vec::new());
    let mut ends = VecDeque::new();
    while !nemesis.is_finished() {
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(SEGMENT.min(left.max(millis(200)))).await;
        // Once the soak is over, the nemesis only undoes what it has done last.
        if left > Duration::ZERO {
            let (events, end) = log.read(read);
            judge.hear(events, false);
            read = end;
            // What the judge may still find something in stays.
            ends.push_back(end);
            if ends.len() > REMEMBERED && judge.verdict.violations.is_empty() {
                log.forget(ends.pop_front().unwrap());
            }
            samples.push(Sample::take(&judge));
        }
    }
    let nemesis = finish(&stage, nemesis.await.unwrap(), crew, locks).await;
    let done = nemesis.done.clone();
    // Who is left of the others ends with this.
    drop(nemesis);
    judge.hear(log.read(read).0, true);
    report(&stage, judge, &samples, &done, seed, seconds);
    if stage.outcome().violations.is_empty() {
        fs::remove_file(&path).unwrap();
    } else {
        stage.violation(format!(
            "the journal is {}; again: KEYWARD_LOAD_SEED={seed} KEYWARD_LOAD_SOAK={seconds} \
             KEYWARD_LOAD_ROWS=33/{label}",
            path.display()
        ));
    }
    stage.ran();
}

fn report(
    stage: &Stage,
    judge: Judge,
    samples: &[Sample],
    done: &BTreeMap<&'static str, usize>,
    seed: u64,
    seconds: u64,
) {
    let verdict = judge.verdict;
    let faults: usize = done.values().sum();
    stage.check(verdict.holds as u64 > 20 * seconds, || format!("only {} holds", verdict.holds));
    stage.check(faults as u64 >= seconds / 12, || format!("only {faults} faults"));
    for violation in verdict.violations {
        stage.violation(violation);
    }
    stage.note(format!(
        "seed {seed}, {seconds} s, {} asked for, {} holds, {faults} faults, {} losses told, {} overlaps \
         excused (the longest {:?}) and {} disorders of theirs, {} may have held and {} had it \
         meanwhile",
        verdict.asked,
        verdict.holds,
        verdict.told,
        verdict.excused,
        verdict.longest_excused,
        verdict.excused_disorders,
        verdict.maybe,
        verdict.possible,
    ));
    let faults: Vec<_> = done.iter().map(|(what, times)| format!("{what} {times}")).collect();
    stage.note(faults.join(", "));
    // From the second quarter to the last one, of which each has at least one sample; and no sample is in
    // both, or nothing could grow.
    let quarter = samples.len() / 4;
    let last = (3 * quarter).max(1).min(samples.len() - 1);
    let (early, late) = (&samples[quarter..=2 * quarter], &samples[last..]);
    let least = |of: &[Sample], what: fn(&Sample) -> u64| of.iter().map(what).min().unwrap();
    let check = |what: &'static str, look: fn(&Sample) -> u64, slack: u64| {
        let (before, after) = (least(early, look), least(late, look));
        stage.check(after <= before + slack, || format!("{what}: {before}, and later {after}"));
        format!("{what} {before} to {after}")
    };
    // A lock file that is made anew has another line of the queue, of which there are 64 and no more, and
    // whose files stay open.
    let descriptors = if matches!(stage.backend, Backend::File) { 64 + 16 } else { 16 };
    let flat = [
        check("bytes allocated", |it| it.live as u64, 1 << 20),
        check("KiB resident", |it| it.resident, 32 << 10),
        check("descriptors", |it| it.descriptors as u64, descriptors),
        check("threads", |it| it.threads, 4),
    ];
    stage.note(flat.join(", "));
}
