//! Ten thousand operations that are given up at any moment, and a judge.

use std::{
    future::{Future, IntoFuture, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use keyward::{Lease, Locks};
use tokio::time::{sleep, timeout};

use crate::{
    clients::{Clients, Outsider},
    dice::Dice,
    server::Kind,
};

const OPERATIONS: u64 = 10_000;
const NAMES: usize = 5;
const THREADS: u64 = 3;
const TASKS: u64 = 6;

/// One seed for a run, printed, or given as `KEYWARD_TEST_SEED`.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};

    match std::env::var("KEYWARD_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => std::hash::RandomState::new().build_hasher().finish() >> 32,
    }
}

/// What is known of a name without asking anybody who could be wrong.
#[derive(Debug, Default)]
struct Judge {
    holders: AtomicU32,
    token: AtomicU64,
    holds: AtomicU64,
}

impl Judge {
    fn enter(&self, lease: &Lease) {
        assert_eq!(self.holders.fetch_add(1, Ordering::SeqCst), 0, "two hold {:?}", lease.name());
        let token = lease.fencing_token().expect("there are tokens").get();
        let before = self.token.swap(token, Ordering::SeqCst);
        assert!(before < token, "{:?}: {token:x} after {before:x}", lease.name());
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        assert_eq!(self.holders.fetch_sub(1, Ordering::SeqCst), 1);
    }
}

struct World {
    names: Vec<String>,
    judges: Vec<Judge>,
    left: AtomicU64,
    is_over: AtomicBool,
}

/// Polls until ready, or until it has been pending so many times.
async fn polled_times<F: Future>(future: F, mut times: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if times == 0 => Poll::Ready(None),
        Poll::Pending => {
            times -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A task that does one thing after another.
async fn work(world: Arc<World>, locks: Vec<Locks>, mut dice: Dice) {
    while world
        .left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
        .is_ok()
    {
        let locks = &locks[dice.roll(locks.len() as u64) as usize];
        let chosen = dice.roll(NAMES as u64) as usize;
        let name = &*world.names[chosen];
        let wait = locks.lock_named(name);
        let got = match dice.roll(10) {
            0 | 1 => Some(wait.timeout(dice.micros(5_000)).await),
            2 => polled_times(wait.into_future(), dice.roll(8)).await,
            3 => timeout(dice.micros(3_000), wait).await.ok(),
            4 => {
                let loser = sleep(dice.micros(3_000));
                tokio::select! {
                    () = loser => None,
                    lease = wait.into_future() => Some(lease),
                }
            }
            5 => Some(locks.try_lock_named(name).await),
            6 => {
                polled_times(locks.inspect(name), dice.roll(3)).await.map(Result::unwrap);
                None
            }
            7 => {
                let other = (chosen + 1 + dice.roll(NAMES as u64 - 1) as usize) % NAMES;
                let all = locks.lock_all([name, &world.names[other]]);
                let all = all.timeout(dice.micros(10_000)).await;
                if let Ok(all) = all {
                    let judges = [chosen, other].map(|i| &world.judges[i]);
                    for lease in all.iter() {
                        let is_first = lease.name().as_bytes() == name.as_bytes();
                        judges[usize::from(!is_first)].enter(lease);
                    }
                    hold(&mut dice).await;
                    judges.into_iter().for_each(Judge::leave);
                    drop(all);
                }
                None
            }
            _ => Some(wait.timeout(Duration::from_secs(60)).await),
        };
        match got {
            None => {}
            Some(Ok(lease)) => {
                let judge = &world.judges[chosen];
                judge.enter(&lease);
                hold(&mut dice).await;
                if dice.roll(8) == 0 {
                    lease.ensure_held().await.unwrap();
                }
                judge.leave();
                match dice.roll(4) {
                    0 => drop(lease),
                    1 => drop(polled_times(lease.release(), 0).await),
                    _ => {
                        let released = lease.release().await.unwrap();
                        assert_eq!(released, keyward::Released::Released);
                    }
                }
            }
            Some(Err(e)) => assert!(e.is_timed_out() || e.is_would_block(), "{e:?}"),
        }
    }
}

async fn hold(dice: &mut Dice) {
    match dice.roll(4) {
        0 => sleep(dice.micros(2_000)).await,
        1 => tokio::task::yield_now().await,
        _ => {}
    }
}

/// A DBA who stops statements: of those who wait, or of any.
async fn meddle(world: &World, clients: &Clients, mut dice: Dice) -> u32 {
    let mut kills = 0;
    let mut dba = Outsider::new(clients.server).await;
    while !world.is_over.load(Ordering::Relaxed) {
        let only = if dice.roll(2) == 0 { "AND STATE = 'User lock'" } else { "" };
        let sql = format!(
            "SELECT ID FROM information_schema.processlist WHERE USER = '{}' {only} \
             ORDER BY RAND() LIMIT 1",
            clients.user()
        );
        if let Some(victim) = clients.server.scalar::<u64>(&sql).await {
            kills += u32::from(dba.stop(victim).await);
        }
        sleep(dice.micros(20_000)).await;
    }
    kills
}

#[test]
fn ten_thousand_operations_given_up_at_any_moment() {
    let seed = seed();
    println!("KEYWARD_TEST_SEED={seed}");
    for kind in Kind::all() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let clients = runtime.block_on(Clients::new(kind));
        let names: Vec<_> = (0..NAMES).map(|i| clients.name(&format!("n{i}"))).collect();
        let world = Arc::new(World {
            judges: names.iter().map(|_| Judge::default()).collect(),
            names,
            left: OPERATIONS.into(),
            is_over: false.into(),
        });
        let begun = Instant::now();
        let kills = thread::scope(|scope| {
            // Each in a runtime and with sessions of its own, but for the two on one backend.
            let workers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (world, clients) = (Arc::clone(&world), &clients);
                    scope.spawn(move || run(thread, &world, clients, seed))
                })
                .collect();
            let meddling = scope.spawn(|| runtime.block_on(meddle(&world, &clients, Dice(seed))));
            let ends: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            world.is_over.store(true, Ordering::Relaxed);
            ends.into_iter().for_each(|end| end.unwrap_or_else(|p| std::panic::resume_unwind(p)));
            meddling.join().unwrap()
        });
        let holds: u64 = world.judges.iter().map(|judge| judge.holds.load(Ordering::Relaxed)).sum();
        println!("{kind}: {holds} holds, {kills} KILL QUERY, {:?}", begun.elapsed());
        assert!(holds > OPERATIONS / 20, "hardly anybody has held anything");
        assert!(world.judges.iter().all(|judge| judge.holders.load(Ordering::Relaxed) == 0));
        runtime.block_on(async {
            let names: Vec<_> = world.names.iter().map(String::as_str).collect();
            clients.until_connections(0).await;
            clients.until_clean(&names).await;
        });
    }
}

/// One thread's runtime: of one thread, or of two.
fn run(thread: u64, world: &Arc<World>, clients: &Clients, seed: u64) {
    let mut builder = match thread % 2 {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // Setting up a session may be stopped as well.
        let backend = loop {
            match clients.options().connect().await {
                Ok(backend) => break backend,
                Err(e) => assert!(e.is_retryable(), "{e}"),
            }
        };
        let locks: Vec<_> = (0..2).map(|_| Locks::builder().backend(backend.clone())).collect();
        drop(backend);
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let dice =
                    Dice(seed ^ (thread * TASKS + task + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                tokio::spawn(work(Arc::clone(world), locks.clone(), dice))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        for locks in locks {
            timeout(Duration::from_secs(20), locks.close()).await.expect("it does not close");
        }
    });
}
