//! The operations of `Locks`, of leases, and of several leases together, dropped at each of their points.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use keyward::{
    Error, Lease, Leases, Locks, LossReason, Released,
    memory::{MemoryBackend, MemoryFaults},
};
use tokio::{sync::oneshot, time::timeout};

use super::{
    BOUND, Operation, World, explore,
    operations::{
        CASES,
        Held::{self, Free, Near},
        Verb,
    },
    sum,
};
use crate::{
    measure::{descriptors, threads},
    room::kernel_locks,
    server::hex,
    sessions::{holder_id, millis, secs},
    stage::{Backend, Stage, is_free},
};

/// What makes an operation go on.
enum Event {
    Release(Lease),
    Lose(String),
    Finish(oneshot::Sender<()>),
}

/// What an operation may look at, and must leave as it is.
enum Kept {
    One(Arc<Lease>),
    All(Arc<Leases>),
}

/// One operation's user on the server, its store in memory, and its names.
struct Place {
    stage: Arc<Stage>,
    id: String,
    url: String,
    names: [String; 3],
    verb: Verb,
    held: Held,
    /// Of a store in memory: it answers late, and loses what it is told to.
    faults: Option<MemoryFaults>,
}

struct Busy {
    place: Arc<Place>,
    locks: Locks,
    other: Locks,
    events: VecDeque<Event>,
    kept: Vec<Kept>,
    /// Who has it lets go at once, in whatever order they have it.
    queued: Vec<tokio::task::JoinHandle<Result<(), Error>>>,
    /// Some names are lost, or the locks are closed.
    is_lost: bool,
}

impl Place {
    async fn new(stage: &Arc<Stage>, verb: Verb, held: Held) -> Arc<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("cancel{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let names = ["a", "b", "c"].map(|name| format!("{id}-{name}"));
        let mut faults = None;
        let url = match stage.backend {
            Backend::Memory => {
                faults = Some(MemoryBackend::named(&id).faults());
                faults.as_ref().unwrap().delay(millis(1));
                format!("memory:{id}")
            }
            Backend::File => stage.store().url(""),
            Backend::MySql(kind) => {
                kind.shared().create_user(&id, "").await;
                // A ttl that is longer than anybody is waited for here: it would free what is left behind.
                format!("{}&ttl=60&heartbeat=250ms", kind.shared().url_as(&id))
            }
            Backend::Registry => panic!("not a store"),
        };
        Arc::new(Self { stage: Arc::clone(stage), id, url, names, verb, held, faults })
    }

    async fn connect(&self) -> Locks {
        Locks::connect(&*self.url).await.unwrap()
    }

    async fn world(self: Arc<Self>) -> Busy {
        let (locks, other) = (self.connect().await, self.connect().await);
        let mut events = VecDeque::new();
        if self.held != Free {
            let holder = if self.held == Near { &locks } else { &other };
            for name in &self.names {
                events.push_back(Event::Release(holder.lock_named(name).await.unwrap()));
            }
        }
        let (kept, queued) = (Vec::new(), Vec::new());
        Busy { place: Arc::clone(&self), locks, other, events, kept, queued, is_lost: false }
    }

    async fn sessions(&self) -> u64 {
        let Backend::MySql(kind) = self.stage.backend else { return 0 };
        let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE USER";
        kind.shared().scalar(&format!("{count} = '{}'", self.id)).await.unwrap()
    }

    /// Takes a hold away, as the docs say that it can happen.
    async fn lose(&self, name: &str) {
        match self.stage.backend {
            Backend::Memory => {
                let faults = self.faults.as_ref().expect("made with the place");
                assert_eq!(faults.lose(name, LossReason::Closed), 1);
            }
            Backend::File => fs::remove_file(self.stage.path().join("locks").join(name)).unwrap(),
            Backend::MySql(kind) => {
                let id = holder_id(kind.shared(), name).await;
                kind.shared().kill_connection(id).await;
            }
            Backend::Registry => {}
        }
    }

    /// How many wait for the names, as the store sees it.
    async fn waiting(&self) -> usize {
        match self.stage.backend {
            Backend::File => {
                let files =
                    self.names.iter().map(|name| self.stage.path().join("locks").join(name));
                let inodes = files.filter_map(|file| fs::metadata(file).ok());
                inodes.map(|it| kernel_locks(&format!(":{} ", it.ino()), true)).sum()
            }
            Backend::MySql(kind) => {
                let waiting = format!(
                    "SELECT COUNT(*) FROM information_schema.processlist \
                     WHERE USER = '{}' AND STATE = 'User lock'",
                    self.id
                );
                let waiting: Option<u64> = kind.shared().scalar(&waiting).await;
                usize::try_from(waiting.unwrap()).unwrap()
            }
            _ => 0,
        }
    }

    /// Whether nobody holds the names or waits for them, as the store sees it.
    async fn is_clean(&self, other: &Locks) -> bool {
        match self.stage.backend {
            Backend::File => {
                self.names.iter().all(|name| is_free(&self.stage.path().join("locks").join(name)))
            }
            Backend::MySql(kind) => {
                let names = self.names.each_ref().map(|name| hex(name.as_bytes()));
                let held = names.map(|name| format!("IS_USED_LOCK(X'{name}')")).join(", ");
                // One question: each is a connection of its own.
                let left = format!(
                    "SELECT (SELECT COUNT(*) FROM information_schema.processlist \
                     WHERE USER = '{}' AND STATE = 'User lock') \
                     + (COALESCE({held}) IS NOT NULL)",
                    self.id
                );
                kind.shared().scalar::<u64>(&left).await == Some(0)
            }
            _ => {
                let mut is_clean = true;
                for name in &self.names {
                    is_clean &= !other.inspect(name).await.unwrap().is_held();
                }
                is_clean
            }
        }
    }
}

impl Busy {
    async fn lease(&self, at: usize) -> Lease {
        self.locks.lock_named(&self.place.names[at]).await.unwrap()
    }

    async fn one(&mut self) -> Arc<Lease> {
        let lease = Arc::new(self.lease(0).await);
        self.kept.push(Kept::One(Arc::clone(&lease)));
        lease
    }

    async fn all(&mut self) -> Arc<Leases> {
        let leases = Arc::new(self.locks.lock_all(&self.place.names).await.unwrap());
        self.kept.push(Kept::All(Arc::clone(&leases)));
        leases
    }

    fn finish(&mut self) -> oneshot::Receiver<()> {
        let (finish, finished) = oneshot::channel();
        self.events.push_back(Event::Finish(finish));
        finished
    }

    fn loses(&mut self) {
        self.events.push_back(Event::Lose(self.place.names[0].clone()));
    }

    /// A wait that is in the queue before the operation begins.
    async fn queue(&mut self, locks: Locks) {
        let name = self.place.names[0].clone();
        let wait = locks.lock_named(name.clone()).timeout(BOUND);
        self.queued.push(tokio::spawn(async move { wait.await.map(drop) }));
        while locks.inspect(&name).await.unwrap().waiters == 0 {
            tokio::time::sleep(millis(1)).await;
        }
    }
}

fn drops<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Operation {
    Box::pin(async move { drop(future.await) })
}

impl World for Busy {
    async fn operation(&mut self) -> Operation {
        let place = Arc::clone(&self.place);
        let (locks, names) = (self.locks.clone(), place.names.clone());
        let wait = locks.lock_named(&names[0]);
        match place.verb {
            Verb::Lock => drops(wait.into_future()),
            Verb::Handed => {
                // Who has it for a moment only may pass it on without the store.
                self.queue(locks).await;
                drops(wait.into_future())
            }
            Verb::Shared => drops(wait.shared().into_future()),
            Verb::Timeout => drops(wait.timeout(secs(60)).into_future()),
            Verb::Deadline => {
                drops(wait.deadline(tokio::time::Instant::now() + secs(60)).into_future())
            }
            Verb::Try => drops(locks.try_lock_named(&names[0]).into_future()),
            Verb::TryShared => drops(locks.try_lock_named(&names[0]).shared().into_future()),
            Verb::AllTry => drops(locks.lock_all(names).blocking(false).into_future()),
            Verb::AllDeadline => drops(
                locks
                    .lock_all(names)
                    .deadline(tokio::time::Instant::now() + secs(60))
                    .into_future(),
            ),
            Verb::All => drops(locks.lock_all(names).into_future()),
            Verb::AllShared => drops(locks.lock_all(names).shared().into_future()),
            Verb::AllTimeout => drops(locks.lock_all(names).timeout(secs(60)).into_future()),
            Verb::Release => drops(self.lease(0).await.release()),
            Verb::ReleaseQueued => {
                let lease = self.lease(0).await;
                self.queue(self.other.clone()).await;
                self.queue(locks).await;
                drops(lease.release())
            }
            Verb::ReleaseAfter => drops(self.lease(0).await.release_after(Ok::<_, Error>(()))),
            Verb::ReleaseAll => drops(locks.lock_all(names).await.unwrap().release()),
            Verb::ReleaseAllAfter => {
                let leases = locks.lock_all(names).await.unwrap();
                drops(leases.release_after(Ok::<_, Error>(())))
            }
            Verb::EnsureHeld => {
                let lease = self.one().await;
                drops(async move { lease.ensure_held().await })
            }
            Verb::EnsureAllHeld => {
                let leases = self.all().await;
                drops(async move { leases.ensure_held().await })
            }
            Verb::Lost => {
                self.loses();
                drops(self.one().await.lost())
            }
            Verb::AllLost => {
                self.loses();
                drops(self.all().await.lost())
            }
            Verb::Run => {
                let (lease, work) = (self.one().await, self.finish());
                drops(async move { lease.run(work).await })
            }
            Verb::RunAll => {
                let (leases, work) = (self.all().await, self.finish());
                drops(async move { leases.run(work).await })
            }
            Verb::Inspect => drops(async move { locks.inspect(&names[0]).await }),
            Verb::CollectGarbage => drops(async move { locks.collect_garbage(secs(3600)).await }),
            Verb::Connect => drops(Locks::connect(place.url.clone())),
            Verb::Close => {
                self.is_lost = true;
                drop(self.lease(0).await);
                drops(async move { locks.close().await })
            }
            Verb::CloseBusy => {
                self.is_lost = true;
                let lease = self.lease(0).await;
                self.queue(locks.clone()).await;
                self.events.push_back(Event::Release(lease));
                drops(async move { locks.close().await })
            }
        }
    }

    async fn advance(&mut self) -> bool {
        match self.events.pop_front() {
            None => return false,
            Some(Event::Release(lease)) => drop(lease.release().await),
            Some(Event::Finish(finish)) => drop(finish.send(())),
            Some(Event::Lose(name)) => {
                self.is_lost = true;
                self.place.lose(&name).await;
            }
        }
        true
    }

    async fn check(self) -> Result<Duration, String> {
        let Self { place, locks, other, events, kept, queued, is_lost } = self;
        // While others still hold: who has given up is in no queue because of that, and not because it
        // had its turn.
        for name in &place.names {
            let begun = Instant::now();
            while queued.is_empty() && locks.inspect(name).await.map_or(0, |it| it.waiters) > 0 {
                if begun.elapsed() > BOUND {
                    return Err(format!("somebody waits for {name}"));
                }
                tokio::time::sleep(millis(1)).await;
            }
        }
        let begun = Instant::now();
        while queued.is_empty() && place.waiting().await > 0 {
            if begun.elapsed() > BOUND {
                return Err("somebody waits in the store".to_owned());
            }
            tokio::time::sleep(millis(2)).await;
        }
        for event in events {
            if let Event::Release(lease) = event {
                let released = lease.release().await;
                if !released.as_ref().is_ok_and(|&it| it == Released::Released) {
                    return Err(format!("what others hold: {released:?}"));
                }
            }
        }
        for kept in kept {
            let (held, released) = match kept {
                Kept::One(lease) => {
                    let lease = Arc::into_inner(lease).ok_or("the lease is still borrowed")?;
                    (lease.ensure_held().await, lease.release().await)
                }
                Kept::All(leases) => {
                    let leases = Arc::into_inner(leases).ok_or("the leases are still borrowed")?;
                    (leases.ensure_held().await, leases.release().await)
                }
            };
            let is_well =
                held.is_ok() && released.as_ref().is_ok_and(|&it| it == Released::Released);
            if !is_lost && !is_well {
                return Err(format!("the lease itself: {held:?}, {released:?}"));
            }
        }
        for wait in queued {
            match timeout(BOUND, wait).await {
                Err(_) => return Err("who waits behind it does not get it".to_owned()),
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(_))) if is_lost => {}
                Ok(other) => return Err(format!("who waits behind it: {other:?}")),
            }
        }
        let begun = Instant::now();
        let next = other.lock_all(&place.names).timeout(BOUND).await;
        let next = next.map_err(|e| format!("the next one: {e}"))?;
        let took = begun.elapsed();
        next.release().await.map_err(|e| format!("the next one's release: {e}"))?;
        if !is_lost {
            let again = locks.lock_all(&place.names).timeout(BOUND).await;
            drop(again.map_err(|e| format!("the same locks again: {e}"))?);
        }
        let closed = async { futures::join!(locks.close(), other.close()) };
        timeout(BOUND, closed).await.map_err(|_| "they do not close")?;
        let look = place.connect().await;
        let begun = Instant::now();
        while !place.is_clean(&look).await {
            if begun.elapsed() > BOUND {
                return Err("something is left in the store".to_owned());
            }
            tokio::time::sleep(millis(1)).await;
        }
        look.close().await;
        while place.sessions().await > 0 {
            if begun.elapsed() > BOUND {
                return Err(format!("{} sessions are left", place.sessions().await));
            }
            tokio::time::sleep(millis(2)).await;
        }
        Ok(took)
    }
}

/// One operation, at all its points.
async fn one(stage: Arc<Stage>, name: &'static str, verb: Verb, held: Held) -> usize {
    let place = Place::new(&stage, verb, held).await;
    if held == Near && matches!(stage.backend, Backend::File) {
        // The tokens of a new file are ahead of the clock for a second, and as long it is handed to nobody.
        let locks = place.connect().await;
        locks.lock_all(&place.names).await.unwrap().release().await.unwrap();
        tokio::time::sleep(millis(1_200)).await;
    }
    let points = explore(&stage, name, || Arc::clone(&place).world()).await;
    stage.check(points > 0 || !verb.waits(held), || format!("{name} has no await point"));
    points
}

pub(crate) async fn every_point(stage: Arc<Stage>) {
    let (mut points, mut operations) = (0, 0);
    // What is opened once and kept for good, such as a thread for deadlines, is there after this.
    let warm = Place::new(&stage, Verb::Lost, Free).await;
    explore(&stage, "warm", || Arc::clone(&warm).world()).await;
    let (files, threads_before) = (descriptors(), threads());
    let shares = warm.connect().await.capability().shared;
    for _ in 0..stage.runs {
        stage.outcome().table.clear();
        let cases = CASES.iter().filter(|(_, verb, _)| shares || !verb.is_shared());
        let found = cases.map(|&(name, verb, held)| one(Arc::clone(&stage), name, verb, held));
        let found: Vec<usize> =
            stream::iter(found.collect::<Vec<_>>()).buffered(24).collect().await;
        (points, operations) = (found.iter().sum(), found.len());
        stage.ran();
    }
    stage.outcome().table.sort();
    sum(&stage, points);
    let begun = Instant::now();
    while begun.elapsed() < BOUND && (descriptors() > files || threads() > threads_before) {
        tokio::time::sleep(millis(10)).await;
    }
    let (files_after, threads_after) = (descriptors(), threads());
    stage.check(files_after <= files, || format!("{files} descriptors, and {files_after} after"));
    stage.note(format!(
        "{operations} operations, {points} points, each in 3 ways; descriptors {files} before and \
         {files_after} after, threads {threads_before} and {threads_after}"
    ));
}
