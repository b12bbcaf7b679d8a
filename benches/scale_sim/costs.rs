//! What each step costs here: measured in rounds, of which the median counts.
//!
//! Processor time is read off the two processes' clocks, ours and the server's. What a round trip takes
//! beyond it is the time of kernels that wake each other: nobody's load, but everybody's delay.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use keyward::Locks;
use keyward_benches::{
    clock::Dice,
    crew::{Outcome, text},
    report::{Report, median},
    sim::Costs,
};
use tokio::time::sleep;

use crate::{
    service::{Service, own_time},
    session::Session,
};

/// What keyward's sessions are, unless something else is said.
const USUAL: &str = "ttl=30&heartbeat=5";

/// Tasks with a name each.
const CROWD: usize = 64;
/// Names of a statement.
const NAMES: usize = 64;
/// Sessions that are opened to see what they take.
const SESSIONS: usize = 200;

/// Greeting and login, who the server is, and what it is told.
const CONNECT_TRIPS: u64 = 4;

/// All that has been measured, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) of_steps: Costs,
    select_one: f64,
    raw_pair: f64,
    our_pair: f64,
    hand_over: f64,
}

/// What something took, for each time that it was done.
#[derive(Clone, Copy, Debug)]
struct Spent {
    wall: f64,
    client: f64,
    server: f64,
    statements: f64,
}

impl Service {
    /// Does something so many times in each round; the median of the rounds.
    fn spent(
        &mut self,
        rounds: usize,
        times: usize,
        mut work: impl AsyncFnMut() -> Outcome<()>,
    ) -> Outcome<Spent> {
        let mut all = Vec::new();
        for _ in 0..rounds {
            let statements = self.counter("QUESTIONS")?;
            let (server, client, start) = (self.time()?, own_time(), Instant::now());
            self.runtime.block_on(work())?;
            let wall = start.elapsed().as_nanos() as f64;
            let (server, client) = (self.time()? - server, own_time() - client);
            let statements = self.counter("QUESTIONS")? - statements - 1;
            all.push([wall, client as f64, server as f64, statements as f64]);
        }
        let [wall, client, server, statements] =
            [0, 1, 2, 3].map(|n| median(all.iter().map(|of| of[n]).collect()) / times as f64);
        Ok(Spent { wall, client, server, statements })
    }

    /// A statement of raw text.
    fn spent_on(&mut self, rounds: usize, sql: &str) -> Outcome<Spent> {
        let mut session = self.runtime.block_on(Session::open(&self.socket()))?;
        self.spent(rounds, TIMES, async || {
            for _ in 0..TIMES {
                session.run(sql).await?;
            }
            Ok(())
        })
    }
}

const TIMES: usize = 300;

/// Granted once and refused otherwise; it costs the same.
const GET: &str = "SELECT GET_LOCK('scale-a',0)";

/// Tokio's timers are of milliseconds.
const TICK: u64 = 1_000_000;

pub(crate) fn measure(service: &mut Service, quick: bool) -> Outcome<Measured> {
    let rounds = if quick { 9 } else { 19 };
    let select_one = service.spent_on(rounds, "SELECT 1")?.wall;
    let raw = service.spent_on(rounds, GET)?;
    let release = service.spent_on(rounds, "SELECT RELEASE_LOCK('scale-b')")?;
    let alone = one_task(service, rounds)?;
    let text = service.spent_on(rounds, "SELECT CONCAT_WS(',',CONNECTION_ID())a")?;
    let crowd = crowd(service, rounds)?;
    let check = service.spent_on(rounds, &check_sql())?;
    let (late, timer_alone) = timers(service, rounds, 1)?;
    let timer = timers(service, rounds, CROWD)?.1;
    let among = among_many(service, rounds)?;
    let roused = roused(service, rounds)?;
    let (turns, hand_over) = hand_over(service, rounds)?;
    let (connect, session_bytes) = sessions(service)?;

    // Of one task, each lock and each release is a statement; of a crowd, a statement is of many.
    let client_each = alone.client / 2.0;
    let client_command = (crowd.client - crowd.statements * client_each) / (2.0 - crowd.statements);
    let client_statement = client_each - client_command;
    let server_call = (crowd.server - crowd.statements * text.server) / 2.0;
    let wire = (alone.wall - alone.client - alone.server).max(0.0) / 4.0;
    let server_roused = (roused.server - alone.server / 2.0).max(0.0);
    // Before one of the four statements all have rested.
    let wake = (turns - 2.0 * (raw.server + release.server) - server_roused).max(0.0);
    let whole = |ns: f64| ns.max(0.0).round() as u64;
    let trip = 2.0 * wire + client_statement + text.server + server_call + wake;
    let of_steps = Costs {
        client_statement: whole(client_statement),
        client_command: whole(client_command),
        client_check: whole((check.client - text.client) / NAMES as f64),
        client_timer: whole(timer),
        client_rested: whole(timer_alone - timer),
        client_connect: whole(connect.client + client_statement),
        server_alone: whole(alone.server / 2.0),
        server_text: whole(text.server),
        server_call: whole(server_call),
        server_check: whole((check.server - text.server) / NAMES as f64),
        server_rested: whole(among.server - raw.server),
        server_roused: whole(server_roused),
        server_wake: whole(wake),
        server_connect: whole(connect.server + text.server),
        wire: whole(wire),
        rouse: whole(roused.wall - alone.wall / 2.0 - server_roused),
        hand_over: whole(hand_over - trip),
        timer_tick: TICK,
        timer_late: whole(late - TICK as f64 / 2.0),
        connect_trips: CONNECT_TRIPS,
        session_bytes,
    };
    let raw_pair = raw.wall + release.wall;
    Ok(Measured { of_steps, select_one, raw_pair, our_pair: alone.wall, hand_over })
}

fn check_sql() -> String {
    let mut sql = "SELECT CONCAT_WS(',',CONNECTION_ID()".to_owned();
    for n in 0..NAMES {
        sql += &format!(",IFNULL(IS_USED_LOCK(X'{n:040x}')=CONNECTION_ID(),0)");
    }
    sql + ")a"
}

/// keyward, with nobody else about.
fn one_task(service: &mut Service, rounds: usize) -> Outcome<Spent> {
    let url = service.url(USUAL);
    let locks = service.runtime.block_on(Locks::connect(&url)).map_err(text)?;
    let spent = service.spent(rounds, TIMES, async || {
        let locks = locks.clone();
        // In a task, as those of a service are.
        let work = tokio::spawn(async move {
            for _ in 0..TIMES {
                locks.lock_named("scale-one").await?.release().await?;
            }
            Ok::<_, keyward::Error>(())
        });
        work.await.map_err(text)?.map_err(text)
    })?;
    service.runtime.block_on(locks.close());
    Ok(spent)
}

/// keyward, with many tasks that have a name each.
fn crowd(service: &mut Service, rounds: usize) -> Outcome<Spent> {
    let url = service.url(USUAL);
    let locks = service.runtime.block_on(Locks::connect(&url)).map_err(text)?;
    let each = TIMES / 10;
    let spent = service.spent(rounds, CROWD * each, async || {
        let tasks = (0..CROWD).map(|task| {
            let locks = locks.clone();
            tokio::spawn(async move {
                let name = format!("scale-{task}");
                for _ in 0..each {
                    locks.lock_named(&name).await?.release().await?;
                }
                Ok::<_, keyward::Error>(())
            })
        });
        for ended in try_join_all(tasks).await.map_err(text)? {
            ended.map_err(text)?;
        }
        Ok(())
    })?;
    service.runtime.block_on(locks.close());
    Ok(spent)
}

/// A statement of a session while others have theirs in between.
fn among_many(service: &mut Service, rounds: usize) -> Outcome<Spent> {
    let socket = service.socket();
    let mut all = service.runtime.block_on(async {
        let mut all = Vec::new();
        for _ in 0..CROWD {
            all.push(Session::open(&socket).await?);
        }
        Ok::<_, String>(all)
    })?;
    service.spent(rounds, 4 * CROWD, async || {
        for _ in 0..4 {
            for session in &mut all {
                session.run(GET).await?;
            }
        }
        Ok(())
    })
}

/// A lock or release of keyward's, when nobody has done anything for some time. The client's time is not
/// told: the timer's is among it.
fn roused(service: &mut Service, rounds: usize) -> Outcome<Spent> {
    const TURNS: usize = 20;
    let url = service.url(USUAL);
    let locks = service.runtime.block_on(Locks::connect(&url)).map_err(text)?;
    let mut times = Vec::new();
    let spent = service.spent(rounds, 2 * TURNS, async || {
        for _ in 0..TURNS {
            sleep(Duration::from_millis(2)).await;
            let start = Instant::now();
            let lease = locks.lock_named("scale-rest").await.map_err(text)?;
            times.push(start.elapsed().as_nanos() as f64);
            sleep(Duration::from_millis(2)).await;
            let start = Instant::now();
            lease.release().await.map_err(text)?;
            times.push(start.elapsed().as_nanos() as f64);
        }
        Ok(())
    })?;
    service.runtime.block_on(locks.close());
    Ok(Spent { wall: median(times), client: f64::NAN, ..spent })
}

/// Processor time of the server for a name's going from one session to another; and the time from a release
/// to the next session's having it.
fn hand_over(service: &mut Service, rounds: usize) -> Outcome<(f64, f64)> {
    const TURNS: usize = 20;
    const TAKE: &str = "SELECT GET_LOCK('scale-turn',60)";
    const RELEASE: &str = "SELECT RELEASE_LOCK('scale-turn')";
    let socket = service.socket();
    let open = async || Session::open(&socket).await;
    let (first, second) =
        service.runtime.block_on(async { Ok::<_, String>((open().await?, open().await?)) })?;
    let mut pair = Some((first, second));
    let mut times = Vec::new();
    let spent = service.spent(rounds, TURNS, async || {
        for _ in 0..TURNS {
            let (mut holder, mut waiter) = pair.take().ok_or("gone")?;
            holder.run(TAKE).await?;
            let wait = tokio::spawn(async move {
                waiter.run(TAKE).await?;
                Ok::<_, String>((Instant::now(), waiter))
            });
            sleep(Duration::from_millis(2)).await;
            let released = Instant::now();
            holder.run(RELEASE).await?;
            let (granted, mut waiter) = wait.await.map_err(text)??;
            times.push(granted.saturating_duration_since(released).as_nanos() as f64);
            waiter.run(RELEASE).await?;
            pair = Some((waiter, holder));
        }
        Ok(())
    })?;
    Ok((spent.server, median(times)))
}

/// How late a timer fires, and what that costs; of so many that fire together.
fn timers(service: &mut Service, rounds: usize, together: usize) -> Outcome<(f64, f64)> {
    const SLEEPS: usize = 40;
    let (mut late, mut dice) = (Vec::new(), Dice::default());
    let spent = service.spent(rounds, SLEEPS * together, async || {
        for _ in 0..SLEEPS {
            // At any part of a millisecond, which is what the runtime's timers know.
            let length = Duration::from_nanos(1_000_000 + dice.below(1_000_000));
            let start = Instant::now();
            let others: Vec<_> = (1..together).map(|_| tokio::spawn(sleep(length))).collect();
            sleep(length).await;
            late.push((start.elapsed() - length).as_nanos() as f64);
            try_join_all(others).await.map_err(text)?;
        }
        Ok(())
    })?;
    Ok((median(late), spent.client))
}

/// What it takes to open sessions, each of which has locked something, and the memory of one.
fn sessions(service: &mut Service) -> Outcome<(Spent, u64)> {
    let socket = service.socket();
    let mut open = Vec::new();
    let before = service.resident()?;
    let spent = service.spent(1, SESSIONS, async || {
        for _ in 0..SESSIONS {
            open.push(Session::open(&socket).await?);
        }
        Ok(())
    })?;
    service.runtime.block_on(async {
        for (n, session) in open.iter_mut().enumerate() {
            session.run(&format!("SELECT GET_LOCK('scale-{n}',0)")).await?;
            session.run(&check_sql()).await?;
        }
        Ok::<_, String>(())
    })?;
    let bytes = service.resident()?.saturating_sub(before) / SESSIONS as u64;
    drop(open);
    service.settle()?;
    Ok((spent, bytes))
}

pub(crate) fn print(report: &mut Report, measured: &Measured) {
    let costs = &measured.of_steps;
    let us = |ns: u64| ns as f64 / 1e3;
    println!("\ncosts (us of processor time; p50 of rounds)");
    println!("{:>10} {:>10}", "a process", "the server");
    for (client, server, what) in [
        (costs.client_statement, costs.server_text, "a statement"),
        (costs.client_command, costs.server_call, "and each lock or release in it"),
        (costs.client_statement + costs.client_command, costs.server_alone, "one alone, prepared"),
        (costs.client_check, costs.server_check, "each name of a heartbeat"),
        (costs.client_rested, costs.server_rested, "more for one who has rested among others"),
        (0, costs.server_roused, "or if all of the server has"),
        (0, costs.server_wake, "a wait that blocks and is woken"),
        (costs.client_connect, costs.server_connect, "a session that is opened"),
        (costs.client_timer, 0, "a timer"),
    ] {
        println!("{:>10.1} {:>10.1}  {what}", us(client), us(server));
    }
    println!(
        "delays (us): {:.1} each way of an idle socket, {:.1} to one who has rested, {:.1} of a hand-over, \
         {:.0} of a timer beyond its tick",
        us(costs.wire),
        us(costs.rouse),
        us(costs.hand_over),
        us(costs.timer_late)
    );
    println!(
        "round trips (us): SELECT 1 {:.1}; GET_LOCK and RELEASE_LOCK {:.1}; keyward's lock and release {:.1}; \
         from a release to the next session {:.1}",
        measured.select_one / 1e3,
        measured.raw_pair / 1e3,
        measured.our_pair / 1e3,
        measured.hand_over / 1e3
    );
    let kib = costs.session_bytes as f64 / 1024.0;
    println!("memory: {kib:.0} KiB of the server for a session that has locked something");
    let each = (costs.server_alone * 2) as f64 / 1e3;
    report.figure("scale_sim.server-cost", Some(each), "us-of-a-core-per-lock", "(none)");
    report.figure("scale_sim.session-memory", Some(kib), "KiB", "(none)");
}
