//! What the inputs of a fuzzer are made of; `backend/fuzzed.rs` says what is done with them.
//!
//! An input is a first byte, which says what to do, and texts with line feeds between them, so that the
//! corpus can be read and written by people.
#![forbid(unsafe_code)]

use std::{collections::HashMap, sync::Mutex};

/// How many names are remembered at most.
const KNOWN: usize = 1 << 14;

/// Splits an input into what its first byte says and up to `N` texts.
pub(crate) fn parts<const N: usize>(data: &[u8]) -> Option<(u8, [&[u8]; N])> {
    let (&first, rest) = data.split_first()?;
    let mut parts = [&[][..]; N];
    for (part, text) in parts.iter_mut().zip(rest.splitn(N, |&byte| byte == b'\n')) {
        *part = text;
    }
    Some((first, parts))
}

/// Which name has come to which key, over all inputs of the process.
pub(crate) struct Injective(Mutex<Option<HashMap<Vec<u8>, Vec<u8>>>>);

impl Injective {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn check(&self, name: &[u8], key: &[u8]) {
        let mut known = self.0.lock().unwrap();
        let known = known.get_or_insert_with(HashMap::new);
        if known.len() >= KNOWN {
            known.clear();
        }
        let other = known.entry(key.to_owned()).or_insert_with(|| name.to_owned());
        assert_eq!(other, name, "two names with the key {:?}", key.escape_ascii().to_string());
    }
}
