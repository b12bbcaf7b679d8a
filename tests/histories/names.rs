//! Names in a registry: guards, and exact counts.

use std::{future::Future, time::Duration};

use futures::future::FutureExt;
use keyward::{LockRegistry, NamedGuard, NamedReadGuard};
use tokio::runtime::{Builder, Runtime};
use tokio_test::task;

use crate::world::{End, Mode, Nature, Refusal, Wait, World};

const LIMIT: Duration = Duration::from_secs(1);

pub(crate) struct Names {
    keys: LockRegistry<String>,
    runtime: Runtime,
    forgets: bool,
}

pub(crate) enum Guard {
    Lock(NamedGuard),
    Read(NamedReadGuard),
}

impl Guard {
    fn name(&self) -> &str {
        match self {
            Self::Lock(guard) => guard.name(),
            Self::Read(guard) => guard.name(),
        }
    }
}

impl Names {
    pub(crate) fn new(forgets: bool) -> Self {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        Self { keys: LockRegistry::new(), runtime, forgets }
    }
}

/// With its limit, if it has one.
async fn limited<T>(
    wait: impl Future<Output = T>,
    limit: impl Future<Output = Option<T>>,
    is_limited: bool,
) -> Result<T, Refusal> {
    if is_limited { limit.await.ok_or(Refusal::TimedOut) } else { Ok(wait.await) }
}

impl World for Names {
    type Held = Guard;

    fn nature(&self) -> Nature {
        Nature {
            handles: 1,
            shared: true,
            prompt: true,
            grants_at_once: true,
            loses: false,
            forgets: self.forgets,
            indeterminate: false,
            losses: 0,
            limit: LIMIT,
        }
    }

    fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        let _inside = self.runtime.enter();
        f()
    }

    fn ask(&self, _: usize, name: &str, mode: Mode, is_limited: bool) -> Wait<Guard> {
        let (keys, name) = (self.keys.clone(), name.to_owned());
        let wait = async move {
            let name = name.as_str();
            match mode {
                Mode::Lock => {
                    let limit = async { keys.lock_named(name).timeout(LIMIT).await.ok() };
                    limited(keys.lock_named(name), limit, is_limited).await.map(Guard::Lock)
                }
                Mode::Read => {
                    let limit = async { keys.read_named(name).timeout(LIMIT).await.ok() };
                    limited(keys.read_named(name), limit, is_limited).await.map(Guard::Read)
                }
            }
        };
        task::spawn(wait.boxed())
    }

    fn attempt(&self, _: usize, name: &str, mode: Mode) -> Result<Guard, Refusal> {
        let guard = match mode {
            Mode::Lock => self.keys.try_lock_named(name).map(Guard::Lock),
            Mode::Read => self.keys.try_read_named(name).map(Guard::Read),
        };
        guard.map_err(|_| Refusal::Busy)
    }

    fn end(&self, guard: Guard, _: bool) -> End {
        assert!(!guard.name().is_empty());
        drop(guard);
        End::Untold
    }

    fn tick(&self) {
        self.runtime.block_on(tokio::time::advance(LIMIT));
    }

    fn pause(&self) {
        unreachable!("everything is prompt");
    }

    fn look(&self, name: &str) -> (Option<bool>, Option<usize>, Option<usize>) {
        let holders = self.keys.holders(name);
        (Some(holders > 0), Some(holders), Some(self.keys.waiters(name)))
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
