//! Bars of keyward and its peers: which rows of which tables, and what they are called. What the pictures have
//! of words is here and in `curves.rs`; every number is read.

use crate::{
    bars::{Bar, Bars},
    output::{Found, Output},
    picture::{Kind, Panel},
    scale,
};

/// A panel of bars, and where its numbers are.
pub(crate) struct BarPanel {
    pub(crate) bench: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) column: &'static str,
    pub(crate) title: &'static str,
    /// What a bar is, and what its number means.
    pub(crate) meaning: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) scale: scale::Kind,
    pub(crate) rows: &'static [Contestant],
}

/// As the bench calls him, as the picture does, and what he is.
pub(crate) type Contestant = (&'static str, &'static str, Kind);

// Between tasks, on more than one picture.
pub(crate) const KEYWARD: Contestant = ("keyward", "keyward", Kind::Ours);
pub(crate) const AMALGAM: Contestant =
    ("amalgam-cache KeyedLock 0.4", "amalgam-cache 0.4", Kind::Peer);
pub(crate) const LOCKABLE: Contestant = ("lockable 0.2, Arc<str>", "lockable 0.2", Kind::Peer);
pub(crate) const KEYED_LOCK: Contestant =
    ("keyed-lock 0.2, Arc<str>", "keyed-lock 0.2", Kind::Peer);
pub(crate) const KEY_LOCK: Contestant = ("key-lock 0.1", "key-lock 0.1", Kind::Peer);
pub(crate) const NAMED_LOCKER: Contestant =
    ("async-named-locker 0.1", "async-named-locker 0.1", Kind::Peer);
pub(crate) const KEY_MUTEX: Contestant = ("key-mutex 0.1", "key-mutex 0.1", Kind::Peer);
const BY_HAND: Contestant =
    ("DashMap of Arc<Mutex>, cleaned", "by hand, DashMap of Arc<Mutex>", Kind::Peer);

/// In the README.
pub(crate) const PEERS: [BarPanel; 3] = [
    BarPanel {
        bench: "registry",
        workload: "hot, CT",
        column: "x T",
        title: "Between tasks: LockRegistry",
        meaning: "lock and unlock one free name, again and again; 1 = tokio's bare Mutex, which has no name to find",
        unit: "×",
        scale: scale::Kind::Logarithmic,
        rows: &[
            KEYWARD,
            ("tokio Mutex, no key (T)", "tokio::sync::Mutex, no name", Kind::Floor),
            AMALGAM,
            KEY_LOCK,
            BY_HAND,
            LOCKABLE,
            KEYED_LOCK,
            NAMED_LOCKER,
            KEY_MUTEX,
        ],
    },
    BarPanel {
        bench: "file",
        workload: "hand-over (us from release to acquisition)",
        column: "p50",
        title: "Between processes: Locks on file:///directory",
        meaning: "hand-over to a process that has waited for 1 to 200 ms, from release to acquisition, median",
        unit: " µs",
        scale: scale::Kind::Logarithmic,
        rows: &[
            ("keyward, current-thread runtime, parked 1 to 200 ms", "keyward", Kind::Ours),
            (
                "bare F_OFD_SETLKW (B), parked 1 to 200 ms",
                "bare system call, a blocked thread",
                Kind::Floor,
            ),
            (
                "std File::lock in spawn_blocking, parked 1 to 200 ms",
                "std File::lock in spawn_blocking",
                Kind::Peer,
            ),
            ("fasteners 0.20 (Python), parked 1 to 200 ms", "fasteners 0.20 (Python)", Kind::Peer),
            (
                "distributed-lock-file 0.2, parked 1 to 200 ms",
                "distributed-lock-file 0.2",
                Kind::Peer,
            ),
        ],
    },
    BarPanel {
        bench: "mysql",
        workload: "uncontended, current-thread runtime",
        column: "x T",
        title: "Between hosts: Locks on mysql://host/database",
        meaning: "acquire and release one free name, again and again; 1 = one round trip, SELECT 1, to a MariaDB on the same machine",
        unit: "×",
        scale: scale::Kind::Logarithmic,
        rows: &[
            ("keyward, release awaited", "keyward", Kind::Ours),
            // Prepared, and so a little below the same calls without.
            (
                "naive, one session kept, prepared",
                "GET_LOCK, RELEASE_LOCK, session kept",
                Kind::Floor,
            ),
            ("naive, a connection for each lock", "by hand, a session for each lock", Kind::Peer),
            ("tooz 9.1 (Python), one lock kept", "tooz 9.1 (Python), lock kept", Kind::Peer),
            (
                "tooz 9.1 (Python), a lock each time, as Cinder does",
                "tooz 9.1 (Python), as Cinder does",
                Kind::Peer,
            ),
        ],
    },
];

const MEMORY: &str = "memory (allocations per operation; bytes that were asked for)";
const WHO: &[Contestant] =
    &[KEYWARD, BY_HAND, AMALGAM, LOCKABLE, KEYED_LOCK, KEY_LOCK, NAMED_LOCKER, KEY_MUTEX];

pub(crate) const MEMORY_PANELS: [BarPanel; 2] = [
    BarPanel {
        bench: "registry",
        workload: MEMORY,
        column: "one held",
        title: "One held name",
        meaning: "bytes on the heap for each of 10,000 held names of 40 bytes, and the guard; what is shared by Arc<str> is not counted",
        unit: " B",
        scale: scale::Kind::Linear,
        rows: WHO,
    },
    BarPanel {
        bench: "registry",
        workload: MEMORY,
        column: "one waiter",
        title: "One waiter",
        meaning: "bytes of the future that waits, and what it has on the heap",
        unit: " B",
        scale: scale::Kind::Linear,
        rows: WHO,
    },
];

impl BarPanel {
    pub(crate) fn panel(&self, output: &Output) -> Result<Panel, String> {
        let (mut bars, mut missing) = (Vec::new(), Vec::new());
        for (contestant, label, kind) in self.rows {
            match output.find(self.workload, self.column, contestant)? {
                Found::Measured(value) => bars.push(Bar { label, kind: *kind, value }),
                Found::NotMeasured if *kind == Kind::Peer => missing.push(*label),
                Found::NotMeasured => {
                    return Err(format!("{}: {contestant:?} was not measured", self.bench));
                }
            }
        }
        bars.sort_by(|a, b| a.value.total_cmp(&b.value));
        let body = Box::new(Bars { scale: self.scale, unit: self.unit, bars });
        let (title, meaning) = (self.title, self.meaning);
        Ok(Panel { title, meaning, body, missing, source: output.source()? })
    }
}
