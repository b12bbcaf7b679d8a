//! A small web service that resizes volumes, one request at a time for each volume: whoever comes second
//! is answered 409 at once, or with `Prefer: wait=1`, 423 after a second.
//!
//! `cargo run --example axum_service --features tower`

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    error_handling::HandleErrorLayer,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::{get, put},
};
use keyward::{
    Acquire, ErrorKind, Locks,
    tower::{LockLayer, LockServiceError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What to lock for a request: the volume that it is about.
fn lock_of(locks: &Locks, request: &Request) -> Option<Acquire> {
    let id = request.uri().path().strip_prefix("/volumes/")?.split('/').next()?;
    let lock = locks.lock_named(format!("vol-{id}"));
    let prefer = request.headers().get("prefer").and_then(|value| value.to_str().ok());
    let patience = prefer.and_then(|value| value.strip_prefix("wait=")?.parse().ok());
    Some(match patience {
        Some(seconds) => lock.timeout(Duration::from_secs(seconds)),
        None => lock.blocking(false),
    })
}

/// What becomes of a request whose lock was not to be had, or was lost.
async fn answer(error: LockServiceError<Infallible>) -> Response {
    let LockServiceError::Lock(error) = error else { unreachable!("a router does not fail") };
    let status = match error.kind() {
        ErrorKind::WouldBlock => StatusCode::CONFLICT,
        ErrorKind::TimedOut => StatusCode::LOCKED,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = (status, error.to_string()).into_response();
    if error.is_retryable() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// How the example sees that a resize has begun, and lets it end.
struct Work {
    begun: Semaphore,
    may_end: Semaphore,
}

async fn resize(State(work): State<Arc<Work>>, Path(id): Path<String>) -> String {
    work.begun.add_permits(1);
    work.may_end.acquire().await.expect("it is never closed").forget();
    format!("volume {id} has been resized")
}

fn service(locks: Locks, work: Arc<Work>) -> Router {
    let layer = LockLayer::new(move |request: &Request| lock_of(&locks, request));
    Router::new()
        .route("/volumes/{id}/resize", put(resize))
        .layer((HandleErrorLayer::new(answer), layer))
        .route("/health", get(async || "well"))
        .with_state(work)
}

/// The whole answer to one request.
async fn send(address: SocketAddr, request: &str, header: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{request} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{}: {}", request.lines().next().unwrap_or_default(), answer.replace("\r\n", "; "));
    Ok(answer)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let locks = Locks::connect("memory:").await?; // or "mysql://…", for several hosts
    let work = Arc::new(Work { begun: Semaphore::new(0), may_end: Semaphore::new(0) });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = axum::serve(listener, service(locks.clone(), Arc::clone(&work)));
    tokio::spawn(async move { server.await });

    let first = tokio::spawn(send(address, "PUT /volumes/7/resize", ""));
    work.begun.acquire().await?.forget();

    let second = send(address, "PUT /volumes/7/resize", "").await?;
    assert!(second.starts_with("HTTP/1.1 409 ") && second.contains("retry-after: 1"));
    let patient = send(address, "PUT /volumes/7/resize", "prefer: wait=1\r\n").await?;
    assert!(patient.starts_with("HTTP/1.1 423 ") && patient.contains("retry-after: 1"));
    assert!(send(address, "GET /health", "").await?.starts_with("HTTP/1.1 200 "));

    // Another volume is another lock, and the first one is free when its answer has come.
    work.may_end.add_permits(3);
    assert!(send(address, "PUT /volumes/8/resize", "").await?.starts_with("HTTP/1.1 200 "));
    assert!(first.await??.ends_with("volume 7 has been resized"));
    assert!(!locks.inspect("vol-7").await?.is_held());
    assert!(send(address, "PUT /volumes/7/resize", "").await?.starts_with("HTTP/1.1 200 "));
    Ok(())
}
