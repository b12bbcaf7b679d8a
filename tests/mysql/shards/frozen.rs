//! Processes that are frozen somewhere in a change, and wake when the others are two generations on.

use std::{env, io::stdin, process::Command, time::Duration};

use keyward::{Lease, LeaseState, Locks, Released};
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, connect, home_among};
use crate::{
    clients::SOON,
    process::{Process, answer, die_with_the_parent, lines},
    proxy::{Proxy, Target},
};

/// The URL that the process connects to; without it, its entry test has nothing to do.
const URL: &str = "KEYWARD_TEST_SHARDS_PEER";
const OPTIONS: &str = "&ttl=3&heartbeat=500ms&connect_timeout=2&fencing=off";

/// The other process's side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entry() {
    let Ok(url) = env::var(URL) else { return };
    die_with_the_parent();
    let mut commands = lines(stdin());
    let locks = match Locks::connect(url).await {
        Ok(locks) => locks,
        Err(e) => return answer(format_args!("refused: {e}")),
    };
    answer("connected");
    let mut lease: Option<Lease> = None;
    while let Some(command) = commands.recv().await {
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("lock", name) => match locks.lock_named(name).await {
                Ok(got) => {
                    lease = Some(got);
                    answer("held");
                }
                Err(e) => answer(format_args!("failed: {e}")),
            },
            ("look", _) => {
                let lease = lease.as_ref().unwrap();
                let state = lease.state(); // before anything else
                let checked = lease.ensure_held().await.map_err(|e| e.is_lost());
                answer(format_args!("{state:?} {checked:?}"));
            }
            ("release", _) => {
                let released = lease.take().unwrap().release().await;
                answer(format_args!("{:?}", released.map_err(|e| e.to_string())));
            }
            _ => panic!("{command} is no command"),
        }
    }
}

fn peer(url: &str) -> Process {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["shards::frozen::entry", "--exact", "--nocapture"]).env(URL, url);
    Process::start(command)
}

/// It has slept through generation 2, and wakes during 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_wakes_two_generations_on_knows() {
    let cluster = Cluster::shared().await;
    let name = cluster.find("frozen", |name| {
        cluster.home(&[0, 1], name) == 0 && cluster.home(&[1, 2], name) == 2
    });
    for look in ["look", "release"] {
        let mut one = peer(&cluster.url(1, &[0, 1], OPTIONS));
        assert_eq!(one.answer().await, "connected");
        assert_eq!(one.ask(&format!("lock {name}")).await, "held");
        one.freeze();
        drop(connect(cluster.change(2, &[1, 2], &[0, 1], OPTIONS)).await);
        let three = connect(cluster.url(3, &[1, 2], OPTIONS)).await;
        let lease = three.lock_named(&*name).timeout(SOON).await.unwrap();
        one.thaw();
        match look {
            "look" => {
                let seen = one.ask("look").await;
                assert!(seen.starts_with("Lost(") && seen.ends_with(" Err(true)"), "{seen}");
            }
            _ => assert_eq!(one.ask("release").await, "Ok(WasLost)"),
        }
        assert_eq!(lease.state(), LeaseState::Held);
        assert_eq!(lease.release().await.unwrap(), Released::Released);
        // Once more, from the beginning.
        let drop_table = format!("DROP TABLE {}.keyward_shards", cluster.database());
        drop(three);
        one.kill();
        for server in [0, 1, 2] {
            cluster.servers[server].query(&drop_table).await;
        }
    }
}

/// Layouts of which each is a neighbour of the next one only.
const CHAIN: [&[usize]; 5] = [&[0, 1], &[1, 2], &[2, 3], &[3, 0], &[0, 1]];

/// A process that begins a generation is frozen so long after its start; two later ones have begun when it
/// wakes, and hold the name that it wants.
async fn wakes(generation: usize, after: Duration) -> String {
    let cluster = Cluster::shared().await;
    let proxies: Vec<_> =
        cluster.servers.iter().map(|server| Proxy::start(Target::Port(server.port()))).collect();
    let list = |servers: &[usize]| -> Vec<_> {
        servers.iter().map(|&server| format!("127.0.0.1:{}", proxies[server].port())).collect()
    };
    let url = |generation: usize| {
        let members = list(CHAIN[generation - 1]).join(",");
        let before = generation.checked_sub(2).map(|i| list(CHAIN[i]).join(","));
        let before = before.map(|before| format!("&previous={before}")).unwrap_or_default();
        cluster.url_over(generation as u64, &members, &format!("{OPTIONS}{before}"))
    };
    let homes = |generation: usize, name: &str| {
        let before = generation.saturating_sub(2); // of the first one, itself
        [before, generation - 1].map(|i| home_among(&list(CHAIN[i]), name))
    };
    // Where the one is locked, the other is not.
    let name = cluster.find("chain", |name| {
        let [these, those] = [generation, generation + 2].map(|g| homes(g, name));
        !these.iter().any(|home| those.contains(home))
    });
    for earlier in 1..generation {
        drop(connect(url(earlier)).await);
    }
    proxies.iter().for_each(|proxy| proxy.delay(Duration::from_millis(5)));
    // Its connections outlive the time of those who come later, and its patience does.
    let its = url(generation).replace("ttl=3", "ttl=15");
    let mut frozen = peer(&its.replace("connect_timeout=2", "connect_timeout=40"));
    sleep(after).await;
    frozen.freeze();
    proxies.iter().for_each(|proxy| proxy.delay(Duration::ZERO));
    // It may have begun nothing yet; then this begins it.
    drop(connect(url(generation)).await);
    drop(connect(url(generation + 1)).await);
    let later = connect(url(generation + 2)).await;
    let lease = timeout(SOON * 2, later.lock_named(&*name).into_future()).await.expect("a lock");
    let lease = lease.unwrap();
    frozen.thaw();
    let mut said = frozen.answer().await;
    if said == "connected" {
        said = frozen.ask(&format!("lock {name}")).await;
    }
    assert_ne!(said, "held", "generation {generation}, frozen after {after:?}");
    lease.ensure_held().await.unwrap();
    assert_eq!(lease.release().await.unwrap(), Released::Released);
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_beginning_that_wakes_two_generations_on_gets_nothing() {
    let mut cases = Vec::new();
    for i in 0..10 {
        cases.push((1, Duration::from_millis(150) * i));
        cases.push((2, Duration::from_millis(150) * i));
    }
    for i in 1..8 {
        cases.push((3, Duration::from_millis(750) * i));
    }
    // Not all at once, for the sake of the machine.
    for some in cases.chunks(9) {
        let some = some.iter().map(|&(generation, after)| {
            let case = tokio::spawn(wakes(generation, after));
            async move { (generation, after, case.await) }
        });
        for (generation, after, said) in futures::future::join_all(some).await {
            println!("generation {generation}, frozen after {after:?}: {}", said.unwrap());
        }
    }
}
