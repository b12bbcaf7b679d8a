//! What a bench has printed, as `scripts/bench` keeps it: a head, the bench's tables, and its figures.
//!
//! ```text
//! # date: 2025-11-25
//!
//! hot, CT
//!         ns      x T
//!       12.5     0.52  keyward
//! n/a: lockable 0.2, Arc<str>: why it could not be measured
//!
//! figure R1.time 0.52 T goal <=0.6
//! ```
//!
//! 1. A number comes from a table's row, found by the names of workload, column and contestant, all exact.
//!    What is not there is an error that names it: nothing is guessed, and nothing is left out in silence.
//! 2. "n/a" is no error here, and it wins: a contestant who failed half-way has a row of what was measured
//!    before. Whether a picture can do without, its caller knows.
//! 3. A line of "n/a" belongs to the table whose rows come next: benches find out who cannot take part
//!    before they print a table's title, or its columns.
//! 4. Other lines below a title are remarks, kept as they stand.

use std::{collections::BTreeMap, mem::take};

use crate::figures::Figure;

/// A run of one bench.
#[derive(Debug)]
pub(crate) struct Output {
    /// Where it is from, for errors.
    origin: String,
    head: BTreeMap<String, String>,
    /// As they were printed, each with its workload.
    pub(crate) tables: Vec<(String, Table)>,
    pub(crate) figures: Vec<Figure>,
    /// All of it but the head and the figures, as it stands.
    pub(crate) printed: String,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    /// Names and numbers; some tables have rows of one name, which only their numbers tell apart.
    pub(crate) rows: Vec<(String, Vec<String>)>,
    /// What follows "n/a: ", as it stands: contestants' names may contain colons.
    pub(crate) excused: Vec<String>,
    pub(crate) remarks: Vec<String>,
}

/// What a run says of one contestant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found {
    Measured(f64),
    NotMeasured,
}

impl Output {
    /// Reads what was printed.
    ///
    /// # Errors
    ///
    /// If there are no tables in it, or two of one name, or a figure that is none.
    pub(crate) fn parse(origin: &str, text: &str) -> Result<Self, String> {
        let (mut head, mut tables) = (BTreeMap::new(), Vec::<(String, Table)>::new());
        let (mut title, mut heading) = (None::<String>, None);
        let (mut table, mut figures) = (Table::default(), Vec::new());
        let (mut blank, mut printed) = (true, Vec::new());
        for line in text.lines().chain([""]) {
            if let Some((key, value)) = line.strip_prefix("# ").and_then(|l| l.split_once(": ")) {
                head.insert(key.to_owned(), value.to_owned());
                continue;
            }
            if !line.starts_with("figure ") {
                printed.push(line);
            }
            if let Some(excuse) = line.strip_prefix("n/a: ") {
                table.excused.push(excuse.to_owned());
            } else if line.starts_with("figure ") {
                figures.push(Figure::parse(line).map_err(|error| format!("{origin}: {error}"))?);
            } else if line.trim().is_empty() {
                if let Some(title) = title.take() {
                    if tables.iter().any(|(other, _)| *other == title) {
                        return Err(format!("{origin}: two tables {title:?}"));
                    }
                    if !table.rows.is_empty() {
                        tables.push((title, take(&mut table)));
                    } else if let Some(heading) = heading.take() {
                        // What looked like a heading is the first of several remarks.
                        let mut remarks = vec![heading];
                        remarks.append(&mut table.remarks);
                        tables.push((title, Table { remarks, ..Table::default() }));
                    }
                }
                // Of what was no table only the excuses stay, for the next one.
                heading = None;
                table.columns.clear();
                table.remarks.clear();
            } else if blank {
                title = Some(line.to_owned());
            } else if table.columns.is_empty() {
                heading = Some(line.trim().to_owned());
                table.columns = columns(line);
            } else if let Some(row) = row(line, table.columns.len()) {
                table.rows.push(row);
            } else {
                table.remarks.push(line.trim().to_owned());
            }
            // Lines of "n/a" may stand between a blank line and the title.
            blank = line.trim().is_empty() || (blank && line.starts_with("n/a: "));
        }
        if tables.iter().all(|(_, table)| table.rows.is_empty()) {
            return Err(format!("{origin}: there is no table in it"));
        }
        let printed = printed.join("\n").trim().to_owned();
        Ok(Self { origin: origin.to_owned(), head, tables, figures, printed })
    }

    /// A line of the head, such as the date.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn head(&self, key: &str) -> Result<&str, String> {
        let found = self.head.get(key).map(String::as_str);
        found.ok_or_else(|| format!("{}: its head does not tell the {key}", self.origin))
    }

    /// How and when it was measured.
    ///
    /// # Errors
    ///
    /// If the head does not tell.
    pub(crate) fn source(&self) -> Result<String, String> {
        Ok(format!("{}, {}", self.head("command")?, self.head("date")?))
    }

    /// The table of a workload.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn table(&self, workload: &str) -> Result<&Table, String> {
        let mut tables = self.tables.iter().filter(|(_, table)| !table.rows.is_empty());
        let found = tables.find(|(title, _)| title == workload).map(|(_, table)| table);
        found.ok_or_else(|| format!("{}: no workload {workload:?}", self.origin))
    }

    /// What the run says of a contestant.
    ///
    /// # Errors
    ///
    /// If it says nothing, or no number that is above 0.
    pub(crate) fn find(
        &self,
        workload: &str,
        column: &str,
        contestant: &str,
    ) -> Result<Found, String> {
        let origin = &self.origin;
        let table = self.table(workload)?;
        let excuses = |line: &String| {
            line.strip_prefix(contestant).is_some_and(|rest| rest.starts_with(": "))
        };
        if table.excused.iter().any(excuses) {
            return Ok(Found::NotMeasured);
        }
        let place = table.columns.iter().position(|name| name == column);
        let place =
            place.ok_or_else(|| format!("{origin}: {workload:?} has no column {column:?}"))?;
        let mut rows = table.rows.iter().filter(|(name, _)| name == contestant);
        let (Some((_, row)), None) = (rows.next(), rows.next()) else {
            return Err(format!("{origin}: {workload:?} has not one row {contestant:?}"));
        };
        match row[place].parse::<f64>() {
            Ok(value) if value.is_finite() && value > 0.0 => Ok(Found::Measured(value)),
            _ => Err(format!("{origin}: {workload:?} says {} of {contestant:?}", row[place])),
        }
    }
}

/// Names of columns, which contain single spaces and are apart by more.
fn columns(line: &str) -> Vec<String> {
    line.split("  ").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// So many numbers, or dashes for those that there are not, and a name. Other lines, which some tables end
/// with, are none.
fn row(line: &str, columns: usize) -> Option<(String, Vec<String>)> {
    let (mut rest, mut numbers) = (line.trim_start(), Vec::new());
    for _ in 0..columns {
        let (number, after) = rest.split_once(' ')?;
        if number != "-" {
            number.parse::<f64>().ok()?;
        }
        numbers.push(number.to_owned());
        rest = after.trim_start();
    }
    (!rest.is_empty()).then(|| (rest.to_owned(), numbers))
}

#[cfg(test)]
mod tests {
    use super::{Found, Output};

    const REGISTRY: &str = "\
# date: 2025-11-25
# machine: Some CPU, 2 cores, Linux 6.1

hot, CT
        ns      x T
      11.5     0.51  keyward
      22.4     1.00  tokio Mutex, no key (T)
     127.9     5.69  lockable 0.2, Arc<str>

try free
        ns      x T
      10.1     0.80  keyward

memory
    held  leaked
   110.3       0  keyward
    99.8       -  lockable 0.2, Arc<str>

176 s

figure R1.time 0.51 T goal <=0.6
";

    const FILE: &str = "\
n/a: fasteners 0.20 (Python): needs a Python with oslo.concurrency==7.6.1 and fasteners==0.20

uncontended, one name
        ns      x T
    1128.5     1.00  bare OFD lock + fstatat + unlock (T)
    1827.9     1.41  keyward, fencing=on (the default)

hand-over (us from release to acquisition)
n/a: fasteners 0.20 (Python), parked 1 to 200 ms: needs a Python
n/a: distributed-lock-file 0.2, parked 1 to 200 ms: both had it
       p50        p90        p99      x B
      93.0      183.8     1244.4     4.70  keyward, current-thread runtime, parked 1.5 to 5 ms
     156.5      265.4      451.2     3.31  keyward, current-thread runtime, parked 1 to 200 ms
    -133.3      NaN      NaN      NaN  try, sleep 10 ms, try, parked 1 to 200 ms
    5000.0     71075.3   170088.9   237.13  distributed-lock-file 0.2, parked 1 to 200 ms

cancel
gone from the kernel's list after p50 0.059 ms, p99 0.356 ms, at most 3.892 ms

waiting (CPU of a process that waits for 3 s)
      us/s   % core  tasks
      45.8   0.0046      0  keyward, current-thread runtime
     264.0   0.0264      1  keyward, current-thread runtime

churn, 2 processes, no hold
   locks/s  max/min     Jain   switches
    334609     1.08    0.998       0.05  keyward, current-thread runtime
";

    const MYSQL: &str = "\
MariaDB 10.11.14
n/a: tooz 9.1 (Python), one lock kept: no answer

crowd, one name
        ns      x T
  128205.1     1.00  naive, a session for each task (T)
   38461.5     0.30  keyward, release awaited
    7800/s with 64 sessions: naive, a session for each task (T)
   26000/s with 1 sessions: keyward, release awaited

hand-over (us from release to acquisition)
n/a: the server's own: sessions that block in GET_LOCK (B), parked 3 to 8 ms: gone
       p50        p90        p99      x B
     250.0      300.0      400.0     1.00  the server's own: sessions that block in GET_LOCK (B), parked 3 to 8 ms
     290.0      300.0      400.0     1.16  keyward, current-thread runtime, parked 3 to 8 ms
";

    const HAND_OVER: &str = "hand-over (us from release to acquisition)";

    fn parse(text: &str) -> Output {
        Output::parse("some.txt", text).unwrap()
    }

    #[test]
    fn numbers_are_found_by_workload_column_and_contestant() {
        let registry = parse(REGISTRY);
        let find = |workload, column, name| registry.find(workload, column, name).unwrap();
        assert_eq!(find("hot, CT", "x T", "keyward"), Found::Measured(0.51));
        assert_eq!(find("hot, CT", "ns", "lockable 0.2, Arc<str>"), Found::Measured(127.9));
        assert_eq!(find("try free", "x T", "keyward"), Found::Measured(0.80));
        let file = parse(FILE);
        let keyward = "keyward, current-thread runtime, parked 1 to 200 ms";
        assert_eq!(file.find(HAND_OVER, "p50", keyward), Ok(Found::Measured(156.5)));
        assert_eq!(file.find(HAND_OVER, "x B", keyward), Ok(Found::Measured(3.31)));
        let churn = "churn, 2 processes, no hold";
        let keyward = file.find(churn, "max/min", "keyward, current-thread runtime");
        assert_eq!(keyward, Ok(Found::Measured(1.08)));
        let mysql = parse(MYSQL);
        let keyward = mysql.find("crowd, one name", "ns", "keyward, release awaited");
        assert_eq!(keyward, Ok(Found::Measured(38461.5)));
    }

    #[test]
    fn what_is_missing_is_an_error_that_names_it() {
        let registry = parse(REGISTRY);
        let missing = |workload, column, name, what| {
            let error = registry.find(workload, column, name).unwrap_err();
            assert!(error.contains(what) && error.contains("some.txt"), "{error}");
        };
        missing("fresh, CT", "x T", "keyward", "no workload \"fresh, CT\"");
        missing("hot, CT", "p50", "keyward", "no column \"p50\"");
        missing("hot, CT", "x T", "key-lock 0.1", "not one row \"key-lock 0.1\"");
        // Only a beginning of a name.
        missing("hot, CT", "x T", "lockable", "not one row \"lockable\"");
        let file = parse(FILE);
        // The line of the other table's excuses nobody here, and neither does text without columns.
        let poll = file.find(HAND_OVER, "p50", "try, sleep 10 ms, try, parked 1 to 200 ms");
        assert!(poll.unwrap_err().contains("says -133.3 of"));
        assert!(file.find(HAND_OVER, "p50", "fasteners 0.20 (Python)").is_err());
        let waiting = "waiting (CPU of a process that waits for 3 s)";
        assert!(file.find(waiting, "us/s", "keyward, current-thread runtime").is_err());
        assert!(file.find("cancel", "p50", "keyward").unwrap_err().contains("no workload"));
    }

    #[test]
    fn not_measured_is_told_from_missing_and_wins_over_a_row() {
        let file = parse(FILE);
        let hot = file.find("uncontended, one name", "x T", "fasteners 0.20 (Python)");
        assert_eq!(hot, Ok(Found::NotMeasured));
        for name in ["fasteners 0.20 (Python)", "distributed-lock-file 0.2"] {
            let name = format!("{name}, parked 1 to 200 ms");
            assert_eq!(file.find(HAND_OVER, "p50", &name), Ok(Found::NotMeasured));
        }
        let server = "the server's own: sessions that block in GET_LOCK (B), parked 3 to 8 ms";
        assert_eq!(parse(MYSQL).find(HAND_OVER, "p50", server), Ok(Found::NotMeasured));
    }

    #[test]
    fn a_dash_is_no_number_and_no_remark() {
        let registry = parse(REGISTRY);
        let find = |column| registry.find("memory", column, "lockable 0.2, Arc<str>");
        assert_eq!(find("held"), Ok(Found::Measured(99.8)));
        assert!(find("leaked").unwrap_err().contains("says - of"));
    }

    #[test]
    fn figures_and_remarks_are_kept_beside_the_tables() {
        let registry = parse(REGISTRY);
        assert_eq!(registry.figures.len(), 1);
        assert_eq!(registry.figures[0].id, "R1.time");
        let titles: Vec<_> = registry.tables.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(titles, ["hot, CT", "try free", "memory"]);
        let remarks = |output: &Output, title: &str| {
            let mut tables = output.tables.iter().filter(|(other, _)| other == title);
            tables.next().unwrap().1.remarks.clone()
        };
        let [cancel] = &remarks(&parse(FILE), "cancel")[..] else { panic!() };
        assert!(cancel.starts_with("gone from the kernel's list"), "{cancel}");
        assert_eq!(remarks(&parse(MYSQL), "crowd, one name").len(), 2);
        let broken = REGISTRY.replace("figure R1.time 0.51", "figure R1.time fast");
        assert!(Output::parse("some.txt", &broken).unwrap_err().contains("R1.time"));
    }

    #[test]
    fn the_head_is_read_and_needed() {
        let registry = parse(REGISTRY);
        assert_eq!(registry.head("date"), Ok("2025-11-25"));
        assert_eq!(registry.head("machine"), Ok("Some CPU, 2 cores, Linux 6.1"));
        assert!(registry.head("command").unwrap_err().contains("does not tell the command"));
    }

    #[test]
    fn what_is_no_output_is_refused() {
        assert!(Output::parse("some.txt", "").unwrap_err().contains("no table"));
        assert!(Output::parse("some.txt", "# date: today\n\nerror: it broke\n").is_err());
        let twice = format!("{REGISTRY}\n{REGISTRY}");
        assert!(Output::parse("some.txt", &twice).unwrap_err().contains("two tables"));
    }
}
