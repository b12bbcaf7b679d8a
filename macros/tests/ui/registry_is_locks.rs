use keyward::{Error, Locks, synchronized};

#[synchronized("{id}", registry = locks)]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
