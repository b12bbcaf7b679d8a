//! The server that is measured, and what it says of itself.

use std::{fs, path::PathBuf};

use keyward_benches::crew::{Outcome, text};
use nix::{
    sys::time::TimeValLike as _,
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    server::{Kind, Server},
    session::Session,
};

/// A server of our own, and a session that looks at it.
pub(crate) struct Service {
    server: Server,
    clock: ClockId,
    pub(crate) runtime: Runtime,
    control: Session,
}

pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Of this process, in nanoseconds.
pub(crate) fn own_time() -> u64 {
    nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default()
}

/// Of all cores of this machine, whoever has spent it, the hypervisor's other guests among them.
pub(crate) fn machine_time() -> Outcome<u64> {
    let stat = fs::read_to_string("/proc/stat").map_err(text)?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or("no cpu")?;
    let fields: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; in hundredths of a second.
    let busy: u64 = [0, 1, 2, 5, 6, 7].map(|n| fields.get(n).copied().unwrap_or(0)).iter().sum();
    Ok(busy * 10_000_000)
}

fn nanoseconds(clock: ClockId) -> Outcome<u64> {
    Ok(clock_gettime(clock).map_err(text)?.num_nanoseconds().unsigned_abs())
}

impl Service {
    pub(crate) fn start() -> Outcome<Self> {
        let kind = Kind::mariadb();
        println!("MariaDB {}", kind.version());
        let server = Server::start_with(kind, &["--max-connections=4000"]);
        let pid = server.pid().as_raw_nonzero().get();
        let clock = clock_getcpuclockid(Pid::from_raw(pid)).map_err(text)?;
        let runtime = current_thread();
        let control = runtime.block_on(Session::open(&server.socket()))?;
        Ok(Self { server, clock, runtime, control })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.server.socket()
    }

    /// What to tell keyward.
    pub(crate) fn url(&self, query: &str) -> String {
        format!("{}&{query}", self.server.url())
    }

    /// Processor time of the server, in nanoseconds.
    pub(crate) fn time(&self) -> Outcome<u64> {
        nanoseconds(self.clock)
    }

    /// Bytes of memory that the server has touched.
    pub(crate) fn resident(&self) -> Outcome<u64> {
        let pid = self.server.pid().as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(text)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kib.parse::<u64>().map_err(text)? * 1024)
    }

    /// One of its counters.
    pub(crate) fn counter(&mut self, name: &str) -> Outcome<u64> {
        let sql = format!(
            "SELECT CAST(VARIABLE_VALUE AS SIGNED) FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME = '{name}'"
        );
        let value = self.runtime.block_on(self.control.number(sql))?;
        Ok(value.ok_or("no such counter")?.unsigned_abs())
    }

    /// From now on it looks for the most sessions at one time.
    pub(crate) fn forget_the_most(&mut self) -> Outcome<()> {
        self.runtime.block_on(self.control.run("FLUSH STATUS"))
    }

    /// Waits until nobody is connected but we.
    pub(crate) fn settle(&mut self) -> Outcome<()> {
        for _ in 0..2_000 {
            if self.counter("THREADS_CONNECTED")? <= 1 {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Err("sessions do not go".to_owned())
    }
}
