//! The attribute of the crate [`keyward`](https://docs.rs/keyward), which exports it.
