use keyward::{Locks, synchronized};

#[synchronized("vol-{id}", locks = locks)]
async fn f(id: u32, locks: &Locks) -> u32 {
    id
}

fn main() {}
