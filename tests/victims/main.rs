//! Whether the tests can fail: fourteen broken locks, and which of our suites catches each.
//!
//! Each lock has one of the mistakes that locks in the wild have been found with, and nothing else: the
//! same code without it, its *control*, passes every case there is. The cases are not written for the
//! victims. They are those that our own locks have to pass: the conformance suite, with its losses, its
//! cut networks and its processes that are killed and stopped; the cancellation harness; and the oracle that
//! judges keyward beside Python's libraries.
//!
//! A victim counts as caught if the case that is named here fails, and says of it what is wrong; a case
//! that fails otherwise, that hangs or is not applicable, or a control that does not pass, is a failure
//! of this test. So a suite cannot shrink, nor a case be softened, without its being noticed here.
//!
//! The locks are small, and written as what they imitate was: one between tasks (`inside.rs`), one at a
//! server that is simulated on Tokio's clock (`far.rs`, `server.rs`), and one on files between real
//! processes (`files.rs`). How a case is run is in `suites.rs`.

#[path = "../support/cancellation.rs"]
mod cancellation;
#[path = "../support/child.rs"]
mod child;
mod far;
mod files;
mod inside;
mod server;
mod suites;

// The oracle, and what its peers are made of.
#[path = "../python/keyward_peer.rs"]
mod keyward_peer;
#[allow(dead_code, reason = "there are no kills here")]
#[path = "../python/oracle.rs"]
mod oracle;
#[allow(dead_code, reason = "there is no Python here")]
#[path = "../python/peer.rs"]
mod peer;
#[allow(dead_code, reason = "there is no Python here")]
#[path = "../python/protocol.rs"]
mod protocol;
#[allow(dead_code, reason = "there is no Python here")]
#[path = "../python/room.rs"]
mod room;

use std::{
    fmt,
    io::Write,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyward::{
    Error, Locks,
    conformance::{Fixture, NotApplicable, Verdict},
};

use self::{
    far::Store,
    files::Directory,
    inside::Inside,
    suites::{CONFORMANCE, Outcome, conform, on_a_paused_clock, on_a_real_clock, outcome},
};

/// How long a lease lasts, where one ends.
const TTL: Duration = Duration::from_secs(15);

/// The case that looks at a thread, which does not care for Tokio's clock.
const ON_A_THREAD: &str = "a_drop_needs_no_runtime";

/// How many cases run at a time.
const AT_A_TIME: usize = 6;

/// One of the locks: right, or with its flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    Inside(Option<inside::Flaw>),
    /// At a server that keeps a hold for ever.
    Session(Option<far::Flaw>),
    /// At a server that keeps it as long as it is renewed.
    Lease(Option<far::Flaw>),
    /// On a file that is kept.
    File(Option<files::Flaw>),
    /// On a file that is deleted at each release.
    DeletedFile(Option<files::Flaw>),
}

const CONTROLS: [Lock; 5] = [
    Lock::Inside(None),
    Lock::Session(None),
    Lock::Lease(None),
    Lock::File(None),
    Lock::DeletedFile(None),
];

impl Lock {
    /// The same without its flaw.
    const fn control(self) -> Self {
        match self {
            Self::Inside(_) => Self::Inside(None),
            Self::Session(_) => Self::Session(None),
            Self::Lease(_) => Self::Lease(None),
            Self::File(_) => Self::File(None),
            Self::DeletedFile(_) => Self::DeletedFile(None),
        }
    }

    /// What the suites have for it.
    fn cases(self) -> impl Iterator<Item = Case> {
        let of_its_own = match self {
            Self::Inside(_) => Some(Case::Cancellation),
            Self::Session(_) | Self::Lease(_) => None,
            Self::File(_) | Self::DeletedFile(_) => Some(Case::Oracle),
        };
        of_its_own.into_iter().chain(CONFORMANCE.iter().map(|case| Case::Conformance(case)))
    }

    /// Has a case judge it.
    fn face(self, case: Case) -> Outcome {
        let case = match case {
            Case::Cancellation | Case::Oracle => {
                return outcome(move || self.face_without_names(case));
            }
            Case::Conformance(case) => case,
        };
        match self {
            Self::Inside(flaw) => outcome(move || on_tokios_clock(case, &Inside::new(flaw))),
            Self::Session(flaw) => outcome(move || on_tokios_clock(case, &Store::new(None, flaw))),
            Self::Lease(flaw) => {
                outcome(move || on_tokios_clock(case, &Store::new(Some(TTL), flaw)))
            }
            Self::File(flaw) => {
                outcome(move || on_a_real_clock(conform(case, &Directory::new(true, flaw))))
            }
            Self::DeletedFile(flaw) => {
                outcome(move || on_a_real_clock(conform(case, &Directory::new(false, flaw))))
            }
        }
    }

    /// The same for suites that are not about names.
    fn face_without_names(self, case: Case) -> Verdict {
        match (case, self) {
            (Case::Cancellation, Self::Inside(flaw)) => inside::cancel_everywhere(flaw),
            (Case::Oracle, Self::File(flaw)) => files::judge(true, flaw),
            (Case::Oracle, Self::DeletedFile(flaw)) => files::judge(false, flaw),
            _ => return Err(NotApplicable::because("that suite is not about such locks")),
        }
        Ok(())
    }
}

fn on_tokios_clock(case: &str, fixture: &impl Fixture) -> Verdict {
    match case {
        ON_A_THREAD => on_a_real_clock(conform(case, fixture)),
        _ => on_a_paused_clock(conform(case, fixture)),
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, flaw) = match self {
            Self::Inside(flaw) => ("inside", flaw.map(|flaw| format!("{flaw:?}"))),
            Self::Session(flaw) => ("session", flaw.map(|flaw| format!("{flaw:?}"))),
            Self::Lease(flaw) => ("lease", flaw.map(|flaw| format!("{flaw:?}"))),
            Self::File(flaw) => ("file", flaw.map(|flaw| format!("{flaw:?}"))),
            Self::DeletedFile(flaw) => ("deleted file", flaw.map(|flaw| format!("{flaw:?}"))),
        };
        f.write_str(flaw.as_deref().unwrap_or(place))
    }
}

/// A case of one of the suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Cancellation,
    Conformance(&'static str),
    Oracle,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancellation => f.write_str("cancellation::explore"),
            Self::Conformance(case) => write!(f, "conformance::{case}"),
            Self::Oracle => f.write_str("oracle::at_most_one_holder"),
        }
    }
}

/// A lock, the case that catches it, and words that the case has for what is wrong.
struct Victim(Lock, Case, &'static [&'static str]);

const VICTIMS: [Victim; 14] = {
    use far::Flaw as Far;
    use files::Flaw as Files;
    use inside::Flaw as Inside;
    use {Case::*, Lock::*};

    const GHOST: &[&str] = &["cancelled: has not happened within"];
    [
        Victim(Inside(Some(Inside::LeakedCount)), Cancellation, &["it is still queued for"]),
        Victim(Inside(Some(Inside::OneshotHandOver)), Cancellation, &["Woken 1: it is still held"]),
        Victim(
            Inside(Some(Inside::FirstWakerKept)),
            Cancellation,
            &["Moved 1: nothing will ever wake the operation"],
        ),
        Victim(
            Lease(Some(Far::DeadlineInTheLoop)),
            Conformance("a_cut_off_holder_is_told_first"),
            &["another one has the name, and its holder has not been told"],
        ),
        Victim(
            Session(Some(Far::AcquireNotUndone)),
            Conformance("a_cancelled_wait_leaves_nothing"),
            GHOST,
        ),
        Victim(
            Lease(Some(Far::BlindRelease)),
            Conformance("a_severed_lease_is_lost"),
            &["this one is not lost"],
        ),
        Victim(
            Session(Some(Far::ReleaseOfAWait)),
            Conformance("a_cancelled_wait_leaves_nothing"),
            GHOST,
        ),
        Victim(
            Session(Some(Far::HeldInThePool)),
            Conformance("a_drop_frees"),
            &["a lock of a dropped name: has not happened within"],
        ),
        Victim(
            Lease(Some(Far::ExtendedAfterExpiry)),
            Conformance("a_cut_off_holder_is_told_first"),
            &["this one is not lost"],
        ),
        Victim(
            Lease(Some(Far::GrantNotChecked)),
            Conformance("a_wait_may_outlast_a_lease"),
            &["what was waited for so long is not held"],
        ),
        Victim(
            File(Some(Files::BrokenByAge)),
            Conformance("a_stopped_holder_holds"),
            &["a stopped process holds it", "was to be had, although it is held"],
        ),
        Victim(
            File(Some(Files::TornRecord)),
            Conformance("tokens_grow_over_processes"),
            &["a killed holder's token came again"],
        ),
        Victim(DeletedFile(Some(Files::UnlockThenUnlink)), Oracle, &["was inside"]),
        Victim(
            Session(Some(Far::SpawnInDrop)),
            Conformance("a_drop_needs_no_runtime"),
            &["a drop outside of a runtime panicked"],
        ),
    ]
};

/// What the children run; as a test of its own it does nothing.
#[test]
fn child_entry() {
    child::run_with(async |url| files::connect(&url));
}

/// How the oracle's peers reach what they are asked for.
async fn connect(_prefix: &str, url: &str) -> Result<Locks, Error> {
    Ok(files::connect(url))
}

/// Also where the test harness captures what is printed: this is a figure to be published.
fn say(line: impl fmt::Display) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[test]
fn fourteen_broken_locks_are_caught() {
    let judged = judge(tasks());
    let of = |lock: Lock, case: Case| {
        let found = judged.iter().find(|judged| (judged.0, judged.1) == (lock, case));
        let (_, _, outcome, time) = found.expect("everything was judged");
        (outcome, time)
    };

    let mut failures = Vec::new();
    for control in CONTROLS {
        let count = |wanted: fn(&Outcome) -> bool| {
            control.cases().filter(|case| wanted(of(control, *case).0)).count()
        };
        let passed = count(|outcome| matches!(outcome, Outcome::Passed));
        let not_applicable = count(|outcome| matches!(outcome, Outcome::NotApplicable));
        for case in control.cases() {
            let (outcome, _) = of(control, case);
            let needed = VICTIMS.iter().any(|v| v.0.control() == control && v.1 == case);
            let fine = matches!(outcome, Outcome::Passed)
                || matches!(outcome, Outcome::NotApplicable) && !needed;
            if !fine {
                failures.push(format!("control {control}: {case}: {outcome}"));
            }
        }
        if passed + not_applicable == control.cases().count() {
            say(format_args!(
                "control {control} passes ({passed} cases, {not_applicable} not applicable)"
            ));
        }
    }

    let mut caught = 0;
    for Victim(lock, case, words) in &VICTIMS {
        match of(*lock, *case) {
            (Outcome::Failed(message), time) if words.iter().any(|w| message.contains(w)) => {
                caught += 1;
                say(format_args!("victim {lock} caught by {case} after {} ms", time.as_millis()));
            }
            (outcome, _) => failures.push(format!("victim {lock}: {case}: {outcome}")),
        }
    }
    say(format_args!("known-bad {caught}/{} caught", VICTIMS.len()));
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Each control with all of its cases, and each victim with its own.
fn tasks() -> Vec<(Lock, Case)> {
    // What takes longest first: the controls on files, last in the list.
    let controls = CONTROLS.into_iter().rev();
    let controls = controls.flat_map(|lock| lock.cases().map(move |case| (lock, case)));
    VICTIMS.iter().map(|victim| (victim.0, victim.1)).chain(controls).collect()
}

fn judge(tasks: Vec<(Lock, Case)>) -> Vec<(Lock, Case, Outcome, Duration)> {
    let (next, judged) = (AtomicUsize::new(0), Mutex::default());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(&(lock, case)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let outcome = lock.face(case);
                    let judged: &Mutex<Vec<_>> = &judged;
                    judged.lock().unwrap().push((lock, case, outcome, begun.elapsed()));
                }
            });
        }
    });
    judged.into_inner().unwrap()
}
