//! The questions of `doctor`, each asked of the store itself.
//!
//! Each returns an error only if it could not be asked; what the answer is worth goes into the report.
//! Nothing is held after any of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use keyward::{Error, Fencing, FencingToken, LeaseState, Locks};
use tokio::{
    process::Command,
    time::{Instant, timeout},
};

use crate::{child::OURSELVES, doctor::Report, exit};

/// How many locks the latency is the median of.
const LOCKS: usize = 300;

/// Nobody else has the name: what takes longer than this does not happen. Long, because stores that
/// are polite to others wait for seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is examined.
pub(crate) struct Probe<'a> {
    pub(crate) url: &'a str,
    pub(crate) name: &'a str,
    pub(crate) one: &'a Locks,
    /// A handle that shares nothing with the first but the store.
    pub(crate) other: &'a Locks,
}

impl Probe<'_> {
    /// Whether the store is one of this process only, by what it is.
    fn is_of_one_process(&self) -> bool {
        self.one.capability().backend == "memory"
    }

    async fn lock(&self, locks: &Locks) -> Result<keyward::Lease, Error> {
        locks.lock_named(self.name).timeout(PATIENCE).await
    }

    /// Whether a try finds it held.
    async fn is_refused(&self, locks: &Locks) -> Result<bool, Error> {
        match locks.try_lock_named(self.name).await {
            Ok(lease) => {
                let _ = lease.release().await?;
                Ok(false)
            }
            Err(error) if error.is_would_block() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The exit code of this program in another process, and what it says. The URL goes through the
    /// environment, where others cannot read it.
    async fn elsewhere(&self, args: &[&str]) -> Result<(Option<i32>, String), Error> {
        let mut command = Command::new(OURSELVES);
        command.args(args).arg(self.name);
        command.env("KEYWARD_URL", self.url).env_remove("KEYWARD_PREFIX");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| {
            Error::new(keyward::ErrorKind::ResourceLimit)
                .with_message("no other process could be started")
                .with_source(error)
        })?;
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        Ok((output.status.code(), said))
    }
}

/// While one holds it, nobody else does; and after that somebody can.
pub(crate) async fn excludes(probe: &Probe<'_>, report: &mut Report) -> Result<(), Error> {
    let lease = probe.lock(probe.one).await?;
    let refused = probe.is_refused(probe.other).await?;
    if refused {
        report.good("handles", "yes", "exclude each other, within a process");
    } else if probe.is_of_one_process() {
        report.bad(
            "handles",
            "each connection to memory: is a namespace of its own; memory:name is one",
        );
    } else {
        report.bad("handles", "two hold the lock at once, within a process");
    }
    if probe.is_of_one_process() {
        report.bad("processes", "memory: is known to this process only");
        let _ = lease.release().await?;
        return Ok(());
    }
    let (held, said) = probe.elsewhere(&["try"]).await?;
    let _ = lease.release().await?;
    let (free, said_later) = probe.elsewhere(&["wait", "--timeout", "30s"]).await?;
    match (held, free) {
        (Some(code), Some(0)) if code == i32::from(exit::BUSY) => {
            report.good("processes", "yes", "exclude each other");
        }
        (Some(0), _) => report.bad("processes", "two hold the lock at once"),
        (Some(code), _) if code == i32::from(exit::BUSY) => {
            report.bad("processes", format_args!("it is not free after its release: {said_later}"));
        }
        _ => report.bad("processes", format_args!("another one cannot use the store: {said}")),
    }
    Ok(())
}

/// How long a lock and its release take, and whether the tokens grow.
pub(crate) async fn latency(probe: &Probe<'_>, report: &mut Report) -> Result<(), Error> {
    let (mut times, mut tokens) = (Vec::with_capacity(LOCKS), Vec::with_capacity(LOCKS));
    // Under politeness each takes as long as many do without.
    let enough = Instant::now() + PATIENCE;
    while times.len() < 2 || times.len() < LOCKS && Instant::now() < enough {
        let begun = Instant::now();
        let lease = probe.lock(probe.one).await?;
        let token = lease.fencing_token();
        let _ = lease.release().await?;
        times.push(begun.elapsed());
        tokens.push(token);
    }
    times.sort_unstable();
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let (median, p99, many) = (time(median), time(p99), times.len());
    report.good(
        "latency",
        "",
        format_args!("lock and release: median {median}, p99 {p99}, of {many}"),
    );
    fencing(probe.one.capability().fencing, &tokens, report);
    Ok(())
}

fn fencing(source: Fencing, tokens: &[Option<FencingToken>], report: &mut Report) {
    let words = match source {
        Fencing::Clock => "the machine's clock and a counter in the store",
        Fencing::Durable => "a counter that is on the disk before it is used",
        Fencing::Off => {
            return report.good("fencing", "none", "there are no tokens");
        }
        Fencing::Process => "a counter of this process",
        Fencing::Server => "a counter of the server, which survives its restarts",
        _ => "the store",
    };
    let many = tokens.len();
    let grow = tokens.iter().all(Option::is_some) && tokens.windows(2).all(|two| two[0] < two[1]);
    if grow {
        report.good("fencing", "yes", format_args!("{words}; {many} tokens in a row grew"));
    } else {
        report.bad("fencing", format_args!("{words}; tokens are missing, or do not grow"));
    }
}

/// Two hold it together, and nobody exclusively meanwhile.
pub(crate) async fn shared(probe: &Probe<'_>, report: &mut Report) -> Result<(), Error> {
    if !probe.one.capability().shared {
        report.good("shared mode", "none", "the store has no such mode");
        return Ok(());
    }
    let other = if probe.is_of_one_process() { probe.one } else { probe.other };
    let one = probe.one.lock_named(probe.name).shared().timeout(PATIENCE).await?;
    let two = other.lock_named(probe.name).shared().timeout(PATIENCE).await;
    let refused = if probe.is_of_one_process() {
        probe.is_refused(probe.one).await?
    } else {
        probe.elsewhere(&["try"]).await?.0 == Some(i32::from(exit::BUSY))
    };
    match (&two, refused) {
        (Ok(_), true) => {
            report.good("shared mode", "yes", "two at once, and nobody exclusively meanwhile");
        }
        (Ok(_), false) => report.bad("shared mode", "it is held exclusively at the same time"),
        (Err(error), _) => report.bad("shared mode", format_args!("not two at once: {error}")),
    }
    if let Ok(two) = two {
        let _ = two.release().await?;
    }
    let _ = one.release().await?;
    Ok(())
}

pub(crate) fn order(probe: &Probe<'_>, report: &mut Report) {
    let capability = probe.one.capability();
    let wakes =
        if capability.event_driven { "a release wakes the next" } else { "waiting is polling" };
    let (verdict, order) = if capability.fair && probe.is_of_one_process() {
        ("yes", "first come, first served")
    } else if capability.fair {
        ("yes", "first come, first served, between processes too")
    } else {
        ("none", "between processes, whoever is fastest")
    };
    report.good("order", verdict, format_args!("{order}; {wakes} (stated)"));
}

/// Whether a loss is told: really, where what is locked is a file that we can take away.
pub(crate) async fn loss(probe: &Probe<'_>, report: &mut Report) -> Result<(), Error> {
    let Some(within) = probe.one.capability().loss_told_within else {
        report.good("loss", "none", "a lock cannot be lost (stated)");
        return Ok(());
    };
    let lease = probe.lock(probe.one).await?;
    let stated = time(within);
    let Some(file) = held_file(probe.name) else {
        report.good("loss", "yes", format_args!("told within {stated} (stated)"));
        let _ = lease.release().await?;
        return Ok(());
    };
    let LeaseState::Held = lease.state() else {
        report.bad("loss", "the lock is lost although nobody has touched it");
        return Ok(());
    };
    let lost = lease.lost();
    // D2: nobody else has it open, nobody else knows its name, and the lock on it is ours.
    if let Err(error) = fs::remove_file(&file) {
        let text = format_args!("told within {stated} (stated); {}: {error}", file.display());
        report.bad("loss", text);
        return Ok(());
    }
    let begun = Instant::now();
    match timeout(within.saturating_mul(2) + Duration::from_secs(2), lost).await {
        Ok(_) => {
            let took = time(begun.elapsed());
            let text = format_args!(
                "told after {took} when the lock file was removed; within {stated} (stated)"
            );
            report.good("loss", "yes", text);
        }
        Err(_) => report.bad("loss", format_args!("not told within {stated}, as was stated")),
    }
    drop(lease.release().await); // it was lost
    Ok(())
}

/// Takes away what an examination that was broken off may have left (D2).
pub(crate) async fn tidy(probe: &Probe<'_>) {
    let Ok(lease) = probe.lock(probe.one).await else { return };
    if let Some(file) = held_file(probe.name) {
        // As in `loss`; what cannot be removed is a file that every name leaves.
        drop(fs::remove_file(file));
    }
    drop(lease.release().await); // it was lost
}

/// The file of this name that this process has open: there is one only while it holds a lock on it.
fn held_file(name: &str) -> Option<PathBuf> {
    let links = fs::read_dir("/proc/self/fd").ok()?;
    let files = links.flatten().filter_map(|link| fs::read_link(link.path()).ok());
    files.into_iter().find(|file| is_lock_file(file, name))
}

fn is_lock_file(file: &Path, name: &str) -> bool {
    file.is_absolute()
        && file.file_name().is_some_and(|last| last.to_string_lossy().ends_with(name))
}

pub(crate) async fn left_behind(probe: &Probe<'_>, report: &mut Report) -> Result<(), Error> {
    let seen = probe.other.inspect(probe.name).await;
    match (seen, held_file(probe.name)) {
        (Ok(status), _) if status.is_held() => {
            report.bad("left behind", "the name is still held");
        }
        (Err(error), _) if error.kind() != keyward::ErrorKind::Unsupported => return Err(error),
        (_, Some(file)) => {
            let text = format_args!("a lock file, as every name leaves one: {}", file.display());
            report.good("left behind", "yes", text);
        }
        (_, None) => report.good("left behind", "none", ""),
    }
    Ok(())
}

/// A length of time in the unit that suits it.
pub(crate) fn time(time: Duration) -> String {
    if time.is_zero() { "0".to_owned() } else { format!("{time:.1?}") }
}
