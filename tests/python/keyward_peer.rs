//! keyward's side of the protocol: this test program, run again with one test only, which is a peer
//! and not a test.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, BufRead, Write},
    process::{self, Command},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use keyward::{Error, Lease, LeaseState, LockName, Locks, Released};
use rustix::fs::{FlockOperation, flock};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    oracle::{Entry, LINE},
    peer::{FOREVER, SHARED, TRY},
    protocol::Request,
};

const ROLE: &str = "KEYWARD_TEST_PEER";

/// What starts a peer.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "keyward_peer::keyward_peer", "--nocapture"]).env(ROLE, "1");
    command
}

/// No test unless it is started by [`command`].
#[test]
fn keyward_peer() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let (sender, requests) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            sender.send(Request::parse(&line)).unwrap();
        }
        process::exit(0); // whoever started this has gone
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve(requests));
}

/// Where the peer stands.
#[derive(Debug, Default)]
struct Peer {
    locks: Option<Locks>,
    name: Option<LockName>,
    lease: Option<Lease>,
}

async fn serve(mut requests: mpsc::UnboundedReceiver<Request>) {
    println!(); // after the harness's own words
    let mut peer = Peer::default();
    while let Some(request) = requests.recv().await {
        let answer = peer.obey(&request).await.unwrap_or_else(|e| format!("error {e:?}"));
        println!("{answer}");
    }
}

impl Peer {
    async fn obey(&mut self, request: &Request) -> Result<String, Error> {
        match &*request.verb {
            "open" => {
                let (prefix, url) = (request.text("prefix"), request.text("url"));
                self.locks = Some(crate::connect(prefix, url).await?);
                self.name = Some(match str::from_utf8(request.bytes("name")) {
                    Ok(name) if !request.has("exact") => name.into(),
                    _ => LockName::exact(request.bytes("name")),
                });
                Ok("ok ".into())
            }
            "acquire" => {
                let (locks, name) = self.lock();
                let (wait, shared) = (request.text("wait"), request.text("mode") == SHARED);
                self.lease = acquire(locks, name, wait, shared).await?;
                Ok(if self.lease.is_some() { "yes" } else { "no" }.into())
            }
            "release" => {
                let released = self.lease.take().unwrap().release().await?;
                assert_eq!(released, Released::Released);
                Ok("ok".into())
            }
            "lost" => {
                let lease = self.lease.take().unwrap();
                let reason = lease.lost().await;
                assert_eq!(lease.state(), LeaseState::Lost(reason));
                assert_eq!(lease.release().await?, Released::WasLost);
                Ok(format!("ok {reason:?}"))
            }
            "loop" => self.repeat(request).await,
            other => panic!("no verb {other}"),
        }
    }

    fn lock(&self) -> (&Locks, &LockName) {
        (self.locks.as_ref().unwrap(), self.name.as_ref().unwrap())
    }

    async fn repeat(&self, request: &Request) -> Result<String, Error> {
        let (locks, name) = self.lock();
        let request = Arc::new(request.clone());
        let mut tasks = JoinSet::new();
        for number in 0..request.number("tasks") {
            tasks.spawn(repeat(locks.clone(), name.clone(), Arc::clone(&request), number));
        }
        let (mut held, mut longest) = (0, Duration::ZERO);
        for report in tasks.join_all().await {
            let (more, wait) = report?;
            (held, longest) = (held + more, longest.max(wait));
        }
        Ok(format!("ok {held} {}", longest.as_millis()))
    }
}

/// One acquisition, with the answer that fits the question and no other.
async fn acquire(
    locks: &Locks,
    name: &LockName,
    wait: &str,
    shared: bool,
) -> Result<Option<Lease>, Error> {
    let mut acquire = locks.lock_named(name);
    if shared {
        acquire = acquire.shared();
    }
    let (outcome, expected): (_, fn(&Error) -> bool) = match wait {
        FOREVER => (acquire.await, |_| false),
        TRY => (acquire.blocking(false).await, Error::is_would_block),
        limit => {
            let limit = Duration::from_secs_f64(limit.parse().unwrap());
            (acquire.timeout(limit).await, Error::is_timed_out)
        }
    };
    match outcome {
        Ok(lease) => Ok(Some(lease)),
        Err(e) if expected(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

/// One task of a loop: how often it has held the lock, and its longest wait.
async fn repeat(
    locks: Locks,
    name: LockName,
    request: Arc<Request>,
    task: u64,
) -> Result<(u64, Duration), Error> {
    let mut dice = Dice::new(task);
    let [hold, dwell, gap] = ["hold", "dwell", "gap"].map(|field| request.number(field));
    let (rounds, seconds) = (request.number("rounds"), request.number("seconds"));
    let log = OpenOptions::new().append(true).create(true).open(request.text("log")).unwrap();
    let witness = File::create(request.text("witness")).unwrap();
    let id = format!("{}:{task}", request.text("id"));
    let note = |entry| write_line(&log, entry, &id);

    let (began, mut held, mut longest) = (Instant::now(), 0, Duration::ZERO);
    let end = Duration::from_secs(seconds);
    while (rounds == 0 || held < rounds) && (seconds == 0 || began.elapsed() < end) {
        let shared = dice.below(100) < request.number("shared");
        let wait = match request.text("wait") {
            "mixed" => dice.wait(),
            wait => wait.to_owned(),
        };
        let asked = Instant::now();
        let lease = acquire(&locks, &name, &wait, shared).await?;
        longest = longest.max(asked.elapsed());
        let Some(lease) = lease else {
            note(Entry::Refused);
            continue;
        };
        held += 1;
        match lease.fencing_token() {
            Some(token) => write_line(&log, Entry::Exclusive, &format!("{id} {token}")),
            None => note(if shared { Entry::Shared } else { Entry::Exclusive }),
        }
        attest(&witness, shared, || note(Entry::Clash));
        // The clock of the runtime is too coarse, and what is held may well be computing.
        let dwells = dwell > 0 && dice.below(300) == 0;
        let stay = if dwells { dwell } else { dice.below(hold + 1) };
        thread::sleep(Duration::from_micros(stay));
        flock(&witness, FlockOperation::Unlock).unwrap();
        note(Entry::Exit);
        assert_eq!(lease.release().await?, Released::Released);
        if gap > 0 {
            tokio::time::sleep(Duration::from_micros(dice.below(gap))).await;
        }
    }
    Ok((held, longest))
}

/// Locks the witness file, by a lock that knows nothing of the one that is tested: must never wait.
fn attest(witness: &File, shared: bool, clash: impl Fn()) {
    let (try_lock, lock) = if shared {
        (FlockOperation::NonBlockingLockShared, FlockOperation::LockShared)
    } else {
        (FlockOperation::NonBlockingLockExclusive, FlockOperation::LockExclusive)
    };
    if flock(witness, try_lock).is_err() {
        clash();
        flock(witness, lock).unwrap();
    }
}

fn write_line(mut log: &File, entry: Entry, id: &str) {
    let line = format!("{:<width$}\n", format!("{} {id}", entry.letter()), width = LINE - 1);
    log.write_all(line.as_bytes()).unwrap();
}

/// Random enough, and different in each process and task.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(task: u64) -> Self {
        Self((u64::from(process::id()) << 16 | task).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// One in three: for ever, not at all, up to 0.2 s.
    fn wait(&mut self) -> String {
        match self.below(3) {
            0 => FOREVER.to_owned(),
            1 => TRY.to_owned(),
            _ => format!("0.{:03}", self.below(200)),
        }
    }
}
