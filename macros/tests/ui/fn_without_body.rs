use keyward::{Error, Locks, synchronized};

trait Service {
    #[synchronized("vol-{id}", locks = locks)]
    async fn f(&self, id: u32, locks: &Locks) -> Result<u32, Error>;
}

fn main() {}
