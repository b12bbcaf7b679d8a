//! smoke
use keyward::LockRegistry;
use std::{pin::pin, time::Duration};
use tokio_test::{assert_pending, assert_ready, task};

#[tokio::test]
async fn smoke() {
    let r = LockRegistry::<String>::new();
    let g = r.lock_named("a").await;
    assert!(r.try_lock_named("a").is_err());
    let mut w = task::spawn(r.lock_named("a"));
    assert_pending!(w.poll());
    let mut w2 = task::spawn(r.read_named("a"));
    let mut w3 = task::spawn(r.read_named("a"));
    assert_pending!(w2.poll());
    assert_pending!(w3.poll());
    assert_eq!(r.waiters("a"), 3);
    drop(g);
    assert!(w.is_woken());
    drop(w);
    let g2 = assert_ready!(w2.poll());
    let g3 = assert_ready!(w3.poll());
    assert_eq!(r.holders("a"), 2);
    let _x = pin!(r.lock_named("a").timeout(Duration::from_millis(5)))
        .await
        .unwrap_err();
    let p = r.with_prefix("pre-");
    let pg = p.lock_named("x").await;
    assert_eq!(pg.name(), "pre-x");
    assert!(r.try_lock_named("pre-x").is_err());
    assert!(p.try_lock_named("x").is_err());
    drop(p);
    drop((g2, pg));
    drop(g3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stress() {
    let r = LockRegistry::<String>::new();
    let mut s = tokio::task::JoinSet::new();
    for i in 0..1000u32 {
        let r = r.clone();
        s.spawn(async move {
            for j in 0..20 {
                let k = format!("k{}", (i + j) % 7);
                let g = r.lock_named(&k).await;
                tokio::task::yield_now().await;
                drop(g);
            }
        });
    }
    while s.join_next().await.is_some() {}
    assert!(r.is_empty());
}
