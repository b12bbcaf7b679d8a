//! What the compiler says: `ui/` must not compile, with the message beside it; `pass/` must, without a
//! warning.

#[test]
fn diagnostics() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/macros/pass/*.rs");
    cases.compile_fail("tests/macros/ui/*.rs");
}
