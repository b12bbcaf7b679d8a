//! A wait of more than 5 s is reported, with who holds the lock, and again when it has doubled.

use std::{future::IntoFuture, time::Duration};

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, task};

use crate::{memory, support::warnings::Warnings};

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn long_waits_are_reported_and_the_next_one_later() {
    let (subscriber, warnings) = Warnings::new();
    let _installed = tracing::subscriber::set_default(subscriber);
    let locks = memory();
    let _lease = locks.lock_named("vol\n1").await.unwrap();
    let (start, mut wait) = (Instant::now(), task::spawn(locks.lock_named("vol\n1").into_future()));
    let mut told = Vec::new();
    let mut other = task::spawn(locks.lock_named("vol\n1").into_future());
    while start.elapsed() < Duration::from_secs(24) {
        assert_pending!(wait.poll());
        if start.elapsed() >= Duration::from_secs(19) {
            assert_pending!(other.poll()); // too late for a warning of its own
        }
        for fields in warnings.try_iter() {
            told.push((start.elapsed().as_secs(), fields));
        }
        advance(Duration::from_secs(1)).await;
    }
    let (at, fields): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    assert_eq!(at, [5, 10, 20]);
    let field_of = |fields: &[(String, String)], name: &str| {
        let found = fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no {name}: {fields:?}"))
    };
    let field = |name| field_of(&fields[0], name);
    assert_eq!(field("lock.name"), r#""vol\n1""#, "escaped, or it could forge a log line");
    assert_eq!(field("lock.backend"), r#""memory""#);
    let owner = format!("\"process {} for ", std::process::id());
    assert!(field("owner").starts_with(&owner), "{}", field("owner"));
    let queued: Vec<_> = fields.iter().map(|fields| field_of(fields, "queued")).collect();
    assert_eq!(queued, ["1", "1", "2"]);
    assert_eq!(field("message"), "still waiting for a named lock");
    drop((wait, other));
    advance(Duration::from_secs(100)).await;
    assert_eq!(warnings.try_iter().count(), 0, "nobody waits any more");
}
