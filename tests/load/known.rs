//! What the soak has found and counts as *known*, as small as it can be.

use std::time::Instant;

use keyward::Released;
use sqlx::{AssertSqlSafe, raw_sql};

use crate::{
    server::Kind,
    sessions::{connect, name, soon, until_waiters, url, waiter_id},
};

/// How often it is tried: it needs five milliseconds that nobody else takes.
const TRIES: usize = 40;

/// A session is killed, another process has the lock, and the holder releases: while tasks of its own
/// process wait, that says that it was ours until then, and gives one of them what is somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "known: a release that hands over looks at what this process knows, and not at the server"]
async fn a_release_that_hands_over_knows_of_a_killed_session() {
    let server = Kind::mariadb().shared();
    let url = url(server, "ttl=30");
    let (ours, theirs) = (connect(&url).await, connect(&url).await);
    let before = connect(&url).await;
    let mut admin = server.connect().await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for _ in 0..TRIES {
        let name = name("known");
        let first = before.lock_named(&name).await.unwrap();
        let wait = tokio::spawn(ours.lock_named(&name).into_future());
        until_waiters(server, &name, 1).await;
        let session = waiter_id(server, &name).await.unwrap();
        let behind = tokio::spawn(ours.lock_named(&name).into_future());
        soon("a queue", async {
            while ours.inspect(&name).await.unwrap().waiters < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let far = tokio::spawn(theirs.lock_named(&name).into_future());
        until_waiters(server, &name, 2).await;
        first.release().await.unwrap();
        let lease = soon("ours", wait).await.unwrap().unwrap();
        let begun = Instant::now();
        let kill = AssertSqlSafe(format!("KILL CONNECTION {session}"));
        raw_sql(kill).execute(&mut admin).await.unwrap();
        // It is theirs now.
        let far = soon("theirs", far).await.unwrap().unwrap();
        let took = begun.elapsed();
        let released = lease.release().await;
        tried += 1;
        if matches!(released, Ok(Released::Released)) {
            wrong.push(took);
        }
        far.release().await.unwrap();
        drop(soon("who waits behind it", behind).await.unwrap());
    }
    assert!(
        wrong.is_empty(),
        "{} of {tried} times \"Released\" while another one held it: {wrong:?} after the kill",
        wrong.len()
    );
}
