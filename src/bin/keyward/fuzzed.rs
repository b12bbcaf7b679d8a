//! What a fuzzer runs, and what the tests run on the inputs that a fuzzer has found; `fuzz/` has the
//! fuzzer. It is in no build of a user's.
//!
//! * **Z1** No command line makes us panic.
//! * **Z2** No password of an argument is printed, whatever clap says about the arguments (C4).
//! * **Z3** Times are what their unit says, and nothing else is one.

use clap::Parser;

use crate::{
    args::{Cli, duration},
    secret,
};

const SECRET: &str = "hunter2hunter2";

/// A command line, a text with a password, or a time; the first byte says which.
pub(crate) fn command(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match first % 3 {
        0 => time(&text),
        1 => masked(&text),
        _ => said(&text),
    }
}

fn time(text: &str) {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000_u128)];
    let expected = units.iter().find_map(|(unit, milliseconds)| {
        let number = text.strip_suffix(unit)?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| number.parse::<u128>().ok())??;
        Some(number.checked_mul(*milliseconds)?).filter(|time| *time <= u128::from(u64::MAX))
    });
    assert_eq!(duration(text).ok().map(|time| time.as_millis()), expected, "{text:?}");
}

/// An argument that is a URL with a password, within other text, as it is and quoted.
fn masked(text: &str) {
    let mut parts = text.splitn(4, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (before, a, b, after) = (part(), part(), part(), part());
    for arg in [
        format!("{before}://user:{a}{SECRET}{b}@host/{after}"),
        format!("--url=mysql:user:{a}{SECRET}{b}@{after}"),
        format!("x?{after}&password={a}{SECRET}{b}").replace(['@', ';'], "."),
    ] {
        if arg.matches(SECRET).count() != 1 || b.contains(['?', '&']) || a.contains(['?', '&']) {
            continue;
        }
        assert!(secret::is_in(&arg) || !arg.contains("://"), "{arg:?} is let pass as a name");
        for text in [format!("no such {arg} here"), format!("no such {arg:?} here")] {
            let masked = secret::mask(&text, [&*arg].into_iter());
            assert!(!masked.contains(SECRET), "{arg:?}: {masked:?}");
        }
    }
}

/// What clap says about arguments, one of which is a URL.
fn said(text: &str) {
    let text = text.replace('\u{1}', &format!("mysql://app:{SECRET}@db/locks"));
    let args: Vec<&str> = text.split('\n').collect();
    if !secret::is_maskable(&args) {
        return; // nothing of them is said
    }
    if let Err(error) = Cli::try_parse_from(["keyward"].into_iter().chain(args.iter().copied())) {
        let said = error.render().to_string();
        let masked = secret::mask(&said, args.iter().copied());
        let has = masked.contains(&format!(":{SECRET}@"));
        assert!(!has, "{args:?}: {masked}");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// What fuzzers have found once is tried in each run.
    #[test]
    fn corpus() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/command");
        let inputs = fs::read_dir(folder).expect("the repository has a corpus").map(|entry| {
            super::command(&fs::read(entry.unwrap().path()).unwrap());
        });
        assert!(inputs.count() > 3, "no corpus");
    }
}
