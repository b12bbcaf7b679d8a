//! Of what a fuzzer runs, the part that is this backend's: see `backend/fuzzed.rs`.

use super::{
    BackendUrl, Error, LockName,
    name::{self, Hex},
    server::{self, Family},
    session::Key,
    sql,
    token::{self, Tokens},
    url,
    wire::Answer,
};
use crate::{
    contract::Fencing,
    inputs::{Injective, parts},
};

pub(crate) fn shown(url: BackendUrl) -> Result<String, Error> {
    let (options, polite) = url::from_url(url)?;
    let checked = options.check();
    let place = options.address().place;
    let (socket, is_plain) = (&options.socket, options.may_be_plain());
    Ok(format!("{options:?} {polite:?} {checked:?} {place} {socket:?} {is_plain}"))
}

/// What is encoded in a URL comes out as it was.
pub(crate) fn round_trip(user: &str, password: &str, host: &str, database: &str) {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    let [u, p, h, d] = [user, password, host, database]
        .map(|text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string());
    let url = format!("mysql://{u}:{p}@{h}:3307/{d}?socket={d}");
    let (options, _) = BackendUrl::parse(&url).and_then(url::from_url).unwrap();
    assert_eq!(options.user, user);
    assert_eq!(options.password.as_deref(), Some(password));
    assert!(options.host == host || host.is_empty(), "{url}");
    assert_eq!(options.port, 3307);
    assert_eq!(options.database.as_deref().unwrap_or_default(), database);
}

/// Names to what the server locks by, and into its language.
pub(crate) fn keys(data: &[u8]) {
    static KEYS: [Injective; 2] = [Injective::new(), Injective::new()];
    let Some((first, [name])) = parts::<1>(data) else { return };
    let exact = LockName::exact(name);
    let text = String::from_utf8_lossy(name);
    let mapped = LockName::from(&*text);
    for (family, keys) in [Family::MariaDb, Family::MySql].into_iter().zip(&KEYS) {
        let key = name::native(&mapped, family, false).unwrap();
        assert!(key.len() <= 64, "{}", key.escape_ascii());
        let is_safe =
            |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.:/@+-".contains(b);
        let is_encoded = *key != *text.as_bytes();
        let rest = if is_encoded { key.strip_prefix(b"~").unwrap() } else { &key };
        assert!(rest.iter().all(is_safe), "{}", key.escape_ascii());
        keys.check(text.as_bytes(), &key);
        literals(&key);
        if let Ok(key) = name::native(&exact, family, first & 1 == 0) {
            assert!(!key.contains(&0));
            match family {
                Family::MariaDb => {
                    assert!(*key == *name && key.len() <= 192);
                    keys.check(name, &key); // exact or not, two names are never one
                }
                Family::MySql => {
                    let small = str::from_utf8(&key).unwrap();
                    assert!(small.chars().count() <= 64);
                    // What has no case left stays as it is: we and the server agree on that.
                    let again = LockName::exact(&*key);
                    assert_eq!(name::native(&again, family, true).unwrap(), key);
                    if *key == *name {
                        keys.check(name, &key);
                    }
                }
            }
            literals(&key);
        }
    }
}

/// A key is in a statement as a literal, and nowhere else.
fn literals(key: &[u8]) {
    let hex = Hex(key).to_string();
    let digits = hex.strip_prefix("X'").and_then(|rest| rest.strip_suffix('\'')).unwrap();
    assert_eq!(data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap(), key);
    let statements = |key: &[u8]| {
        let key = Key::from(key);
        [
            sql::wait(&key, 5, Fencing::Server),
            sql::release_all([&key].into_iter()),
            sql::verify([&key].into_iter(), true),
            token::count_up(&key, 0),
            token::raise(&key, 7),
        ]
    };
    for (with, without) in statements(key).into_iter().zip(statements(b"")) {
        assert_eq!(with, without.replacen("X''", &hex, 1));
    }
}

/// What a server answers: a version, numbers, tokens.
pub(crate) fn answers(data: &[u8]) {
    let Some((_, [rest])) = parts::<1>(data) else { return };
    let text = String::from_utf8_lossy(rest).into_owned();
    if let Some([major, minor, patch]) = server::version(&text) {
        let text = text.strip_prefix("5.5.5-").unwrap_or(&text);
        let digits = |part: &str| -> String { part.trim_start_matches('0').to_owned() };
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(digits);
        for number in [major, minor, patch] {
            let number = if number == 0 { String::new() } else { number.to_string() };
            assert_eq!(parts.next(), Some(number), "{text}");
        }
    }
    let answer = Answer { rows: vec![vec![Some(text.clone())]], ..Answer::default() };
    if let Some(numbers) = answer.numbers() {
        assert_eq!(numbers.len(), text.split(',').count());
        for pair in numbers.windows(2).filter(|pair| pair[0] < pair[1]) {
            let [before, after] = [pair[0], pair[1]].map(|number| number & (u64::MAX >> 8));
            if before < after {
                in_order(Tokens::of_server(before), Tokens::of_server(after));
            }
            if pair[1] - pair[0] > token::HAND_OVERS {
                in_order(Tokens::of_table(pair[0]), Tokens::of_table(pair[1]));
            }
        }
    }
}

fn in_order(mut before: Tokens, after: Tokens) {
    loop {
        assert!(before.present() < after.present(), "{before:?} and {after:?}");
        if !before.advance() {
            return;
        }
    }
}
