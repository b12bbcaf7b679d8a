//! What is drawn with dots and lines: which rows of which tables, and what they are called.

use crate::{
    dots::{Dots, Row},
    lines::{Axis, Line, Lines},
    output::{Found, Output},
    peers::{
        AMALGAM, Contestant, KEY_LOCK, KEY_MUTEX, KEYED_LOCK, KEYWARD, LOCKABLE, NAMED_LOCKER,
    },
    picture::{Kind, Panel},
    scale::Scale,
};

/// Workloads of the registry, and what they are.
const WORKLOADS: [(&str, &str); 18] = [
    ("hot, CT", "one free name, again and again"),
    ("hot, MT", "the same on a runtime of two workers"),
    ("fresh, CT", "a new name each time"),
    ("read, CT", "shared, one free name"),
    ("write, CT", "exclusive, beside an RwLock"),
    ("try free", "try, free"),
    ("try busy", "try, held"),
    ("timeout, CT", "with a limit of 5 s"),
    ("four keys, CT", "four names at once"),
    ("cancel, CT", "4,000 queued futures dropped"),
    ("two keys, MT", "two workers, two names"),
    ("same key, MT", "two workers, one name"),
    ("same key, yield, CT", "two tasks, one name, a yield"),
    ("same key, yield, MT", "the same on two workers"),
    ("one key, 64 tasks, CT", "64 tasks, one name"),
    ("one key, 64 tasks, MT", "the same on two workers"),
    ("many keys, CT", "10,000 tasks, 1,000 names (1 = no lock)"),
    ("many keys, MT", "the same on two workers"),
];

/// Who is in the dots of the registry.
const CONTESTANTS: [Contestant; 10] = [
    KEYWARD,
    ("tokio RwLock, no key", "tokio::sync::RwLock, no name", Kind::Floor),
    ("DashMap of Arc<Mutex>, leaks", "DashMap of Arc<Mutex>, leaks", Kind::Peer),
    ("DashMap of Arc<Mutex>, cleaned", "DashMap of Arc<Mutex>, cleaned", Kind::Peer),
    AMALGAM,
    LOCKABLE,
    KEYED_LOCK,
    KEY_LOCK,
    NAMED_LOCKER,
    KEY_MUTEX,
];

pub(crate) fn registry(output: &Output) -> Result<Panel, String> {
    let mut rows = Vec::new();
    for (workload, label) in WORKLOADS {
        let table = output.table(workload)?;
        let value = |(name, _, kind): &(&'static str, _, Kind)| {
            // Not all can do all of it; that we can is not left to chance.
            if *kind != Kind::Ours && table.rows.iter().all(|(other, _)| other != name) {
                return Ok(None);
            }
            match output.find(workload, "x T", name)? {
                Found::Measured(value) => Ok(Some(value)),
                Found::NotMeasured => Ok(None),
            }
        };
        let values = CONTESTANTS.iter().map(value).collect::<Result<_, String>>()?;
        rows.push(Row { label, values });
    }
    let contestants = CONTESTANTS.map(|(_, label, kind)| (label, kind)).into();
    Ok(Panel {
        title: "Tasks of one process: LockRegistry",
        meaning: "time of one operation; 1 = the same with a bare tokio::sync::Mutex, which has no name to find; further left is better",
        body: Box::new(Dots { unit: "×", rows, contestants }),
        missing: Vec::new(),
        source: output.source()?,
    })
}

/// What a line will be made of.
struct Values {
    label: &'static str,
    kind: Kind,
    values: Vec<f64>,
}

impl Values {
    /// With what gives each value its place.
    fn line(self, point: impl Fn(usize, f64) -> (f64, f64)) -> Line {
        let points = self.values.into_iter().enumerate().map(|(n, value)| point(n, value));
        Line { label: self.label, kind: self.kind, points: points.collect() }
    }
}

/// The values of each contestant, one from each column, and who has none.
fn values(
    output: &Output,
    workload: &str,
    columns: &[(&str, f64)],
    contestants: &[Contestant],
) -> Result<(Vec<Values>, Vec<&'static str>), String> {
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for (contestant, label, kind) in contestants {
        let values: Result<Vec<Found>, String> =
            columns.iter().map(|(column, _)| output.find(workload, column, contestant)).collect();
        let mut measured = Vec::new();
        for value in values? {
            if let Found::Measured(value) = value {
                measured.push(value);
            }
        }
        if measured.len() == columns.len() {
            all.push(Values { label, kind: *kind, values: measured });
        } else if *kind == Kind::Peer {
            missing.push(*label);
        } else {
            return Err(format!("{workload:?}: {contestant:?} was not measured"));
        }
    }
    Ok((all, missing))
}

/// One that all points of all lines are on.
fn scale(lines: &[Line], of: fn(&(f64, f64)) -> f64) -> Scale {
    Scale::of_points(lines.iter().flat_map(|line| &line.points).map(of))
}

pub(crate) fn hand_over(output: &Output) -> Result<Panel, String> {
    const PERCENTS: [(&str, f64); 10] = [
        ("p1", 1.0),
        ("p5", 5.0),
        ("p10", 10.0),
        ("p25", 25.0),
        ("p50", 50.0),
        ("p75", 75.0),
        ("p90", 90.0),
        ("p95", 95.0),
        ("p99", 99.0),
        ("max", 100.0),
    ];
    let (all, missing) = values(
        output,
        "hand-over (us from release to acquisition)",
        &PERCENTS,
        &[
            ("bare F_OFD_SETLKW (B), parked 1 to 200 ms", "blocking F_OFD_SETLKW", Kind::Floor),
            ("keyward, current-thread runtime, parked 1 to 200 ms", "keyward", Kind::Ours),
            (
                "std File::lock in spawn_blocking, parked 1 to 200 ms",
                "File::lock, spawn_blocking",
                Kind::Peer,
            ),
            ("fasteners 0.20 (Python), parked 1 to 200 ms", "fasteners 0.20 (Python)", Kind::Peer),
            (
                "distributed-lock-file 0.2, parked 1 to 200 ms",
                "distributed-lock-file 0.2",
                Kind::Peer,
            ),
        ],
    )?;
    // How many percent are no later than that.
    let along = |n: usize, us| (us, PERCENTS[n].1);
    let lines: Vec<Line> = all.into_iter().map(|values| values.line(along)).collect();
    let scale = scale(&lines, |(us, _)| *us);
    Ok(Panel {
        title: "From release to acquisition: Locks on file:///directory",
        meaning: "two processes; the waiter has waited for 1 to 200 ms. The share of hand-overs that took no longer; further left is better",
        body: Box::new(Lines {
            across: Axis { title: "latency, logarithmic", unit: " µs", scale, ticks: Vec::new() },
            up: Axis {
                title: "share of hand-overs",
                unit: " %",
                scale: Scale::linear(0.0, 100.0),
                ticks: vec![1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 100.0],
            },
            lines,
        }),
        missing,
        source: output.source()?,
    })
}

/// A chart over numbers that are the names of a table's columns, both axes logarithmic.
struct Over {
    workload: &'static str,
    columns: &'static [(&'static str, f64)],
    contestants: &'static [Contestant],
    title: &'static str,
    meaning: &'static str,
    across: &'static str,
    up: &'static str,
}

impl Over {
    fn panel(&self, output: &Output) -> Result<Panel, String> {
        let (all, missing) = values(output, self.workload, self.columns, self.contestants)?;
        let up = |n: usize, value| (self.columns[n].1, value);
        let lines: Vec<Line> = all.into_iter().map(|values| values.line(up)).collect();
        let ticks: Vec<f64> = self.columns.iter().map(|(_, number)| *number).collect();
        let numbers = Scale::of_points(ticks.iter().copied());
        Ok(Panel {
            title: self.title,
            meaning: self.meaning,
            body: Box::new(Lines {
                across: Axis { title: self.across, unit: "", scale: numbers, ticks },
                up: Axis {
                    title: self.up,
                    unit: "",
                    scale: scale(&lines, |(_, value)| *value),
                    ticks: Vec::new(),
                },
                lines,
            }),
            missing,
            source: output.source()?,
        })
    }
}

pub(crate) fn throughput(output: &Output) -> Result<Panel, String> {
    let over = Over {
        workload: "waiters, all (locks a second, over the number of tasks)",
        columns: &[("1", 1.0), ("4", 4.0), ("16", 16.0), ("64", 64.0), ("256", 256.0)],
        contestants: &[
            ("keyward, lease dropped", "keyward, lease dropped", Kind::Ours),
            ("keyward, release awaited", "keyward, release awaited", Kind::Peer),
            ("keyward without hand-over, lease dropped", "no hand-over, lease dropped", Kind::Peer),
            (
                "keyward without hand-over, release awaited",
                "no hand-over, release awaited",
                Kind::Peer,
            ),
            ("naive, a session for each task (T)", "by hand, a session for each task", Kind::Floor),
        ],
        title: "Ever more tasks on one name: Locks on mysql://host/database",
        meaning: "locks a second of all tasks of one process together, on a MariaDB on the same machine; higher is better",
        across: "tasks that want the name all the time",
        up: "locks a second",
    };
    over.panel(output)
}

pub(crate) fn sessions(output: &Output) -> Result<Panel, String> {
    let over = Over {
        workload: "sessions over names held",
        columns: &[("1", 1.0), ("10", 10.0), ("100", 100.0), ("1000", 1000.0)],
        contestants: &[
            ("keyward, all asked for at once", "keyward", Kind::Ours),
            ("naive, a session for each", "by hand, a session for each", Kind::Peer),
        ],
        title: "Ever more names held at once: Locks on mysql://host/database",
        meaning: "sessions at the server while one process holds so many names; lower is better",
        across: "names held",
        up: "sessions",
    };
    over.panel(output)
}
