//! Errors say what happened, to which lock, where, and why.

use std::error::Error as _;

use futures::FutureExt;
use keyward::{Error, ErrorKind};

use crate::{
    memory, now,
    scripted::{Script, Scripted},
};

/// Everything that a caller may want to log.
fn whole(error: &Error, kind: ErrorKind, name: &str, backend: &str) {
    assert_eq!(error.kind(), kind);
    assert_eq!(error.name().unwrap().to_string(), name);
    assert_eq!(error.backend(), Some(backend));
    let text = error.to_string();
    assert!(text.contains(&format!("{name:?}")) && text.contains(backend), "{text}");
}

#[test]
fn of_the_store() {
    let backend = Scripted::default();
    let locks = backend.locks().with_prefix("p-");
    for kind in [ErrorKind::Unavailable, ErrorKind::ResourceLimit, ErrorKind::PermissionDenied] {
        backend.script().acquire_fails = Some(kind);
        for wait in
            [locks.lock_named("a"), locks.try_lock_named("a"), locks.lock_named("a").shared()]
        {
            let error = now(wait).unwrap_err();
            whole(&error, kind, "p-a", "scripted");
            assert_eq!(error.source().unwrap().to_string(), "as the test says");
            assert_eq!(error.clone().to_string(), error.to_string());
        }
        let error = locks.lock_all(["b"]).into_future().now_or_never().unwrap().unwrap_err();
        whole(&error, kind, "p-b", "scripted");
    }
    assert!(backend.is_free("p-a"));
}

#[test]
fn of_those_who_hold() {
    let locks = memory().with_prefix("p-");
    let _lease = now(locks.lock_named("a")).unwrap();
    let error = now(locks.try_lock_named("a")).unwrap_err();
    whole(&error, ErrorKind::WouldBlock, "p-a", "memory");
    assert!(error.is_would_block() && error.is_retryable() && !error.is_timed_out());
    assert!(error.source().is_none());
    let all = locks.lock_all(["0", "a", "z"]).blocking(false).into_future();
    whole(&all.now_or_never().unwrap().unwrap_err(), ErrorKind::WouldBlock, "p-a", "memory");
}

#[tokio::test(start_paused = true)]
async fn of_time() {
    let locks = memory();
    let _lease = locks.lock_named("a").await.unwrap();
    let error = locks.lock_named("a").timeout(std::time::Duration::from_secs(1)).await.unwrap_err();
    whole(&error, ErrorKind::TimedOut, "a", "memory");
    assert!(error.is_timed_out() && error.is_retryable() && !error.is_would_block());
}

#[test]
fn of_names() {
    let locks = memory();
    let empty = [
        now(locks.lock_named("")).map(drop),
        now(locks.try_lock_named("")).map(drop),
        locks.lock_all(["a", ""]).into_future().now_or_never().unwrap().map(drop),
        locks.inspect("").now_or_never().unwrap().map(drop),
    ];
    for refused in empty {
        let error = refused.unwrap_err();
        whole(&error, ErrorKind::InvalidName, "", "memory");
        assert!(!error.is_retryable());
    }
    assert!(now(locks.try_lock_named("a")).is_ok());
}

#[test]
fn of_leases() {
    let backend = Scripted::new(Script::default());
    let locks = backend.locks();
    let lease = now(locks.lock_named("a")).unwrap();
    backend.script().verify_fails = Some(ErrorKind::Unavailable);
    let error = lease.ensure_held().now_or_never().unwrap().unwrap_err();
    whole(&error, ErrorKind::Unavailable, "a", "scripted");
    backend.script().verify_fails = None;
    backend.script().release_fails = Some(ErrorKind::Unavailable);
    let error = lease.release().now_or_never().unwrap().unwrap_err();
    whole(&error, ErrorKind::Unavailable, "a", "scripted");
    assert!(backend.is_free("a"));

    let lease = now(locks.lock_named("a")).unwrap();
    assert!(backend.sever(b"a"));
    let error = lease.ensure_held().now_or_never().unwrap().unwrap_err();
    whole(&error, ErrorKind::Lost, "a", "scripted");
    let error = lease.run(async {}).now_or_never().unwrap().unwrap_err();
    whole(&error, ErrorKind::Lost, "a", "scripted");
}

#[test]
fn several_leases_report_the_first_error_and_are_all_released() {
    let backend = Scripted::default();
    let locks = backend.locks();
    let all = locks.lock_all(["a", "b", "c"]).into_future().now_or_never().unwrap().unwrap();
    backend.script().release_fails = Some(ErrorKind::Unavailable);
    let error = all.release().now_or_never().unwrap().unwrap_err();
    whole(&error, ErrorKind::Unavailable, "c", "scripted"); // the last one goes first
    assert_eq!(backend.counts().releases, 3);
    assert!(["a", "b", "c"].iter().all(|name| backend.is_free(name)));
}
