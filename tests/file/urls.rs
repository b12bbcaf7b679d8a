//! What bad URLs get, and what the good ones turn on.

use std::time::Duration;

use keyward::{ErrorKind, Fencing, Locks};

use crate::room::Room;

#[tokio::test]
async fn malformed_urls_are_refused_with_what_would_be_right() {
    let room = Room::new();
    for (options, hint) in [
        ("?namse=oslo", "names"),
        ("?names=olso", "native, oslo, tooz"),
        ("?fencing=yes", "on, durable, off"),
        ("?wait=spin", "kernel, poll"),
        ("?mode=rwx", "mode"),
        ("?signal=9", "one of"),
        ("?signal=x", "signal"),
        ("?polite=5", "150ms"),
        ("?allow=everything", "shared-dir"),
        ("?prefix=x", "names=oslo"),
        ("?wait", "no value"),
        ("?prefix=%ff&names=oslo", "utf-8"),
    ] {
        let error = room.connect(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{options}: {error}");
        assert!(error.to_string().contains(hint), "{options}: {error}");
    }
    assert!(!room.dir().exists(), "a refused url has made the directory");
    for url in ["file:", "file://", "file://host/dir", "file:///%ff"] {
        let error = Locks::connect(url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{url}: {error}");
    }
}

#[tokio::test]
async fn a_gap_that_pollers_would_miss_is_refused() {
    let room = Room::new();
    let error = room.connect("?polite=20ms").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{error}");
    assert_eq!(error.backend(), Some("file"));
    let builder = Locks::builder().polite(Duration::from_millis(20));
    let locks = builder.connect(room.url()).await.unwrap();
    let error = locks.lock_named("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{error}");
}

#[tokio::test]
async fn capabilities() {
    let room = Room::new();
    let usual = room.locks().await.capability();
    assert!(usual.shared && usual.fair && usual.event_driven && usual.warnings.is_empty());
    assert_eq!((usual.backend, usual.fencing), ("file", Fencing::Clock));
    assert_eq!(usual.loss_told_within, Some(Duration::from_secs(1)));

    let poll = room.connect("?wait=poll&fencing=off").await.unwrap().capability();
    assert!(!poll.fair && !poll.event_driven && poll.shared);
    assert_eq!(poll.fencing, Fencing::Off);
    assert!(poll.warnings[0].contains("polling"), "{:?}", poll.warnings);

    std::fs::remove_dir_all(room.dir().join(".keyward-q")).unwrap();
    std::fs::write(room.dir().join(".keyward-q"), "in the way").unwrap();
    let unqueued = room.locks().await.capability();
    assert!(!unqueued.fair && unqueued.event_driven);
    assert!(unqueued.warnings[0].contains("queue"), "{:?}", unqueued.warnings);
}

#[tokio::test]
async fn paths_are_decoded() {
    let room = Room::new();
    let url = format!("file://{}/with%20space%3F", room.path().display());
    let _locks = Locks::connect(url).await.unwrap();
    assert!(room.path().join("with space?").is_dir());
}
