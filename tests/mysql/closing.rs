//! Closing while somebody waits for a session: it ends, and nothing is opened any more.

use std::{future::IntoFuture, time::Duration};

use crate::server::{Kind, Server};

async fn opened(server: &Server) -> u64 {
    server.status("Connections").await
}

/// Each round ends the wait at another moment; with the session that it needs full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_opened_for_nobody() {
    let server = Server::start(Kind::mariadb());
    let url = server.url() + "&locks_per_session=1&ttl=60&heartbeat=6s";
    for round in 0..16 {
        let locks = keyward::Locks::connect(&*url).await.unwrap();
        let held = locks.lock_named("held").await.unwrap();
        let wait = tokio::spawn(locks.lock_named("a").into_future());
        tokio::time::sleep(Duration::from_micros(round / 2 * 200)).await;
        drop(held);
        if round % 2 == 0 {
            // It may have been in time, and closing waits for those who hold.
            let ended = async { drop(wait.await.unwrap()) };
            let both = futures::future::join(locks.close(), ended);
            let closed = tokio::time::timeout(Duration::from_secs(20), both).await;
            closed.unwrap_or_else(|_| panic!("round {round}: it does not close"));
        } else {
            wait.abort();
            drop((wait.await, locks));
        }
        let before = opened(&server).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        // Each look is one. What was under way is one more or two, where a hundred would be new ones.
        let more = opened(&server).await - before;
        assert!(more <= 8, "round {round}: {more} connections after the end");
    }
}
