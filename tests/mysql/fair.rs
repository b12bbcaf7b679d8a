//! Processes that want the same name again and again get it equally often.

use std::{
    env,
    future::IntoFuture,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use keyward::Locks;

use crate::{clients::Clients, server::Kind};

/// URL, name, and the number of tasks of the other process; without it, its test has nothing to do.
const ORDER: &str = "KEYWARD_TEST_FAIR";

/// For how long they contend.
const CONTENDING: Duration = Duration::from_secs(3);

/// What the other processes run; as a test of its own it does nothing.
#[test]
fn entry() {
    let Ok(order) = env::var(ORDER) else { return };
    let mut order = order.split(' ');
    let [url, name, tasks] = [(); 3].map(|()| order.next().unwrap().to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let locks = Locks::connect(url).await.unwrap();
        println!("\nready");
        let mut go = String::new();
        std::io::stdin().read_line(&mut go).unwrap();
        let (count, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + CONTENDING);
        let contending = (0..tasks.parse().unwrap()).map(|_| {
            let (locks, name, count) = (locks.clone(), name.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                while Instant::now() < end {
                    let lease = locks.lock_named(&*name).into_future().await.unwrap();
                    // So long that it is the queue that decides, and not who has the processor.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    let _ = lease.release().await.unwrap();
                    if Instant::now() < end {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        for task in contending.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        println!("\ncount {}", count.load(Ordering::Relaxed));
        locks.close().await;
    });
}

/// Another process, ready.
struct Contender {
    process: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Contender {
    fn start(url: &str, name: &str, tasks: usize) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["fair::entry", "--exact", "--nocapture"]);
        command.env(ORDER, format!("{url} {name} {tasks}"));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut lines = Box::new(lines);
        assert!(lines.any(|line| line == "ready"), "it does not get ready");
        Self { process, lines }
    }

    /// It ends by itself, and if the test has gone, before it has begun.
    fn go(&mut self) {
        self.process.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    fn count(mut self) -> u64 {
        let count = self.lines.find_map(|line| line.strip_prefix("count ")?.parse().ok());
        assert!(self.process.wait().unwrap().success());
        count.expect("it says how often it has held the lock")
    }
}

/// Jain's index: 1 if all have the same, 1/n if one has all.
fn fairness(counts: &[u64]) -> f64 {
    let sum: f64 = counts.iter().map(|&count| count as f64).sum();
    let squares: f64 = counts.iter().map(|&count| (count as f64).powi(2)).sum();
    sum * sum / (counts.len() as f64 * squares)
}

#[test]
fn processes_take_turns() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for kind in Kind::all() {
        let clients = runtime.block_on(Clients::new(kind));
        for tasks in [1, 6] {
            let name = clients.name(&format!("turns{tasks}"));
            let url = clients.url("");
            let mut contenders = [(); 2].map(|()| Contender::start(&url, &name, tasks));
            contenders.iter_mut().for_each(Contender::go);
            let counts = contenders.map(Contender::count);
            println!("{kind}: {tasks} tasks each: {counts:?}");
            assert!(counts.iter().all(|&count| count > 20), "{kind}: {counts:?}");
            assert!(fairness(&counts) >= 0.95, "{kind}: {counts:?}");
        }
        runtime.block_on(clients.until_connections(0));
    }
}
