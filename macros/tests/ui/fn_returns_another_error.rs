use keyward::{Locks, synchronized};

#[synchronized("vol-{id}", locks = locks)]
async fn f(id: u32, locks: &Locks) -> Result<u32, std::fmt::Error> {
    Ok(id)
}

fn main() {}
