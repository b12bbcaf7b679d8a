//! A lock for each request: what it excludes, how it fails, and what is left when it is dropped.

#[path = "support/mod.rs"]
mod support;

use std::{
    cell::RefCell,
    collections::HashSet,
    error::Error as _,
    fmt,
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use keyward::{
    Acquire, Error, ErrorKind, Lease, LeaseState, Locks, LossReason,
    memory::{MemoryBackend, MemoryFaults},
    tower::{LockLayer, LockServiceError, ResponseFuture},
};
use support::{
    cancellation::{Drop, World, explore},
    warnings::Warnings,
};
use tokio::{sync::Semaphore, time::advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// What the inner service fails with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

type Request = &'static str;

/// A service that tells which requests are inside, and lets them go one by one. It serves only who has
/// asked whether it is ready, and its clones have not been asked.
struct Inner {
    inside: Arc<Mutex<HashSet<Request>>>,
    may_end: Arc<Semaphore>,
    ready: bool,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        let (inside, may_end) = (Arc::clone(&self.inside), Arc::clone(&self.may_end));
        Self { inside, may_end, ready: false }
    }
}

/// A request, as long as it is inside.
struct Inside(Inner, Request);

impl std::ops::Drop for Inside {
    fn drop(&mut self) {
        assert!(self.0.inside.lock().unwrap().remove(self.1));
    }
}

/// A request is the name of a lock and, after a slash, what tells it from others; `bad` ones fail.
impl Service<Request> for Inner {
    type Response = Request;
    type Error = Refused;
    type Future = BoxFuture<'static, Result<Request, Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been ready");
        assert!(self.inside.lock().unwrap().insert(request));
        let inside = Inside(self.clone(), request);
        async move {
            inside.0.may_end.acquire().await.unwrap().forget();
            if request.ends_with("bad") { Err(Refused) } else { Ok(request) }
        }
        .boxed()
    }
}

/// A store and its faults, and an inner service.
struct Setting {
    faults: MemoryFaults,
    locks: Locks,
    inner: Inner,
}

type Answer = ResponseFuture<Inner, Request>;

impl Setting {
    fn new() -> Self {
        let store = MemoryBackend::new();
        let (inside, may_end) = (Arc::default(), Arc::new(Semaphore::new(0)));
        let inner = Inner { inside, may_end, ready: false };
        Self { faults: store.faults(), locks: Locks::builder().backend(store), inner }
    }

    /// The answer to a request, for whose lock that is asked.
    fn ask(&self, request: Request, say: fn(Acquire) -> Acquire) -> Answer {
        let locks = self.locks.clone();
        let layer = LockLayer::new(move |request: &Request| {
            let name = request.split('/').next()?;
            (name != "free").then(|| say(locks.lock_named(name)))
        });
        let mut service = layer.layer(self.inner.clone());
        service.ready().now_or_never().unwrap().unwrap().call(request)
    }

    fn send(&self, request: Request) -> task::Spawn<Answer> {
        task::spawn(self.ask(request, |acquire| acquire))
    }

    fn inside(&self) -> usize {
        self.inner.inside.lock().unwrap().len()
    }

    fn let_go(&self) {
        self.inner.may_end.add_permits(1);
    }

    fn is_free(&self, name: &str) -> bool {
        let status = self.locks.inspect(name).now_or_never().unwrap().unwrap();
        !status.is_held() && status.waiters == 0
    }

    fn hold(&self, name: &str) -> Lease {
        self.locks.try_lock_named(name).into_future().now_or_never().unwrap().unwrap()
    }
}

/// The lock's error.
fn lock_error(error: LockServiceError<Refused>) -> Error {
    match error {
        LockServiceError::Lock(error) => error,
        other => panic!("{other:?}"),
    }
}

fn paused() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap()
}

#[tokio::test]
async fn one_request_of_a_name_is_served_at_a_time() {
    let world = Setting::new();
    let [mut first, mut second] = ["a/1", "a/2"].map(|request| world.send(request));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_eq!((world.inside(), world.is_free("a")), (1, false));
    let mut other = world.send("b/1");
    assert_pending!(other.poll());
    assert_eq!(world.inside(), 2, "another name is another lock");

    world.let_go();
    assert_eq!(assert_ready_ok!(first.poll()), "a/1");
    assert!(second.is_woken());
    assert_pending!(second.poll());
    world.let_go();
    assert_eq!(assert_ready_ok!(other.poll()), "b/1");
    assert!(world.is_free("b"));
    world.let_go();
    assert_eq!(assert_ready_ok!(second.poll()), "a/2");
    assert!(world.is_free("a"));
    assert_pending!(second.poll()); // and no panic
}

#[test]
fn what_needs_no_lock_takes_none() {
    let world = Setting::new();
    let _held = world.hold("free");
    let mut answer = world.send("free/1");
    assert_pending!(answer.poll());
    assert_eq!(world.inside(), 1);
    world.let_go();
    assert_eq!(assert_ready_ok!(answer.poll()), "free/1");
}

#[tokio::test(start_paused = true)]
async fn whatever_can_be_said_of_an_acquisition_counts() {
    let world = Setting::new();
    let held = world.hold("a");
    let busy = world.ask("a/1", |acquire| acquire.blocking(false)).await.unwrap_err();
    let busy = lock_error(busy);
    assert_eq!((busy.kind(), busy.name()), (ErrorKind::WouldBlock, Some(held.name())));
    let late = world.ask("a/1", |acquire| acquire.timeout(SECOND)).await.unwrap_err();
    assert!(lock_error(late).is_timed_out());
    world.faults.fail_next("b", Error::new(ErrorKind::Unavailable));
    let down = world.ask("b/1", |acquire| acquire).await.unwrap_err();
    assert_eq!(lock_error(down).kind(), ErrorKind::Unavailable);
    assert_eq!(world.inside(), 0);
    drop(held);

    let mut readers =
        ["a/1", "a/2"].map(|request| task::spawn(world.ask(request, Acquire::shared)));
    assert!(readers.iter_mut().all(|reader| reader.poll().is_pending()));
    assert_eq!(world.inside(), 2);
    drop(readers);
    assert!(world.is_free("a") && world.inside() == 0);
}

#[test]
fn several_names_are_held_for_one_request() {
    let world = Setting::new();
    let locks = world.locks.clone();
    let layer = LockLayer::new(move |names: &Request| Some(locks.lock_all(names.split('+'))));
    let mut service = layer.layer(world.inner.clone());
    let mut answer = task::spawn(service.ready().now_or_never().unwrap().unwrap().call("b+a"));
    assert_pending!(answer.poll());
    assert!(!world.is_free("a") && !world.is_free("b") && world.inside() == 1);
    assert_eq!(world.faults.lose("b", LossReason::Closed), 1);
    let error = lock_error(assert_ready_err!(answer.poll()));
    assert!(error.is_lost() && error.name().unwrap().as_bytes() == b"b");
    assert!(world.is_free("a") && world.is_free("b") && world.inside() == 0);
}

#[test]
fn a_loss_stops_the_service() {
    let world = Setting::new();
    let mut answer = world.send("a/1");
    assert_pending!(answer.poll());
    assert_eq!(world.faults.lose("a", LossReason::Removed), 1);
    assert!(answer.is_woken());
    world.let_go(); // at the same moment
    let error = lock_error(assert_ready_err!(answer.poll()));
    assert_eq!((error.kind(), error.backend()), (ErrorKind::Lost, Some("memory")));
    assert_eq!(error.name().unwrap().as_bytes(), b"a");
    assert_eq!(world.inside(), 0, "the inner future has been dropped");
    assert!(world.is_free("a"));
    assert_pending!(answer.poll());
}

#[test]
fn nothing_is_begun_under_a_lost_lock() {
    let world = Setting::new();
    let (locks, faults) = (world.locks.clone(), world.faults.clone());
    // Lost between its grant and the call: while the second name is asked for.
    let layer = LockLayer::new(move |_: &Request| Some(locks.lock_all(["a", "b"])));
    let mut service = layer.layer(world.inner.clone());
    let runtime = paused();
    let _inside = runtime.enter();
    let other = world.locks.try_lock_named("b");
    let held = other.into_future().now_or_never().unwrap().unwrap();
    let mut answer = task::spawn(service.ready().now_or_never().unwrap().unwrap().call("x"));
    assert_pending!(answer.poll());
    assert_eq!(faults.lose("a", LossReason::Closed), 1);
    drop(held);
    assert!(lock_error(assert_ready_err!(answer.poll())).is_lost());
    assert!(world.is_free("a") && world.is_free("b"));
}

#[tokio::test(start_paused = true)]
async fn the_response_comes_when_the_release_is_confirmed() {
    let world = Setting::new();
    for request in ["a/1", "a/bad"] {
        let mut answer = world.send(request);
        assert_pending!(answer.poll());
        world.faults.delay(SECOND);
        world.let_go();
        assert_pending!(answer.poll());
        assert_eq!((world.inside(), world.is_free("a")), (0, false));
        advance(SECOND).await;
        assert!(answer.is_woken());
        assert_eq!(answer.poll().map(|answer| answer.is_ok()), Poll::Ready(request == "a/1"));
        assert!(world.is_free("a"));
        world.faults.delay(Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_is_found_at_the_release_is_no_success() {
    let world = Setting::new();
    for request in ["a/1", "a/bad"] {
        let mut answer = world.send(request);
        assert_pending!(answer.poll());
        world.faults.delay(SECOND);
        world.let_go();
        assert_pending!(answer.poll());
        assert_eq!(world.faults.lose("a", LossReason::Closed), 1);
        world.faults.delay(Duration::ZERO);
        advance(SECOND).await;
        match assert_ready_err!(answer.poll()) {
            LockServiceError::Lock(error) => {
                assert_eq!(request, "a/1");
                assert!(error.is_lost() && error.name().unwrap().as_bytes() == b"a");
            }
            LockServiceError::Service(error) => assert_eq!((request, error), ("a/bad", Refused)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_release_that_is_not_confirmed_is_reported_and_the_response_returned() {
    let (subscriber, warnings) = Warnings::new();
    let _installed = tracing::subscriber::set_default(subscriber);
    let world = Setting::new();
    let mut answer = world.send("a/1");
    assert_pending!(answer.poll());
    assert_eq!(world.faults.suspend("a"), 1);
    world.let_go();
    assert_eq!(assert_ready_ok!(answer.poll()), "a/1");
    let warnings: Vec<_> = warnings.try_iter().collect();
    assert!(
        warnings.len() == 1 && format!("{warnings:?}").contains("without confirmation"),
        "{warnings:?}"
    );
    assert!(world.is_free("a"));
}

#[test]
fn an_error_of_the_service_passes_through_and_frees_the_lock() {
    let world = Setting::new();
    let mut answer = world.send("a/bad");
    assert_pending!(answer.poll());
    world.let_go();
    let error = assert_ready_err!(answer.poll());
    assert!(matches!(error, LockServiceError::Service(Refused)));
    assert_eq!(error.source().unwrap().to_string(), "refused");
    assert!(error.into_boxed().is::<Refused>());
    assert!(world.is_free("a"));

    let error = LockServiceError::<Refused>::Lock(Error::new(ErrorKind::TimedOut));
    assert!(error.source().unwrap().downcast_ref::<Error>().unwrap().is_timed_out());
    assert!(error.into_boxed().is::<Error>());
}

#[test]
fn a_panic_of_the_service_frees_the_lock() {
    let world = Setting::new();
    let locks = world.locks.clone();
    let layer = LockLayer::new(move |_: &Request| Some(locks.lock_named("a")));
    type Never = Result<(), Refused>;
    let mut in_call = layer.layer(service_fn(|_: Request| -> BoxFuture<'static, Never> {
        panic!("as the test says")
    }));
    let mut in_poll =
        layer.layer(service_fn(async |_: Request| -> Never { panic!("as the test says") }));
    let mut answer = Box::pin(in_call.call("x"));
    assert!(catch_unwind(AssertUnwindSafe(|| answer.as_mut().now_or_never())).is_err());
    assert!(world.is_free("a"), "although the future is still there");
    let answer = in_poll.call("x");
    assert!(catch_unwind(AssertUnwindSafe(|| answer.now_or_never())).is_err());
    assert!(world.is_free("a"));
}

/// The one that was ready is called, also if others are called meanwhile; `Inner` panics otherwise.
#[tokio::test]
async fn the_service_that_was_ready_is_called() {
    let world = Setting::new();
    let locks = world.locks.clone();
    let layer = LockLayer::new(move |request: &Request| {
        (*request != "free").then(|| locks.lock_named(*request))
    });
    let mut service = layer.layer(world.inner.clone());
    let mut answers = Vec::new();
    for request in ["a", "free", "b"] {
        let ready = service.ready().await.unwrap();
        answers.push(ready.call(request));
    }
    world.inner.may_end.add_permits(3);
    for (answer, request) in answers.into_iter().zip(["a", "free", "b"]) {
        assert_eq!(answer.await.unwrap(), request);
    }
    let unready = service.clone().call("a");
    let called = catch_unwind(AssertUnwindSafe(|| unready.now_or_never()));
    assert!(called.is_err(), "the inner service does not notice");
}

#[tokio::test]
async fn an_inner_service_that_is_not_ready_is_waited_for() {
    struct Never;
    impl Service<Request> for Never {
        type Response = ();
        type Error = Refused;
        type Future = std::future::Ready<Result<(), Refused>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
            Poll::Ready(Err(Refused))
        }

        fn call(&mut self, _: Request) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    impl Clone for Never {
        fn clone(&self) -> Self {
            Self
        }
    }
    let layer = LockLayer::new(|_: &Request| None::<Acquire>);
    let error = layer.layer(Never).oneshot("a").await.unwrap_err();
    assert!(matches!(error, LockServiceError::Service(Refused)));
    let mut service = layer.layer(service_fn(|_: Request| pending::<Result<(), Refused>>()));
    assert!(service.ready().now_or_never().is_some());
}

/// Requests may borrow, and the futures go where the inner ones go.
#[tokio::test]
async fn requests_may_borrow() {
    fn is_send<T: Send>(_: &T) {}
    let locks = Locks::connect("memory:").await.unwrap();
    let layer = LockLayer::new(|request: &&str| Some(locks.lock_named(*request)));
    let text = String::from("a");
    let service = layer.layer(service_fn(async |request: &str| Ok::<_, Refused>(request.len())));
    let answer = service.clone().oneshot(text.as_str());
    is_send(&answer);
    assert_eq!(answer.await.unwrap(), 1);
    assert!(format!("{layer:?} {:?}", service.clone().call("b")).contains("locking"));
}

/// A request that is dropped at each of its await points: before the lock, inside, and at the release.
struct Dropped {
    world: Setting,
    held: RefCell<Option<Lease>>,
    runtime: tokio::runtime::Runtime,
}

impl Dropped {
    fn new(slow: bool) -> Self {
        let world = Setting::new();
        let held = RefCell::new(Some(world.hold("a")));
        if slow {
            world.faults.delay(SECOND);
        }
        Self { world, held, runtime: paused() }
    }
}

impl World for Dropped {
    fn operation(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        let mut answer = Box::pin(self.world.ask("a/1", |acquire| acquire.timeout(100 * SECOND)));
        Box::pin(std::future::poll_fn(move |cx| {
            let _inside = self.runtime.enter();
            answer.as_mut().poll(cx).map(|answer| assert_eq!(answer.unwrap(), "a/1"))
        }))
    }

    fn advance(&self) -> bool {
        match self.held.take() {
            Some(held) => drop(held),
            None if self.world.inside() > 0 => self.world.let_go(),
            None => self.runtime.block_on(advance(SECOND)),
        }
        true
    }

    fn check(&self, k: usize, how: Drop) {
        assert_eq!(self.world.inside(), 0, "{how:?} {k}: it is still inside");
        if let Some(held) = self.held.take() {
            assert_eq!(held.state(), LeaseState::Held);
        }
        assert!(self.world.is_free("a"), "{how:?} {k}: something is left over");
    }
}

#[test]
fn a_request_that_is_dropped_leaves_nothing() {
    assert_eq!(explore(|| Dropped::new(false)), 2, "the queue, and the service");
    assert_eq!(explore(|| Dropped::new(true)), 4, "and twice the store");
}
