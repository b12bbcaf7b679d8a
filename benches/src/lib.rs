//! Nothing: what this crate is for are the benches beside this folder.
