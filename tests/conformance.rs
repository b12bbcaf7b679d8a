//! The contract's cases, over every backend: `cargo test --test conformance memory::`.
//!
//! A backend is one fixture and one line pair here.

#[path = "support/child.rs"]
mod child;
#[cfg(feature = "mysql")]
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/scripted.rs"]
mod scripted;
#[cfg(feature = "mysql")]
#[path = "support/server/mod.rs"]
mod server;

use std::{fs, path::Path, process::Command, time::Duration};

use keyward::{
    Lease, Locks, LossReason,
    conformance::{Fixture, Network, NotApplicable, Verdict, unique_prefix},
    memory::{MemoryBackend, MemoryFaults},
};
use scripted::{Script, Scripted};
#[cfg(feature = "file")]
use tempfile::TempDir;

/// What the children run; as a test of its own it does nothing.
#[test]
fn child_entry() {
    child::run();
}

mod memory {
    keyward::conformance_tests!(super::Memory::new());
}

/// Where its holds can be lost.
mod memory_with_faults {
    keyward::conformance_tests!(super::Memory::with_faults(std::time::Duration::ZERO));
}

/// The same where it takes its time.
mod memory_slow {
    keyward::conformance_tests!(super::Memory::with_faults(std::time::Duration::from_millis(2)));
}

#[cfg(feature = "file")]
mod file {
    keyward::conformance_tests!(super::Files::on_disk());
}

/// The same in memory: another file system has other rules for files that are deleted and made anew.
#[cfg(all(feature = "file", target_os = "linux"))]
mod file_on_tmpfs {
    keyward::conformance_tests!(super::Files::under("/dev/shm"));
}

/// Where waiting may not use a thread and a signal.
#[cfg(feature = "file")]
mod file_polling {
    keyward::conformance_tests!(super::Files::on_disk().with("wait=poll"));
}

#[cfg(feature = "file")]
mod file_without_tokens {
    keyward::conformance_tests!(super::Files::on_disk().with("fencing=off"));
}

#[cfg(feature = "file")]
mod file_durable {
    keyward::conformance_tests!(super::Files::on_disk().with("fencing=durable"));
}

/// On the first server, or on the one of that number in `KEYWARD_TEST_MYSQLD`: `KEYWARD_TEST_SERVER=1`.
#[cfg(feature = "mysql")]
mod mysql {
    keyward::conformance_tests!(super::MySql::new(""));
}

#[cfg(feature = "mysql")]
mod mysql_with_table {
    keyward::conformance_tests!(super::MySql::new("fencing=create-table"));
}

/// As few sessions as there can be: two locks each, and one that waits; the others poll.
#[cfg(feature = "mysql")]
mod mysql_crowded {
    keyward::conformance_tests!(super::MySql::new("locks_per_session=2&max_waiters=1"));
}

/// Names that are shared out among three servers; and while they are, by those who lock them on one of two
/// servers, or on both.
#[cfg(feature = "mysql")]
mod mysql_shards {
    keyward::conformance_tests!(super::Shards::new(1));
}

#[cfg(feature = "mysql")]
mod mysql_shards_that_change {
    keyward::conformance_tests!(super::Shards::new(2));
}

/// The backend that the other tests rest on.
mod scripted_plain {
    keyward::conformance_tests!(super::Fake::new(super::Script::default()));
}

/// It passes holds on, admits readers, and does not answer at once.
mod scripted_slow {
    keyward::conformance_tests!(super::Fake::new(super::Script {
        passes_on: true,
        admits_readers: true,
        turns: 2,
        ..super::Script::default()
    }));
}

struct Memory {
    store: String,
    faults: Option<MemoryFaults>,
}

impl Memory {
    fn new() -> Self {
        Self { store: unique_prefix(), faults: None }
    }

    fn with_faults(delay: Duration) -> Self {
        let store = unique_prefix();
        let faults = MemoryBackend::named(&store).faults();
        faults.delay(delay);
        Self { store, faults: Some(faults) }
    }
}

impl Fixture for Memory {
    async fn connect(&self) -> Locks {
        Locks::connect(format!("memory:{}", self.store)).await.unwrap()
    }

    fn prefix(&self) -> &str {
        "conf-"
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn sever(&self, lease: &Lease) -> Verdict {
        let Some(faults) = &self.faults else {
            return Err(NotApplicable::because("nothing takes a hold of memory: away"));
        };
        assert_eq!(faults.lose(lease.name(), LossReason::Closed), 1, "{lease:?} is not held");
        Ok(())
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Err(NotApplicable::because("memory: ends at the process"))
    }
}

/// A directory of its own, deleted in the end.
#[cfg(feature = "file")]
struct Files {
    directory: TempDir,
    options: &'static str,
}

#[cfg(feature = "file")]
impl Files {
    fn on_disk() -> Self {
        Self::under(env!("CARGO_TARGET_TMPDIR"))
    }

    fn under(parent: impl AsRef<Path>) -> Self {
        Self { directory: tempfile::tempdir_in(parent).unwrap(), options: "" }
    }

    const fn with(mut self, options: &'static str) -> Self {
        self.options = options;
        self
    }

    fn url(&self) -> String {
        format!("file://{}?{}", self.directory.path().display(), self.options)
    }
}

#[cfg(feature = "file")]
impl Fixture for Files {
    async fn connect(&self) -> Locks {
        Locks::connect(self.url()).await.unwrap()
    }

    fn prefix(&self) -> &str {
        "conf-"
    }

    fn is_private(&self) -> bool {
        true
    }

    /// Deletes every lock file: the case holds no other lease then.
    async fn sever(&self, _: &Lease) -> Verdict {
        for entry in fs::read_dir(self.directory.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
        Ok(())
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Ok(child::command("child_entry", &self.url()))
    }
}

#[cfg(feature = "mysql")]
struct MySql {
    prefix: String,
    options: &'static str,
}

#[cfg(feature = "mysql")]
impl MySql {
    fn new(options: &'static str) -> Self {
        Self { prefix: unique_prefix(), options }
    }

    fn server() -> &'static server::Server {
        let number = std::env::var("KEYWARD_TEST_SERVER").map_or(0, |n| n.parse().unwrap());
        server::Kind::all()[number].shared()
    }

    fn url(&self) -> String {
        let url = Self::server().url().replace("localhost/?", "localhost/mysql?");
        format!("{url}&{}", self.query())
    }

    fn query(&self) -> String {
        format!("ttl=6&heartbeat=500ms&{}", self.options)
    }
}

#[cfg(feature = "mysql")]
impl Network for proxy::Proxy {
    fn cut(&self) {
        self.silence();
    }

    fn heal(&self) {
        Self::heal(self);
    }
}

#[cfg(feature = "mysql")]
impl Fixture for MySql {
    async fn connect(&self) -> Locks {
        Locks::connect(self.url()).await.unwrap()
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The server is ours, and the others have their prefixes.
    fn is_private(&self) -> bool {
        self.options.is_empty()
    }

    async fn connect_through_a_network(&self) -> Result<(Locks, Box<dyn Network>), NotApplicable> {
        let server = Self::server();
        let network = proxy::Proxy::start(proxy::Target::Port(server.port()));
        let url = server.tcp_url_as("root", network.port());
        let url = format!("{url}mysql?{}", self.query());
        Ok((Locks::connect(url).await.unwrap(), Box::new(network)))
    }

    /// Kills the session: the case holds no other lease then.
    async fn sever(&self, lease: &Lease) -> Verdict {
        let server = Self::server();
        let session = server.holder(lease.name().as_bytes()).await.expect("it is held");
        server.kill_connection(session).await;
        Ok(())
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Ok(child::command("child_entry", &self.url()))
    }
}

/// Three servers, and a database on each for every generation that is tested.
#[cfg(feature = "mysql")]
struct Shards {
    prefix: String,
    generation: u64,
}

#[cfg(feature = "mysql")]
impl Shards {
    fn new(generation: u64) -> Self {
        Self { prefix: unique_prefix(), generation }
    }

    fn servers() -> &'static [server::Server] {
        static SERVERS: std::sync::OnceLock<Vec<server::Server>> = std::sync::OnceLock::new();
        let start = |_| server::Server::start(server::Kind::mariadb());
        SERVERS.get_or_init(|| (0..3).map(start).collect())
    }

    fn places(servers: &[server::Server]) -> String {
        let place = |server: &server::Server| server.socket().display().to_string();
        let places: Vec<_> =
            servers.iter().map(|server| place(server).replace('/', "%2F")).collect();
        places.join(",")
    }

    fn url_of(&self, generation: u64) -> String {
        let (before, all) = (Self::places(&Self::servers()[..2]), Self::places(Self::servers()));
        let (members, previous) = match generation {
            1 if self.generation == 2 => (before, String::new()),
            2 => (all, format!("&previous={before}")),
            _ => (all, String::new()),
        };
        let options = "ttl=6&heartbeat=500ms&fencing=create-table&shards=create-table";
        let database = format!("conformance_{}", self.generation);
        format!("mysql://root@{members}/{database}?generation={generation}&{options}{previous}")
    }

    fn url(&self) -> String {
        self.url_of(self.generation)
    }
}

#[cfg(feature = "mysql")]
impl Fixture for Shards {
    /// Where the servers change, every other one has not heard of it.
    async fn connect(&self) -> Locks {
        use std::sync::atomic::{AtomicBool, Ordering};

        static BEFORE: AtomicBool = AtomicBool::new(false);
        for server in Self::servers() {
            let database = format!("CREATE DATABASE IF NOT EXISTS conformance_{}", self.generation);
            server.query(&database).await;
        }
        if self.generation == 2 && BEFORE.fetch_not(Ordering::Relaxed) {
            return Locks::connect(self.url_of(1)).await.unwrap();
        }
        if self.generation == 2 {
            drop(Locks::connect(self.url_of(1)).await.unwrap()); // the first one is generation 1
        }
        Locks::connect(self.url()).await.unwrap()
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Another address is another server.
    async fn connect_through_a_network(&self) -> Result<(Locks, Box<dyn Network>), NotApplicable> {
        Err(NotApplicable::because("who reaches a server by another address has another layout"))
    }

    /// Kills the session on one of the servers: the case holds no other lease then.
    async fn sever(&self, lease: &Lease) -> Verdict {
        for server in Self::servers() {
            if let Some(session) = server.holder(lease.name().as_bytes()).await {
                server.kill_connection(session).await;
                return Ok(());
            }
        }
        panic!("{lease:?} is not held");
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Ok(child::command("child_entry", &self.url()))
    }
}

struct Fake(Scripted);

impl Fake {
    fn new(script: Script) -> Self {
        Self(Scripted::new(script))
    }
}

impl Fixture for Fake {
    async fn connect(&self) -> Locks {
        self.0.locks()
    }

    fn prefix(&self) -> &str {
        "conf-"
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn sever(&self, lease: &Lease) -> Verdict {
        assert!(self.0.sever(lease.name().as_bytes()), "{lease:?} is not held");
        Ok(())
    }
}

/// A case that nobody stamps is one that no backend has to keep.
#[test]
fn every_case_is_stamped() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
    let read = |file| fs::read_to_string(folder.join(file)).unwrap();
    let list = read("mod.rs");
    let stamped = list.split("@stamp ($fixture)").nth(1).unwrap().split('}').next().unwrap();
    let stamped: Vec<_> = stamped.split_whitespace().collect();
    let mut cases = Vec::new();
    for file in fs::read_dir(&folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let names = text.split("\npub async fn ").skip(1).map(|rest| rest.split_once('(').unwrap());
        let of_fixtures = names.filter(|(_, rest)| rest.starts_with("fixture: &impl Fixture)"));
        cases.extend(of_fixtures.map(|(name, _)| name.to_owned()));
    }
    assert!(cases.len() > 40, "the cases were not found");
    for case in &cases {
        assert!(stamped.contains(&case.as_str()), "{case} is not stamped");
    }
    assert_eq!(stamped.len(), cases.len());
}
