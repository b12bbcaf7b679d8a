use keyward::{Error, Locks, synchronized};

#[synchronized(concat!("vol-", "{id}"), locks = locks)]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
