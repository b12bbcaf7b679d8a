use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{0}", locks = locks)]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
