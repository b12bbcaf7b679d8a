//! The default locks of the process, in one that has none yet.

use keyward::{Error, ErrorKind, Locks, memory::MemoryBackend, synchronized};

#[synchronized("{id}-{f_name}", "second", prefix = "p-")]
async fn resize(id: u32, entered: &mut u32) -> Result<bool, Error> {
    *entered += 1;
    let locks = Locks::installed()?;
    Ok(locks.inspect("p-7-resize").await?.is_held() && locks.inspect("p-second").await?.is_held())
}

#[synchronized("{id}")]
async fn one(id: u32) -> Result<bool, Error> {
    Ok(Locks::installed()?.inspect("7").await?.is_held())
}

/// One test: there is one default for each process.
#[tokio::test]
async fn the_default_is_installed_once_and_missed_before() {
    let mut entered = 0;
    let missing = resize(7, &mut entered).await.unwrap_err();
    assert_eq!((missing.kind(), entered), (ErrorKind::NotInstalled, 0));
    assert_eq!(missing.name().unwrap().to_string(), "p-7-resize");
    assert!(missing.to_string().contains("Locks::install_default"), "{missing}");
    assert_eq!(one(7).await.unwrap_err().name().unwrap().to_string(), "7");
    assert_eq!(Locks::installed().unwrap_err().kind(), ErrorKind::NotInstalled);

    let locks = Locks::builder().backend(MemoryBackend::new());
    locks.clone().install_default().unwrap();
    assert!(resize(7, &mut entered).await.unwrap());
    assert!(one(7).await.unwrap());
    assert_eq!(entered, 1);

    let other = Locks::builder().backend(MemoryBackend::new());
    assert_eq!(other.install_default().unwrap_err().kind(), ErrorKind::AlreadyInstalled);
    let _lease = locks.lock_named("p-second").await.unwrap();
    assert!(Locks::installed().unwrap().try_lock_named("p-second").await.is_err(), "it has stayed");
}
