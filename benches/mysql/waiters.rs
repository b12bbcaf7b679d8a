//! One name and ever more tasks of one process that want it all the time: what handing a hold over to the
//! next task is worth, and a session for each task beside it.

use std::{path::Path, rc::Rc};

use futures::future::try_join_all;
use keyward::{Locks, mysql::MySqlOptions};
use keyward_benches::{
    crew::{Outcome, text},
    report::{Report, Run},
};
use tokio::runtime::Runtime;

use crate::{
    crowd::{TIME, work},
    peers::{Locker, NAME, connect, current_thread},
    session::Session,
    setting::{Setting, USUAL, contestant},
    without::WithoutHandOver,
};

const WORKLOAD: &str = "waiters";

/// How many tasks, and what that table is called.
const WIDTHS: [(usize, &str); 5] = [
    (1, "waiters, 1 task"),
    (4, "waiters, 4 tasks"),
    (16, "waiters, 16 tasks"),
    (64, "waiters, 64 tasks"),
    (256, "waiters, 256 tasks"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Naive,
    HandedOver { awaited: bool },
    Own { awaited: bool },
}

const NAIVE: &str = "naive, a session for each task (T)";
const OURS: &str = "keyward, lease dropped";
const OWN: &str = "keyward without hand-over, lease dropped";

const ROWS: [(How, &str); 5] = [
    (How::Naive, NAIVE),
    (How::HandedOver { awaited: false }, OURS),
    (How::HandedOver { awaited: true }, "keyward, release awaited"),
    (How::Own { awaited: false }, OWN),
    (How::Own { awaited: true }, "keyward without hand-over, release awaited"),
];

pub(crate) fn run(report: &mut Report, setting: &Rc<Setting>) {
    let runtime = Rc::new(current_thread());
    let rounds = if report.quick { 5 } else { 15 };
    for (tasks, workload) in WIDTHS {
        let run = |(how, name)| contender(how, name, tasks, &runtime, setting);
        report.rounds(workload, rounds, ROWS.map(run).into());
    }
    // Only if all of them were asked for.
    if WIDTHS.iter().all(|(_, workload)| report.wants(workload)) {
        summary(report);
    }
    let (_, widest) = WIDTHS[WIDTHS.len() - 1];
    let ns = |name| report.get(widest, name).map(|row| row.ns);
    let times = |slow, fast| Some(ns(slow)? / ns(fast)?);
    let (hand_over, naive) = (times(OWN, OURS), times(NAIVE, OURS));
    report.figure("M8.hand-over-at-256", hand_over, "x-without", "(none)");
    report.figure("M8.vs-naive-at-256", naive, "x", "(none)");
}

/// The same as rates: a row for each contestant, and a column for each number of tasks.
fn summary(report: &Report) {
    println!("\n{WORKLOAD}, all (locks a second, over the number of tasks)");
    println!("{}", WIDTHS.map(|(tasks, _)| format!("{tasks:>9}")).join(" "));
    for (_, name) in ROWS {
        let rates: Option<Vec<String>> = WIDTHS
            .into_iter()
            .map(|(_, workload)| Some(format!("{:>9.0}", 1e9 / report.get(workload, name)?.ns)))
            .collect();
        match rates {
            Some(rates) => println!("{}  {name}", rates.join(" ")),
            None => println!("n/a: {name}: it failed at one of them"),
        }
    }
}

fn contender(
    how: How,
    name: &'static str,
    tasks: usize,
    runtime: &Rc<Runtime>,
    setting: &Rc<Setting>,
) -> Run {
    let (runtime, setting) = (Rc::clone(runtime), Rc::clone(setting));
    contestant(name, move || {
        setting.settle()?;
        let (socket, url) = (setting.socket(), setting.url(USUAL));
        let lockers = runtime.block_on(lockers(how, tasks, socket, &url))?;
        let team = lockers.into_iter().map(|locker| (locker, NAME.to_owned())).collect();
        let (ns, lockers) = runtime.block_on(work(team, TIME))?;
        runtime.block_on(try_join_all(lockers.into_iter().map(Locker::close)))?;
        Ok(ns)
    })
}

async fn lockers(how: How, tasks: usize, socket: &Path, url: &str) -> Outcome<Vec<Locker>> {
    let (locks, awaited) = match how {
        How::Naive => {
            let mut lockers = Vec::new();
            for _ in 0..tasks {
                lockers.push(Locker::Prepared(Session::open(socket).await?));
            }
            return Ok(lockers);
        }
        How::HandedOver { awaited } => (connect(url).await?, awaited),
        How::Own { awaited } => {
            // The defaults are what `USUAL` says.
            let options = MySqlOptions::new().socket(socket);
            let backend = WithoutHandOver(options.connect().await.map_err(text)?);
            (Locks::builder().backend(backend), awaited)
        }
    };
    let locker = |locks: Locks| match awaited {
        true => Locker::Confirmed(locks, None),
        false => Locker::Dropped(locks, None),
    };
    Ok((0..tasks).map(|_| locker(locks.clone())).collect())
}
