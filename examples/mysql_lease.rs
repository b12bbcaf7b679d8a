//! A lease on a MySQL or MariaDB server: taken, watched, asked for by somebody else, lost, given back.
//!
//! `KEYWARD_URL=mysql://user:password@host/database cargo run --features mysql --example mysql_lease`
//!
//! With `-- --embedded` it starts a private MariaDB server and needs no URL (but Debian's package
//! `mariadb-server-core`, or another `mariadbd`).

// The tests' servers do for an example as well.
#[path = "../tests/support/server/mod.rs"]
mod server;

use std::{env, future::IntoFuture, time::Duration};

use keyward::{LeaseState, Locks, Occupancy, Released};
use tokio::time::{Instant, sleep, timeout};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let embedded = env::args().any(|arg| arg == "--embedded");
    let server = embedded.then(|| server::Server::start(server::Kind::mariadb()));
    let url = match &server {
        Some(server) => server.url() + "&ttl=3&heartbeat=500ms",
        None => env::var("KEYWARD_URL").map_err(|_| "KEYWARD_URL is not set; or say --embedded")?,
    };
    let (locks, another_host) = (Locks::connect(&url).await?, Locks::connect(&url).await?);

    // Taken. From here on the server keeps it for us for the ttl, and a heartbeat renews that.
    let lease = locks.lock_named("volume-42").timeout(Duration::from_secs(5)).await?;
    let valid = lease.valid_until().expect("leases of servers end").duration_since(Instant::now());
    println!("held with token {}, valid for {valid:.1?}", lease.fencing_token().unwrap());
    let busy = another_host.try_lock_named("volume-42").await.unwrap_err();
    println!("another host: {busy}");
    assert!(busy.is_would_block());
    if let Occupancy::Held { owner: Some(owner), .. } =
        another_host.inspect("volume-42").await?.occupancy
    {
        println!("held by {owner}");
    }

    // Work goes on as long as the lease is held, also past the ttl.
    let seconds = lease
        .run(async {
            sleep(Duration::from_secs(4)).await;
            4
        })
        .await?;
    println!("worked for {seconds} s");
    lease.ensure_held().await?; // asks the server
    assert_eq!(lease.release().await?, Released::Released);
    println!("given back");

    // Somebody who waits is woken by the release, and a task that loses interest leaves nothing behind.
    let lease = locks.lock_named("volume-42").await?;
    let wait = tokio::spawn(another_host.lock_named("volume-42").into_future());
    let impatient =
        timeout(Duration::from_millis(100), locks.lock_named("volume-42").into_future());
    assert!(impatient.await.is_err());
    lease.release().await?;
    let lease = wait.await??;
    println!("another host holds it, with token {}", lease.fencing_token().unwrap());

    // With a server of our own, see what its end looks like from here.
    if let Some(server) = &server {
        server.kill();
        let reason = timeout(Duration::from_secs(10), lease.lost()).await?;
        println!("lost: {reason}");
        assert!(matches!(lease.state(), LeaseState::Lost(_)));
        server.restart();
        let fresh = another_host.lock_named("volume-7").await?;
        assert_eq!(lease.release().await?, Released::WasLost);
        fresh.release().await?;
    }
    locks.close().await;
    another_host.close().await;
    Ok(())
}
