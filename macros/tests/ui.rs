//! What the compiler says: what is in `ui/` must not compile, with the message beside it. What must compile
//! is in the tests of the crate keyward.
//!
//! It stands here, where a build needs few crates and the features are always the same.

#[test]
fn diagnostics() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
