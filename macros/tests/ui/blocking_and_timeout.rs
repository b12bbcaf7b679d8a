use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{id}", locks = locks, blocking = false, timeout = "5s")]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
