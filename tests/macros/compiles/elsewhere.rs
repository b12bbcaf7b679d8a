//! Where this crate is found by another path. That nothing else is named, `macros/src/expand.rs` tests.
#![deny(warnings)]

use keyward::{LockRegistry, memory::MemoryBackend};

/// A library that has it as a dependency, and its users need not.
mod library {
    pub(super) use ::keyward;

    macro_rules! operation {
        ($name:ident, $at:path) => {
            #[keyward::synchronized("{id}", locks = locks, crate = $at)]
            async fn $name(locks: &keyward::Locks, id: u8) -> Result<u8, keyward::Error> {
                Ok(id)
            }
        };
    }
    macro_rules! operation_of_its_own {
        ($name:ident) => {
            #[keyward::synchronized(
                                        "{id}",
                                        locks = locks,
                                        crate = $crate::compiles::elsewhere::library::keyward
                                    )]
            async fn $name(locks: &keyward::Locks, id: u8) -> Result<u8, keyward::Error> {
                Ok(id)
            }
        };
    }
    pub(super) use {operation, operation_of_its_own};
}

library::operation!(by_a_path_of_a_caller, library::keyward);
library::operation_of_its_own!(by_a_path_of_a_macro);

#[library::keyward::synchronized("{id}", locks = locks, crate = library::keyward)]
async fn reexported(
    locks: &library::keyward::Locks,
    id: u8,
) -> Result<u8, library::keyward::Error> {
    Ok(id)
}

#[keyward::synchronized("a", "b", registry = registry, crate = crate::compiles::elsewhere::library::keyward)]
async fn in_a_registry(registry: &LockRegistry) -> usize {
    registry.len()
}

#[keyward::synchronized("{id}", "b", locks = locks, blocking = false, crate = ::keyward)]
async fn as_usual(locks: &keyward::Locks, id: u8) -> Result<u8, keyward::Error> {
    Ok(id)
}

#[tokio::test]
async fn they_are_called() {
    let locks = keyward::Locks::builder().backend(MemoryBackend::new());
    assert_eq!(by_a_path_of_a_caller(&locks, 1).await.unwrap(), 1);
    assert_eq!(by_a_path_of_a_macro(&locks, 1).await.unwrap(), 1);
    assert_eq!(reexported(&locks, 2).await.unwrap(), 2);
    assert_eq!(as_usual(&locks, 3).await.unwrap(), 3);
    assert_eq!(in_a_registry(&LockRegistry::new()).await, 2);
}
