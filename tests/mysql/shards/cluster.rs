//! Several servers, with a database of a case's own on each.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use keyward::{Error, Locks};
use sha2::{Digest, Sha256};

use crate::{
    clients::SOON,
    server::{Kind, Server},
};

/// How many servers there are for cases that leave them as they were.
const SHARED: usize = 4;

/// Servers, by number, and a database.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Arc<Server>>,
    database: String,
}

fn start(count: usize, options: &'static [&str]) -> Vec<Arc<Server>> {
    let start = move || Server::start_with(Kind::mariadb(), options);
    let starting: Vec<_> = (0..count).map(|_| std::thread::spawn(start)).collect();
    starting.into_iter().map(|server| Arc::new(server.join().unwrap())).collect()
}

impl Cluster {
    /// On servers that other cases use as well.
    pub(crate) async fn shared() -> Self {
        static SERVERS: OnceLock<Vec<Arc<Server>>> = OnceLock::new();
        let servers = tokio::task::spawn_blocking(|| {
            // They are never killed, and tokens need no disk.
            SERVERS.get_or_init(|| start(SHARED, &["--innodb-flush-log-at-trx-commit=0"])).clone()
        });
        Self::on(servers.await.unwrap()).await
    }

    /// On servers of its own.
    pub(crate) async fn own(count: usize) -> Self {
        Self::on(tokio::task::spawn_blocking(move || start(count, &[])).await.unwrap()).await
    }

    async fn on(servers: Vec<Arc<Server>>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let database = format!("shards_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        for server in &servers {
            server.query(&format!("CREATE DATABASE {database}")).await;
        }
        Self { servers, database }
    }

    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// The address of a server, as it is configured.
    pub(crate) fn place(&self, server: usize) -> String {
        self.servers[server].socket().display().to_string()
    }

    /// Addresses as in a url.
    pub(crate) fn list(&self, servers: &[usize]) -> String {
        let places = servers.iter().map(|&server| self.place(server).replace('/', "%2F"));
        places.collect::<Vec<_>>().join(",")
    }

    /// The url of a generation, with other options, as in `&ttl=3`.
    pub(crate) fn url(&self, generation: u64, members: &[usize], options: &str) -> String {
        self.url_over(generation, &self.list(members), options)
    }

    pub(crate) fn url_over(&self, generation: u64, members: &str, options: &str) -> String {
        let fencing = if options.contains("fencing=") { "" } else { "&fencing=create-table" };
        format!(
            "mysql://root@{members}/{}?generation={generation}&shards=create-table{fencing}{options}",
            self.database
        )
    }

    /// As [`url`](Self::url), with the servers before it.
    pub(crate) fn change(
        &self,
        generation: u64,
        members: &[usize],
        previous: &[usize],
        options: &str,
    ) -> String {
        let previous = self.list(previous);
        self.url(generation, members, &format!("&previous={previous}{options}"))
    }

    pub(crate) fn name(&self, part: impl std::fmt::Display) -> String {
        format!("{}-{part}", self.database)
    }

    /// The server on which a name is at home.
    pub(crate) fn home(&self, members: &[usize], name: &str) -> usize {
        let places: Vec<_> = members.iter().map(|&server| self.place(server)).collect();
        let home = home_among(&places, name);
        members[places.iter().position(|place| *place == home).unwrap()]
    }

    /// A name of which something is true.
    pub(crate) fn find(&self, part: &str, is_right: impl Fn(&str) -> bool) -> String {
        let mut names = (0..100_000).map(|i| self.name(format!("{part}{i}")));
        names.find(|name| is_right(name)).expect("one of so many")
    }

    /// A name at home there.
    pub(crate) fn name_on(&self, members: &[usize], server: usize, part: &str) -> String {
        self.find(part, |name| self.home(members, name) == server)
    }

    /// The servers on which a name is held now.
    pub(crate) async fn held_on(&self, name: &str) -> Vec<usize> {
        let mut held = Vec::new();
        for (i, server) in self.servers.iter().enumerate() {
            if server.is_running() && server.holder(name.as_bytes()).await.is_some() {
                held.push(i);
            }
        }
        held
    }

    /// Until nobody holds the name anywhere, or waits for it; how long that has taken.
    pub(crate) async fn until_clean(&self, names: &[&str]) -> Duration {
        let begun = Instant::now();
        let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
        for server in self.servers.iter().filter(|server| server.is_running()) {
            while !server.is_clean(&names).await {
                assert!(begun.elapsed() < SOON, "something is left of {names:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        begun.elapsed()
    }

    /// Until no connection to this database is left.
    pub(crate) async fn until_closed(&self) {
        let begun = Instant::now();
        for server in self.servers.iter().filter(|server| server.is_running()) {
            let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE DB";
            let count = format!("{count} = '{}'", self.database);
            loop {
                let left: Option<u64> = server.scalar(&count).await;
                if left == Some(0) {
                    break;
                }
                assert!(begun.elapsed() < SOON, "{left:?} connections are left");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// A cell of the row of generations.
    pub(crate) async fn row(&self, server: usize, column: &str) -> Option<String> {
        let sql = format!("SELECT CONCAT({column}) FROM {}.keyward_shards", self.database);
        self.servers[server].scalar(&sql).await
    }

    /// Somebody who locks by hand on one of them.
    pub(crate) async fn outsider(&self, server: usize) -> crate::clients::Outsider {
        crate::clients::Outsider::new(&self.servers[server]).await
    }
}

/// The address among these at which a name is at home.
pub(crate) fn home_among(places: &[String], name: &str) -> String {
    let weight = |place: &&String| {
        let hash: [u8; 32] =
            Sha256::digest([place.as_bytes(), b"\0", name.as_bytes()].concat()).into();
        (hash[..8].to_owned(), (*place).clone())
    };
    places.iter().max_by_key(weight).unwrap().clone()
}

pub(crate) async fn connect(url: impl AsRef<str>) -> Locks {
    let connected = tokio::time::timeout(SOON, Locks::connect(url.as_ref())).await;
    connected.expect("it connects").unwrap_or_else(|e| panic!("{}: {e:?}", url.as_ref()))
}

/// Why it is refused.
pub(crate) async fn refused(url: impl AsRef<str>) -> Error {
    let connected = tokio::time::timeout(SOON, Locks::connect(url.as_ref())).await;
    connected.expect("it answers").expect_err("it is refused")
}
