//! Servers behind networks that are cut in the middle of connecting, and those who ask meanwhile.

use std::{future::IntoFuture, pin::pin, time::Duration};

use keyward::{ErrorKind, Locks};
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, connect};
use crate::{
    clients::SOON,
    proxy::{Proxy, Target},
};

/// Servers behind networks, in a layout of their own.
struct Behind {
    cluster: Cluster,
    proxies: [Proxy; 2],
}

impl Behind {
    async fn new() -> Self {
        let cluster = Cluster::shared().await;
        let proxies =
            [0, 1].map(|server| Proxy::start(Target::Port(cluster.servers[server].port())));
        Self { cluster, proxies }
    }

    fn url(&self, options: &str) -> String {
        let list = self.proxies.each_ref().map(|proxy| format!("127.0.0.1:{}", proxy.port()));
        self.cluster.url_over(1, &list.join(","), options)
    }

    /// Two names on the second server, while that cannot be reached.
    async fn names_out_of_reach(&self, locks: &Locks) -> [String; 2] {
        let mut names = Vec::new();
        for i in 0.. {
            let name = self.cluster.name(i);
            if locks.inspect(&*name).await.is_err() {
                names.push(name);
            }
            if let Ok(names) = names.clone().try_into() {
                return names;
            }
        }
        unreachable!("half of the names are there")
    }
}

/// Whichever question of a beginning is not answered any more, it comes to an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_cut_off_while_a_generation_begins() {
    let cut = |after: Duration| async move {
        let behind = Behind::new().await;
        behind.proxies.iter().for_each(|proxy| proxy.delay(Duration::from_millis(10)));
        let url = behind.url("&ttl=3&connect_timeout=1");
        let connecting = tokio::spawn(async move { Locks::connect(url).await.map(drop) });
        sleep(after).await;
        behind.proxies[1].silence();
        let outcome = timeout(SOON, connecting).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("cut off after {after:?}: it never ends"));
        let outcome = outcome.unwrap().map_err(|e| e.kind());
        assert!(matches!(outcome, Ok(()) | Err(ErrorKind::Unavailable)), "{after:?}: {outcome:?}");
        outcome.is_ok()
    };
    let cuts = (0..40).map(|i| tokio::spawn(cut(Duration::from_millis(50) * i)));
    let mut counts = [0; 2];
    for outcome in futures::future::join_all(cuts).await {
        counts[usize::from(outcome.unwrap())] += 1;
    }
    let [failed, connected] = counts;
    println!("{failed} have failed, {connected} have connected");
    assert!(failed > 0, "all were cut off too late");
}

/// Somebody has begun to open a server for a name, and is polled no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_a_server_and_is_not_polled_is_in_nobodys_way() {
    let behind = Behind::new().await;
    let url = behind.url("&connect_timeout=1");
    drop(connect(&url).await);
    behind.proxies[1].refuse();
    let locks = connect(&url).await;
    let [one, other] = behind.names_out_of_reach(&locks).await;
    behind.proxies[1].heal();
    let mut first = pin!(locks.inspect(&*one));
    assert!(futures::poll!(first.as_mut()).is_pending(), "the server has to be opened");
    let answer = timeout(SOON, locks.inspect(&*other)).await.expect("an answer");
    assert!(!answer.unwrap().is_held());
    let lease = timeout(SOON, locks.lock_named(&*other).into_future()).await.expect("a lock");
    lease.unwrap().ensure_held().await.unwrap();
    assert!(!first.await.unwrap().is_held());
}

/// Somebody has begun to open a server, and has lost interest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_opened_after_closing() {
    let behind = Behind::new().await;
    let url = behind.url("&connect_timeout=2");
    drop(connect(&url).await);
    behind.proxies[1].refuse();
    let locks = connect(&url).await;
    let [name, _] = behind.names_out_of_reach(&locks).await;
    behind.proxies[1].heal();
    behind.proxies[1].delay(Duration::from_millis(30));
    {
        let mut wait = pin!(locks.lock_named(&*name).into_future());
        assert!(futures::poll!(wait.as_mut()).is_pending());
        sleep(Duration::from_millis(100)).await;
    }
    timeout(SOON, locks.close()).await.expect("it closes");
    sleep(Duration::from_secs(2)).await; // as long as opening would have taken
    behind.cluster.until_closed().await;
    drop(locks);
}
