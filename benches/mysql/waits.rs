//! Waits that are given up: how soon the server has them no more.
//!
//! A session holds the name. Once the wait for it is in the server's queue it is dropped, or has timed
//! out, and from then on the server is asked all the time who waits. "Raced" is a drop at whose moment
//! the holder lets go, so that the wait may win: then the lock has to be free again as well. A server
//! that has a KILL meet the grant in the same microseconds tries again after 50 ms (MariaDB's
//! `WAIT_FOR_KILL_TRY_TIMES`), which a session that waits for its answer shows.

use std::{
    future::{Future, IntoFuture},
    path::Path,
    pin::{Pin, pin},
    rc::Rc,
    time::{Duration, Instant},
};

use futures::future::{Either, select};
use keyward::Locks;
use keyward_benches::{
    clock::Dice,
    crew::{Outcome, text},
    report::{Report, most, percentile},
};

use tokio::time::sleep;

use crate::{
    peers::{NAME, connect, current_thread},
    session::Session,
    setting::{Setting, USUAL},
};

const WORKLOAD: &str = "cancel";

/// How long the driver's own waits would be, in seconds.
const LONG: u32 = 5;

/// Long enough that a wait is in the server's queue before it ends.
const LIMIT: Duration = Duration::from_millis(40);

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Dropped,
    Raced,
    TimedOut,
    /// The driver's own: the session goes together with the call.
    SessionDropped,
    /// The driver's own: the call is dropped, then the session closed as it should be.
    SessionClosed,
}

impl How {
    const ALL: [Self; 5] =
        [Self::Dropped, Self::Raced, Self::TimedOut, Self::SessionDropped, Self::SessionClosed];

    const fn name(self) -> &'static str {
        match self {
            Self::Dropped => "keyward, a wait dropped",
            Self::Raced => "keyward, a wait dropped while the holder lets go",
            Self::TimedOut => "keyward, a wait timed out",
            Self::SessionDropped => "sqlx, call and session dropped",
            Self::SessionClosed => "sqlx, call dropped, session closed (its GET_LOCK is of 5 s)",
        }
    }

    const fn count(self, quick: bool) -> usize {
        match (self, quick) {
            (Self::Dropped | Self::Raced, false) => 2000,
            (Self::Dropped | Self::Raced, true) => 300,
            (Self::TimedOut, false) => 1000,
            (Self::TimedOut, true) => 200,
            (Self::SessionDropped, false) => 20,
            (Self::SessionDropped, true) => 5,
            (Self::SessionClosed, false) => 3,
            (Self::SessionClosed, true) => 1,
        }
    }
}

/// What has become of the waits of one kind.
struct Shown {
    ms: Vec<f64>,
    /// How many left something behind.
    left: usize,
}

pub(crate) fn run(report: &mut Report, setting: &Rc<Setting>) {
    let mut all = Vec::new();
    if report.wants(WORKLOAD) {
        println!("\n{WORKLOAD} (ms until the server has the wait no more)");
        println!("{:>10} {:>10} {:>10} {:>6}", "p50", "p99", "most", "waits");
        let runtime = current_thread();
        for how in How::ALL {
            let (socket, url) = (setting.socket(), setting.url(USUAL));
            match runtime.block_on(measure(how, how.count(report.quick), socket, &url)) {
                Ok(shown) => {
                    let [p50, p99] = [50, 99].map(|percent| percentile(shown.ms.clone(), percent));
                    let (most, count) = (most(&shown.ms), shown.ms.len());
                    println!("{p50:>10.3} {p99:>10.3} {most:>10.3} {count:>6}  {}", how.name());
                    if shown.left > 0 {
                        println!("left something behind: {}: {}", shown.left, how.name());
                    }
                    all.push((how, shown));
                }
                Err(error) => println!("n/a: {}: {error}", how.name()),
            }
        }
    }
    let of = |how| all.iter().find(|(which, _)| *which == how).map(|(_, shown)| shown);
    let at = |how, percent| of(how).map(|shown| percentile(shown.ms.clone(), percent));
    let ours = [How::Dropped, How::Raced, How::TimedOut];
    let left = ours.into_iter().map(|how| of(how).map(|shown| shown.left as f64)).sum();
    let figures = [
        ("M6.dropped-p99", at(How::Dropped, 99), "ms", "<=5"),
        ("M6.raced-p99", at(How::Raced, 99), "ms", "<=5"),
        ("M6.timed-out-p99", at(How::TimedOut, 99), "ms", "<=5"),
        ("M6.left", left, "waits", "0"),
        ("M6.sqlx-drop-p50", at(How::SessionDropped, 50), "ms", "(none)"),
        ("M6.sqlx-close-p50", at(How::SessionClosed, 50), "ms", "(none)"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

async fn measure(how: How, count: usize, socket: &Path, url: &str) -> Outcome<Shown> {
    let mut pair =
        Pair { holder: Session::open(socket).await?, looker: Session::open(socket).await? };
    let mut shown = Shown { ms: Vec::new(), left: 0 };
    let locks = match how {
        How::SessionDropped | How::SessionClosed => None,
        _ => Some(connect(url).await?),
    };
    for _ in 0..count {
        if !pair.holder.get(NAME, 1).await? {
            return Err("the name is held by somebody".to_owned());
        }
        let start = match &locks {
            Some(locks) => give_up(how, locks, &mut pair).await?,
            None => give_up_session(how, &mut pair, socket).await?,
        };
        // What is asked for takes a round trip too.
        let clean = pair.until(0, how == How::Raced).await?;
        shown.ms.push(start.elapsed().as_secs_f64() * 1e3);
        if how != How::Raced {
            pair.holder.release(NAME).await?;
        }
        let free = pair.until(0, true).await?;
        shown.left += usize::from(!clean || !free);
    }
    if let Some(locks) = locks {
        locks.close().await;
    }
    pair.holder.close().await?;
    pair.looker.close().await?;
    Ok(shown)
}

/// When it was given up.
async fn give_up(how: How, locks: &Locks, pair: &mut Pair) -> Outcome<Instant> {
    if how == How::TimedOut {
        let mut wait = Box::pin(locks.lock_named(NAME).timeout(LIMIT).into_future());
        pair.until_queued(wait.as_mut()).await?;
        return match wait.await {
            Err(error) if error.is_timed_out() => Ok(Instant::now()),
            Err(error) => Err(text(error)),
            Ok(_) => Err("the name was not held".to_owned()),
        };
    }
    let mut wait = Box::pin(locks.lock_named(NAME).into_future());
    pair.until_queued(wait.as_mut()).await?;
    let start = Instant::now();
    drop(wait);
    if how == How::Raced {
        pair.holder.release(NAME).await?;
    }
    Ok(start)
}

async fn give_up_session(how: How, pair: &mut Pair, socket: &Path) -> Outcome<Instant> {
    let mut session = Session::open(socket).await?;
    if how == How::SessionDropped {
        let mut wait = Box::pin(async move { session.get(NAME, LONG).await });
        pair.until_queued(wait.as_mut()).await?;
        // The server looks for those who are gone once a second.
        sleep(Duration::from_millis(Dice::default().below(1000))).await;
        let start = Instant::now();
        drop(wait);
        return Ok(start);
    }
    pair.until_queued(pin!(session.get(NAME, LONG))).await?;
    let start = Instant::now();
    session.close().await?;
    Ok(start)
}

/// Who holds the name, and who looks at the queue for it.
struct Pair {
    holder: Session,
    looker: Session,
}

impl Pair {
    /// Polls a wait until it is in the server's queue.
    async fn until_queued(&mut self, wait: Pin<&mut impl Future>) -> Outcome<()> {
        match select(pin!(self.until(1, false)), wait).await {
            Either::Left((Ok(true), _)) => Ok(()),
            Either::Left((Ok(false), _)) => Err("the wait is not in the server's queue".to_owned()),
            Either::Left((Err(error), _)) => Err(error),
            Either::Right(_) => Err("the wait ended before it was in the queue".to_owned()),
        }
    }

    /// Until so many wait, and, to be `free`, nobody holds the name; false if it does not come to that.
    async fn until(&mut self, waiting: usize, free: bool) -> Outcome<bool> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(u64::from(2 * LONG)) {
            if self.looker.clients().await?.waiting == waiting
                && !(free && self.looker.is_used(NAME).await?)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
