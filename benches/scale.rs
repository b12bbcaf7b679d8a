//! `LockRegistry` and its peers as they grow: from 10 keys to 1,000,000, from 1 waiter to 10,000.
//!
//! ```text
//! cargo bench -p keyward-benches --bench scale               everything, about a minute
//! cargo bench -p keyward-benches --bench scale -- --quick    a tenth of the keys and waiters
//! cargo bench -p keyward-benches --bench scale -- keys       the parts whose names contain a word
//! ```
//!
//! | part | what |
//! |---|---|
//! | keys | n keys are taken one after the other and kept; then others are taken and released among them; then all are released. The longest single one shows whether a table that grows stops everybody |
//! | waiters | n waits for one key; one more that is begun and dropped; then the key goes from one to the next |
//!
//! The others are the same 10,000 keys whatever n is, so that it is not the keys' own memory that is
//! slower to reach. Times are of one thread, without a runtime; the figures are ratios of ours to ours, at
//! the most and at the least, and to the peers'.
#![allow(missing_docs, reason = "a program")]

#[allow(dead_code, reason = "the other bench uses all of it")]
#[path = "registry/contestants.rs"]
mod contestants;

use std::{
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::task::noop_waker_ref;
use keyward_benches::report::{self, Report};

use crate::contestants::{Amalgam, Contestant, Key, KeyedLock, Keyward, Lockable, so_many_keys};

const OTHERS: usize = 10_000;

fn main() {
    let arguments = report::arguments();
    let mut report = Report::new(&arguments);
    let part = if report.quick { 10 } else { 1 };
    if report.wants("keys") {
        keys(&mut report, 1_000_000 / part);
    }
    if report.wants("waiters") {
        waiters(&mut report, 10_000 / part);
    }
    report.finish();
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(noop_waker_ref())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the key is free"),
    }
}

/// With fewer of them the most is one of the others.
fn each_once(counts: [usize; 4]) -> Vec<usize> {
    let mut counts = Vec::from(counts);
    counts.dedup();
    counts
}

/// What n keys cost.
struct Keys {
    take: f64,
    longest_take: Duration,
    among: f64,
    release: f64,
    longest_release: Duration,
}

fn with_keys<C: Contestant>(all: &'static [Key], count: usize) -> Keys {
    let lock: &'static C = Box::leak(Box::default());
    let (others, keys) = all.split_at(OTHERS);
    let mut held = Vec::with_capacity(count);
    let (take, longest_take) = each(keys[..count].iter(), |key| held.push(now(lock.lock(key))));
    // Of several rounds the best: what else the machine does makes none of them better.
    let round = || each(others.iter(), |key| drop(black_box(now(lock.lock(key))))).0;
    let among = (0..9).map(|_| round()).fold(f64::INFINITY, f64::min);
    let (release, longest_release) = each(held.into_iter(), drop);
    Keys { take, longest_take, among, release, longest_release }
}

/// Nanoseconds of one, and the longest.
fn each<T>(items: impl ExactSizeIterator<Item = T>, mut work: impl FnMut(T)) -> (f64, Duration) {
    let (count, begun) = (items.len().max(1), Instant::now());
    let (mut last, mut longest) = (begun, Duration::ZERO);
    for item in items {
        work(item);
        let now = Instant::now();
        longest = longest.max(now - last);
        last = now;
    }
    ((last - begun).as_nanos() as f64 / count as f64, longest)
}

fn keys(report: &mut Report, most: usize) {
    let all = so_many_keys(OTHERS + most);
    println!("\nkeys (ns of one, with the clock that is read for each; the longest one in ms)");
    println!(
        "{:>9} {:>7} {:>9} {:>7} {:>8} {:>9}",
        "held", "take", "longest", "among", "release", "longest"
    );
    let row = |name: &str, count: usize, keys: &Keys| {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "{count:>9} {:>7.1} {:>9.3} {:>7.1} {:>8.1} {:>9.3}  {name}",
            keys.take,
            ms(keys.longest_take),
            keys.among,
            keys.release,
            ms(keys.longest_release)
        );
    };
    let mut ours = Vec::new();
    let mut theirs = f64::INFINITY;
    macro_rules! rows {
        ($($contestant:ident)*) => {
            $(
                for count in each_once([10, 1_000, 100_000.min(most), most]) {
                    let keys = with_keys::<$contestant>(all, count);
                    row($contestant::NAME, count, &keys);
                    if $contestant::NAME == Keyward::NAME {
                        ours.push(keys);
                    } else if count == most {
                        theirs = theirs.min(keys.among);
                    }
                }
            )*
        };
    }
    rows!(Keyward Amalgam Lockable KeyedLock);
    let (few, many) = (&ours[0], &ours[ours.len() - 1]);
    let longest = many.longest_take.max(many.longest_release).as_secs_f64() * 1e3;
    report.figure("S1.keys", Some(many.among / few.among), "x-ours-among-10", "<=1.3");
    report.figure("S1.keys-ns", Some(many.among), "ns", "(none)");
    report.figure("S1.vs-best-peer", Some(theirs / many.among), "x", "(none)");
    report.figure("S2.take", Some(many.take * most as f64 / 1e6), "ms-for-all", "(none)");
    report.figure("S2.release", Some(many.release * most as f64 / 1e6), "ms-for-all", "(none)");
    report.figure("S2.longest", Some(longest), "ms", "<=10");
}

/// What n waiters cost.
struct Waiters {
    join_and_leave: f64,
    hand_over: f64,
}

fn with_waiters<C: Contestant>(key: &'static Key, count: usize) -> Waiters {
    let mut cx = Context::from_waker(noop_waker_ref());
    let lock: &'static C = Box::leak(Box::default());
    let (mut join_and_leave, mut hand_over) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..(20_000 / count).clamp(9, 2_000) {
        let mut guard = now(lock.lock(key));
        let mut waits: Vec<Pin<Box<_>>> = (0..count).map(|_| Box::pin(lock.lock(key))).collect();
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut cx).is_pending());
        }
        let more: Vec<_> = (0..100).map(|_| Box::pin(lock.lock(key))).collect();
        let joined = each(more.into_iter(), |mut wait| {
            assert!(wait.as_mut().poll(&mut cx).is_pending());
        });
        join_and_leave = join_and_leave.min(joined.0);
        let begun = Instant::now();
        for mut wait in waits {
            drop(guard);
            guard = match wait.as_mut().poll(&mut cx) {
                Poll::Ready(guard) => guard,
                Poll::Pending => panic!("it is its turn"),
            };
        }
        hand_over = hand_over.min(begun.elapsed().as_nanos() as f64 / count as f64);
    }
    Waiters { join_and_leave, hand_over }
}

fn waiters(report: &mut Report, most: usize) {
    let key = &so_many_keys(1)[0];
    println!("\nwaiters (ns of one)");
    println!("{:>9} {:>9} {:>9}", "waiting", "join+drop", "hand-over");
    let mut ours = Vec::new();
    macro_rules! rows {
        ($($contestant:ident)*) => {
            $(
                for count in each_once([10, 100, 1_000, most]) {
                    let waiters = with_waiters::<$contestant>(key, count);
                    println!(
                        "{count:>9} {:>9.1} {:>9.1}  {}",
                        waiters.join_and_leave, waiters.hand_over, $contestant::NAME
                    );
                    if $contestant::NAME == Keyward::NAME {
                        ours.push(waiters);
                    }
                }
            )*
        };
    }
    rows!(Keyward Amalgam Lockable KeyedLock);
    let (few, many) = (&ours[0], &ours[ours.len() - 1]);
    let ratio = |of: fn(&Waiters) -> f64| Some(of(many) / of(few));
    report.figure("S3.hand-over", ratio(|w| w.hand_over), "x-ours-among-10", "<=1.3");
    report.figure("S3.join-and-leave", ratio(|w| w.join_and_leave), "x-ours-among-10", "<=1.3");
}
