//! Rounds, medians, tables, and the figures at the end.

use std::{collections::BTreeMap, time::Instant};

use crate::crew::Outcome;

/// What a run has measured.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Fewer rounds.
    pub quick: bool,
    words: Vec<String>,
    start: Instant,
    /// Medians by (workload, contestant).
    medians: BTreeMap<(&'static str, &'static str), Row>,
    figures: Vec<String>,
}

/// One contestant in one workload.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row {
    /// Median of the nanoseconds of one operation.
    pub ns: f64,
    /// Median of the per-round ratios to the first contestant, which is T.
    pub ratio: f64,
}

/// One contestant's run of a workload: nanoseconds of one operation, or none if it has no such thing.
pub type Run = (&'static str, Box<dyn FnMut(usize) -> Option<f64>>);

/// What a bench was called with, without what cargo adds.
pub fn arguments() -> Vec<String> {
    std::env::args().skip(1).filter(|argument| argument != "--bench").collect()
}

impl Report {
    /// Of a run with `--quick`, or without; limited to the workloads whose names contain one of the words that
    /// are among the arguments, if there are any.
    pub fn new(arguments: &[String]) -> Self {
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let words = arguments.iter().filter(|argument| !argument.starts_with("--"));
        let words = words.cloned().collect();
        let (medians, figures) = (BTreeMap::new(), Vec::new());
        Self { quick, words, start: Instant::now(), medians, figures }
    }

    /// Whether a workload is asked for.
    pub fn wants(&self, workload: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| workload.contains(word.as_str()))
    }

    /// Runs the rounds of one workload and prints its table. The first contestant is T.
    pub fn workload(&mut self, workload: &'static str, runs: Vec<Run>) {
        self.rounds(workload, if self.quick { 7 } else { 21 }, runs);
    }

    /// As [`workload`](Self::workload), in so many rounds that count.
    pub fn rounds(&mut self, workload: &'static str, rounds: usize, mut runs: Vec<Run>) {
        if !self.wants(workload) {
            return;
        }
        let warm = if self.quick { 1 } else { 2 };
        let mut samples: Vec<Vec<f64>> = vec![Vec::new(); runs.len()];
        for round in 0..warm + rounds {
            for turn in 0..runs.len() {
                let which = (turn + round) % runs.len();
                if let Some(ns) = (runs[which].1)(round)
                    && round >= warm
                {
                    samples[which].push(ns);
                }
            }
        }
        println!("\n{workload}\n{:>10} {:>8}", "ns", "x T");
        for (which, (name, _)) in runs.iter().enumerate() {
            if samples[which].is_empty() {
                continue;
            }
            let paired = samples[which].iter().zip(&samples[0]).map(|(ns, t)| ns / t).collect();
            let row = Row { ns: median(samples[which].clone()), ratio: median(paired) };
            println!("{:>10.1} {:>8.2}  {name}", row.ns, row.ratio);
            self.medians.insert((workload, name), row);
        }
    }

    /// What the rounds of a workload have shown of one contestant.
    pub fn get(&self, workload: &'static str, name: &'static str) -> Option<Row> {
        self.medians.get(&(workload, name)).copied()
    }

    /// Notes one figure; `None` if this run has not measured it.
    pub fn figure(&mut self, id: &str, value: Option<f64>, unit: &str, goal: &str) {
        let value = match value {
            None => "n/a".to_owned(),
            Some(small) if small != 0.0 && small.abs() < 0.1 => format!("{small:.4}"),
            Some(value) => format!("{value:.2}"),
        };
        self.figures.push(format!("figure {id} {value} {unit} goal {goal}"));
    }

    /// Prints the figures.
    pub fn finish(self) {
        println!("\n{:.0} s\n", self.start.elapsed().as_secs_f64());
        for figure in self.figures {
            println!("{figure}");
        }
    }
}

/// Adds those who can be measured, and prints why the others cannot.
pub fn keep_those_that_run(
    runs: &mut Vec<Run>,
    others: impl IntoIterator<Item = (&'static str, Outcome<Run>)>,
) {
    for (name, run) in others {
        match run {
            Ok(run) => runs.push(run),
            Err(error) => println!("n/a: {name}: {error}"),
        }
    }
}

/// The greatest.
pub fn most(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The one in the middle; not a number if there is none.
pub fn median(samples: Vec<f64>) -> f64 {
    percentile(samples, 50)
}

/// The one that so many percent are below of; not a number if there is none.
pub fn percentile(mut samples: Vec<f64>, percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() * percent / 100).copied().unwrap_or(f64::NAN)
}
