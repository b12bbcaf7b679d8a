//! The one thing that no lock can do: stop the write of a holder who has been paused, has lost its
//! lease meanwhile, and does not know yet. The table can, with the token.
//!
//! A worker process takes the lease and is stopped, as a virtual machine is, just before it writes.
//! Another one takes over and writes. The first one goes on, and its write does nothing.
//!
//! `cargo run --features mysql --example fenced_write` starts a private MariaDB server.

#[path = "../tests/support/server/mod.rs"]
mod server;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use keyward::{FencingToken, Locks};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, raw_sql};

/// Writes, unless somebody with a newer token has been there: whether it did.
async fn write(
    database: &mut MySqlConnection,
    size: u64,
    token: FencingToken,
) -> Result<bool, sqlx::Error> {
    let sql = format!(
        "UPDATE volumes SET size = {size}, fence = {token} WHERE id = 42 AND fence <= {token}"
    );
    let done = raw_sql(AssertSqlSafe(sql)).execute(database).await?;
    Ok(done.rows_affected() == 1)
}

/// The process that is going to be stopped.
async fn worker(locks: &str, database: &str) -> Result<(), Box<dyn std::error::Error>> {
    let locks = Locks::connect(locks).await?;
    let mut database = MySqlConnection::connect(database).await?;
    let lease = locks.lock_named("volume-42").await?;
    let token = lease.fencing_token().expect("exclusive leases have tokens");
    println!("worker: held with token {token}");
    // Here it is stopped. To a program that sleeps this long in one instruction no check helps, however
    // late it is made.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let written = write(&mut database, 1, token).await?;
    println!("worker: my write {}", if written { "was done" } else { "was refused" });
    println!("worker: my lease is {:?}", lease.state());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let [_, locks, database] = &env::args().collect::<Vec<_>>()[..] {
        return worker(locks, database).await;
    }
    let server = server::Server::start(server::Kind::mariadb());
    server.query("CREATE DATABASE app").await;
    server.query("CREATE TABLE app.volumes (id INT PRIMARY KEY, size BIGINT, fence BIGINT)").await;
    server.query("INSERT INTO app.volumes VALUES (42, 0, 0)").await;
    let database = server.url().replace("localhost/", "localhost/app");
    let url = format!("{database}&ttl=3");

    let mut first = Command::new(env::current_exe()?);
    let mut first = first.args([&url, &database]).stdout(Stdio::piped()).spawn()?;
    let mut says = BufReader::new(first.stdout.take().expect("it is piped")).lines();
    println!("{}", says.next().expect("it takes the lease")?);

    let pid = Pid::from_child(&first);
    kill_process(pid, Signal::STOP)?;
    waitpid(Some(pid), WaitOptions::UNTRACED)?; // until each of its threads stands
    println!("the worker is stopped");

    let locks = Locks::connect(&url).await?;
    let lease = locks.lock_named("volume-42").await?; // the server has waited for the ttl
    let token = lease.fencing_token().expect("exclusive leases have tokens");
    let mut connection = MySqlConnection::connect(&database).await?;
    assert!(write(&mut connection, 2, token).await?);
    println!("taken over with token {token}, and written");
    lease.release().await?;

    kill_process(pid, Signal::CONT)?;
    let rest = says.collect::<Result<Vec<_>, _>>()?;
    rest.iter().for_each(|line| println!("{line}"));
    assert!(first.wait()?.success());
    assert_eq!(rest[0], "worker: my write was refused");
    assert!(rest[1].contains("Lost"));
    let size: Option<u64> = server.scalar("SELECT size FROM app.volumes").await;
    assert_eq!(size, Some(2));
    println!("the volume has the size that the second one has written");
    Ok(())
}
