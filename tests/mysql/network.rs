//! The tests' own network: what arrives, and what does not.

use std::{
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, MySqlConnection, Row, raw_sql};

use crate::{
    proxy::{Proxy, Target},
    server::{Kind, Server, plain},
    session::until,
};

/// So long that what is going to happen would have happened.
const A_WHILE: Duration = Duration::from_millis(400);

/// A server of the test's own, so that it can count the connections.
fn behind_a_network() -> (Server, Proxy) {
    let server = Server::start(Kind::mariadb());
    let proxy = Proxy::start(Target::Port(server.port()));
    (server, proxy)
}

async fn connect(server: &Server, proxy: &Proxy) -> MySqlConnection {
    plain(&server.tcp_url_as("root", proxy.port())).connect().await.unwrap()
}

async fn seven(connection: &mut MySqlConnection) -> Result<i64, sqlx::Error> {
    Ok(raw_sql("SELECT 7").fetch_one(connection).await?.get(0))
}

async fn until_connections(server: &Server, count: u64) {
    until("that number", async || server.connections().await == count).await;
}

#[tokio::test]
async fn what_is_said_arrives() {
    let (server, over_tcp) = behind_a_network();
    let over_socket = Proxy::start(Target::Socket(server.socket()));
    for proxy in [over_tcp, over_socket] {
        let mut connections = Vec::new();
        for _ in 0..3 {
            connections.push(connect(&server, &proxy).await);
        }
        assert_eq!(server.connections().await, 3);
        let long = raw_sql("SELECT REPEAT('x', 1000000)").fetch_one(&mut connections[0]).await;
        assert_eq!(long.unwrap().get::<String, _>(0).len(), 1_000_000);
        drop(connections);
        until_connections(&server, 0).await;
        // It goes on while the thread of the test blocks.
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        client.read_exact(&mut [0]).unwrap();
        drop(client);
        until_connections(&server, 0).await;
    }
}

#[tokio::test]
async fn the_end_of_a_network_is_the_end_of_its_connections() {
    let (server, proxy) = behind_a_network();
    let mut connection = connect(&server, &proxy).await;
    drop(proxy);
    seven(&mut connection).await.unwrap_err();
    until_connections(&server, 0).await;
}

#[tokio::test]
async fn a_silent_network_tells_neither_side() {
    let (server, proxy) = behind_a_network();
    let (mut asking, leaving) = (connect(&server, &proxy).await, connect(&server, &proxy).await);
    proxy.silence();
    drop(leaving);
    tokio::time::timeout(A_WHILE, seven(&mut asking)).await.unwrap_err();
    tokio::time::timeout(A_WHILE, connect(&server, &proxy)).await.unwrap_err();
    assert_eq!(server.connections().await, 2);
    proxy.heal();
    // What is lost is lost; a new connection is a good one.
    tokio::time::timeout(A_WHILE, seven(&mut asking)).await.unwrap_err();
    assert_eq!(seven(&mut connect(&server, &proxy).await).await.unwrap(), 7);
    drop(asking);
    proxy.reset();
    until_connections(&server, 0).await;
}

#[tokio::test]
async fn silence_may_be_on_one_way_only() {
    let (server, proxy) = behind_a_network();
    let (mut deaf, mut dumb) = (connect(&server, &proxy).await, connect(&server, &proxy).await);
    proxy.silence_to_client();
    let unheard = raw_sql("SELECT GET_LOCK('heard', 0)").execute(&mut deaf);
    tokio::time::timeout(A_WHILE, unheard).await.unwrap_err();
    until("the grant", async || server.holder(b"heard").await.is_some()).await;
    proxy.silence_to_server();
    let unheard = raw_sql("SELECT GET_LOCK('unheard', 0)").execute(&mut dumb);
    tokio::time::timeout(A_WHILE, unheard).await.unwrap_err();
    assert!(server.holder(b"unheard").await.is_none());
}

#[tokio::test]
async fn what_is_held_up_arrives_late() {
    let (server, proxy) = behind_a_network();
    let stalls: [fn(&Proxy); 3] = [Proxy::stall, Proxy::stall_to_server, Proxy::stall_to_client];
    for stall in stalls {
        let (mut asking, leaving) =
            (connect(&server, &proxy).await, connect(&server, &proxy).await);
        stall(&proxy);
        drop(leaving);
        {
            let answer = seven(&mut asking);
            tokio::pin!(answer);
            tokio::time::timeout(A_WHILE, &mut answer).await.unwrap_err();
            proxy.heal();
            assert_eq!(answer.await.unwrap(), 7);
        }
        until_connections(&server, 1).await;
        drop(asking);
        until_connections(&server, 0).await;
    }
}

#[tokio::test]
async fn a_reset_ends_what_is_open() {
    let (server, proxy) = behind_a_network();
    let (mut asking, _idle) = (connect(&server, &proxy).await, connect(&server, &proxy).await);
    let asked = Instant::now();
    let (answer, ()) = tokio::join!(raw_sql("SELECT SLEEP(60)").execute(&mut asking), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.reset();
    });
    answer.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(30));
    until_connections(&server, 0).await;
    assert_eq!(seven(&mut connect(&server, &proxy).await).await.unwrap(), 7);
    // Also while it is silent: so a firewall answers that has forgotten.
    proxy.silence();
    proxy.reset();
    until_connections(&server, 0).await;
}

#[tokio::test]
async fn new_connections_may_be_refused() {
    let (server, proxy) = behind_a_network();
    let mut connection = connect(&server, &proxy).await;
    for _ in 0..3 {
        proxy.refuse();
        let new = plain(&server.tcp_url_as("root", proxy.port())).connect().await;
        assert!(matches!(new, Err(sqlx::Error::Io(_))));
        assert_eq!(seven(&mut connection).await.unwrap(), 7);
        proxy.heal();
        assert_eq!(seven(&mut connect(&server, &proxy).await).await.unwrap(), 7);
    }
}

#[tokio::test]
async fn a_long_way_takes_longer() {
    let (server, proxy) = behind_a_network();
    let mut connection = connect(&server, &proxy).await;
    proxy.delay(Duration::from_millis(100));
    let asked = Instant::now();
    assert_eq!(seven(&mut connection).await.unwrap(), 7);
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_server_that_is_gone_is_behind_a_network_that_is_there() {
    let (server, proxy) = behind_a_network();
    let mut connection = connect(&server, &proxy).await;
    server.kill();
    seven(&mut connection).await.unwrap_err();
    plain(&server.tcp_url_as("root", proxy.port())).connect().await.unwrap_err();
    server.restart();
    assert_eq!(seven(&mut connect(&server, &proxy).await).await.unwrap(), 7);
}
