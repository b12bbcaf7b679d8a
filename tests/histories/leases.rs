//! Leases in a store, through one or two handles.

use std::{future::IntoFuture, time::Duration};

use futures::future::FutureExt;
use keyward::{ErrorKind, Lease, LeaseState, Locks, Released};
use tokio::runtime::{Builder, Runtime};
use tokio_test::task;

use crate::world::{End, Mode, Nature, Refusal, Wait, World};

/// Where the clock is paused.
const LONG: Duration = Duration::from_secs(1);
/// Where it is the machine's.
const SHORT: Duration = Duration::from_millis(3);

/// Which of these holds go with a name that is taken away; none if it is not held.
type Lose = Box<dyn Fn(&Runtime, &str, &[(usize, &str)]) -> Option<Vec<usize>>>;

pub(crate) struct Leases {
    handles: Vec<Locks>,
    runtime: Runtime,
    nature: Nature,
    lose: Lose,
    /// What lives as long as the store.
    _store: Option<tempfile::TempDir>,
}

/// Those of the name itself.
fn of_name(name: &str, held: &[(usize, &str)]) -> Vec<usize> {
    (0..held.len()).filter(|which| held[*which].1 == name).collect()
}

fn refusal(e: &keyward::Error) -> Refusal {
    match e.kind() {
        ErrorKind::WouldBlock => Refusal::Busy,
        ErrorKind::TimedOut => Refusal::TimedOut,
        ErrorKind::Unsupported => Refusal::Unsupported,
        ErrorKind::Unavailable => Refusal::Unavailable(e.to_string()),
        _ => Refusal::Other(e.to_string()),
    }
}

/// Makes its losses heard from the beginning, as for a holder who listens.
fn listened(lease: Lease) -> Lease {
    lease.state();
    lease
}

impl Leases {
    /// In a store of this process, and how names are taken away there.
    pub(crate) fn in_process(handles: Vec<Locks>, lose: impl Fn(&str) -> bool + 'static) -> Self {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let nature = Nature {
            handles: handles.len(),
            shared: true,
            prompt: true,
            grants_at_once: false,
            loses: true,
            forgets: true,
            indeterminate: false,
            losses: 1_000,
            limit: LONG,
        };
        let lose: Lose = Box::new(move |_, name, held| lose(name).then(|| of_name(name, held)));
        Self { handles, runtime, nature, lose, _store: None }
    }

    #[cfg(any(feature = "file", feature = "mysql"))]
    fn outside(url: &str, handles: usize, store: Option<tempfile::TempDir>, lose: Lose) -> Self {
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let connect = |_| runtime.block_on(Locks::connect(url)).unwrap();
        let handles: Vec<_> = (0..handles).map(connect).collect();
        let nature = Nature {
            handles: handles.len(),
            shared: handles[0].capability().shared,
            prompt: false,
            grants_at_once: false,
            loses: true,
            forgets: true,
            indeterminate: store.is_none(),
            losses: 50, // each takes up to a second until it is told
            limit: SHORT,
        };
        Self { handles, runtime, nature, lose, _store: store }
    }

    /// In a directory of its own; a name is taken away by deleting its file.
    #[cfg(feature = "file")]
    pub(crate) fn files(handles: usize) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = format!("file://{}", directory.path().display());
        let path = directory.path().to_owned();
        let lose: Lose = Box::new(move |_, name, held| {
            std::fs::remove_file(path.join(name)).unwrap();
            Some(of_name(name, held))
        });
        Self::outside(&url, handles, Some(directory), lose)
    }

    /// On a server; a name is taken away by killing its session, with all that it holds.
    #[cfg(feature = "mysql")]
    pub(crate) fn servers(handles: usize) -> Self {
        let server = crate::server::Kind::mariadb().shared();
        let url = format!("{}&ttl=6&heartbeat=500ms", server.url());
        let lose: Lose = Box::new(move |runtime, name, held| {
            runtime.block_on(async {
                let session = server.holder(name.as_bytes()).await?;
                let mut gone = Vec::new();
                for (which, (_, other)) in held.iter().enumerate() {
                    if server.holder(other.as_bytes()).await == Some(session) {
                        gone.push(which);
                    }
                }
                server.kill_connection(session).await;
                while server.holder(name.as_bytes()).await == Some(session) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Some(gone)
            })
        });
        Self::outside(&url, handles, None, lose)
    }
}

impl World for Leases {
    type Held = Lease;

    fn nature(&self) -> Nature {
        self.nature
    }

    fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        let _inside = self.runtime.enter();
        f()
    }

    fn ask(&self, handle: usize, name: &str, mode: Mode, limited: bool) -> Wait<Lease> {
        let mut wait = self.handles[handle].lock_named(name);
        if mode == Mode::Read {
            wait = wait.shared();
        }
        if limited {
            wait = wait.timeout(self.nature.limit);
        }
        let wait = wait.into_future().map(|lease| lease.map(listened).map_err(|e| refusal(&e)));
        task::spawn(wait.boxed())
    }

    fn attempt(&self, handle: usize, name: &str, mode: Mode) -> Result<Lease, Refusal> {
        let attempt = self.handles[handle].try_lock_named(name);
        let attempt = if mode == Mode::Read { attempt.shared() } else { attempt };
        let lease = self.runtime.block_on(attempt.into_future());
        lease.map(listened).map_err(|e| refusal(&e))
    }

    fn end(&self, lease: Lease, confirmed: bool) -> End {
        if !confirmed {
            drop(lease);
            return End::Untold;
        }
        match self.runtime.block_on(lease.release()) {
            Ok(Released::Released) => End::Released,
            Ok(Released::WasLost) => End::WasLost,
            Err(e) if e.kind() == ErrorKind::Unavailable => End::Unconfirmed,
            Err(e) => panic!("a release: {e}"),
        }
    }

    fn token(&self, lease: &Lease) -> Option<u64> {
        lease.fencing_token().map(keyward::FencingToken::get)
    }

    fn is_lost(&self, lease: &Lease) -> bool {
        matches!(lease.state(), LeaseState::Lost(_))
    }

    fn lose(&self, name: &str, held: &[(usize, &str)]) -> Option<Vec<usize>> {
        (self.lose)(&self.runtime, name, held)
    }

    fn tick(&self) {
        if self.nature.prompt {
            self.runtime.block_on(tokio::time::advance(self.nature.limit));
        } else {
            std::thread::sleep(self.nature.limit);
        }
    }

    fn pause(&self) {
        std::thread::sleep(Duration::from_micros(100));
    }

    fn look(&self, name: &str) -> (Option<bool>, Option<usize>, Option<usize>) {
        let status = self.runtime.block_on(self.handles[0].inspect(name)).unwrap();
        (Some(status.is_held()), None, None)
    }
}
