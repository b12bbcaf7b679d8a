//! Losses, errors and delays that a test makes in a store in memory: each knob, and every way of
//! hearing of it.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    pin::Pin,
    time::Duration,
};

use futures::FutureExt;
use keyward::{
    Error, ErrorKind, Lease, LeaseState, Locks, LossReason, Occupancy, Released,
    memory::{MemoryBackend, MemoryFaults},
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

use crate::{
    by_hand, now, paused,
    support::cancellation::{Drop, World, explore},
};

const SECOND: Duration = Duration::from_secs(1);

/// A store, its faults, and two ways to it that share nothing else.
fn store() -> (MemoryFaults, Locks, Locks) {
    let store = MemoryBackend::new();
    let locks = || Locks::builder().backend(store.clone());
    (store.faults(), locks(), locks())
}

fn is_free(locks: &Locks, name: &str) -> bool {
    !locks.inspect(name).now_or_never().unwrap().unwrap().is_held()
}

fn released(lease: Lease) -> Result<Released, Error> {
    lease.release().now_or_never().expect("it waits")
}

fn ensure_held(lease: &Lease) -> Result<(), Error> {
    lease.ensure_held().now_or_never().expect("it waits")
}

#[test]
fn a_loss_is_told_in_every_way() {
    let (faults, locks, other) = store();
    let lease = now(locks.lock_named("a")).unwrap();
    let (mut lost, token) = (task::spawn(lease.lost()), lease.cancellation_token());
    let mut work = task::spawn(lease.run(pending::<()>()));
    assert_pending!(lost.poll());
    assert_pending!(work.poll());

    assert_eq!(faults.lose("a", LossReason::Removed), 1);
    assert!(lost.is_woken() && work.is_woken() && token.is_cancelled());
    assert_eq!(assert_ready!(lost.poll()), LossReason::Removed);
    let error = assert_ready_err!(work.poll());
    assert_eq!((error.kind(), error.backend()), (ErrorKind::Lost, Some("memory")));
    drop(work);
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Removed));
    let error = ensure_held(&lease).unwrap_err();
    assert!(error.is_lost() && error.name() == Some(lease.name()));

    let next = now(other.try_lock_named("a")).unwrap();
    assert!(next.fencing_token() > lease.fencing_token());
    assert_eq!(faults.lose("b", LossReason::Closed), 0, "nobody holds it");
    assert_eq!(released(lease).unwrap(), Released::WasLost);
    assert!(!is_free(&other, "a"), "the release of the lost one took it from the next");
    assert!(ensure_held(&next).is_ok());
    assert_eq!(next.state(), LeaseState::Held);
    assert_eq!(released(next).unwrap(), Released::Released);
    assert!(is_free(&locks, "a"));
}

#[tokio::test]
async fn a_loss_ends_a_select() {
    let (faults, locks, _) = store();
    let lease = locks.lock_named("a").await.unwrap();
    let lose = async {
        tokio::task::yield_now().await;
        faults.lose("a", LossReason::Expired);
        pending::<()>().await;
    };
    tokio::select! {
        () = lose => unreachable!("it never ends"),
        reason = lease.lost() => assert_eq!(reason, LossReason::Expired),
    }
}

#[test]
fn who_does_not_listen_is_told_when_he_asks() {
    let (faults, locks, other) = store();
    for ask in [
        |lease: Lease| assert_eq!(lease.state(), LeaseState::Lost(LossReason::Closed)),
        |lease: Lease| assert!(ensure_held(&lease).unwrap_err().is_lost()),
        |lease: Lease| assert!(lease.run(async {}).now_or_never().unwrap().unwrap_err().is_lost()),
        |lease: Lease| assert_eq!(lease.lost().now_or_never(), Some(LossReason::Closed)),
        |lease: Lease| assert_eq!(released(lease).unwrap(), Released::WasLost),
        drop,
    ] {
        let lease = now(locks.lock_named("a")).unwrap();
        assert_eq!(faults.lose("a", LossReason::Closed), 1);
        let next = now(other.try_lock_named("a")).unwrap();
        ask(lease);
        assert!(!is_free(&other, "a"));
        drop(next);
        assert!(is_free(&other, "a"));
    }
}

#[test]
fn who_waits_elsewhere_has_the_lock_at_once_and_who_waits_here_has_it_later() {
    let runtime = paused();
    let _inside = runtime.enter();
    let (faults, locks, other) = store();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut there = by_hand(other.lock_named("a"));
    let mut here = by_hand(locks.lock_named("a"));
    assert_pending!(there.poll());
    assert_pending!(here.poll());
    assert_eq!(faults.lose("a", LossReason::NotOwner), 1);
    assert!(there.is_woken() && !here.is_woken());
    assert_eq!(faults.lose("a", LossReason::NotOwner), 0, "who was granted it does not know yet");
    let there = assert_ready_ok!(there.poll());
    drop(lease);
    assert_pending!(here.poll());
    drop(there);
    let here = assert_ready_ok!(here.poll());
    assert!(ensure_held(&here).is_ok() && here.state() == LeaseState::Held);
}

#[test]
fn all_readers_are_told() {
    let (faults, locks, other) = store();
    let readers = [&locks, &locks, &other].map(|l| now(l.lock_named("a").shared()).unwrap());
    let mut lost = readers.each_ref().map(|reader| task::spawn(reader.lost()));
    assert!(lost.iter_mut().all(|lost| lost.poll().is_pending()));
    assert_eq!(faults.lose("a", LossReason::Closed), 3);
    assert!(lost.iter_mut().all(|lost| lost.is_woken() && lost.poll().is_ready()));
    let writer = now(other.try_lock_named("a")).unwrap();
    for reader in readers {
        assert!(ensure_held(&reader).unwrap_err().is_lost());
        assert_eq!(released(reader).unwrap(), Released::WasLost);
    }
    assert_eq!(released(writer).unwrap(), Released::Released);
    drop(now(locks.try_lock_named("a")).unwrap());
}

#[test]
fn a_loss_of_one_of_several_is_one_of_all() {
    let (faults, locks, _) = store();
    let mut all = by_hand(locks.lock_all(["a", "b"]));
    let all = assert_ready_ok!(all.poll());
    let mut lost = task::spawn(all.lost());
    assert_pending!(lost.poll());
    assert_eq!(faults.lose("b", LossReason::Closed), 1);
    assert_eq!(assert_ready!(lost.poll()), LossReason::Closed);
    assert_eq!(all.release().now_or_never().unwrap().unwrap(), Released::WasLost);
    assert!(is_free(&locks, "a") && is_free(&locks, "b"));
}

#[test]
fn a_suspended_hold_is_in_doubt_and_nobody_elses() {
    let (faults, locks, other) = store();
    let lease = now(locks.lock_named("a")).unwrap();
    let mut lost = task::spawn(lease.lost());
    assert_pending!(lost.poll());
    assert_eq!(faults.suspend("a"), 1);
    assert_eq!(lease.state(), LeaseState::Suspended);
    let error = ensure_held(&lease).unwrap_err();
    assert_eq!((error.kind(), error.name()), (ErrorKind::Unavailable, Some(lease.name())));
    assert!(now(other.try_lock_named("a")).unwrap_err().is_would_block());
    assert_eq!(faults.resume("a"), 1);
    assert_eq!(lease.state(), LeaseState::Held);
    assert!(ensure_held(&lease).is_ok() && !lost.is_woken());

    assert_eq!(faults.suspend("a"), 1);
    let error = released(lease).unwrap_err();
    assert_eq!((error.kind(), error.backend()), (ErrorKind::Unavailable, Some("memory")));
    assert!(is_free(&other, "a"), "a release that is not confirmed frees it");
    assert_eq!((faults.suspend("a"), faults.resume("a")), (0, 0));
    let next = now(other.lock_named("a")).unwrap();
    assert_eq!(next.state(), LeaseState::Held);
    faults.suspend("a");
    faults.lose("a", LossReason::Expired);
    assert_eq!(next.state(), LeaseState::Lost(LossReason::Expired));
    assert_eq!((faults.suspend("a"), faults.resume("a")), (0, 0), "for ever");
    assert_eq!(released(next).unwrap(), Released::WasLost);
}

#[test]
fn the_next_acquisition_of_the_name_fails_and_no_other() {
    let runtime = paused();
    let _inside = runtime.enter();
    let store = MemoryBackend::new();
    let [locks, other, third] = [(); 3].map(|()| Locks::builder().backend(store.clone()));
    let (faults, prefixed) = (store.faults(), locks.with_prefix("x-"));
    let asks: [fn(&Locks) -> keyward::Acquire; 3] =
        [|l| l.lock_named("a"), |l| l.try_lock_named("a"), |l| l.lock_named("a").shared()];
    for ask in asks {
        faults.fail_next("a", Error::new(ErrorKind::StorageFull));
        drop(now(locks.lock_named("b")).unwrap());
        drop(now(ask(&prefixed)).unwrap());
        let error = now(ask(&locks)).unwrap_err();
        assert_eq!((error.kind(), error.backend()), (ErrorKind::StorageFull, Some("memory")));
        assert_eq!(error.name().unwrap().to_string(), "a");
        assert!(is_free(&locks, "a"));
        drop(now(ask(&locks)).unwrap());
    }
    faults.fail_next("x-a", Error::new(ErrorKind::ReadOnly).with_message("as the test says"));
    assert!(now(prefixed.lock_named("a")).unwrap_err().to_string().starts_with("as the test says"));

    // Twice, also where the name is not free; and a wait that has been begun goes on.
    let lease = now(locks.lock_named("a")).unwrap();
    let mut waits = by_hand(other.lock_named("a"));
    assert_pending!(waits.poll());
    faults.fail_next("a", Error::new(ErrorKind::Unavailable));
    faults.fail_next("a", Error::new(ErrorKind::ResourceLimit));
    let another = || now(third.lock_named("a")).unwrap_err().kind();
    assert_eq!([another(), another()], [ErrorKind::Unavailable, ErrorKind::ResourceLimit]);
    drop(lease);
    drop(assert_ready_ok!(waits.poll()));

    // Of several names all or none.
    faults.fail_next("b", Error::new(ErrorKind::Unavailable));
    let mut all = by_hand(locks.lock_all(["a", "b", "c"]));
    let error = assert_ready_err!(all.poll());
    assert_eq!(
        (error.kind(), error.name().unwrap().as_bytes()),
        (ErrorKind::Unavailable, &b"b"[..])
    );
    assert!(["a", "b", "c"].iter().all(|name| is_free(&locks, name)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_takes_its_time_for_each_acquisition_and_release() {
    let (faults, locks, other) = store();
    faults.delay(SECOND);
    let start = Instant::now();
    drop(locks.lock_named("a").await.unwrap());
    assert_eq!(start.elapsed(), SECOND);
    assert!(is_free(&locks, "a"), "a drop waits for nothing");
    let lease = locks.try_lock_named("a").await.unwrap();
    let (start, busy) = (Instant::now(), other.try_lock_named("a").await.unwrap_err());
    assert!(busy.is_would_block() && start.elapsed() == SECOND);
    let start = Instant::now();
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    assert_eq!(start.elapsed(), SECOND);

    // A limit that the store does not keep.
    let late = locks.lock_named("a").timeout(SECOND / 2).await.unwrap_err();
    assert!(late.is_timed_out());
    let start = Instant::now();
    faults.fail_next("a", Error::new(ErrorKind::Unavailable));
    let error = locks.lock_named("a").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && start.elapsed() == SECOND);

    faults.delay(Duration::ZERO);
    let lease = now(locks.lock_named("a")).unwrap();
    assert_eq!(released(lease).unwrap(), Released::Released);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_under_way_can_find_the_lease_lost() {
    let (faults, locks, other) = store();
    let lease = locks.lock_named("a").await.unwrap();
    let mut lost = task::spawn(lease.lost());
    assert_pending!(lost.poll());
    faults.delay(SECOND);
    let mut release = task::spawn(lease.release());
    assert_pending!(release.poll());
    assert_eq!(faults.lose("a", LossReason::Closed), 1);
    assert_eq!(assert_ready!(lost.poll()), LossReason::Closed);
    faults.delay(Duration::ZERO);
    let next = now(other.try_lock_named("a")).unwrap();
    advance(SECOND).await;
    assert!(release.is_woken());
    assert_eq!(assert_ready_ok!(release.poll()), Released::WasLost);
    assert!(ensure_held(&next).is_ok() && !is_free(&other, "a"));
}

#[tokio::test]
async fn the_faults_of_a_url_reach_its_users() {
    let faults = MemoryBackend::named("faults of a url").faults();
    let locks = Locks::connect("memory:faults%20of%20a%20url").await.unwrap();
    let elsewhere = Locks::connect("memory:").await.unwrap();
    let lease = locks.lock_named("a").await.unwrap();
    let untouched = elsewhere.lock_named("a").await.unwrap();
    assert_eq!(faults.clone().lose("a", LossReason::Closed), 1);
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Closed));
    assert_eq!(untouched.state(), LeaseState::Held);
    assert_eq!(locks.capability().loss_told_within, Some(Duration::ZERO));
    assert_eq!(elsewhere.capability().loss_told_within, None, "there it cannot be lost");
}

#[test]
fn what_was_held_before_is_out_of_reach() {
    let backend = MemoryBackend::new();
    let locks = Locks::builder().backend(backend.clone());
    let before = now(locks.lock_named("a")).unwrap();
    let faults = backend.faults();
    assert_eq!(faults.lose("a", LossReason::Closed), 0);
    assert_eq!(before.state(), LeaseState::Held);
    assert_eq!(released(before).unwrap(), Released::Released);
    let after = now(locks.lock_named("a")).unwrap();
    assert_eq!(faults.lose("a", LossReason::Closed), 1);
    assert_eq!(released(after).unwrap(), Released::WasLost);
}

type Operation<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A store that takes a second for everything, and whose names others may hold.
struct Slow {
    locks: Locks,
    lease: Cell<Option<Lease>>,
    held: RefCell<Vec<Lease>>,
    operation: for<'a> fn(&'a Self) -> Operation<'a>,
    runtime: tokio::runtime::Runtime,
}

impl Slow {
    fn new(held: &[&str], operation: for<'a> fn(&'a Self) -> Operation<'a>) -> Self {
        let (faults, locks, other) = store();
        let held = held.iter().map(|name| now(other.lock_named(*name)).unwrap()).collect();
        let lease = Cell::new(Some(now(locks.lock_named("mine")).unwrap()));
        faults.delay(SECOND);
        Self { locks, lease, held: RefCell::new(held), operation, runtime: paused() }
    }
}

impl World for Slow {
    fn operation(&self) -> Operation<'_> {
        let _inside = self.runtime.enter();
        let (mut operation, handle) = ((self.operation)(self), self.runtime.handle().clone());
        Box::pin(std::future::poll_fn(move |cx| {
            let _inside = handle.enter();
            operation.as_mut().poll(cx)
        }))
    }

    fn advance(&self) -> bool {
        self.runtime.block_on(advance(SECOND));
        drop(self.held.borrow_mut().pop());
        true
    }

    fn check(&self, k: usize, how: Drop) {
        drop((self.held.take(), self.lease.take()));
        for name in ["a", "b", "mine"] {
            assert!(is_free(&self.locks, name), "{how:?} {k}: {name} is left over");
            let status = self.locks.inspect(name).now_or_never().unwrap().unwrap();
            assert_eq!(status.waiters, 0, "{how:?} {k}: {name} is still queued for");
        }
    }
}

#[test]
fn nothing_is_left_of_what_is_dropped_while_the_store_takes_its_time() {
    fn lock(world: &Slow) -> Operation<'_> {
        let wait = world.locks.lock_named("a").into_future();
        Box::pin(async { drop(wait.await.unwrap()) })
    }
    fn read(world: &Slow) -> Operation<'_> {
        let wait = world.locks.lock_named("a").shared().into_future();
        Box::pin(async { drop(wait.await.unwrap()) })
    }
    fn try_lock(world: &Slow) -> Operation<'_> {
        let wait = world.locks.try_lock_named("a").into_future();
        Box::pin(async { drop(wait.await) })
    }
    fn lock_all(world: &Slow) -> Operation<'_> {
        let wait = world.locks.lock_all(["a", "b"]).into_future();
        Box::pin(async { drop(wait.await.unwrap()) })
    }
    fn release(world: &Slow) -> Operation<'_> {
        let lease = world.lease.take().unwrap();
        Box::pin(async { assert_eq!(lease.release().await.unwrap(), Released::Released) })
    }
    for operation in [lock, read, try_lock, lock_all, release] {
        assert!(explore(|| Slow::new(&[], operation)) >= 1);
        assert!(explore(|| Slow::new(&["b", "a"], operation)) >= 1);
    }
}

/// Each hold ends once: what the store says to have taken away is what the holders find lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_loss_is_somebodys() {
    const LOSSES: usize = 2_000;
    let (faults, locks, other) = store();
    let enough = tokio_util::sync::CancellationToken::new();
    let mut holders = tokio::task::JoinSet::new();
    for n in 0..6 {
        let locks = if n % 2 == 0 { locks.clone() } else { other.clone() };
        let enough = enough.clone();
        holders.spawn(async move {
            let mut lost = 0;
            for hold in 0.. {
                if enough.is_cancelled() {
                    break;
                }
                let wait = locks.lock_named("a");
                let lease = if (hold + n) % 3 == 0 { wait.shared() } else { wait }.await.unwrap();
                tokio::task::yield_now().await;
                lost += usize::from(lease.release().await.unwrap() == Released::WasLost);
            }
            lost
        });
    }
    let loser = tokio::task::spawn_blocking(move || {
        let mut taken = 0;
        while taken < LOSSES {
            taken += faults.lose("a", LossReason::Closed);
        }
        enough.cancel();
        taken
    });
    let lost: usize = holders.join_all().await.into_iter().sum();
    assert_eq!(loser.await.unwrap(), lost);
    assert!(is_free(&locks, "a"));
}

#[test]
fn what_two_threads_tell_is_what_the_store_says_in_the_end() {
    let store = MemoryBackend::new();
    let (faults, locks) = (store.faults(), Locks::builder().backend(store));
    for round in 0..3_000 {
        let lease = now(locks.lock_named("a")).unwrap();
        assert_eq!(lease.state(), LeaseState::Held); // it listens
        let begin = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                faults.suspend("a");
            });
            begin.wait();
            faults.resume("a");
        });
        let by_store = lease.ensure_held().now_or_never().unwrap().is_ok();
        assert_eq!(by_store, lease.state() == LeaseState::Held, "round {round}");
    }
}

/// A writer that is granted the name and dropped before it knows leaves no time of those before it.
#[test]
fn a_reader_holds_since_it_has_come() {
    let store = MemoryBackend::new();
    let locks = [(); 3].map(|()| Locks::builder().backend(store.clone()));
    let runtime = paused();
    let _inside = runtime.enter();
    let first = now(locks[0].lock_named("a").shared()).unwrap();
    let mut writer = by_hand(locks[1].lock_named("a"));
    assert_pending!(writer.poll());
    let mut next = by_hand(locks[2].lock_named("a").shared());
    assert_pending!(next.poll());
    let before = std::time::SystemTime::now();
    drop(first);
    drop(writer);
    let _next = assert_ready_ok!(next.poll());
    let status = locks[0].inspect("a").now_or_never().unwrap().unwrap();
    let Occupancy::Held { owner: Some(owner), .. } = status.occupancy else { panic!("{status:?}") };
    assert!(owner.since.unwrap() >= before, "held since before its holder has come");
}
