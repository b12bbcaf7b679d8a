use keyward::{Error, Locks, synchronized};

#[synchronized("vol-{self.id}", locks = locks)]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
