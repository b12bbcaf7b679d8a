//! What stands in a lock file: who held it last, and which fencing tokens are taken. A **wire format**
//! (golden values: `tests/file/record.rs`).
//!
//! The lock is the kernel's and does not need a byte of this; a file that Python has made is empty.
//! One record of 64 bytes at offset 0, little-endian, written by the exclusive holder only:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `KWRD` |
//! | 4 | 4 | version, 1 |
//! | 8 | 8 | the last fencing token that is taken |
//! | 16 | 8 | the last token up to which the disk knows; 0 if that is not kept |
//! | 24 | 8 | when it was written, in µs since 1970 |
//! | 32 | 4 | process |
//! | 36 | 4 | when that process began, in clock ticks since boot, low half |
//! | 40 | 4 | which boot of the machine |
//! | 44 | 16 | the host's name, cut, filled with zeroes |
//! | 60 | 4 | CRC-32 of the 60 bytes before |
//!
//! A killed writer cannot tear it, since it lies within one page; who reads without the lock may see
//! half of a write, and the checksum tells.
#![forbid(unsafe_code)]

use std::{
    fs,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::ofd;
use crate::{contract::Owner, token::FencingToken};

pub(super) const LEN: usize = 64;
const MAGIC: &[u8; 4] = b"KWRD";
const VERSION: u32 = 1;

/// A record, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) token: u64,
    pub(super) durable: u64,
    pub(super) since: u64,
    pub(super) process: Process,
}

/// A process, so that a later one with its number is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) started: u32,
    pub(super) boot: u32,
    pub(super) host: [u8; 16],
}

impl Process {
    /// This one.
    pub(super) fn this() -> Self {
        static THIS: Mutex<Option<(u32, Process)>> = Mutex::new(None);
        let mut this = THIS.lock().unwrap_or_else(PoisonError::into_inner);
        let forks = ofd::forks();
        match *this {
            Some((made, process)) if made == forks => process,
            _ => {
                let pid = std::process::id();
                let (boot, host) = (Self::this_boot(), host());
                let process = Self { pid, started: started(pid).unwrap_or(0), boot, host };
                *this = Some((forks, process));
                process
            }
        }
    }

    /// This boot of the machine.
    pub(super) fn this_boot() -> u32 {
        static BOOT: OnceLock<u32> = OnceLock::new();
        *BOOT.get_or_init(|| {
            let id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
            crc32fast::hash(id.trim_ascii())
        })
    }

    /// Whether it may still run: false only if it certainly does not.
    fn may_run(&self) -> bool {
        let this = Self::this();
        if self.host != this.host {
            return true; // nothing is known of other hosts
        }
        self.boot == this.boot && started(self.pid) == Some(self.started)
    }
}

fn host() -> [u8; 16] {
    let mut host = [0; 16];
    let name = rustix::system::uname();
    for (to, from) in host.iter_mut().zip(name.nodename().to_bytes()) {
        *to = *from;
    }
    host
}

/// When a process began, in clock ticks since boot; none if there is none.
fn started(pid: u32) -> Option<u32> {
    beginning(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The same, out of what the kernel says of it.
pub(super) fn beginning(stat: &[u8]) -> Option<u32> {
    // The second field is the program's name in parentheses, and may contain anything.
    let end = stat.iter().rposition(|&b| b == b')')?;
    let rest = str::from_utf8(&stat[end + 1..]).ok()?;
    let ticks: u64 = rest.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(ticks as u32)
}

/// Now, in µs since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

impl Record {
    pub(super) fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.token.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.since.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.process.pid.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.process.started.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.process.boot.to_le_bytes());
        bytes[44..60].copy_from_slice(&self.process.host);
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None if it is no record: empty, torn, or somebody else's.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.get(..LEN)?.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        if &bytes[..4] != MAGIC || word(4) != VERSION || word(60) != crc32fast::hash(&bytes[..60]) {
            return None;
        }
        let mut host = [0; 16];
        host.copy_from_slice(&bytes[44..60]);
        let process = Process { pid: word(32), started: word(36), boot: word(40), host };
        Some(Self { token: long(8), durable: long(16), since: long(24), process })
    }

    /// Who that is, if the process may still be there.
    pub(super) fn owner(&self) -> Option<Owner> {
        if !self.process.may_run() {
            return None;
        }
        let host = self.process.host.split(|&b| b == 0).next().unwrap_or_default();
        Some(Owner {
            pid: Some(self.process.pid),
            host: Some(String::from_utf8_lossy(host).into_owned()),
            since: UNIX_EPOCH.checked_add(Duration::from_micros(self.since)),
            token: Some(FencingToken::new(self.token)),
            ..Owner::default()
        })
    }
}
