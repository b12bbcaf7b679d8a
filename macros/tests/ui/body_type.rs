use keyward::{LockRegistry, synchronized};

#[synchronized("vol-{id}", registry = registry)]
async fn f(id: u32, registry: &LockRegistry) -> String {
    id
}

fn main() {}
