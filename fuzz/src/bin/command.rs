//! The command line of the command: a program exports nothing, so its files are compiled here once more.

#![no_main]
#![allow(dead_code, reason = "what the program alone calls")]

#[path = "../../../src/bin/keyward/args.rs"]
mod args;
#[path = "../../../src/bin/keyward/exit.rs"]
mod exit;
#[path = "../../../src/bin/keyward/fuzzed.rs"]
mod fuzzed;
#[path = "../../../src/bin/keyward/secret.rs"]
mod secret;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::command(data));
