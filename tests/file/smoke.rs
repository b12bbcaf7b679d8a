use keyward::{LeaseState, Locks, LossReason};
use std::{
    future::IntoFuture,
    pin::pin,
    time::{Duration, Instant},
};

fn dir(tag: &str) -> std::path::PathBuf {
    let d = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{tag}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&d));
    d
}

#[tokio::test]
async fn two() {
    let d = dir("two");
    let url = format!("file://{}", d.display());
    let a = Locks::connect(&url).await.unwrap();
    let b = Locks::connect(&url).await.unwrap();
    println!("{:?}", a.capability());
    let l = a.lock_named("x").await.unwrap();
    println!("{l:?} {:?}", b.inspect("x").await.unwrap());
    assert!(b.try_lock_named("x").await.unwrap_err().is_would_block());
    let t = Instant::now();
    let e = b.lock_named("x").timeout(Duration::from_millis(50)).await.unwrap_err();
    println!("{e} {:?}", t.elapsed());
    let mut w = pin!(b.lock_named("x").into_future());
    assert!(futures::FutureExt::now_or_never(w.as_mut()).is_none());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let t = Instant::now();
    drop(l);
    let l2 = w.await.unwrap();
    println!("{l2:?} {:?}", t.elapsed());
    let r = a.lock_named("s").shared().await.unwrap();
    let r2 = b.lock_named("s").shared().await.unwrap();
    assert!(b.try_lock_named("s").await.is_err());
    drop((r, r2));
    let lost = l2.lost();
    std::fs::remove_file(d.join("x")).unwrap();
    let t = Instant::now();
    println!("{:?} {:?}", lost.await, t.elapsed());
    assert_eq!(l2.state(), LeaseState::Lost(LossReason::Removed));
    println!("{}", l2.ensure_held().await.unwrap_err());
    println!("{:?}", l2.release().await);
    let n = 200_000;
    for url in [url.clone(), format!("{url}?fencing=off")] {
        let a = Locks::connect(&url).await.unwrap();
        for _ in 0..3 {
            let t = Instant::now();
            for _ in 0..n {
                drop(a.lock_named("hot").await.unwrap());
            }
            println!("{:?} per", t.elapsed() / n);
        }
    }
}
