use keyward::{LockRegistry, TryLockError, synchronized};

#[synchronized("{id}", "b", registry = registry, shared)]
async fn f(id: u32, registry: &LockRegistry) -> Result<u32, TryLockError> {
    Ok(id)
}

fn main() {}
