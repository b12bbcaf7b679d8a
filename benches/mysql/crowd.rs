//! 64 tasks that lock all the time: all of them one name, or each a name of its own.
//!
//! The naive one has a session for each task, which keyward has not; so the sessions are counted, while
//! all are at work or have just been.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use keyward_benches::{
    crew::{Outcome, text},
    report::{Report, Run},
};
use tokio::{
    runtime::Runtime,
    sync::Barrier,
    task::{JoinSet, yield_now},
};

use crate::{
    hot::rounds,
    peers::{Locker, NAME, connect, current_thread, two_workers},
    session::Session,
    setting::{Setting, USUAL, contestant},
};

const TASKS: usize = 64;
/// For how long they are at it in a round.
pub(crate) const TIME: Duration = Duration::from_millis(80);

const SAME: &str = "crowd, one name";
const OWN: &str = "crowd, a name each";

const NAIVE: &str = "naive, a session for each task (T)";
const NAIVE_TWO: &str = "naive, a session for each task, two workers";
const OURS: &str = "keyward, release awaited";
const DROPPED: &str = "keyward, lease dropped";
const OURS_TWO: &str = "keyward, release awaited, two workers";
const DROPPED_TWO: &str = "keyward, lease dropped, two workers";

/// Name, whether it is ours, whether its release is awaited, and how many workers it has.
const CONTESTANTS: [(&str, bool, bool, usize); 6] = [
    (NAIVE, false, true, 1),
    (OURS, true, true, 1),
    (DROPPED, true, false, 1),
    (NAIVE_TWO, false, true, 2),
    (OURS_TWO, true, true, 2),
    (DROPPED_TWO, true, false, 2),
];

/// The most sessions that one has had.
type Sessions = Rc<RefCell<BTreeMap<&'static str, usize>>>;

pub(crate) fn run(report: &mut Report, setting: &Rc<Setting>) {
    for workload in [SAME, OWN] {
        if !report.wants(workload) {
            continue;
        }
        let sessions = Sessions::default();
        let (one, two) = (Rc::new(current_thread()), Rc::new(two_workers()));
        let run = |(name, ours, awaited, workers)| {
            let runtime = Rc::clone(if workers == 1 { &one } else { &two });
            let crowd = Crowd { workload, ours, awaited };
            crowd.run(name, runtime, Rc::clone(setting), Rc::clone(&sessions))
        };
        report.rounds(workload, rounds(report.quick), CONTESTANTS.map(run).into());
        for (name, ..) in CONTESTANTS {
            if let (Some(row), Some(sessions)) =
                (report.get(workload, name), sessions.borrow().get(name))
            {
                println!("{:>8.0}/s with {sessions} sessions: {name}", 1e9 / row.ns);
            }
        }
    }
    figures(report);
}

fn figures(report: &mut Report) {
    let ns = |workload, name| report.get(workload, name).map(|row| row.ns);
    let ratio = |workload, name| report.get(workload, name).map(|row| row.ratio);
    let times = |workload, naive, ours| Some(ratio(workload, naive)? / ratio(workload, ours)?);
    let rate = |workload, name| ns(workload, name).map(|ns| 1e9 / ns);
    let figures = [
        ("M2.vs-naive", times(SAME, NAIVE, OURS), "x", ">=4"),
        ("M2.rate", rate(SAME, OURS), "/s", ">=60000"),
        ("M2.dropped-vs-naive", times(SAME, NAIVE, DROPPED), "x", "(none)"),
        ("M2.dropped-rate", rate(SAME, DROPPED), "/s", "(none)"),
        ("M2.two-workers-vs-naive", times(SAME, NAIVE_TWO, OURS_TWO), "x", "(none)"),
        ("M2.two-workers-rate", rate(SAME, OURS_TWO), "/s", "(none)"),
        ("M3.vs-naive", times(OWN, NAIVE, OURS), "x", ">=4"),
        ("M3.rate", rate(OWN, OURS), "/s", "(none)"),
        ("M3.dropped-vs-naive", times(OWN, NAIVE, DROPPED), "x", "(none)"),
        ("M3.two-workers-vs-naive", times(OWN, NAIVE_TWO, OURS_TWO), "x", "(none)"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

#[derive(Clone, Copy)]
struct Crowd {
    workload: &'static str,
    ours: bool,
    awaited: bool,
}

impl Crowd {
    fn run(
        self,
        name: &'static str,
        runtime: Rc<Runtime>,
        setting: Rc<Setting>,
        sessions: Sessions,
    ) -> Run {
        contestant(name, move || {
            setting.settle()?;
            let lockers = runtime.block_on(self.lockers(setting.socket(), &setting.url(USUAL)))?;
            let names = (0..TASKS).map(|task| match self.workload {
                SAME => NAME.to_owned(),
                _ => format!("{NAME}-{task}"),
            });
            let team = lockers.into_iter().zip(names).collect();
            let (ns, lockers) = runtime.block_on(work(team, TIME))?;
            // They are open still.
            let count = setting.sessions()?;
            let mut sessions = sessions.borrow_mut();
            sessions.entry(name).and_modify(|most| *most = count.max(*most)).or_insert(count);
            runtime.block_on(try_join_all(lockers.into_iter().map(Locker::close)))?;
            Ok(ns)
        })
    }

    async fn lockers(self, socket: &Path, url: &str) -> Outcome<Vec<Locker>> {
        let mut lockers = Vec::new();
        let shared = if self.ours { Some(connect(url).await?) } else { None };
        for _ in 0..TASKS {
            lockers.push(match shared.clone() {
                Some(locks) if self.awaited => Locker::Confirmed(locks, None),
                Some(locks) => Locker::Dropped(locks, None),
                None => Locker::Prepared(Session::open(socket).await?),
            });
        }
        Ok(lockers)
    }
}

/// Nanoseconds of one acquisition by anybody, and those who have worked.
pub(crate) async fn work(
    team: Vec<(Locker, String)>,
    time: Duration,
) -> Outcome<(f64, Vec<Locker>)> {
    let barrier = Arc::new(Barrier::new(team.len() + 1));
    let mut tasks = JoinSet::new();
    for (mut locker, name) in team {
        let barrier = Arc::clone(&barrier);
        tasks.spawn(async move {
            // Whatever somebody does once, such as opening sessions, has been done after this.
            locker.acquire(&name).await?;
            locker.release(&name).await?;
            barrier.wait().await;
            let (start, mut count) = (Instant::now(), 0_usize);
            while start.elapsed() < time {
                locker.acquire(&name).await?;
                locker.release(&name).await?;
                count += 1;
                // What is ready at once is not allowed to keep the others out.
                if count.is_multiple_of(64) {
                    yield_now().await;
                }
            }
            Ok::<_, String>((count, locker))
        });
    }
    barrier.wait().await;
    let start = Instant::now();
    let (mut all, mut lockers) = (0, Vec::new());
    while let Some(ended) = tasks.join_next().await {
        let (count, locker) = ended.map_err(text)??;
        all += count;
        lockers.push(locker);
    }
    Ok((start.elapsed().as_nanos() as f64 / all as f64, lockers))
}
