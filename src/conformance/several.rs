//! Several names at once.

use std::{future::IntoFuture, time::Duration};

use tokio::task::{JoinSet, yield_now};

use super::{Fixture, Verdict, busy, free, lock, named, release, soon, two};

/// Names that are asked for twice are taken once; all are held, and all are released.
pub async fn lock_all_takes_each_name_once(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let [a, b, c] = ["a", "b", "c"].map(|part| named(fixture, part));
    let asked = [&b, &c, &a, &b, &a];
    for round in 0..2 {
        let wait = locks.lock_all(asked).into_future();
        let all = soon("several names", wait).await.expect("they are free");
        assert_eq!(all.len(), 3);
        soon("to ask whether they are held", all.ensure_held()).await.expect("they are held");
        for name in [&a, &b, &c] {
            busy(&locks, name).await;
            busy(&other, name).await;
        }
        if round == 0 {
            drop(all);
        } else {
            let released = soon("a release", all.release()).await.expect("it is confirmed");
            assert_eq!(released, crate::lease::Released::Released);
        }
        for name in [&a, &b, &c] {
            release(lock(&other, name).await).await;
        }
    }
    let none = locks.lock_all::<&str>([]).await.expect("there is nothing to wait for");
    assert!(none.is_empty());
    Ok(())
}

/// If one name cannot be had, the others are free again.
pub async fn lock_all_is_all_or_nothing(fixture: &impl Fixture) -> Verdict {
    let [locks, other] = two(fixture).await;
    let names = ["a", "b", "c"].map(|part| named(fixture, part));
    for held in &names {
        let lease = lock(&other, held).await;
        let limit = Duration::from_millis(20);
        let late = soon("a limit", locks.lock_all(&names).timeout(limit).into_future()).await;
        let late = late.expect_err("one of them is held");
        assert!(late.is_timed_out(), "{late}");
        assert_eq!(late.name(), Some(lease.name()), "the error names the one that is held");
        let refused = soon("a try", locks.lock_all(&names).blocking(false).into_future()).await;
        assert!(refused.expect_err("one of them is held").is_would_block());
        for name in names.iter().filter(|name| *name != held) {
            release(lock(&other, name).await).await;
        }
        release(lease).await;
    }
    for name in &names {
        free(&other, name).await;
    }
    Ok(())
}

/// Those who ask for the same names in different orders do not block each other for ever.
pub async fn opposite_orders_do_not_deadlock(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let locks = handles[task % 2].clone();
        let mut names = ["a", "b", "c"].map(|part| named(fixture, part));
        names.rotate_left(task % 3);
        if task % 4 < 2 {
            names.reverse();
        }
        tasks.spawn(async move {
            for _ in 0..8 {
                let all = locks.lock_all(&names).await.expect("nobody keeps them");
                yield_now().await;
                drop(all);
            }
        });
    }
    soon("all orders", tasks.join_all()).await;
    Ok(())
}
