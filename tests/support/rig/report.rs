//! What comes of a row: how often it ran, what it found, how long it took; and the line that says so.

use std::{collections::BTreeMap, time::Duration};

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) runs: usize,
    pub(crate) violations: Vec<String>,
    /// By what is measured.
    pub(crate) times: BTreeMap<&'static str, Vec<Duration>>,
    /// What half of them must not exceed, of those that are bounded.
    pub(crate) usual: BTreeMap<&'static str, Duration>,
    pub(crate) notes: Vec<String>,
    /// Why it has not run, if this machine does not let it.
    pub(crate) not_run: Option<String>,
    /// Lines of the row's own, printed before.
    pub(crate) table: Vec<String>,
}

impl Outcome {
    /// What usually took longer than it may. One that is late is a busy machine's, but not half of them.
    pub(crate) fn late(&self) -> Vec<String> {
        let late = self.usual.iter().filter_map(|(what, &limit)| {
            let mut times = self.times.get(what)?.clone();
            times.sort();
            let usual = percentile(&times, 50);
            (usual > limit).then(|| format!("{what} usually took {usual:?}, more than {limit:?}"))
        });
        late.collect()
    }

    /// One line for each thing that was measured, or one without times.
    pub(crate) fn lines(&self, row: &str, backend: &str, name: &str) -> Vec<String> {
        let start = format!(
            "fault {row} {backend} runs {} violations {}",
            self.runs,
            self.violations.len()
        );
        let not_run = self.not_run.iter().map(|why| format!("; not run: {why}"));
        let notes = self.notes.iter().map(|note| format!("; {note}"));
        let notes: String = not_run.chain(notes).collect();
        if self.times.is_empty() {
            return vec![format!("{start} p50 - p99 - max - # {name}{notes}")];
        }
        let line = |(i, (what, times)): (usize, (&&str, &Vec<Duration>))| {
            let mut times = times.clone();
            times.sort();
            let [p50, p99, max] = [50, 99, 100].map(|part| shown(percentile(&times, part)));
            let notes = if i == 0 { notes.as_str() } else { "" };
            format!("{start} p50 {p50} p99 {p99} max {max} # {name}: {what}{notes}")
        };
        self.times.iter().enumerate().map(line).collect()
    }
}

/// Of sorted times: the smallest that at least so many of a hundred do not exceed.
fn percentile(sorted: &[Duration], part: usize) -> Duration {
    sorted[(sorted.len() * part).div_ceil(100).max(1) - 1]
}

fn shown(time: Duration) -> String {
    match time.as_nanos() {
        0..1_000_000 => format!("{} µs", time.as_micros()),
        1_000_000..1_000_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[test]
fn lines_are_as_agreed() {
    let mut outcome = Outcome { runs: 3, ..Outcome::default() };
    let line = outcome.lines("9", "file", "a cut");
    assert_eq!(line, ["fault 9 file runs 3 violations 0 p50 - p99 - max - # a cut"]);
    let none = Outcome { not_run: Some("no tool".to_owned()), ..Outcome::default() };
    let line = none.lines("9", "file", "a cut");
    let expected = "fault 9 file runs 0 violations 0 p50 - p99 - max - # a cut; not run: no tool";
    assert_eq!(line, [expected]);
    let times = (1..=100).map(Duration::from_millis).chain([Duration::from_micros(15)]);
    outcome.times.insert("told", times.collect());
    outcome.notes.push("noted".to_owned());
    outcome.violations.push("two holders".to_owned());
    let line = outcome.lines("9", "file", "a cut");
    let expected = "fault 9 file runs 3 violations 1 p50 50.0 ms p99 99.0 ms max 100.0 ms \
        # a cut: told; noted";
    assert_eq!(line, [expected]);
    assert!(outcome.late().is_empty());
    outcome.usual.insert("told", Duration::from_millis(50));
    assert!(outcome.late().is_empty(), "half of them are not later");
    outcome.usual.insert("told", Duration::from_millis(49));
    assert_eq!(outcome.late(), ["told usually took 50ms, more than 49ms"]);
    assert_eq!(shown(Duration::from_millis(1500)), "1.50 s");
    assert_eq!(shown(percentile(&[Duration::from_micros(15)], 50)), "15 µs");
}
