use keyward::{LockRegistry, TryLockError, synchronized};

#[synchronized("{id}", "b", registry = registry, blocking = false)]
async fn f(id: u32, registry: &LockRegistry) -> Result<u32, TryLockError> {
    Ok(id)
}

fn main() {}
