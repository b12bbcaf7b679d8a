use keyward::{Error, LockRegistry, synchronized};

#[synchronized("{id}", locks = registry)]
async fn f(id: u32, registry: &LockRegistry) -> Result<u32, Error> {
    Ok(id)
}

fn main() {}
