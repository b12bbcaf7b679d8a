//! The contract's cases, over every backend: `cargo test --test conformance memory::`.
//!
//! A backend is one fixture and one line pair here.

use std::process::Command;

use keyward::{
    Lease, Locks,
    conformance::{Fixture, NotApplicable, Verdict, unique_prefix},
};

#[path = "support/child.rs"]
mod child;

/// What the children run; as a test of its own it does nothing.
#[test]
fn child_entry() {
    child::run();
}

mod memory {
    keyward::conformance_tests!(super::Memory::new());
}

struct Memory {
    url: String,
}

impl Memory {
    fn new() -> Self {
        Self { url: format!("memory:{}", unique_prefix()) }
    }
}

impl Fixture for Memory {
    async fn connect(&self) -> Locks {
        Locks::connect(&self.url).await.unwrap()
    }

    fn prefix(&self) -> &str {
        "conf-"
    }

    fn is_private(&self) -> bool {
        true
    }

    async fn sever(&self, _: &Lease) -> Verdict {
        Err(NotApplicable::because("nothing takes a hold of memory: away"))
    }

    fn another_process(&self) -> Result<Command, NotApplicable> {
        Err(NotApplicable::because("memory: ends at the process"))
    }
}
