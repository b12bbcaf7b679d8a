//! A target of the library's, which `KEYWARD_FUZZ_TARGET` names.

#![no_main]

use std::{env, sync::LazyLock};

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = env::var("KEYWARD_FUZZ_TARGET").expect("KEYWARD_FUZZ_TARGET names a target");
    let found = keyward::fuzzed::TARGETS.iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("there is no target {name:?}")).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
