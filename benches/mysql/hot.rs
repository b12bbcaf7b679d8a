//! Without a contender: one task that takes one name again and again.

use std::{cell::RefCell, future::Future, hint::black_box, path::PathBuf, rc::Rc, time::Instant};

use keyward_benches::{
    clock::per_operation,
    crew::{Member, Outcome, text},
    report::{Report, Run},
};
use tokio::runtime::Runtime;

use crate::{
    peers::{Locker, NAME, Who, connect, current_thread, two_workers},
    session::Session,
    setting::{Setting, USUAL, contestant},
};

const ONE: &str = "uncontended, current-thread runtime";
const TWO: &str = "uncontended, two workers";
const TRIP: &str = "SELECT 1 (R)";
const OURS: &str = "keyward, release awaited";
const DROPPED: &str = "keyward, lease dropped";
const CALLS: &str = "GET_LOCK and RELEASE_LOCK on one session";
const CONNECTED: &str = "naive, a connection for each lock";
const KEPT: &str = "tooz 9.1 (Python), one lock kept";
const ANEW: &str = "tooz 9.1 (Python), a lock each time, as Cinder does";

/// Rounds are short and many: the server is one more that a shared machine may keep from running.
const TIMES: usize = 300;

pub(crate) const fn rounds(quick: bool) -> usize {
    if quick { 21 } else { 63 }
}

pub(crate) fn run(report: &mut Report, setting: &Rc<Setting>) {
    for (workload, runtime) in [(ONE, current_thread()), (TWO, two_workers())] {
        if !report.wants(workload) {
            continue;
        }
        let mut runs = runs(&Rc::new(runtime), setting);
        if workload == ONE {
            runs.extend([tooz(setting, KEPT, "kept 30"), tooz(setting, ANEW, "anew 3")]);
        }
        report.rounds(workload, rounds(report.quick), runs);
    }
    let ratio = |workload, name| report.get(workload, name).map(|row| row.ratio);
    let times = |name| Some(ratio(ONE, name)? / ratio(ONE, OURS)?);
    let figures = [
        ("M1.current-thread", ratio(ONE, OURS), "x-R", "<=2.3"),
        ("M1.current-thread-dropped", ratio(ONE, DROPPED), "x-R", "(none)"),
        ("M1.two-workers", ratio(TWO, OURS), "x-R", "(none)"),
        ("M1.vs-two-calls", times(CALLS).map(|times| 1.0 / times), "x-GET+RELEASE", "(none)"),
        ("M1.vs-connect-per-lock", times(CONNECTED), "x", "(none)"),
        ("M1.vs-tooz", times(KEPT), "x", "(none)"),
        ("M1.vs-tooz-as-cinder", times(ANEW), "x", "(none)"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

fn runs(runtime: &Rc<Runtime>, setting: &Rc<Setting>) -> Vec<Run> {
    let socket = setting.socket().to_owned();
    let raw = |name, prepared: bool| {
        let socket = socket.clone();
        repeated(runtime, name, move || {
            let socket = socket.clone();
            async move {
                let session = Session::open(&socket).await?;
                Ok(if prepared { Locker::Prepared(session) } else { Locker::Raw(session) })
            }
        })
    };
    let ours = |name, awaited: bool| {
        let url = setting.url(USUAL);
        repeated(runtime, name, move || {
            let url = url.clone();
            async move {
                let locks = connect(&url).await?;
                Ok(if awaited {
                    Locker::Confirmed(locks, None)
                } else {
                    Locker::Dropped(locks, None)
                })
            }
        })
    };
    vec![
        trip(runtime, socket.clone()),
        ours(OURS, true),
        ours(DROPPED, false),
        raw(CALLS, false),
        raw("naive, one session kept, prepared", true),
        connected(runtime, socket.clone()),
    ]
}

/// Runs a task to its end, on its runtime.
fn in_task<T: Send + 'static>(
    runtime: &Runtime,
    task: impl Future<Output = T> + Send + 'static,
) -> Outcome<T> {
    runtime.block_on(async { tokio::spawn(task).await.map_err(text) })
}

fn trip(runtime: &Rc<Runtime>, socket: PathBuf) -> Run {
    let (runtime, mut kept) = (Rc::clone(runtime), None);
    contestant(TRIP, move || {
        let (socket, session) = (socket.clone(), kept.take());
        let task = async move {
            let mut session = match session {
                Some(session) => session,
                None => Session::open(&socket).await?,
            };
            let start = Instant::now();
            for _ in 0..TIMES {
                session.select_one().await?;
            }
            Ok::<_, String>((per_operation(start, TIMES), session))
        };
        let (ns, session) = in_task(&runtime, task)??;
        kept = Some(session);
        Ok(ns)
    })
}

/// Somebody who is made in the first round, and kept.
fn repeated<F>(runtime: &Rc<Runtime>, name: &'static str, make: impl Fn() -> F + 'static) -> Run
where
    F: Future<Output = Outcome<Locker>> + Send + 'static,
{
    let (runtime, mut kept) = (Rc::clone(runtime), None);
    contestant(name, move || {
        let (made, locker) = (make(), kept.take());
        let task = async move {
            let mut locker = match locker {
                Some(locker) => locker,
                None => made.await?,
            };
            let start = Instant::now();
            for _ in 0..TIMES {
                locker.acquire(NAME).await?;
                black_box(&locker);
                locker.release(NAME).await?;
            }
            Ok::<_, String>((per_operation(start, TIMES), locker))
        };
        let (ns, locker) = in_task(&runtime, task)??;
        kept = Some(locker);
        Ok(ns)
    })
}

/// What needs no thought about who holds what: connect, lock, release, close.
fn connected(runtime: &Rc<Runtime>, socket: PathBuf) -> Run {
    let runtime = Rc::clone(runtime);
    contestant(CONNECTED, move || {
        let socket = socket.clone();
        let task = async move {
            let start = Instant::now();
            for _ in 0..TIMES / 10 {
                let mut session = Session::open(&socket).await?;
                session.get_prepared(NAME).await?;
                session.release_prepared(NAME).await?;
                session.close().await?;
            }
            Ok::<_, String>(per_operation(start, TIMES / 10))
        };
        in_task(&runtime, task)?
    })
}

fn tooz(setting: &Rc<Setting>, name: &'static str, order: &'static str) -> Run {
    let (setting, member) = (Rc::clone(setting), RefCell::new(None::<Member>));
    contestant(name, move || {
        let mut member = member.borrow_mut();
        if member.is_none() {
            *member = Some(setting.member(Who::Tooz, "")?);
        }
        member.as_mut().ok_or("gone")?.ask(order)
    })
}
