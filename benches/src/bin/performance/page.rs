//! What stands between the markers of a page, from what the benches have printed.
//!
//! ```text
//! <!-- measured: figures registry -->
//! whatever stands here is written anew
//! <!-- end -->
//! ```
//!
//! | part | what is written |
//! |---|---|
//! | `machine` | the machine, and the versions of everything |
//! | `figures BENCH` | its figures, each with its goal and whether it is met |
//! | `ratios BENCH` | one table of its workloads: a column for each contestant, in units of T |
//! | `tables BENCH WORD…` | its tables as they were printed, if their titles begin with a word |
//! | `text BENCH` | all that it has printed, but for its figures |
//! | `chart NAME` | a picture |
//! | `missed` | all figures whose goals are not met |
//!
//! A part that is not known is an error; a bench whose figures stand on no page is [`forgotten`].

use std::{collections::BTreeMap, fmt::Write};

use crate::output::{Output, Table};

/// The runs that are kept, by bench.
pub(crate) type Runs = BTreeMap<String, Output>;

/// A picture that the page shows.
pub(crate) struct Shown {
    /// From the page's folder.
    pub(crate) path: String,
    /// In place of the picture, where there is none.
    pub(crate) words: String,
}

/// The page with its parts written anew.
///
/// # Errors
///
/// A marker that has no end, or a part that cannot be written.
pub(crate) fn filled(
    page: &str,
    runs: &Runs,
    charts: &BTreeMap<&str, Shown>,
) -> Result<String, String> {
    let (mut text, mut lines) = (String::new(), page.lines());
    while let Some(line) = lines.next() {
        text += line;
        text.push('\n');
        let part = line.strip_prefix("<!-- measured: ").and_then(|rest| rest.strip_suffix(" -->"));
        let Some(part) = part else { continue };
        let words: Vec<&str> = part.split(' ').collect();
        text += &written(&words, runs, charts)?;
        text += "<!-- end -->\n";
        lines.find(|line| *line == "<!-- end -->").ok_or_else(|| format!("{part}: no end"))?;
    }
    Ok(text)
}

/// A bench of whose figures nothing is said on any of the pages.
pub(crate) fn forgotten<'a>(pages: &[String], runs: &'a Runs) -> Option<&'a str> {
    let is_shown = |bench: &str| {
        let marker = format!("<!-- measured: figures {bench} -->");
        pages.iter().any(|page| page.lines().any(|line| line == marker))
    };
    runs.keys().map(String::as_str).find(|bench| !is_shown(bench))
}

fn written(part: &[&str], runs: &Runs, charts: &BTreeMap<&str, Shown>) -> Result<String, String> {
    let run = |bench| runs.get(bench).ok_or_else(|| format!("no run of {bench} is kept"));
    match part {
        ["machine"] => machine(runs),
        ["figures", bench] => figures(run(*bench)?),
        ["ratios", bench] => ratios(run(*bench)?),
        ["tables", bench, words @ ..] => tables(run(*bench)?, words),
        ["text", bench] => {
            let run = run(*bench)?;
            Ok(format!("{}```text\n{}\n```\n", measured(run)?, run.printed))
        }
        ["chart", name] => {
            let chart = charts.get(name).ok_or_else(|| format!("there is no chart {name}"))?;
            Ok(format!("![{}]({})\n", chart.words, chart.path))
        }
        ["missed"] => Ok(missed(runs)),
        _ => Err(format!("what is {part:?}?")),
    }
}

fn machine(runs: &Runs) -> Result<String, String> {
    let mut text = String::new();
    for (what, key) in [("Machine", "machine"), ("Versions", "versions")] {
        let mut said: Vec<&str> =
            runs.values().map(|run| run.head(key)).collect::<Result<_, _>>()?;
        said.sort_unstable();
        said.dedup();
        for said in said {
            writeln!(text, "* {what}: {said}.").map_err(|error| error.to_string())?;
        }
    }
    Ok(text)
}

fn measured(run: &Output) -> Result<String, String> {
    let mut text = format!("*Measured {} by `{}`.*", run.head("date")?, run.head("command")?);
    if let Ok(note) = run.head("note") {
        text += &format!(" *{}*", plain(note));
    }
    Ok(text + "\n\n")
}

fn figures(run: &Output) -> Result<String, String> {
    let mut text = measured(run)?;
    text += "| figure | value | unit | goal | met |\n|---|---:|---|---|---|\n";
    for figure in &run.figures {
        let met = match (figure.text.as_str(), figure.met) {
            ("n/a", _) => "not measured",
            (_, None) => "",
            (_, Some(true)) => "yes",
            (_, Some(false)) => "**no**",
        };
        let goal = if figure.goal == "(none)" { "" } else { &figure.goal };
        let cells = [&figure.id, &figure.text, &figure.unit, goal, met];
        text += &row(&cells);
    }
    Ok(text)
}

fn missed(runs: &Runs) -> String {
    let figures = runs.values().flat_map(|run| &run.figures);
    let missed: Vec<String> = figures
        .filter(|figure| figure.met == Some(false))
        .map(|figure| row(&[&figure.id, &figure.text, &figure.unit, &figure.goal]))
        .collect();
    if missed.is_empty() {
        return "All that were measured are met.\n".to_owned();
    }
    "| figure | value | unit | goal |\n|---|---:|---|---|\n".to_owned() + &missed.concat()
}

/// Of every table that has such a column.
fn ratios(run: &Output) -> Result<String, String> {
    let place = |table: &Table, name| table.columns.iter().position(|column| column == name);
    let of_time: Vec<_> = run
        .tables
        .iter()
        .filter_map(|(title, table)| {
            Some((title, table, place(table, "ns")?, place(table, "x T")?))
        })
        .collect();
    let mut contestants = Vec::<&str>::new();
    for (name, _) in of_time.iter().flat_map(|(_, table, ..)| &table.rows) {
        if !contestants.contains(&name.as_str()) {
            contestants.push(name);
        }
    }
    let mut text = measured(run)?;
    text += &row(&[&["workload", "T, ns"], &contestants[..]].concat());
    text += "|---|";
    text += &"---:|".repeat(contestants.len() + 1);
    text.push('\n');
    for (title, table, ns, ratio) in of_time {
        let (_, first) = table.rows.first().ok_or("an empty table")?;
        let of = |name: &&str| {
            let row = table.rows.iter().find(|(other, _)| other == name);
            row.map_or("", |(_, numbers)| &numbers[ratio])
        };
        let cells: Vec<&str> = [title.as_str(), first[ns].as_str()]
            .into_iter()
            .chain(contestants.iter().map(of))
            .collect();
        text += &row(&cells);
    }
    Ok(text)
}

fn tables(run: &Output, words: &[&str]) -> Result<String, String> {
    let mut text = measured(run)?;
    let mut count = 0;
    for (title, table) in &run.tables {
        if !words.is_empty() && !words.iter().any(|word| title.starts_with(word)) {
            continue;
        }
        count += 1;
        text += &format!("**{}**\n\n", plain(title));
        if !table.rows.is_empty() {
            let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
            text += &row(&[&["who"], &columns[..]].concat());
            text += &format!("|---|{}\n", "---:|".repeat(columns.len()));
            for (name, numbers) in &table.rows {
                let numbers = numbers.iter().map(String::as_str);
                let cells: Vec<&str> = [name.as_str()].into_iter().chain(numbers).collect();
                text += &row(&cells);
            }
            text.push('\n');
        }
        let excuses = table.excused.iter().map(|excuse| format!("not measured: {excuse}"));
        let remarks: Vec<String> = table.remarks.iter().cloned().chain(excuses).collect();
        for remark in &remarks {
            text += &format!("* {}\n", plain(remark));
        }
        if !remarks.is_empty() {
            text.push('\n');
        }
    }
    if count == 0 {
        return Err(format!("there is no table that begins with one of {words:?}"));
    }
    // The marker follows.
    text.truncate(text.trim_end().len() + 1);
    Ok(text)
}

/// What would begin a tag is written as it is to be read.
fn plain(text: &str) -> String {
    text.replace('<', "&lt;")
}

fn row(cells: &[&str]) -> String {
    let mut text = "|".to_owned();
    for cell in cells {
        text += &format!(" {} |", plain(cell).replace('|', "\\|"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Runs, Shown, filled, forgotten};
    use crate::output::Output;

    const RUN: &str = "\
# date: 2025-11-25
# machine: Some CPU
# versions: keyward 0.1.0
# command: cargo bench
# note: On a busy machine.

hot, CT
        ns      x T
      22.4     1.00  tokio Mutex
      11.5     0.51  keyward

memory
      B/held
      99.8  lockable, Arc<str>
n/a: key-lock: it was not there
nothing speaks against it

figure R1.time 0.51 T goal <=0.6
figure R2.time 0.81 T goal <=0.6
figure R3.time n/a T goal <=0.6
";

    fn page(parts: &[&str]) -> Result<String, String> {
        let runs: Runs = [("some".to_owned(), Output::parse("some.txt", RUN)?)].into();
        let shown = Shown { path: "charts/dots.svg".to_owned(), words: "dots".to_owned() };
        let parts =
            parts.iter().map(|part| format!("<!-- measured: {part} -->\nold\n<!-- end -->\n"));
        filled(
            &format!("before\n{}after\n", parts.collect::<String>()),
            &runs,
            &BTreeMap::from([("dots", shown)]),
        )
    }

    #[test]
    fn what_stands_between_markers_is_written_anew() {
        let text = page(&[
            "machine",
            "figures some",
            "chart dots",
            "missed",
            "ratios some",
            "tables some mem",
        ]);
        let text = text.unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("<!-- end -->\nafter\n"), "{text}");
        assert!(!text.contains("old"), "{text}");
        for line in [
            "* Machine: Some CPU.",
            "*Measured 2025-11-25 by `cargo bench`.* *On a busy machine.*",
            "| R1.time | 0.51 | T | &lt;=0.6 | yes |",
            "| R2.time | 0.81 | T | &lt;=0.6 | **no** |",
            "| R3.time | n/a | T | &lt;=0.6 | not measured |",
            "![dots](charts/dots.svg)",
            "| R2.time | 0.81 | T | &lt;=0.6 |",
            "| workload | T, ns | tokio Mutex | keyward |",
            "| hot, CT | 22.4 | 1.00 | 0.51 |",
            "| lockable, Arc&lt;str> | 99.8 |",
            "* nothing speaks against it",
            "* not measured: key-lock: it was not there",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
    }

    #[test]
    fn writing_anew_changes_nothing_more() {
        let once = page(&["figures some", "tables some"]).unwrap();
        let runs: Runs = [("some".to_owned(), Output::parse("some.txt", RUN).unwrap())].into();
        assert_eq!(filled(&once, &runs, &BTreeMap::new()).unwrap(), once);
    }

    #[test]
    fn what_was_printed_stands_as_it_was() {
        let text = page(&["text some"]).unwrap();
        let printed = "```text\nhot, CT\n        ns      x T\n      22.4     1.00  tokio Mutex\n";
        assert!(text.contains(printed) && text.contains("against it\n```\n<!-- end"), "{text}");
        assert!(!text.contains("figure") && !text.contains("# date"), "{text}");
    }

    #[test]
    fn figures_stand_on_some_page() {
        let runs: Runs = [("some".to_owned(), Output::parse("some.txt", RUN).unwrap())].into();
        let pages = ["machine", "text some"].map(|part| page(&[part]).unwrap());
        assert_eq!(forgotten(&pages, &runs), Some("some"));
        let pages = ["machine", "figures some"].map(|part| page(&[part]).unwrap());
        assert_eq!(forgotten(&pages, &runs), None);
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        for (parts, error) in [
            (&["figures some", "figures other"][..], "no run of other"),
            (&["figures some", "tables some hand-over"], "no table"),
            (&["figures some", "chart bars"], "no chart bars"),
            (&["figures some", "poem"], "what is"),
        ] {
            assert!(page(parts).unwrap_err().contains(error), "{parts:?}");
        }
        let endless = "<!-- measured: machine -->\n";
        assert!(filled(endless, &Runs::new(), &BTreeMap::new()).unwrap_err().contains("no end"));
    }
}
