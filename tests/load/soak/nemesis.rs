//! What is done to the crews of a soak: one fault after the other, from a seed, as long as it goes on.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use keyward::{Error, ErrorKind, LossReason, memory::MemoryFaults};

use super::{
    crew::{self, NAMES},
    log::{Log, What},
};
use crate::{
    dice::Dice,
    process::Process,
    proxy::Proxy,
    server::{Server, hex},
    sessions::millis,
};

/// Another process of the soak, and how it reaches the store.
pub(crate) struct Mate {
    pub(crate) process: Process,
    pub(crate) url: String,
    /// Its user on the server.
    pub(crate) user: String,
    pub(crate) proxy: Option<Proxy>,
}

/// What can be done to a store.
pub(crate) enum Store {
    Memory(MemoryFaults),
    File(PathBuf),
    MySql(Arc<Server>),
}

pub(crate) struct Nemesis {
    pub(crate) log: Arc<Log>,
    pub(crate) store: Store,
    pub(crate) mates: Vec<Mate>,
    pub(crate) dice: Dice,
    /// How often what was done.
    pub(crate) done: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
    FreezeForLong,
    Lose,
    Fail,
    Suspend,
    Delay,
    Remove,
    KillConnection,
    KillQuery,
    Silence,
    Stall,
    OneWay,
    Reset,
    Slow,
    StopServer,
    StopServerForLong,
    KillServer,
}

use Fault::{
    Delay, Fail, Freeze, FreezeForLong, Kill, KillConnection, KillQuery, KillServer, Lose, OneWay,
    Remove, Reset, Silence, Slow, Stall, StopServer, StopServerForLong, Suspend,
};

/// As often as they stand here.
const MEMORY: &[Fault] = &[Lose, Lose, Fail, Suspend, Delay];
const FILE: &[Fault] = &[Kill, Kill, Freeze, FreezeForLong, Remove, Remove];
const MYSQL: &[Fault] = &[
    Kill,
    Kill,
    Freeze,
    FreezeForLong,
    KillConnection,
    KillConnection,
    KillConnection,
    KillQuery,
    KillQuery,
    Silence,
    Stall,
    OneWay,
    Reset,
    Slow,
    StopServer,
    StopServerForLong,
    KillServer,
];

impl Nemesis {
    /// Does one thing, and undoes it.
    pub(crate) async fn strike(&mut self) {
        let faults = match self.store {
            Store::Memory(_) => MEMORY,
            Store::File(_) => FILE,
            Store::MySql(_) => MYSQL,
        };
        let fault = *self.dice.pick(faults);
        let name = *self.dice.pick(&NAMES);
        let at = self.dice.roll(self.mates.len().max(1) as u64) as usize;
        let what = match fault {
            Kill => self.kill(at).await,
            Freeze => self.freeze(at, 50, 1_500).await,
            FreezeForLong => self.freeze(at, 3_000, 5_000).await,
            Lose | Fail | Suspend | Delay => self.memory(fault, name).await,
            Remove => self.remove(name),
            KillConnection => self.kill_connection().await,
            KillQuery => self.kill_query().await,
            Silence | Stall | OneWay | Reset | Slow => self.network(fault).await,
            StopServer => self.stop_server(100, 1_400).await,
            StopServerForLong => self.stop_server(3_000, 5_000).await,
            KillServer => self.kill_server().await,
        };
        *self.done.entry(what).or_default() += 1;
        tokio::time::sleep(self.dice.micros(1_000_000)).await;
    }

    fn time(&mut self, least: u64, most: u64) -> Duration {
        millis(least + self.dice.roll(most - least))
    }

    async fn kill(&mut self, at: usize) -> &'static str {
        let seed = self.dice.roll(u64::from(u32::MAX));
        let mate = &mut self.mates[at];
        self.log.process(What::Killed, mate.process.id());
        mate.process.kill();
        mate.process = crew::start(&mate.url, &self.log, seed);
        "a process killed"
    }

    async fn freeze(&mut self, at: usize, least: u64, most: u64) -> &'static str {
        let time = self.time(least, most);
        let process = &self.mates[at].process;
        self.log.process(What::Frozen, process.id());
        process.freeze();
        tokio::time::sleep(time).await;
        self.log.process(What::Thawed, process.id());
        process.thaw();
        "a process frozen"
    }

    async fn memory(&mut self, fault: Fault, name: &str) -> &'static str {
        let time = self.time(1, 400);
        let Store::Memory(faults) = &self.store else { panic!("not memory") };
        match fault {
            Lose => {
                self.log.name(What::Sever, name);
                faults.lose(name, LossReason::Closed);
                self.log.name(What::Severed, name);
                "a hold lost"
            }
            Fail => {
                faults.fail_next(name, Error::new(ErrorKind::Unavailable));
                "an answer refused"
            }
            Suspend => {
                faults.suspend(name);
                tokio::time::sleep(time).await;
                faults.resume(name);
                "a store silent"
            }
            _ => {
                faults.delay(millis(3));
                tokio::time::sleep(time).await;
                faults.delay(Duration::ZERO);
                "a store slow"
            }
        }
    }

    fn remove(&self, name: &str) -> &'static str {
        let Store::File(dir) = &self.store else { panic!("not files") };
        self.log.name(What::Sever, name);
        // It may be gone, if nobody has come since the last time.
        drop(fs::remove_file(dir.join(name)));
        self.log.name(What::Severed, name);
        "a lock file removed"
    }

    fn server(&self) -> Arc<Server> {
        let Store::MySql(server) = &self.store else { panic!("no server") };
        Arc::clone(server)
    }

    /// A session: whichever, or the one that holds the name that everybody wants.
    async fn kill_connection(&mut self) -> &'static str {
        let server = self.server();
        let which = if self.dice.roll(2) == 0 {
            format!("ID = IS_USED_LOCK(X'{}')", hex(NAMES[0].as_bytes()))
        } else {
            format!("USER LIKE 'crew%' ORDER BY RAND({})", self.dice.roll(1 << 30))
        };
        let pick = format!(
            "SELECT CONCAT(ID, ' ', USER) FROM information_schema.processlist WHERE {which} LIMIT 1"
        );
        if let Some(found) = server.scalar::<String>(&pick).await {
            let (id, user) = found.split_once(' ').unwrap();
            let mate = self.mates.iter().find(|mate| mate.user == user);
            let pid = mate.map_or_else(std::process::id, |mate| mate.process.id());
            self.log.cut(What::Sever, pid);
            // It may have gone by itself.
            crate::sessions::kill(&server, "CONNECTION", id.parse().unwrap()).await;
            self.log.cut(What::Severed, pid);
        }
        "a session killed"
    }

    /// Of whoever waits or holds.
    async fn kill_query(&mut self) -> &'static str {
        let server = self.server();
        let pick = format!(
            "SELECT ID FROM information_schema.processlist WHERE USER LIKE 'crew%' \
             ORDER BY STATE = 'User lock' DESC, RAND({}) LIMIT 1",
            self.dice.roll(1 << 30)
        );
        if let Some(id) = server.scalar::<u64>(&pick).await {
            crate::sessions::kill(&server, "QUERY", id).await;
        }
        "a query killed"
    }

    async fn network(&mut self, fault: Fault) -> &'static str {
        let (short, long) = (self.time(50, 1_500), self.time(50, 5_000));
        let is_reset = self.dice.roll(3) > 0;
        let behind: Vec<_> = self.mates.iter().filter(|mate| mate.proxy.is_some()).collect();
        let mate = *self.dice.pick(&behind);
        let proxy = mate.proxy.as_ref().expect("picked for it");
        let (what, time) = match fault {
            Silence => {
                proxy.silence();
                ("a network cut", long)
            }
            Stall => {
                proxy.stall();
                ("a network held up", long)
            }
            OneWay => {
                proxy.silence_to_client();
                ("answers lost", short)
            }
            Slow => {
                proxy.delay(millis(150));
                ("a network slow", long)
            }
            _ => {
                self.log.cut(What::Sever, mate.process.id());
                proxy.reset();
                // The server sees it when it comes to it.
                tokio::time::sleep(millis(20)).await;
                self.log.cut(What::Severed, mate.process.id());
                ("connections reset", Duration::ZERO)
            }
        };
        tokio::time::sleep(time).await;
        if !time.is_zero() {
            proxy.heal();
        }
        if is_reset && matches!(fault, Silence | OneWay) {
            // What was in the air is lost; here the other side says so.
            self.log.cut(What::Sever, mate.process.id());
            proxy.reset();
            tokio::time::sleep(millis(20)).await;
            self.log.cut(What::Severed, mate.process.id());
        }
        what
    }

    async fn stop_server(&mut self, least: u64, most: u64) -> &'static str {
        let (server, time) = (self.server(), self.time(least, most));
        server.stop_signal();
        tokio::time::sleep(time).await;
        server.cont();
        "a server stopped"
    }

    /// All sessions end, and so do all locks.
    async fn kill_server(&mut self) -> &'static str {
        let (server, log) = (self.server(), Arc::clone(&self.log));
        let away = self.time(0, 1_000);
        let restart = tokio::task::spawn_blocking(move || {
            log.name(What::Sever, "*");
            server.kill();
            log.name(What::Severed, "*");
            std::thread::sleep(away);
            server.restart();
            // A server that starts twice in one second gives the same tokens again, as the docs say.
            std::thread::sleep(Duration::from_millis(1_100));
        });
        restart.await.unwrap();
        "a server killed"
    }

    /// Until a point in time.
    pub(crate) async fn haunt(mut self, until: Instant) -> Self {
        while Instant::now() < until {
            self.strike().await;
        }
        self
    }
}
