use keyward::{Error, Locks, synchronized};

#[synchronized()]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
