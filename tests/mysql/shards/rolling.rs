//! A rolling change: processes of two neighbouring generations at work on the same names, and in the end
//! those of the third while some of the first have not gone. Counters of the test's own say whether two
//! were ever inside.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use keyward::{ErrorKind, Locks, LossReason, Released};
use tokio::{task::JoinHandle, time::sleep};

use super::cluster::{Cluster, connect};

const THREE: [usize; 3] = [0, 1, 2];
const FOUR: [usize; 4] = [0, 1, 2, 3];
const OPTIONS: &str = "&ttl=5&heartbeat=500ms&max_waiters=16";
const NAMES: usize = 12;

/// What the test knows of a name.
#[derive(Default)]
struct Seen {
    inside: AtomicUsize,
    largest_token: AtomicU64,
}

/// What the test knows.
struct Oracle {
    names: Vec<(String, Seen)>,
    overlaps: AtomicUsize,
    tokens_back: AtomicUsize,
}

/// Who is of one generation.
struct Crew {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    superseded: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Oracle {
    /// Somebody holds a name, for a moment or until he is told that he does not.
    async fn inside(&self, name: usize, lease: &keyward::Lease, stay: Duration) {
        let seen = &self.names[name].1;
        if seen.inside.fetch_add(1, Ordering::SeqCst) != 0 {
            self.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        let token = lease.fencing_token().expect("they are counted").get();
        if seen.largest_token.fetch_max(token, Ordering::SeqCst) >= token {
            self.tokens_back.fetch_add(1, Ordering::SeqCst);
        }
        tokio::select! {
            _ = lease.lost() => {}
            () = sleep(stay) => {}
        }
        seen.inside.fetch_sub(1, Ordering::SeqCst);
    }

    fn judge(&self) {
        assert_eq!(self.overlaps.load(Ordering::SeqCst), 0, "two were inside");
        assert_eq!(self.tokens_back.load(Ordering::SeqCst), 0, "tokens that do not grow");
    }
}

impl Crew {
    async fn start(oracle: &Arc<Oracle>, url: &str, seed: usize) -> Self {
        let (stop, done, superseded) =
            (Arc::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut this = Self { stop, done, superseded, tasks: Vec::new() };
        for process in 0..2 {
            let locks = connect(url).await;
            for task in 0..4 {
                let work = work(
                    Arc::clone(oracle),
                    locks.clone(),
                    seed * 100 + process * 10 + task,
                    Arc::clone(&this.stop),
                    [Arc::clone(&this.done), Arc::clone(&this.superseded)],
                );
                this.tasks.push(tokio::spawn(work));
            }
        }
        this
    }

    /// Until it has held names that often.
    async fn has_done(&self, count: usize) {
        let begun = Instant::now();
        while self.done.load(Ordering::SeqCst) < count {
            assert!(begun.elapsed() < Duration::from_secs(120), "it does not come on");
            assert!(!self.tasks.iter().any(JoinHandle::is_finished), "one has ended");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.done.load(Ordering::SeqCst)
    }
}

async fn work(
    oracle: Arc<Oracle>,
    locks: Locks,
    seed: usize,
    stop: Arc<AtomicBool>,
    [done, superseded]: [Arc<AtomicUsize>; 2],
) {
    let mut random = seed.wrapping_mul(0x9e37_79b9) | 1;
    while !stop.load(Ordering::SeqCst) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let name = random % NAMES;
        let wait = match random >> 8 & 3 {
            0 => locks.try_lock_named(&*oracle.names[name].0),
            _ => locks.lock_named(&*oracle.names[name].0),
        };
        match wait.await {
            Ok(lease) => {
                let stay = Duration::from_micros((random >> 16 & 511) as u64);
                oracle.inside(name, &lease, stay).await;
                done.fetch_add(1, Ordering::SeqCst);
                if random >> 12 & 1 == 0 {
                    drop(lease);
                    continue;
                }
                if lease.release().await.unwrap() == Released::WasLost {
                    superseded.fetch_add(1, Ordering::SeqCst);
                }
            }
            Err(e) if e.is_would_block() => tokio::task::yield_now().await,
            Err(e) if e.kind() == ErrorKind::Unavailable => sleep(Duration::from_millis(50)).await,
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
                assert!(e.to_string().contains("peers use generation"), "{e}");
                superseded.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn from_three_servers_to_four_and_never_two_inside() {
    let cluster = Cluster::shared().await;
    // Half of them move.
    let moves = |name: &str| cluster.home(&FOUR, name) == 3;
    let names =
        (0..NAMES).map(|i| cluster.find(&format!("r{i}."), |name| moves(name) == (i % 2 == 0)));
    let oracle = Arc::new(Oracle {
        names: names.map(|name| (name, Seen::default())).collect(),
        overlaps: AtomicUsize::new(0),
        tokens_back: AtomicUsize::new(0),
    });
    let urls = [
        cluster.url(1, &THREE, OPTIONS),
        cluster.change(2, &FOUR, &THREE, OPTIONS),
        cluster.url(3, &FOUR, OPTIONS),
    ];
    let one = Crew::start(&oracle, &urls[0], 1).await;
    one.has_done(300).await;
    let two = Crew::start(&oracle, &urls[1], 2).await;
    two.has_done(1_500).await;
    // One of generation 1 stays in, on a name that moves, until he is told.
    let laggard = connect(&urls[0]).await;
    let kept = laggard.lock_named(&*oracle.names[0].0).await.unwrap();
    let staying = tokio::spawn({
        let oracle = Arc::clone(&oracle);
        async move {
            oracle.inside(0, &kept, Duration::from_secs(60)).await;
            kept.state()
        }
    });
    let three = Crew::start(&oracle, &urls[2], 3).await;
    three.has_done(1_000).await;
    assert_eq!(
        staying.await.unwrap(),
        keyward::LeaseState::Lost(LossReason::Superseded),
        "generation 3 is at work"
    );
    let before = one.done.load(Ordering::SeqCst);
    three.has_done(1_500).await;
    assert_eq!(one.done.load(Ordering::SeqCst), before, "generation 1 still gets something");
    assert!(one.superseded.load(Ordering::SeqCst) > 0, "and is told why");
    let two_at_the_end = two.done.load(Ordering::SeqCst);
    let counts = [one.end().await, two.end().await, three.end().await];
    assert!(two_at_the_end > 1_500, "generation 2 works beside 3");
    println!("acquisitions of generations 1, 2, 3: {counts:?}; overlaps 0");
    oracle.judge();
    let names: Vec<_> = oracle.names.iter().map(|(name, _)| name.as_str()).collect();
    cluster.until_clean(&names).await;
}

/// To and fro: neighbours that lock the same two servers, of which each begins with the same one.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_change_that_is_taken_back_blocks_nobody() {
    let cluster = Cluster::shared().await;
    let names = (0..NAMES).map(|i| {
        cluster.find(&format!("b{i}."), |name| {
            cluster.home(&[0, 1], name) == 0 && cluster.home(&[1, 2], name) == 1
        })
    });
    let oracle = Arc::new(Oracle {
        names: names.map(|name| (name, Seen::default())).collect(),
        overlaps: AtomicUsize::new(0),
        tokens_back: AtomicUsize::new(0),
    });
    let options = OPTIONS.replace("ttl=5", "ttl=3");
    drop(connect(cluster.url(1, &[0, 1], &options)).await);
    let two = Crew::start(&oracle, &cluster.change(2, &[1, 2], &[0, 1], &options), 1).await;
    two.has_done(200).await;
    let three = Crew::start(&oracle, &cluster.change(3, &[0, 1], &[1, 2], &options), 2).await;
    three.has_done(500).await;
    let counts = [two.end().await, three.end().await];
    println!("acquisitions of generations 2, 3: {counts:?}; overlaps 0");
    oracle.judge();
}
