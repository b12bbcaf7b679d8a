use keyward::{Error, Locks, synchronized};

#[synchronized(NAME, locks = locks)]
async fn f(id: u32, locks: &Locks) -> Result<u32, Error> {
    Ok(id)
}

const NAME: &str = "vol";

fn main() {}
