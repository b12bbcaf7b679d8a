use keyward::{LockRegistry, synchronized};

#[synchronized("{id}", registry = registry, blocking = false)]
async fn f(id: u32, registry: &LockRegistry) {
    drop((id, registry));
}

fn main() {}
