//! Many who begin a generation at the same time, of one mind or not.

use futures::future::join_all;
use keyward::{ErrorKind, Locks, Released};
use tokio::time::timeout;

use super::cluster::{Cluster, connect};
use crate::clients::SOON;

const OPTIONS: &str = "&ttl=3&heartbeat=250ms";

/// As many processes as there are urls, all at once.
async fn at_once(urls: Vec<String>) -> Vec<Result<Locks, keyward::Error>> {
    let all = urls.into_iter().map(|url| tokio::spawn(async move { Locks::connect(url).await }));
    let all = timeout(SOON, join_all(all)).await.expect("they come to an end");
    all.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_that_agree_begin_one_generation() {
    let cluster = Cluster::shared().await;
    for url in [
        cluster.url(1, &[0, 1], OPTIONS),
        cluster.change(2, &[1, 2, 3], &[0, 1], OPTIONS),
        cluster.url(3, &[1, 2, 3], OPTIONS),
    ] {
        let all = at_once(vec![url.clone(); 8]).await;
        let name = cluster.name("agreed");
        for locks in all {
            let locks = locks.unwrap_or_else(|e| panic!("{url}: {e}"));
            let lease = locks.lock_named(&*name).timeout(SOON).await.unwrap();
            assert_eq!(lease.release().await.unwrap(), Released::Released);
        }
        for server in [1, 2].into_iter().filter(|server| url.contains(&cluster.list(&[*server]))) {
            assert_eq!(cluster.row(server, "telling").await.as_deref(), Some(""), "{url}");
        }
    }
}

/// Two changes of one generation: those of one of them are refused, all of them, and the others work.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_disagree_one_begins() {
    let mut won = [0; 2];
    for round in 0..8 {
        let cluster = Cluster::shared().await;
        drop(connect(cluster.url(1, &[0, 1], OPTIONS)).await);
        let urls = [&[0, 1, 2][..], &[0, 1, 3]]
            .map(|members| cluster.change(2, members, &[0, 1], OPTIONS));
        let all = at_once([urls.clone(), urls.clone(), urls.clone()].concat()).await;
        let mut has_begun = [false; 2];
        for (i, locks) in all.iter().enumerate() {
            match locks {
                Ok(locks) => {
                    has_begun[i % 2] = true;
                    drop(locks.lock_named(cluster.name("won")).timeout(SOON).await.unwrap());
                }
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Unsupported, "{e}");
                    assert!(e.to_string().contains("peers disagree"), "{e}");
                }
            }
        }
        let begun = all.iter().filter(|locks| locks.is_ok()).count();
        assert_eq!(begun, 3, "round {round}: {has_begun:?}");
        assert_ne!(has_begun[0], has_begun[1], "round {round}");
        won[usize::from(has_begun[1])] += 1;
    }
    println!("won {won:?}");
}
