//! A holder that is of no use any more, and another process that waits: how soon the other one has the
//! lock, and when the holder is told that it has not.
//!
//! "Stopped" is SIGSTOP to the holder's process, which is woken once the other has the lock. "Cut off" is
//! a network that swallows everything, in silence; there the holder runs on, so it has to know first.
//!
//! The naive holder is one whose session is as the server makes it: the lock would be free after the
//! server's `wait_timeout`, which is 8 hours. That it is not before the bound is what is looked at.

use std::{rc::Rc, thread, time::Duration};

use keyward_benches::{
    clock::{Dice, now},
    crew::{Member, Outcome},
    report::{Report, median, most},
};
use nix::sys::signal::Signal;

use crate::{
    peers::Who,
    proxy::{Proxy, Target},
    setting::{Setting, member},
};

const WORKLOAD: &str = "takeover";

const TTL: u64 = 3;
const SHORT: &str = "ttl=3&heartbeat=1";
const BOUND: Duration = Duration::from_millis(TTL * 1000 + 500);

const LIMIT: Duration = Duration::from_secs(TTL + 10);

/// What one round has shown, in milliseconds.
#[derive(Clone, Copy)]
struct Shown {
    /// From when it was of no use to when the other one had the lock.
    taken: f64,
    /// When it was told: if it was stopped, after it was woken; if it was cut off, after the other one
    /// had the lock, so that less than nothing is in time.
    told: f64,
}

type Round = fn(&Setting) -> Outcome<Shown>;

pub(crate) fn run(report: &mut Report, setting: &Rc<Setting>) {
    let mut shown = [None, None];
    if report.wants(WORKLOAD) {
        println!("\n{WORKLOAD} (ms until the other one has the lock, with a ttl of {TTL} s)");
        println!("{:>10} {:>10} {:>10} {:>10}", "p50", "most", "told p50", "told most");
        let rows: [(&str, Round); 2] = [
            ("keyward, stopped; told after it was woken", stopped),
            ("keyward, cut off; told after the other had the lock", cut_off),
        ];
        let rounds = if report.quick { 2 } else { 5 };
        for ((name, round), shown) in rows.into_iter().zip(&mut shown) {
            match (0..rounds).map(|_| round(setting)).collect::<Outcome<Vec<Shown>>>() {
                Ok(rounds) => *shown = Some(told(name, &rounds)),
                Err(error) => println!("n/a: {name}: {error}"),
            }
        }
        match naive(setting) {
            Ok(held) => {
                println!("{:>43}  naive, stopped", if held { "held still" } else { "free" })
            }
            Err(error) => println!("n/a: naive, stopped: {error}"),
        }
    }
    let [stopped, cut_off] = shown;
    let seconds = |shown: Option<Shown>| shown.map(|shown| shown.taken / 1e3);
    let figures = [
        ("M7.stopped-taken-most", seconds(stopped), "s", "<=3.5"),
        ("M7.stopped-told-most", stopped.map(|shown| shown.told), "ms-after-waking", "(none)"),
        ("M7.cut-off-taken-most", seconds(cut_off), "s", "<=3.5"),
        ("M7.cut-off-told-most", cut_off.map(|shown| shown.told), "ms-after-taken", "<0"),
    ];
    for (id, value, unit, goal) in figures {
        report.figure(id, value, unit, goal);
    }
}

/// Prints a row; what was worst in it.
fn told(name: &str, rounds: &[Shown]) -> Shown {
    let all = |part: fn(&Shown) -> f64| rounds.iter().map(part).collect::<Vec<f64>>();
    let (taken, told) = (all(|shown| shown.taken), all(|shown| shown.told));
    let worst = Shown { taken: most(&taken), told: most(&told) };
    let (taken, told) = (median(taken), median(told));
    println!("{taken:>10.1} {:>10.1} {told:>10.1} {:>10.1}  {name}", worst.taken, worst.told);
    worst
}

fn first(answer: Outcome<Vec<f64>>) -> Outcome<f64> {
    answer?.first().copied().ok_or_else(|| "no number".to_owned())
}

/// Lets one take the lock, and the other one wait for it.
fn hold(holder: &mut Member, waiter: &mut Member) -> Outcome<()> {
    holder.say("acquire")?;
    holder.hear(LIMIT)?;
    holder.hear(LIMIT)?;
    waiter.say("acquire")?;
    waiter.hear(LIMIT)?;
    // It may be anywhere between two heartbeats when it happens.
    thread::sleep(Duration::from_millis(500 + Dice::default().below(1000)));
    Ok(())
}

fn stopped(setting: &Setting) -> Outcome<Shown> {
    let mut holder = setting.member(Who::Keyward, SHORT)?;
    let mut waiter = setting.member(Who::Keyward, SHORT)?;
    hold(&mut holder, &mut waiter)?;
    holder.say("lost")?;
    let start = now();
    holder.signal(Signal::SIGSTOP)?;
    let taken = first(waiter.hear(LIMIT))?;
    let woken = now();
    holder.signal(Signal::SIGCONT)?;
    let told = first(holder.hear(LIMIT))?;
    Ok(Shown { taken: (taken - start as f64) / 1e6, told: (told - woken as f64) / 1e6 })
}

fn cut_off(setting: &Setting) -> Outcome<Shown> {
    let network = Proxy::start(Target::Socket(setting.socket().to_owned()));
    let url = setting.server().tcp_url_as("root", network.port());
    let mut holder = member(Who::Keyward, &format!("{url}?{SHORT}"))?;
    let mut waiter = setting.member(Who::Keyward, SHORT)?;
    hold(&mut holder, &mut waiter)?;
    holder.say("lost")?;
    let start = now();
    network.silence();
    let taken = first(waiter.hear(LIMIT))?;
    let told = first(holder.hear(LIMIT))?;
    Ok(Shown { taken: (taken - start as f64) / 1e6, told: (told - taken) / 1e6 })
}

/// Whether the lock of a holder that is stopped is held beyond the bound.
fn naive(setting: &Setting) -> Outcome<bool> {
    let mut holder = setting.member(Who::Server, "")?;
    let mut waiter = setting.member(Who::Server, "")?;
    hold(&mut holder, &mut waiter)?;
    holder.signal(Signal::SIGSTOP)?;
    Ok(waiter.hear(BOUND).is_err())
}
