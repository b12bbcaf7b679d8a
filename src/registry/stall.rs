//! Debug builds tell who waits too long, and for whom: *still waiting for vol-1, held by …*.
//!
//! A lock taken twice by one task, or a queued future that is never polled again, waits for ever and
//! shows nothing. So every hold records where it was asked for, and a future that queues sets an
//! alarm: after [`FIRST`], and then each time the wait has doubled, it is polled once more and warns.
//! The alarms have a thread of their own, on the machine's clock: a timer of the runtime would move a
//! test's paused clock, and there may be no runtime.
//!
//! In release builds, and in models, every type here is empty and every function does nothing.
#![forbid(unsafe_code)]

pub(super) use imp::{Holder, Origin, Watch};

/// How long a wait is before the first warning.
#[cfg(all(debug_assertions, not(any(keyward_loom, keyward_shuttle))))]
const FIRST: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(not(all(debug_assertions, not(any(keyward_loom, keyward_shuttle)))))]
mod imp {
    use std::task::Waker;

    use crate::registry::queue::Queue;

    #[derive(Clone, Copy, Debug)]
    pub(in crate::registry) struct Origin;

    impl Origin {
        #[inline(always)]
        pub(in crate::registry) const fn caller() -> Self {
            Self
        }
    }

    #[derive(Clone, Copy, Debug)]
    pub(in crate::registry) struct Holder;

    impl Holder {
        #[inline(always)]
        pub(in crate::registry) const fn new(_: Origin) -> Self {
            Self
        }
    }

    #[derive(Debug)]
    pub(in crate::registry) struct Watch;

    #[allow(clippy::needless_pass_by_ref_mut, reason = "the twin below needs it")]
    impl Watch {
        #[inline(always)]
        pub(in crate::registry) const fn new(_: Origin) -> Self {
            Self
        }

        #[inline(always)]
        pub(in crate::registry) const fn origin(&self) -> Origin {
            Origin
        }

        #[inline(always)]
        pub(in crate::registry) const fn set(&mut self, _: &Waker) {}

        #[inline(always)]
        pub(in crate::registry) const fn renew(&mut self, _: &Waker) {}

        #[inline(always)]
        pub(in crate::registry) const fn stop(&mut self) {}

        #[inline(always)]
        pub(in crate::registry) const fn is_due(&self) -> bool {
            false
        }

        #[inline(always)]
        pub(in crate::registry) const fn warn<K>(&mut self, _: &K, _: (Holder, usize), _: &Waker) {}
    }

    const _: fn(&Queue) -> Holder = Queue::holder;
}

#[cfg(all(debug_assertions, not(any(keyward_loom, keyward_shuttle))))]
mod imp {

    use std::{
        any::Any,
        collections::BTreeMap,
        panic::Location,
        sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
        task::Waker,
        thread,
        time::{Duration, Instant},
    };

    use super::FIRST;

    /// Where a lock was asked for.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::registry) struct Origin(&'static Location<'static>);

    impl Origin {
        #[track_caller]
        pub(in crate::registry) const fn caller() -> Self {
            Self(Location::caller())
        }
    }

    /// Who took a key, and when.
    #[derive(Clone, Copy, Debug)]
    pub(in crate::registry) struct Holder {
        origin: Origin,
        since: Instant,
    }

    impl Holder {
        pub(in crate::registry) fn new(origin: Origin) -> Self {
            Self { origin, since: Instant::now() }
        }
    }

    /// The alarm of one waiting future.
    #[derive(Debug)]
    pub(in crate::registry) struct Watch {
        origin: Origin,
        wait: Option<Wait>,
    }

    #[derive(Debug)]
    struct Wait {
        since: Instant,
        limit: Duration,
        alarm: (Instant, u64),
    }

    impl Watch {
        pub(in crate::registry) const fn new(origin: Origin) -> Self {
            Self { origin, wait: None }
        }

        pub(in crate::registry) const fn origin(&self) -> Origin {
            self.origin
        }

        /// Starts the clock; to be called once the future is queued.
        pub(in crate::registry) fn set(&mut self, waker: &Waker) {
            let since = Instant::now();
            let alarm = ALARMS.add(since + FIRST, waker.clone());
            self.wait = Some(Wait { since, limit: FIRST, alarm });
        }

        /// Wakes another task when it is time: the future is polled from there now.
        pub(in crate::registry) fn renew(&mut self, waker: &Waker) {
            if let Some(wait) = &mut self.wait {
                ALARMS.remove(wait.alarm);
                wait.alarm = ALARMS.add(wait.since + wait.limit, waker.clone());
            }
        }

        /// Stops it; to be called once the future is queued no more.
        pub(in crate::registry) fn stop(&mut self) {
            if let Some(wait) = self.wait.take() {
                ALARMS.remove(wait.alarm);
            }
        }

        pub(in crate::registry) fn is_due(&self) -> bool {
            self.wait.as_ref().is_some_and(|wait| wait.since.elapsed() >= wait.limit)
        }

        /// Warns, and sets the alarm for when the wait has doubled.
        pub(in crate::registry) fn warn<K: 'static>(
            &mut self,
            key: &K,
            (holder, queued): (Holder, usize),
            waker: &Waker,
        ) {
            let Some(wait) = &mut self.wait else { return };
            tracing::warn!(
                lock.name = %name(key),
                waiter = %self.origin.0,
                waited = ?wait.since.elapsed(),
                holder = %holder.origin.0,
                held = ?holder.since.elapsed(),
                queued,
                "still waiting for a named lock"
            );
            wait.limit *= 2;
            self.renew(waker);
        }
    }

    /// A key as a log line shows it: escaped if it is a string, else by its type.
    fn name<K: 'static>(key: &K) -> String {
        let key = key as &dyn Any;
        let text = key
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| key.downcast_ref::<Box<str>>().map(|text| &**text))
            .or_else(|| key.downcast_ref::<Arc<str>>().map(|text| &**text));
        let bytes = key
            .downcast_ref::<Vec<u8>>()
            .map(Vec::as_slice)
            .or_else(|| key.downcast_ref::<Arc<[u8]>>().map(|bytes| &**bytes));
        match (text, bytes) {
            (Some(text), _) => format!("{text:?}"),
            (None, Some(bytes)) => format!("\"{}\"", bytes.escape_ascii()),
            (None, None) => std::any::type_name::<K>().to_owned(),
        }
    }

    static ALARMS: Alarms = Alarms {
        state: Mutex::new(State { next: 0, running: false, wakers: BTreeMap::new() }),
        earlier: Condvar::new(),
    };

    /// Wakers by the time they are due. Their thread lives as long as there are any.
    struct Alarms {
        state: Mutex<State>,
        earlier: Condvar,
    }

    struct State {
        next: u64,
        running: bool,
        wakers: BTreeMap<(Instant, u64), Waker>,
    }

    impl Alarms {
        fn lock(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn add(&'static self, at: Instant, waker: Waker) -> (Instant, u64) {
            let mut state = self.lock();
            let alarm = (at, state.next);
            state.next += 1;
            state.wakers.insert(alarm, waker);
            if !state.running {
                // Without a thread there are no warnings; the lock works as it does in release.
                let thread = thread::Builder::new().name("keyward-stalls".to_owned());
                state.running = thread.spawn(|| self.run()).is_ok();
            }
            drop(state);
            self.earlier.notify_one();
            alarm
        }

        fn remove(&self, alarm: (Instant, u64)) {
            let waker = self.lock().wakers.remove(&alarm);
            drop(waker); // runs foreign code: not under our mutex
        }

        fn run(&self) {
            let mut state = self.lock();
            while let Some((&(at, _), _)) = state.wakers.first_key_value() {
                let wait = at.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    let due = state.wakers.pop_first();
                    drop(state);
                    if let Some((_, waker)) = due {
                        waker.wake();
                    }
                    state = self.lock();
                } else {
                    let slept = self.earlier.wait_timeout(state, wait);
                    state = slept.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
            state.running = false;
        }
    }
}
