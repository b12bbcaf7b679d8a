//! Readers together, writers alone, and neither starves.

use std::{
    future::IntoFuture,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};

use super::{
    Fixture, NotApplicable, Verdict, busy, by_hand::ByHand, free, lock, named, release, soon, two,
};
use crate::{
    error::{Error, ErrorKind},
    lease::Lease,
    locks::Locks,
};

fn applicable(locks: &Locks) -> Verdict {
    match locks.capability().shared {
        true => Ok(()),
        false => Err(NotApplicable::because("the backend has no shared mode")),
    }
}

async fn read(locks: &Locks, name: &str) -> Lease {
    let read = locks.lock_named(name).shared();
    soon("a shared lock", read.into_future()).await.unwrap_or_else(|e| panic!("{e}"))
}

async fn try_read(locks: &Locks, name: &str) -> Result<Lease, Error> {
    soon("a shared try", locks.try_lock_named(name).shared().into_future()).await
}

/// Shared mode is there if the [`Capability`](crate::Capability) says so, and
/// [`Unsupported`](ErrorKind::Unsupported) otherwise: never an exclusive hold instead.
pub async fn shared_mode_is_as_announced(fixture: &impl Fixture) -> Verdict {
    let (locks, name) = (fixture.connect().await, named(fixture, "mode"));
    if locks.capability().shared {
        release(read(&locks, &name).await).await;
        return Ok(());
    }
    for wait in [locks.lock_named(&name).shared(), locks.try_lock_named(&name).shared()] {
        let error = soon("a shared lock", wait.into_future()).await.expect_err("not announced");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    free(&locks, &name).await;
    Ok(())
}

/// Readers hold one name together, in one handle and over several, and the name is held until the
/// last of them has released it.
pub async fn readers_share(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    applicable(&handles[0])?;
    let name = named(fixture, "read");
    let mut leases = Vec::new();
    for round in 0..6 {
        let locks = &handles[round % 2];
        leases.push(match round / 2 {
            0 => read(locks, &name).await,
            _ => try_read(locks, &name).await.unwrap_or_else(|e| panic!("reader {round}: {e}")),
        });
    }
    while let Some(lease) = leases.pop() {
        for locks in &handles {
            busy(locks, &name).await;
        }
        soon("to ask whether it is held", lease.ensure_held()).await.expect("it is held");
        if leases.len() % 2 == 0 { drop(lease) } else { release(lease).await }
    }
    release(lock(&handles[0], &name).await).await;
    release(lock(&handles[1], &name).await).await;
    Ok(())
}

/// A writer holds alone: readers wait for it, and it for them.
pub async fn readers_and_writers_exclude(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    applicable(&handles[0])?;
    let name = named(fixture, "mixed");
    for (one, other) in [(0, 0), (0, 1), (1, 0)] {
        let writer = lock(&handles[one], &name).await;
        let error = try_read(&handles[other], &name).await.expect_err("it is held");
        assert!(error.is_would_block(), "{error}");
        let mut reader = ByHand::new(handles[other].lock_named(&name).shared());
        reader.settle("a reader of a written name").await;
        release(writer).await;
        let reader = reader.finish("a reader").await.expect("it is free");

        busy(&handles[one], &name).await;
        let mut writer = ByHand::new(handles[one].lock_named(&name));
        writer.settle("a writer of a read name").await;
        let error = try_read(&handles[one], &name).await.expect_err("a writer waits");
        assert!(error.is_would_block(), "{error}");
        release(reader).await;
        release(writer.finish("a writer").await.expect("it is free")).await;
    }

    // And under load.
    let (readers, writers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..12 {
        let (locks, name) = (handles[task % 2].clone(), name.clone());
        let (readers, writers) = (Arc::clone(&readers), Arc::clone(&writers));
        tasks.spawn(async move {
            for _ in 0..10 {
                let writes = task % 3 == 0;
                let lease =
                    if writes { lock(&locks, &name).await } else { read(&locks, &name).await };
                let (mine, allowed) = if writes { (&writers, 0) } else { (&readers, usize::MAX) };
                let before = mine.fetch_add(1, Ordering::SeqCst);
                assert!(before <= allowed, "two writers hold one name");
                tokio::task::yield_now().await;
                let others = if writes { &readers } else { &writers };
                assert_eq!(others.load(Ordering::SeqCst), 0, "a reader and a writer hold one name");
                mine.fetch_sub(1, Ordering::SeqCst);
                drop(lease);
            }
        });
    }
    soon("readers and writers", tasks.join_all()).await;
    Ok(())
}

/// A writer gets in although there is always a reader: in its own handle, and if the backend is
/// [fair](crate::Capability::fair), in others too.
pub async fn writers_are_not_starved(fixture: &impl Fixture) -> Verdict {
    let handles = two(fixture).await;
    applicable(&handles[0])?;
    let fair = handles[0].capability().fair;
    let handles = if fair { &handles[..] } else { &handles[..1] };
    let name = named(fixture, "popular");
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..6 {
        let (locks, name, done) =
            (handles[reader % handles.len()].clone(), name.clone(), Arc::clone(&done));
        readers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let lease = read(&locks, &name).await;
                sleep(Duration::from_millis(3)).await; // the next reader comes before this one goes
                drop(lease);
            }
        });
    }
    for locks in handles {
        for _ in 0..3 {
            release(lock(locks, &name).await).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    soon("the readers", readers.join_all()).await;
    Ok(())
}
