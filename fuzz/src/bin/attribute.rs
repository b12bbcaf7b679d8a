//! The attribute: a crate for macros exports nothing else, so its files are compiled here once more.

#![no_main]
#![allow(dead_code, reason = "what the macros' crate alone calls")]

#[path = "../../../macros/src/args.rs"]
mod args;
#[path = "../../../macros/src/expand.rs"]
mod expand;
#[path = "../../../macros/src/function.rs"]
mod function;
#[path = "../../../macros/src/fuzzed.rs"]
mod fuzzed;
#[path = "../../../macros/src/scope.rs"]
mod scope;
#[path = "../../../macros/src/template.rs"]
mod template;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::attribute(data));
