//! An address that leads to another server all of a sudden, as behind a balancer.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use keyward::{ErrorKind, LossReason};
use sqlx::raw_sql;

use super::room::{
    SLACK, connect, holder_id, kill_all, millis, must_be_held, must_be_lost, soon, tcp_url,
    until_waiters, waiter_id, within,
};
use crate::{
    proxy::{Proxy, Target},
    server::{Kind, Server},
};

at_once! { other_servers:
    nobody_locks_on_two_servers_at_once
    nobody_locks_on_two_servers_that_are_called_the_same
    a_failover_is_a_loss
    a_wait_is_not_stopped_on_the_wrong_server
}

/// Sends new connections where it is told to; those that are open stay where they are. Its threads
/// end with the process.
struct Switch {
    port: u16,
    target: Arc<AtomicU16>,
}

impl Switch {
    fn start(target: &Server) -> Self {
        Self::to_port(target.port())
    }

    fn to_port(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(target));
        let present = Arc::clone(&target);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = (Ipv4Addr::LOCALHOST, present.load(Ordering::SeqCst));
                let Ok(server) = TcpStream::connect(target) else { continue };
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    thread::spawn(move || {
                        drop(io::copy(&mut from, &mut to));
                        drop(to.shutdown(std::net::Shutdown::Both));
                        drop(from.shutdown(std::net::Shutdown::Both));
                    });
                }
            }
        });
        Self { port, target }
    }

    fn to(&self, server: &Server) {
        self.target.store(server.port(), Ordering::SeqCst);
    }
}

async fn nobody_locks_on_two_servers_at_once() {
    for kind in Kind::all() {
        let (first, second) = (Server::start(kind), Server::start(kind));
        let switch = Switch::start(&first);
        let options = "ttl=30&heartbeat=250ms&locks_per_session=1&connect_timeout=1";
        let locks = connect(tcp_url(switch.port, options)).await;
        let lease = locks.lock_named("a").await.unwrap();
        switch.to(&second);
        // The one session is full: for another name it takes another one.
        for acquire in [locks.try_lock_named("b"), locks.lock_named("b")] {
            let error = within(millis(1000) + SLACK, "an answer", acquire.into_future()).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.to_string().contains("another server"), "{error}");
            assert_eq!(error.backend(), Some("mysql"));
        }
        assert!(second.is_clean(&[b"a", b"b"]).await);
        lease.ensure_held().await.unwrap();
        // Others may be with the second one; that is theirs to know.
        let on_second = connect(tcp_url(second.port(), "ttl=30")).await;
        let theirs = on_second.lock_named("a").await.unwrap();
        must_be_held(lease).await;
        // With nothing left on the first one, they move.
        kill_all(&first).await;
        let moved = soon("the move", async {
            loop {
                match locks.try_lock_named("b").await {
                    Ok(lease) => break lease,
                    Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}"),
                }
                tokio::time::sleep(millis(20)).await;
            }
        })
        .await;
        assert!(second.holder(b"b").await.is_some() && first.holder(b"b").await.is_none());
        assert!(locks.try_lock_named("a").await.unwrap_err().is_would_block());
        must_be_held(theirs).await;
        must_be_held(moved).await;
    }
}

/// As two are in containers, for MariaDB; it is asked for more than that.
async fn nobody_locks_on_two_servers_that_are_called_the_same() {
    let servers = [(); 2].map(|()| Server::start_without_network(Kind::mariadb()));
    let uid = "SELECT CONCAT(@@server_uid, @@port)";
    let [first, second] = [servers[0].scalar::<String>(uid), servers[1].scalar(uid)];
    assert_eq!(first.await, second.await);
    let networks = servers.each_ref().map(|server| Proxy::start(Target::Socket(server.socket())));
    let switch = Switch::to_port(networks[0].port());
    let options = "ttl=30&heartbeat=250ms&locks_per_session=1&connect_timeout=1";
    let locks = connect(tcp_url(switch.port, options)).await;
    let lease = locks.lock_named("a").await.unwrap();
    switch.target.store(networks[1].port(), Ordering::SeqCst);
    let error = locks.try_lock_named("b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("another server"), "{error}");
    assert!(servers[1].is_clean(&[b"a", b"b"]).await);
    must_be_held(lease).await;
}

/// A server that is replaced under a lease: its holder is told, and the new one's lock is another.
async fn a_failover_is_a_loss() {
    for kind in Kind::all() {
        let (first, second) = (Server::start(kind), Server::start(kind));
        let switch = Switch::start(&first);
        let options = "ttl=30&heartbeat=250ms&connect_timeout=10";
        let locks = connect(tcp_url(switch.port, options)).await;
        let lease = locks.lock_named("a").await.unwrap();
        switch.to(&second);
        first.kill();
        let told = within(millis(250) + SLACK, "the loss", lease.lost()).await;
        assert_eq!(told, LossReason::Closed);
        must_be_lost(lease, LossReason::Closed).await;
        let next = soon("a lock", locks.lock_named("a").into_future()).await.unwrap();
        holder_id(&second, "a").await;
        must_be_held(next).await;
    }
}

/// Numbers of sessions mean nothing on another server: what has the same number there is not touched.
async fn a_wait_is_not_stopped_on_the_wrong_server() {
    for kind in Kind::all() {
        let (first, second) = (Server::start(kind), Server::start(kind));
        let switch = Switch::start(&first);
        let locks = connect(tcp_url(switch.port, "ttl=30&heartbeat=250ms")).await;
        // The session that takes tries is killed, the one that stops waits is not.
        let lease = locks.lock_named("a").await.unwrap();
        switch.to(&second);
        first.kill_connection(holder_id(&first, "a").await).await;
        assert_eq!(soon("the loss", lease.lost()).await, LossReason::Closed);
        drop(lease);
        // So that the numbers of the second server are ahead.
        for _ in 0..50 {
            assert!(second.holder(b"a").await.is_none());
        }
        let theirs = connect(tcp_url(second.port(), "ttl=30")).await;
        let kept = theirs.lock_named("a").await.unwrap();
        let wait = tokio::spawn(locks.lock_named("a").into_future());
        until_waiters(&second, "a", 1).await;
        let id = waiter_id(&second, "a").await.unwrap();
        let mut bystander = loop {
            let mut connection = first.connect().await;
            let own = raw_sql("SELECT CONNECTION_ID()").fetch_one(&mut connection).await.unwrap();
            let own: u64 = sqlx::Row::get_unchecked(&own, 0);
            assert!(own <= id, "{own} is past {id}");
            if own == id {
                break connection;
            }
        };
        let sleeps = tokio::spawn(async move {
            raw_sql("SELECT SLEEP(2)")
                .fetch_one(&mut bystander)
                .await
                .map(|row| sqlx::Row::get_unchecked::<i64, _>(&row, 0))
        });
        tokio::time::sleep(millis(200)).await;
        wait.abort();
        until_waiters(&second, "a", 0).await;
        assert_eq!(sleeps.await.unwrap().unwrap(), 0, "it was interrupted");
        must_be_held(kept).await;
    }
}
