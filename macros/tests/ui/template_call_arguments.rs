use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{id.pow(2)}", locks = locks)]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
