//! Draws where keyward stands beside its peers, from what the benches have printed.
//!
//! ```text
//! picture FOLDER PICTURE    FOLDER has registry.txt, file.txt and mysql.txt; PICTURE is an SVG
//! ```
//!
//! `scripts/picture` makes those files, and then calls this. What the picture has of words is here: which
//! rows of which tables stand in it, and what they are called there. Every number is read; the same files
//! give the same bytes.
#![allow(missing_docs, reason = "a program")]

mod chart;
mod output;

use std::{collections::BTreeMap, env, fs, path::Path, process::ExitCode};

use crate::{
    chart::{Bar, Chart, Kind, Picture},
    output::{Found, Output},
};

/// A chart, and where its numbers are.
struct Panel {
    bench: &'static str,
    workload: &'static str,
    column: &'static str,
    title: &'static str,
    /// What a bar is, and what its number means.
    meaning: &'static str,
    unit: &'static str,
    /// Contestants as the bench calls them, as the picture does, and what they are.
    rows: &'static [(&'static str, &'static str, Kind)],
}

const PANELS: [Panel; 3] = [
    Panel {
        bench: "registry",
        workload: "hot, CT",
        column: "x T",
        title: "Between tasks: LockRegistry",
        meaning: "lock and unlock one free name, again and again; 1 = tokio's bare Mutex, which has no name to find",
        unit: "×",
        rows: &[
            ("keyward", "keyward", Kind::Ours),
            ("tokio Mutex, no key (T)", "tokio::sync::Mutex, no name", Kind::Floor),
            ("amalgam-cache KeyedLock 0.4", "amalgam-cache 0.4", Kind::Peer),
            ("key-lock 0.1", "key-lock 0.1", Kind::Peer),
            ("DashMap of Arc<Mutex>, cleaned", "by hand, DashMap of Arc<Mutex>", Kind::Peer),
            ("lockable 0.2, Arc<str>", "lockable 0.2", Kind::Peer),
            ("keyed-lock 0.2, Arc<str>", "keyed-lock 0.2", Kind::Peer),
            ("async-named-locker 0.1", "async-named-locker 0.1", Kind::Peer),
            ("key-mutex 0.1", "key-mutex 0.1", Kind::Peer),
        ],
    },
    Panel {
        bench: "file",
        workload: "hand-over (us from release to acquisition)",
        column: "p50",
        title: "Between processes: Locks on file:///directory",
        meaning: "hand-over to a process that has waited for 1 to 200 ms, from release to acquisition, median",
        unit: " µs",
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
    Panel {
        bench: "mysql",
        workload: "uncontended, current-thread runtime",
        column: "x T",
        title: "Between hosts: Locks on mysql://host/database",
        meaning: "acquire and release one free name, again and again; 1 = one round trip, SELECT 1, to a MariaDB on the same machine",
        unit: "×",
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

impl Panel {
    fn chart(&self, output: &Output) -> Result<Chart, String> {
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
        let source = format!("{}, {}", output.head("command")?, output.head("date")?);
        Ok(Chart {
            title: self.title,
            meaning: self.meaning,
            unit: self.unit,
            bars,
            missing,
            source,
        })
    }
}

/// The picture of what a folder has.
fn picture(folder: &Path) -> Result<String, String> {
    let mut outputs = BTreeMap::new();
    for bench in PANELS.map(|panel| panel.bench) {
        let path = folder.join(format!("{bench}.txt"));
        let origin = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|error| format!("{origin}: {error}"))?;
        outputs.insert(bench, Output::parse(&origin, &text)?);
    }
    let mut machines: Vec<_> =
        outputs.values().map(|output| output.head("machine")).collect::<Result<_, _>>()?;
    machines.dedup();
    let [machine] = machines[..] else {
        return Err(format!("one picture of several machines: {machines:?}"));
    };
    let charts: Result<_, _> =
        PANELS.iter().map(|panel| panel.chart(&outputs[panel.bench])).collect();
    let picture = Picture {
        title: "keyward beside its peers",
        subtitle: "shorter is better, on logarithmic scales; grey is the bare call without a name, or without a library",
        charts: charts?,
        footer: format!("{machine}; docs/bench has the outputs, and the versions of everything"),
    };
    picture.svg().map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [folder, path] = &arguments[..] else {
        eprintln!("usage: picture FOLDER PICTURE");
        return ExitCode::from(64);
    };
    let drawn = picture(Path::new(folder))
        .and_then(|svg| fs::write(path, svg).map_err(|error| format!("{path}: {error}")));
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{PANELS, picture};
    use crate::output::Output;

    fn docs() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
    }

    #[test]
    fn the_picture_is_of_the_runs_that_are_kept() {
        let drawn = picture(&docs().join("bench")).unwrap();
        let kept = fs::read_to_string(docs().join("peers.svg")).unwrap();
        assert!(drawn == kept, "it is an old one: scripts/picture --draw");
        assert!(drawn.len() < 60_000, "{} bytes", drawn.len());
    }

    #[test]
    fn a_peer_may_be_missing_and_is_told_and_others_may_not() {
        let panel = &PANELS[1];
        let text = fs::read_to_string(docs().join("bench/file.txt")).unwrap();
        let (before, after) = text.split_once(&format!("{}\n", panel.workload)).unwrap();
        let chart = |contestant: &str| {
            let excuse = format!("n/a: {contestant}: it is tired");
            let text = format!("{before}{}\n{excuse}\n{after}", panel.workload);
            panel.chart(&Output::parse("some.txt", &text).unwrap())
        };
        let (std, label, _) = panel.rows[2];
        let without = chart(std).unwrap();
        assert!(without.missing.contains(&label));
        assert!(without.bars.iter().all(|bar| bar.label != label));
        let (ours, ..) = panel.rows[0];
        assert!(chart(ours).unwrap_err().contains(ours));
    }
}
