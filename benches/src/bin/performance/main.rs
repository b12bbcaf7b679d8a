//! Draws and writes what keyward's benches have printed: the README's picture, the charts, and the tables of
//! the pages about performance and scale.
//!
//! ```text
//! performance DOCS                       DOCS/bench has a file for each bench; writes DOCS/peers.svg,
//!                                        DOCS/charts/, and between the markers of DOCS/performance.md and
//!                                        DOCS/scale.md
//! performance --compare KEPT COUNTED     whether figures of COUNTED are more than those of KEPT
//! ```
//!
//! `scripts/bench` makes those files, and then calls this. What is drawn has its words in `peers.rs` and
//! `curves.rs`. Every number is read; the same files give the same bytes.
#![allow(missing_docs, reason = "a program")]

mod bars;
mod curves;
mod dots;
mod figures;
mod lines;
mod output;
mod page;
mod peers;
mod picture;
mod scale;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    output::Output,
    page::{Runs, Shown},
    peers::{BarPanel, MEMORY_PANELS, PEERS},
    picture::{Panel, Picture},
};

/// In the folder of docs.
const PAGES: [&str; 2] = ["performance.md", "scale.md"];

/// In the folder of the runs, but no bench's output: counts that are accepted.
const COUNTS: &str = "instructions";

/// A picture, and where it goes.
struct Chart {
    name: &'static str,
    title: &'static str,
    subtitle: &'static str,
    panels: Panels,
}

enum Panels {
    Bars(&'static [BarPanel]),
    /// One, from the run of a bench.
    Curve(&'static str, fn(&Output) -> Result<Panel, String>),
}

const CHARTS: [Chart; 6] = [
    Chart {
        name: "peers",
        title: "keyward beside its peers",
        subtitle: "shorter is better, on logarithmic scales; grey is the bare call without a name, or without a library",
        panels: Panels::Bars(&PEERS),
    },
    Chart {
        name: "registry",
        title: "Locks between tasks, beside their peers",
        subtitle: "each workload once a round for everybody, median of the ratios within a round, on a logarithmic scale",
        panels: Panels::Curve("registry", curves::registry),
    },
    Chart {
        name: "memory",
        title: "Memory of locks between tasks",
        subtitle: "shorter is better; bytes that were asked for, without what the allocator adds",
        panels: Panels::Bars(&MEMORY_PANELS),
    },
    Chart {
        name: "hand-over",
        title: "Hand-over between processes",
        subtitle: "the whole distribution: from one in a hundred to the slowest of all",
        panels: Panels::Curve("file", curves::hand_over),
    },
    Chart {
        name: "mysql-throughput",
        title: "One name on a server",
        subtitle: "with and without handing a hold over to the next task of the process; both scales are logarithmic",
        panels: Panels::Curve("mysql", curves::throughput),
    },
    Chart {
        name: "mysql-sessions",
        title: "Sessions on a server",
        subtitle: "both scales are logarithmic",
        panels: Panels::Curve("mysql", curves::sessions),
    },
];

impl Chart {
    /// From the folder of the page.
    fn path(&self) -> String {
        // The README's own is where it always was.
        let folder = if self.name == "peers" { "" } else { "charts/" };
        format!("{folder}{}.svg", self.name)
    }

    fn svg(&self, runs: &Runs) -> Result<String, String> {
        let run = |bench| runs.get(bench).ok_or_else(|| format!("no run of {bench} is kept"));
        let (mut machines, mut notes) = (Vec::new(), Vec::new());
        let mut of = |bench| {
            let run = run(bench)?;
            machines.push(run.head("machine")?);
            notes.extend(run.head("note").ok());
            Ok::<_, String>(run)
        };
        let panels = match &self.panels {
            Panels::Bars(bars) => {
                bars.iter().map(|bars| bars.panel(of(bars.bench)?)).collect::<Result<_, _>>()?
            }
            Panels::Curve(bench, panel) => vec![panel(of(bench)?)?],
        };
        machines.dedup();
        notes.dedup();
        let [machine] = machines[..] else {
            return Err(format!("one picture of several machines: {machines:?}"));
        };
        // What is to be said of a run is said wherever it is shown.
        let footer = match notes[..] {
            [] => format!("{machine}; docs/bench has the outputs, and the versions of everything"),
            _ => format!("{machine}. {}", notes.join(" ")),
        };
        let picture = Picture { title: self.title, subtitle: self.subtitle, panels, footer };
        picture.svg().map_err(|error| error.to_string())
    }
}

/// The runs of a folder: each file that is there counts, or something would be left out in silence.
fn runs(folder: &Path) -> Result<Runs, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut runs = Runs::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let bench = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "txt") && bench != COUNTS {
            runs.insert(bench, Output::parse(&path.display().to_string(), &read(&path)?)?);
        }
    }
    Ok(runs)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// All that is to be in a folder of docs, by its path there.
fn written(docs: &Path) -> Result<BTreeMap<PathBuf, String>, String> {
    let runs = runs(&docs.join("bench"))?;
    let (mut files, mut shown) = (BTreeMap::new(), BTreeMap::new());
    for chart in &CHARTS {
        let path = chart.path();
        files.insert(path.clone().into(), chart.svg(&runs)?);
        let words = format!("{}: {}.", chart.title, chart.subtitle);
        shown.insert(chart.name, Shown { path, words });
    }
    let mut pages = Vec::new();
    for page in PAGES {
        pages.push(page::filled(&read(&docs.join(page))?, &runs, &shown)?);
    }
    if let Some(bench) = page::forgotten(&pages, &runs) {
        return Err(format!("no page has a part \"figures {bench}\""));
    }
    files.extend(PAGES.map(PathBuf::from).into_iter().zip(pages));
    Ok(files)
}

fn write(docs: &Path) -> Result<(), String> {
    for (path, text) in written(docs)? {
        let path = docs.join(path);
        let failed = |error| format!("{}: {error}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(docs)).map_err(failed)?;
        fs::write(&path, text).map_err(failed)?;
    }
    Ok(())
}

fn compare(kept: &str, counted: &str) -> Result<(), String> {
    println!("{}", figures::compare(&read(Path::new(kept))?, &read(Path::new(counted))?)?);
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--compare", kept, counted] => compare(kept, counted),
        [docs] if !docs.starts_with('-') => write(Path::new(docs)),
        _ => {
            eprintln!("usage: performance DOCS | --compare KEPT COUNTED");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{PEERS, written};
    use crate::output::Output;

    fn docs() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
    }

    #[test]
    fn pictures_and_page_are_of_the_runs_that_are_kept() {
        let files = written(&docs()).unwrap();
        assert!(files.len() > 6, "{:?}", files.keys());
        for (path, text) in &files {
            let kept = fs::read_to_string(docs().join(path)).unwrap_or_default();
            assert!(*text == kept, "{}: it is an old one: scripts/bench --draw", path.display());
            assert!(text.len() < 80_000, "{}: {} bytes", path.display(), text.len());
        }
    }

    #[test]
    fn no_chart_is_left_of_what_is_no_longer_drawn() {
        let files = written(&docs()).unwrap();
        let drawn: BTreeSet<_> = files.keys().map(|path| docs().join(path)).collect();
        let mut count = 0;
        for entry in fs::read_dir(docs().join("charts")).unwrap() {
            let path = entry.unwrap().path();
            assert!(drawn.contains(&path), "{}: nobody draws it", path.display());
            count += 1;
        }
        assert!(count > 4, "{count} charts");
    }

    #[test]
    fn a_peer_may_be_missing_and_is_told_and_others_may_not() {
        let panel = &PEERS[1];
        let text = fs::read_to_string(docs().join("bench/file.txt")).unwrap();
        let (before, after) = text.split_once(&format!("{}\n", panel.workload)).unwrap();
        let chart = |contestant: &str| {
            let excuse = format!("n/a: {contestant}: it is tired");
            let text = format!("{before}{}\n{excuse}\n{after}", panel.workload);
            panel.panel(&Output::parse("some.txt", &text).unwrap())
        };
        let (std, label, _) = panel.rows[2];
        let without = chart(std).unwrap();
        assert!(without.missing.contains(&label));
        let drawn = format!("{:?}", without.body);
        assert!(!drawn.contains(label) && drawn.contains(panel.rows[3].1), "{drawn}");
        let (ours, ..) = panel.rows[0];
        assert!(chart(ours).unwrap_err().contains(ours));
    }
}
