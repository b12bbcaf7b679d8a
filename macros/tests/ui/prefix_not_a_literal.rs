use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{id}", locks = locks, prefix = PREFIX)]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

const PREFIX: &str = "cinder-";

fn main() {}
