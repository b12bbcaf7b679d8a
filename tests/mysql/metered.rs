//! What a recorder gets to know of sessions.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::{
    clients::{Clients, SOON},
    numbers::Numbers,
    server::Kind,
};

/// One thread, since the recorder is this thread's.
#[tokio::test(flavor = "current_thread")]
async fn sessions_and_their_proofs_are_counted() {
    for kind in Kind::all() {
        let numbers = Numbers::default();
        let _installed = metrics::set_default_local_recorder(&numbers);
        let clients = Clients::new(kind).await;
        let locks = clients.locks("ttl=3s&heartbeat=250ms").await;
        let of = |name: &str| numbers.get(&format!("keyward.{name} backend=mysql"));
        let open = of("connections");
        assert_eq!(open, [clients.connections().await as f64], "{kind}: as the server counts");
        let lease = locks.lock_named(clients.name("a")).await.unwrap();
        let beats = async {
            while of("renew.slack").len() < 3 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, beats).await.expect("heartbeats");
        let (took, slack) = (of("renew.duration"), of("renew.slack"));
        assert_eq!(took.len(), slack.len(), "{kind}");
        // A proof is good for the ttl less a tenth, and has been so for a heartbeat at least.
        assert!(slack.iter().all(|left| (0.0..=2.6).contains(left)), "{kind}: {slack:?}");
        assert!(took.iter().all(|took| *took < 3.0), "{kind}: {took:?}");
        lease.release().await.unwrap();
        locks.close().await;
        assert_eq!(of("connections"), [0.0], "{kind}");
        assert_eq!(numbers.get("keyward.held backend=mysql"), [0.0]);
    }
}
