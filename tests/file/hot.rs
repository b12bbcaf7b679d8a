use keyward::Locks;
#[tokio::test]
async fn hot() {
    let d = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("hot");
    let url = format!(
        "file://{}?fencing={}",
        d.display(),
        std::env::var("FENCING").unwrap_or("on".into())
    );
    let n: u32 = std::env::var("N").map_or(1000, |n| n.parse().unwrap());
    let a = Locks::connect(&url).await.unwrap();
    let t = std::time::Instant::now();
    for _ in 0..n {
        drop(a.lock_named("hot").await.unwrap());
    }
    println!("{:?} per", t.elapsed() / n);
}
