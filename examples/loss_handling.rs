//! A job that may lose its lock, and the tests of what it does then: a store in memory loses its locks
//! when a test says so.
//!
//! `cargo run --example loss_handling` runs it; `cargo test --example loss_handling` tests it.

use keyward::{Error, Locks, Released};

/// The steps of a migration, as far as they have been done.
#[derive(Default)]
struct Migration {
    done: Vec<&'static str>,
}

/// How it has ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Migrated,
    /// Somebody else is at it.
    Busy,
    /// Somebody else may have been at it since then: begin again from what the database says.
    Interrupted,
}

impl Migration {
    /// Does the steps, one process at a time. `step` is what does one of them.
    async fn run(
        &mut self,
        locks: &Locks,
        step: impl AsyncFn(&'static str),
    ) -> Result<Outcome, Error> {
        let lease = match locks.try_lock_named("migration").await {
            Ok(lease) => lease,
            Err(e) if e.is_would_block() => return Ok(Outcome::Busy),
            Err(e) => return Err(e),
        };
        for name in ["add column", "fill column", "drop column"] {
            match lease.run(step(name)).await {
                Ok(()) => self.done.push(name),
                Err(e) if e.is_lost() => return Ok(Outcome::Interrupted),
                Err(e) => return Err(e),
            }
        }
        Ok(match lease.release().await? {
            Released::Released => Outcome::Migrated,
            Released::WasLost => Outcome::Interrupted,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let locks = Locks::connect("memory:").await?;
    let mut migration = Migration::default();
    let outcome = migration.run(&locks, async |name| println!("{name}")).await?;
    assert_eq!(outcome, Outcome::Migrated);
    println!("{outcome:?} in {} steps", migration.done.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use keyward::{ErrorKind, LossReason, memory::MemoryBackend};

    use super::*;

    #[tokio::test]
    async fn a_lost_lock_stops_it_where_it_is() {
        let store = MemoryBackend::new();
        let faults = store.faults();
        let locks = Locks::builder().backend(store);
        let mut migration = Migration::default();
        let lose_in_the_second = async |name| {
            if name == "fill column" {
                assert_eq!(faults.lose("migration", LossReason::Expired), 1);
                std::future::pending().await // it must not be waited for
            }
        };
        let outcome = migration.run(&locks, lose_in_the_second).await.unwrap();
        assert_eq!(outcome, Outcome::Interrupted);
        assert_eq!(migration.done, ["add column"]);
        assert!(!locks.inspect("migration").await.unwrap().is_held());
    }

    #[tokio::test]
    async fn a_loss_that_is_found_at_the_end_is_no_success() {
        let store = MemoryBackend::new();
        let faults = store.faults();
        let locks = Locks::builder().backend(store);
        let lose_in_the_last = async |name| {
            if name == "drop column" {
                faults.lose("migration", LossReason::Closed);
            }
        };
        let outcome = Migration::default().run(&locks, lose_in_the_last).await.unwrap();
        assert_eq!(outcome, Outcome::Interrupted);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_lock_that_is_held() {
        let store = MemoryBackend::new();
        store.faults().fail_next("migration", Error::new(ErrorKind::Unavailable));
        let locks = Locks::builder().backend(store);
        let nothing = async |_| unreachable!("nothing runs without the lock");
        let error = Migration::default().run(&locks, nothing).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);

        let _held = locks.lock_named("migration").await.unwrap();
        let outcome = Migration::default().run(&locks, nothing).await.unwrap();
        assert_eq!(outcome, Outcome::Busy);
    }
}
