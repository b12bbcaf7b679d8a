//! What a function over a registry may return, and bodies that never end.
#![deny(warnings)]

use keyward::{Error, LockRegistry, Locks, synchronized};

#[synchronized("a", registry = registry)]
async fn nothing(registry: &LockRegistry) {}

#[synchronized("a", registry = registry)]
async fn never(registry: &LockRegistry) -> ! {
    std::future::pending().await
}

#[synchronized("a", registry = registry)]
async fn opaque(registry: &LockRegistry) -> impl Fn(u32) -> u32 + use<> {
    |n| n + 1
}

#[synchronized("a", registry = registry)]
async fn erased(registry: &LockRegistry, is_first: bool) -> Box<dyn Fn(u32) -> u32> {
    if is_first {
        return Box::new(|n| n + 1);
    }
    Box::new(|n| n)
}

#[synchronized("a", registry = registry)]
async fn maybe(registry: &LockRegistry, text: &str) -> Option<u32> {
    text.parse().ok()
}

#[synchronized("a", registry = registry)]
async fn diverges(registry: &LockRegistry) -> u32 {
    todo!()
}

#[synchronized("a", locks = locks)]
async fn diverges_with_a_lease(locks: &Locks) -> Result<u32, Error> {
    todo!()
}

#[synchronized("a", locks = locks)]
async fn erased_with_a_lease(locks: &Locks) -> Result<Box<dyn Fn(u32) -> u32 + Send>, Error> {
    Ok(Box::new(|n| n))
}

/// `impl Trait` may be behind a macro, where nobody sees it.
macro_rules! hidden {
    ($error:ty) => { Result<impl Clone, $error> };
}

#[synchronized("a", locks = locks)]
async fn hides(locks: &Locks) -> hidden!(Error) {
    Ok(1)
}

macro_rules! number {
    () => {
        u32
    };
}

#[synchronized("a", locks = locks)]
async fn hides_a_part(locks: &Locks, text: &str) -> Result<Option<number!()>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(text.parse().ok())
}

#[synchronized("a", locks = locks)]
async fn loops(locks: &Locks) -> Result<(), Error> {
    loop {
        std::future::ready(()).await;
    }
}

#[test]
fn they_are_called() {
    let registry = LockRegistry::new();
    drop((nothing(&registry), never(&registry), opaque(&registry), erased(&registry, true)));
    drop((maybe(&registry, "1"), diverges(&registry)));
    let locks = Locks::builder().backend(keyward::memory::MemoryBackend::new());
    drop((hides(&locks), hides_a_part(&locks, "1")));
    drop((diverges_with_a_lease(&locks), erased_with_a_lease(&locks), loops(&locks)));
}
