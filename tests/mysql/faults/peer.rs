//! Another process, which holds and waits as it is told, and may be killed or frozen meanwhile.
//!
//! It does as the lines of its input say, and answers in lines: `lock NAME` with `waiting` or nothing
//! and then `held TOKEN`; `left` with the milliseconds until the lease's end; `look` with how the loss is
//! told in each way, once all of them have; `release` with what came of it.

use std::{env, io::stdin, process::Command, time::Duration};

use futures::FutureExt;
use keyward::{Lease, Locks};
use tokio::time::Instant;

use super::room::{soon, within};
use crate::process::{Process, answer, die_with_the_parent, lines};

/// The URL that the process connects to; without it, its entry test has nothing to do.
const URL: &str = "KEYWARD_TEST_FAULTS_PEER";

/// The other process's side. On two threads, so that the sessions go on whatever a line asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry() {
    let Ok(url) = env::var(URL) else { return };
    die_with_the_parent();
    let locks = Locks::connect(url).await.unwrap();
    let mut commands = lines(stdin());
    let mut lease: Option<Lease> = None;
    while let Some(command) = commands.recv().await {
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("lock", name) => {
                let mut wait = Box::pin(locks.lock_named(name).into_future());
                if within_a_moment(&mut wait).await.map(|got| lease = Some(got)).is_none() {
                    answer("waiting");
                    lease = Some(wait.await.unwrap());
                }
                answer(format_args!("held {}", lease.as_ref().unwrap().fencing_token().unwrap()));
            }
            ("left", _) => {
                let until = lease.as_ref().unwrap().valid_until().unwrap();
                answer(until.saturating_duration_since(Instant::now()).as_millis());
            }
            ("look", _) => {
                let lease = lease.as_ref().unwrap();
                // Before anything else: how it looks to who has slept and goes on writing.
                let state = lease.state();
                let lost = lease.lost().now_or_never();
                let checked = lease.ensure_held().await.map_err(|e| e.is_lost());
                answer(format_args!("{state:?} {lost:?} {checked:?}"));
            }
            ("release", _) => answer(match lease.take().unwrap().release().await {
                Ok(released) => format!("{released:?}"),
                Err(e) => format!("failed: {e}"),
            }),
            _ => panic!("{command} is no command"),
        }
    }
}

/// What comes of a wait if it need not wait for others.
async fn within_a_moment(
    wait: &mut (impl Future<Output = Result<Lease, keyward::Error>> + Unpin),
) -> Option<Lease> {
    let got = tokio::time::timeout(Duration::from_millis(200), wait).await.ok()?;
    Some(got.unwrap())
}

/// The process, as a case sees it. It is killed when this is dropped.
pub(super) struct Peer(Process);

impl Peer {
    pub(super) fn start(url: &str) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["faults::peer::entry", "--exact", "--nocapture"]).env(URL, url);
        Self(Process::start(command))
    }

    /// The next answer.
    async fn answer(&mut self) -> String {
        soon("an answer of the other process", self.0.answer()).await
    }

    pub(super) async fn ask(&mut self, command: &str) -> String {
        soon("an answer of the other process", self.0.ask(command)).await
    }

    /// Has it hold a name; returns its token.
    pub(super) async fn lock(&mut self, name: &str) -> u64 {
        self.0.tell(&format!("lock {name}"));
        self.holds().await
    }

    /// Has it wait for a name that is held.
    pub(super) async fn queue(&mut self, name: &str) {
        assert_eq!(self.ask(&format!("lock {name}")).await, "waiting");
    }

    /// It gets what it has asked for; returns the token.
    pub(super) async fn holds(&mut self) -> u64 {
        let mut answer = self.answer().await;
        if answer == "waiting" {
            answer = self.answer().await;
        }
        let token = answer.strip_prefix("held ").and_then(|token| token.parse().ok());
        token.unwrap_or_else(|| panic!("the other process: {answer}"))
    }

    /// It says nothing for so long.
    pub(super) async fn is_silent(&mut self, time: Duration) -> bool {
        self.0.is_silent(time).await
    }

    pub(super) fn kill(&mut self) {
        self.0.kill();
    }

    pub(super) fn freeze(&self) {
        self.0.freeze();
    }

    pub(super) fn thaw(&self) {
        self.0.thaw();
    }
}

/// How a [`Peer`] sees a loss that it is told of at once.
pub(super) async fn must_see_its_loss(peer: &mut Peer) {
    let seen = within(Duration::from_secs(10), "a look", peer.ask("look")).await;
    assert!(seen.starts_with("Lost("), "{seen}");
    assert!(seen.contains(" Some("), "{seen}");
    assert!(seen.ends_with(" Err(true)"), "{seen}");
    assert_eq!(peer.ask("release").await, "WasLost");
}
