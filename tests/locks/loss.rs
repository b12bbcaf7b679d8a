//! A loss is told in every way there is, and they agree.

use std::{
    future::IntoFuture,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures::{FutureExt, future::FusedFuture};
use keyward::{Lease, LeaseState, Locks, LossReason, Released, memory::MemoryBackend};
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use tokio_util::sync::CancellationToken;

use crate::{
    by_hand, now, paused,
    scripted::{Script, Scripted},
    support::warnings::two_subscribers,
    woken::Woken,
};

const CLOSED: LeaseState = LeaseState::Lost(LossReason::Closed);

/// Looks, when it is woken, at what the others are told.
struct Looker {
    lease: Lease,
    token: CancellationToken,
    woken: AtomicUsize,
}

impl Wake for Looker {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.lease.state(), CLOSED, "the state comes first");
        assert!(self.token.is_cancelled(), "and the tokens second");
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn who_is_told_finds_the_others_agree() {
    let backend = Scripted::default();
    let lease = now(backend.locks().lock_named("a")).unwrap();
    let (mut lost, token) = (pin!(lease.lost()), lease.cancellation_token());
    let looker = Arc::new(Looker { lease, token, woken: AtomicUsize::new(0) });
    let waker = Waker::from(Arc::clone(&looker));
    assert_pending!(lost.as_mut().poll(&mut Context::from_waker(&waker)));
    assert!(backend.sever(b"a"));
    assert_eq!(looker.woken.load(Ordering::SeqCst), 1);
    let reason = assert_ready!(lost.as_mut().poll(&mut Context::from_waker(&waker)));
    assert_eq!(reason, LossReason::Closed);
}

#[test]
fn it_is_told_to_those_who_ask_later() {
    let backend = Scripted::default();
    let lease = now(backend.locks().lock_named("a")).unwrap();
    assert_eq!(lease.state(), LeaseState::Held);
    assert!(backend.sever(b"a"));
    assert_eq!(lease.state(), CLOSED);
    let mut lost = lease.lost();
    assert!(!lost.is_terminated());
    assert_eq!((&mut lost).now_or_never(), Some(LossReason::Closed));
    assert!(lost.is_terminated());
    assert!(lease.cancellation_token().is_cancelled());
    assert!(lease.ensure_held().now_or_never().unwrap().unwrap_err().is_lost());
    assert!(lease.run(async {}).now_or_never().unwrap().unwrap_err().is_lost());
    assert_eq!(lease.release().now_or_never().unwrap().unwrap(), Released::WasLost);
}

#[test]
fn work_is_dropped_when_the_lease_is_lost() {
    let backend = Scripted::default();
    let lease = now(backend.locks().lock_named("a")).unwrap();
    let alive = Arc::new(());
    let inside = Arc::clone(&alive);
    let mut work = task::spawn(lease.run(async move {
        std::future::pending::<()>().await;
        drop(inside);
    }));
    assert_pending!(work.poll());
    assert!(backend.sever(b"a") && work.is_woken());
    assert!(assert_ready_err!(work.poll()).is_lost());
    drop(work);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn cancelling_a_token_by_hand_tells_nobody_else() {
    let backend = Scripted::default();
    let lease = now(backend.locks().lock_named("a")).unwrap();
    lease.cancellation_token().cancel();
    assert_eq!(lease.state(), LeaseState::Held);
    assert!(lease.lost().now_or_never().is_none());
    assert!(!lease.cancellation_token().is_cancelled());
}

#[test]
fn a_release_resolves_nothing() {
    let backend = Scripted::default();
    for confirmed in [false, true] {
        let lease = now(backend.locks().lock_named("a")).unwrap();
        let (mut lost, token) = (task::spawn(lease.lost()), lease.cancellation_token());
        assert_pending!(lost.poll());
        if confirmed {
            assert!(lease.release().now_or_never().unwrap().is_ok());
        } else {
            drop(lease);
        }
        assert!(!lost.is_woken() && !token.is_cancelled());
        assert_pending!(lost.poll());
    }
}

#[test]
fn of_several_the_first_loss_is_told() {
    let backend = Scripted::default();
    let mut all = by_hand(backend.locks().lock_all(["a", "b", "c"]));
    let all = tokio_test::assert_ready_ok!(all.poll());
    let mut lost = task::spawn(all.lost());
    assert_pending!(lost.poll());
    assert!(all.ensure_held().now_or_never().unwrap().is_ok());
    assert!(backend.sever(b"b") && lost.is_woken());
    assert_eq!(assert_ready!(lost.poll()), LossReason::Closed);
    let error = all.ensure_held().now_or_never().unwrap().unwrap_err();
    assert!(error.is_lost() && error.name().unwrap().to_string() == "b");
    assert_eq!(all.release().now_or_never().unwrap().unwrap(), Released::WasLost);
    assert!(["a", "b", "c"].iter().all(|name| backend.is_free(name)));
}

/// Calls a function at each warning.
struct AtWarnings<F>(F);

impl<F: Fn() + 'static> tracing::Subscriber for AtWarnings<F> {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        (self.0)();
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A subscriber is foreign code: it may hang in a pipe that nobody reads, or panic.
#[test]
fn the_log_comes_after_the_news() {
    two_subscribers();
    let store = MemoryBackend::new();
    let faults = store.faults();
    let locks = Locks::builder().backend(store);
    let readers = [(); 2].map(|()| now(locks.lock_named("a").shared()).unwrap());
    let tokens = readers.each_ref().map(Lease::cancellation_token);
    let lost = readers.each_ref().map(Lease::lost);
    let told = {
        let (tokens, lost) = (tokens.clone(), Mutex::new(lost.map(Some)));
        move || {
            let cancelled = tokens.iter().all(CancellationToken::is_cancelled);
            let lost = lost
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .each_mut()
                .map(|lost| {
                    lost.take().map(|lost| lost.now_or_never()) == Some(Some(LossReason::Closed))
                });
            (cancelled, lost)
        }
    };
    let (send, seen) = std::sync::mpsc::channel();
    let subscriber = AtWarnings(move || {
        send.send(told()).unwrap();
        panic!("as the test has it");
    });
    let lose = || assert_eq!(faults.lose("a", LossReason::Closed), 2);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tracing::subscriber::with_default(subscriber, lose);
    }));
    assert!(outcome.is_err(), "the subscriber was called");
    assert_eq!(seen.recv().unwrap(), (true, [true, true]), "who is told of a loss together");
    assert!(readers.iter().all(|lease| lease.state() == CLOSED));
    assert!(tokens.iter().all(CancellationToken::is_cancelled));
}

/// Leases that share a hold are told of its loss as long as they live, and each is logged once.
#[test]
fn of_those_who_share_a_hold_whoever_has_it_still_is_told_once() {
    two_subscribers();
    let backend = Scripted::new(Script { admits_readers: true, ..Script::default() });
    let locks = backend.locks();
    let reads = || now(locks.lock_named("a").shared()).unwrap();
    let (first, second) = (reads(), reads());
    let over = first.lost();
    drop(first);
    let third = reads();
    assert_eq!(backend.counts().acquires, 1, "they share it");
    let listen = [second.lost(), third.lost()];
    let signal = backend.signal();
    let warnings = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&warnings);
    let subscriber = AtWarnings(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    tracing::subscriber::with_default(subscriber, || {
        signal.lose(LossReason::Expired);
        signal.lose(LossReason::Removed);
        let late = reads().lost();
        assert_eq!(late.now_or_never(), Some(LossReason::Expired));
    });
    assert_eq!(warnings.load(Ordering::SeqCst), 3);
    signal.suspend();
    signal.resume();
    for lease in [&second, &third] {
        assert_eq!(lease.state(), LeaseState::Lost(LossReason::Expired), "for ever");
    }
    for lost in listen {
        assert_eq!(lost.now_or_never(), Some(LossReason::Expired));
    }
    assert_eq!(signal.state(), LeaseState::Lost(LossReason::Expired));
    assert_eq!(over.now_or_never(), None, "released before");
}

/// A store may not know what its backend has found out.
#[test]
fn a_release_says_what_has_been_told_meanwhile() {
    let backend = Scripted::default();
    let lease = now(backend.locks().lock_named("a")).unwrap();
    let releasing = Arc::clone(&backend.store().releasing);
    let stops = releasing.try_write().unwrap();
    let _listens = lease.lost();
    let mut release = task::spawn(lease.release());
    assert_pending!(release.poll());
    backend.signal().lose(LossReason::Expired);
    drop(stops);
    assert_eq!(assert_ready_ok!(release.poll()), Released::WasLost);
}

#[test]
fn reasons_have_words_of_their_own() {
    use LossReason::{Closed, Expired, NotOwner, Removed, Superseded};
    let words = [Closed, Expired, NotOwner, Removed, Superseded].map(|it| it.to_string());
    for (i, word) in words.iter().enumerate() {
        assert!(!word.is_empty() && !words[..i].contains(word), "{words:?}");
    }
}

/// Who has locked the first of them meets nobody on the way to the others.
#[test]
fn several_are_released_the_last_one_first() {
    let runtime = paused();
    let _inside = runtime.enter();
    let locks = Locks::builder().backend(MemoryBackend::new());
    let none = locks.lock_all(Vec::<String>::new()).into_future().now_or_never().unwrap().unwrap();
    assert!(none.is_empty());
    let all = locks.lock_all(["b", "c", "a"]).into_future().now_or_never().unwrap().unwrap();
    assert!(!all.is_empty());
    let woken = Woken::default();
    let mut waits = ["a", "b", "c"].map(|name| {
        let mut wait = Box::pin(locks.lock_named(name).into_future());
        let waker = woken.waker(name);
        assert_pending!(wait.as_mut().poll(&mut Context::from_waker(&waker)));
        woken.take();
        wait
    });
    drop(all);
    assert_eq!(woken.take(), ["c", "b", "a"]);
    waits.iter_mut().for_each(|wait| drop(wait.as_mut().now_or_never().unwrap().unwrap()));
}

#[test]
fn a_lease_ends_when_nobody_vouches_for_it_any_more() {
    let backend = Scripted::default();
    let locks = backend.locks();
    let lease = now(locks.lock_named("a")).unwrap();
    let hour = Duration::from_secs(3600);
    let later = Instant::now() + hour;
    backend.script().vouches_until = Some(later);
    assert_eq!(lease.valid_until(), Some(later));
    assert_eq!(lease.state(), LeaseState::Held);
    assert_ready_ok!(task::spawn(lease.ensure_held()).poll());

    backend.script().vouches_until = Some(Instant::now());
    let error = assert_ready_err!(task::spawn(lease.ensure_held()).poll());
    assert!(error.is_lost(), "the backend says that it is held, and says so too late: {error}");
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Expired));
    backend.script().vouches_until = Some(later);
    assert_eq!(lease.state(), LeaseState::Lost(LossReason::Expired), "a loss is for ever");
}
