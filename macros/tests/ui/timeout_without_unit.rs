use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{id}", locks = locks, timeout = "5")]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
