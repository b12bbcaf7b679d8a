//! A long wait for a file is reported with the process that holds it.

use std::{process::id, time::Duration};

use keyward::Locks;

use crate::warnings::Warnings;

/// The clock of the runtime is paused: it moves on as soon as nothing else is to be done.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_warning_of_a_long_wait_names_the_process() {
    let (subscriber, warnings) = Warnings::new();
    let _installed = tracing::subscriber::set_default(subscriber);
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file://{}", directory.path().display());
    let (one, two) = (Locks::connect(&url).await.unwrap(), Locks::connect(&url).await.unwrap());
    let lease = one.lock_named("vol-1").await.unwrap();
    let late = two.lock_named("vol-1").timeout(Duration::from_secs(7)).await.unwrap_err();
    assert!(late.is_timed_out(), "{late}");
    let told: Vec<_> = warnings.try_iter().collect();
    let long: Vec<_> =
        told.iter().filter(|fields| format!("{fields:?}").contains("still waiting")).collect();
    assert_eq!(long.len(), 1, "{told:?}");
    let owner = long[0].iter().find(|(field, _)| field == "owner").map(|(_, owner)| owner.as_str());
    let process = format!("\"process {}", id());
    assert!(owner.is_some_and(|owner| owner.starts_with(&process)), "{told:?}");
    assert!(owner.is_some_and(|owner| owner.contains(" for ")), "since when: {told:?}");
    drop(lease);
}
