//! keyward's leases beside tooz's mysql driver, on servers that these tests start.
//!
//! tooz's URL names a database and keyward's none: for the names of locks it means nothing, and here it
//! tells whose sessions are whose.

mod death;
mod exclusion;
mod load;
mod names;
mod polite;
mod tooz;

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

use crate::{
    peer::{EXCLUSIVE, FOREVER, Peer},
    protocol::quoted,
    server::{Kind, Server},
};

/// tooz with a new lock for each acquisition, as Cinder uses it, and with one lock for all of them.
const NEW: &str = "tooz-mysql";
const REUSED: &str = "tooz-mysql-reused";
const LIBRARIES: [&str; 2] = [NEW, REUSED];

const DATABASE: &str = "mysql";

/// Who waits for tooz to ask again waits for so long.
const POLL: Duration = Duration::from_secs(1);
/// How long a lease outlives a keyward that does not move, and how often it is renewed.
const TTL: Duration = Duration::from_secs(6);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// For a busy machine, on which nobody runs when it should.
const SLACK: Duration = Duration::from_secs(1);

/// What hangs for that long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and how peers get there.
struct Site {
    server: Server,
    runtime: Runtime,
}

impl Site {
    fn start(kind: &Kind) -> Self {
        println!("on {kind}"); // for those who read why a test has failed
        // keyward goes on while a test waits for a peer.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { server: Server::start(kind), runtime }
    }

    /// One after the other, on all the servers that are installed here.
    fn each() -> impl Iterator<Item = Self> {
        Kind::all().iter().map(Self::start)
    }

    fn tooz_url(&self) -> String {
        format!("{}{DATABASE}", self.server.tcp_url())
    }

    fn keyward_url(&self, options: &str) -> String {
        let (ttl, heartbeat) = (TTL.as_secs(), HEARTBEAT.as_secs());
        format!("{}?ttl={ttl}&heartbeat={heartbeat}&{options}", self.server.tcp_url())
    }

    fn python(&self, library: &str, prefix: &str, name: impl AsRef<[u8]>) -> Peer {
        Peer::python_at(self.tooz_url(), library, prefix, name)
    }

    fn keyward(&self, options: &str, prefix: &str, name: impl AsRef<[u8]>) -> Peer {
        Peer::keyward_at(&self.keyward_url(options), prefix, name)
    }

    /// The session that holds the name, as it is on the wire.
    fn holder(&self, name: impl AsRef<[u8]>) -> Option<u64> {
        self.runtime.block_on(self.server.holder(name.as_ref()))
    }

    /// What a database administrator can do to whoever holds the name.
    fn kill_holder(&self, name: impl AsRef<[u8]>) {
        let holder = self.holder(name).expect("a holder");
        self.runtime.block_on(self.server.kill_connection(holder));
    }

    /// Waits until so many sessions are blocked in `GET_LOCK` of the name.
    fn await_blocked(&self, name: &str, count: u64) {
        await_that(&format!("{count} sessions wait for {name}"), || {
            self.runtime.block_on(self.server.waiters(name.as_bytes())) == count
        });
    }

    /// Makes the only Python peer poll: beside its coordinator's session it has then one for the lock.
    fn begin_to_poll(&self, python: &mut Peer) {
        let await_sessions = |count: u64| {
            await_that(&format!("tooz has {count} sessions"), || {
                let sql = format!(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE DB = '{DATABASE}'"
                );
                self.runtime.block_on(self.server.scalar(&sql)) == Some(count)
            });
        };
        await_sessions(1); // those of the dead are gone
        python.send_acquire(FOREVER, EXCLUSIVE);
        await_sessions(2);
        python.assert_busy();
    }
}

/// The value of a URL's option.
fn option(name: &str, value: &str) -> String {
    format!("{name}={}", quoted(value.as_bytes()))
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not to be seen: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long it takes.
fn timed<T>(act: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let output = act();
    (began.elapsed(), output)
}
