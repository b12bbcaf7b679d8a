//! A thousand names held at once by one process, and how many sessions hold fewer.

use std::{
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use keyward::{Lease, Leases, Locks};
use keyward_benches::{
    crew::{Outcome, text},
    report::{Report, median},
};
use tokio::runtime::Runtime;

use crate::{
    peers::{NAME, confirmed, connect, current_thread},
    session::Session,
    setting::{Setting, USUAL},
};

const WORKLOAD: &str = "many names";
const NAMES: usize = 1000;
/// Over so many names sessions are counted.
const OVER: [usize; 4] = [1, 10, 100, NAMES];

/// So many connections are asked for at once, or a listening socket refuses some.
const AT_ONCE: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// A task for each name.
    Tasks,
    /// One request for all of them.
    All,
    /// A session for each name.
    Naive,
}

const ROWS: [(How, &str); 3] = [
    (How::Tasks, "keyward, all asked for at once"),
    (How::All, "keyward, lock_all"),
    (How::Naive, "naive, a session for each"),
];

/// What one round has shown.
#[derive(Clone, Copy)]
struct Shown {
    take: Duration,
    release: Duration,
    sessions: usize,
}

pub(crate) fn run(report: &mut Report, setting: &Rc<Setting>) {
    let mut ours = None;
    if report.wants(WORKLOAD) {
        println!("\n{WORKLOAD}, {NAMES} of them");
        println!("{:>10} {:>10} {:>8}", "take ms", "release ms", "sessions");
        let (runtime, rounds) = (current_thread(), if report.quick { 3 } else { 7 });
        for (how, name) in ROWS {
            let rounds: Outcome<Vec<Shown>> =
                (0..rounds).map(|_| once(how, NAMES, &runtime, setting)).collect();
            let rounds = match rounds {
                Ok(rounds) => rounds,
                Err(error) => {
                    println!("n/a: {name}: {error}");
                    continue;
                }
            };
            let ms = |part: fn(&Shown) -> Duration| {
                median(rounds.iter().map(|shown| part(shown).as_secs_f64() * 1e3).collect())
            };
            let (take, release) = (ms(|shown| shown.take), ms(|shown| shown.release));
            let sessions = rounds.iter().map(|shown| shown.sessions).max().unwrap_or_default();
            println!("{take:>10.1} {release:>10.1} {sessions:>8}  {name}");
            if how == How::Tasks {
                ours = Some((sessions as f64, take, release));
            }
        }
        sessions(&runtime, setting);
    }
    report.figure("M4.sessions", ours.map(|ours| ours.0), "sessions", "<=20");
    report.figure("M4.take", ours.map(|ours| ours.1), "ms", "(none)");
    report.figure("M4.release", ours.map(|ours| ours.2), "ms", "(none)");
}

/// A row for each way, and a column for each number of names.
fn sessions(runtime: &Runtime, setting: &Setting) {
    println!("\nsessions over names held");
    println!("{}", OVER.map(|names| format!("{names:>6}")).join(" "));
    for (how, name) in ROWS {
        let counted: Outcome<Vec<String>> = OVER
            .into_iter()
            .map(|names| Ok(format!("{:>6}", once(how, names, runtime, setting)?.sessions)))
            .collect();
        match counted {
            Ok(counted) => println!("{}  {name}", counted.join(" ")),
            Err(error) => println!("n/a: {name}: {error}"),
        }
    }
}

fn once(how: How, count: usize, runtime: &Runtime, setting: &Setting) -> Outcome<Shown> {
    setting.settle()?;
    let names = || (0..count).map(|n| format!("{NAME}-{n}"));
    if how == How::Naive {
        let socket = setting.socket();
        let names: Vec<String> = names().collect();
        let take = async {
            let mut sessions = Vec::new();
            for some in names.chunks(AT_ONCE) {
                let each = |name| async move {
                    let mut session = Session::open(socket).await?;
                    session.get_prepared(name).await?;
                    Ok::<_, String>(session)
                };
                sessions.extend(try_join_all(some.iter().map(|name| each(name))).await?);
            }
            Ok(sessions)
        };
        let release = |sessions: Vec<Session>| async {
            let each = |(mut session, name): (Session, String)| async move {
                session.release_prepared(&name).await?;
                session.close().await
            };
            try_join_all(sessions.into_iter().zip(names.clone()).map(each)).await?;
            Ok(())
        };
        return timed(runtime, setting, take, release);
    }
    let locks = runtime.block_on(connect(&setting.url(USUAL)))?;
    let shown = if how == How::Tasks {
        let take = try_join_all(names().map(|name| taken(&locks, name)));
        let release = |leases: Vec<Lease>| async {
            let each = |lease: Lease| async { confirmed(lease.release().await) };
            try_join_all(leases.into_iter().map(each)).await?;
            Ok(())
        };
        timed(runtime, setting, take, release)?
    } else {
        let take = async { locks.lock_all(names()).await.map_err(text) };
        let release = |leases: Leases| async { confirmed(leases.release().await) };
        timed(runtime, setting, take, release)?
    };
    runtime.block_on(locks.close());
    Ok(shown)
}

async fn taken(locks: &Locks, name: String) -> Outcome<Lease> {
    locks.lock_named(name).await.map_err(text)
}

fn timed<T, R: Future<Output = Outcome<()>>>(
    runtime: &Runtime,
    setting: &Setting,
    take: impl Future<Output = Outcome<T>>,
    release: impl FnOnce(T) -> R,
) -> Outcome<Shown> {
    let start = Instant::now();
    let all = runtime.block_on(take)?;
    let take = start.elapsed();
    let sessions = setting.sessions()?;
    let start = Instant::now();
    runtime.block_on(release(all))?;
    Ok(Shown { take, release: start.elapsed(), sessions })
}
