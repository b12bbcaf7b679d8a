#![deny(warnings)]

use keyward::{Error, Locks, synchronized};

#[synchronized("vol", locks = locks)]
async fn f(locks: &Locks, argument: u32) -> Result<(), Error> {
    let variable = 1;
    std::future::ready(()).await;
    Ok(())
}

#[must_use]
#[synchronized("vol", locks = locks)]
async fn g(locks: &Locks) -> Result<u32, Error> {
    f(locks, 1).await?;
    Ok(1)
}

fn main() {
    let locks = Locks::builder().backend(keyward::memory::MemoryBackend::new());
    g(&locks);
}
