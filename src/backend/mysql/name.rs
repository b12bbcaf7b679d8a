//! From a name to the bytes that the server locks by, and how they are written into a statement.
//!
//! **A wire format**: two programs that map one name differently do not exclude each other. The values
//! in the tests below are golden.
//!
//! 1. A native name stands as it is if every server takes it as it is: then Python services that use
//!    the same name meet us. Any other is [encoded](LockName::encoded), so that case, accents, length
//!    and odd bytes mean the same on MariaDB and on MySQL, and two names never share a lock.
//! 2. An exact name goes verbatim or not at all, and not if it is what another name may be encoded as.
//! 3. Nothing of a name is ever text in a statement: it goes as `X'…'`, whatever the SQL mode and the
//!    character set.

use std::{borrow::Cow, fmt};

use data_encoding::HEXLOWER;

use super::server::Family;
use crate::{
    error::{Error, ErrorKind},
    name::LockName,
};

/// The longest name of MySQL, in characters; MariaDB takes more.
const LONGEST: usize = 64;

/// The longest name of MariaDB, in bytes.
const LONGEST_ON_MARIADB: usize = 192;

/// The name as the server is told it.
pub(super) fn native<'n>(
    name: &'n LockName,
    family: Family,
    all_exact: bool,
) -> Result<Cow<'n, [u8]>, Error> {
    let bytes = name.as_bytes();
    if all_exact || name.is_exact() {
        let key = exact(bytes, family)?;
        // As the server takes it: letters without an ASCII look may become ones with it.
        if LockName::is_like_encoded(&key.to_ascii_lowercase()) {
            let why = "an exact name cannot look like the code of another: ~, a dot, 32 letters";
            return Err(Error::new(ErrorKind::InvalidName).with_message(why));
        }
        return Ok(key);
    }
    let plain =
        |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.:/@+-".contains(byte);
    if bytes.len() <= LONGEST && bytes.iter().all(plain) {
        return Ok(Cow::Borrowed(bytes));
    }
    Ok(Cow::Owned(name.encoded(LONGEST).into_bytes()))
}

fn exact(bytes: &[u8], family: Family) -> Result<Cow<'_, [u8]>, Error> {
    let refused = |why: &'static str| Err(Error::new(ErrorKind::InvalidName).with_message(why));
    if bytes.contains(&0) {
        return refused("an exact name cannot contain a nul byte: the server would cut it there");
    }
    match family {
        Family::MariaDb if bytes.len() > LONGEST_ON_MARIADB => {
            refused("MariaDB takes exact names of up to 192 bytes")
        }
        Family::MariaDb => Ok(Cow::Borrowed(bytes)),
        Family::MySql => {
            let Ok(text) = str::from_utf8(bytes) else {
                return refused("MySQL takes exact names in utf-8 only");
            };
            if text.chars().any(|c| c.len_utf8() > 3) {
                return refused("MySQL takes exact names without characters above U+FFFF");
            }
            if text.chars().count() > LONGEST {
                return refused("MySQL takes exact names of up to 64 characters");
            }
            // It ignores case, and so must the queue of this process.
            Ok(Cow::Owned(text.chars().map(small_on_mysql).collect::<String>().into_bytes()))
        }
    }
}

/// The letter that MySQL takes it for: one for one, by the tables of Unicode 3. Where we had two keys
/// for what is one name to it, its sessions would let us hold the name twice; where we had one for two,
/// a peer's capitals would not be ours.
fn small_on_mysql(c: char) -> char {
    let is_younger = matches!(c,
        '\u{220}' | '\u{23a}'..='\u{24f}' | '\u{370}'..='\u{376}' | '\u{37f}' | '\u{3cf}' | '\u{3d8}'
        | '\u{3f4}'..='\u{3ff}' | '\u{48a}' | '\u{4c0}' | '\u{4c5}' | '\u{4c9}' | '\u{4cd}' | '\u{4f6}'
        | '\u{4fa}'..='\u{52f}' | '\u{10a0}'..='\u{1cbf}' | '\u{1e9e}' | '\u{1efa}'..='\u{1efe}'
        | '\u{2132}' | '\u{2183}' | '\u{2c00}'..='\u{2cff}' | '\u{a640}'..='\u{a7ff}');
    if is_younger { c } else { c.to_lowercase().next().unwrap_or(c) }
}

/// A key as a literal.
pub(super) struct Hex<'k>(pub(super) &'k [u8]);

impl Hex<'_> {
    pub(super) fn append_to(&self, sql: &mut String) {
        sql.push_str("X'");
        HEXLOWER.encode_append(self.0, sql);
        sql.push('\'');
    }
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X'{}'", HEXLOWER.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: impl Into<LockName>, family: Family) -> Result<String, ErrorKind> {
        let name = name.into();
        let key = native(&name, family, false).map_err(|e| e.kind())?;
        Ok(String::from_utf8_lossy(&key).into_owned())
    }

    #[test]
    fn plain_names_stand_and_others_are_encoded() {
        for family in [Family::MariaDb, Family::MySql] {
            for plain in ["vol-42", "a", "nova/x_1.2:3@h+", &"x".repeat(64)] {
                assert_eq!(key(plain, family).as_deref(), Ok(plain));
            }
            for other in ["Vol", "~x", "a b", "é", "a\0", &"x".repeat(65), "\u{212A}"] {
                let key = key(other, family).unwrap();
                assert!(key.starts_with('~') && key.len() <= LONGEST, "{key}");
            }
        }
    }

    /// Never to be changed: what is deployed locks by them.
    #[test]
    fn golden() {
        for (name, expected) in [
            ("vol-42", "vol-42"),
            ("pool/vol_1@host:3", "pool/vol_1@host:3"),
            ("pool/vol 42", "~pool_vol_42.dt5qdhgvv6iu5t2xlxqgqgdh2ruiavj5"),
            ("cinder-LIN", "~cinder-lin.smxqptvpptepiriimhany24xgpb7zndp"),
            ("é", "~__.jkmvk7sagpbvhhpc5nsuoiaxzlk7svl7"),
            ("~x", "~_x.kl5cc44m6ww25mkb73kerhqkpdcwnfcr"),
            ("a\0b", "~a_b.lgzhdlq3xsy5ghkbskmbp5frn62dt22p"),
            (&"x".repeat(65), "~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.su34l7prebec67ky2jpj5vmd6uwafnhd"),
        ] {
            for family in [Family::MariaDb, Family::MySql] {
                assert_eq!(key(name, family).as_deref(), Ok(expected));
            }
        }
    }

    #[test]
    fn exact_names_go_verbatim_or_not_at_all() {
        let exact = |bytes: &[u8], family| key(LockName::exact(bytes), family);
        assert_eq!(exact(b"cinder-LIN", Family::MariaDb).as_deref(), Ok("cinder-LIN"));
        assert_eq!(exact(b"cinder-LIN", Family::MySql).as_deref(), Ok("cinder-lin"));
        // Letter by letter, also at the end of a word.
        assert_eq!(exact("ΟΔΟΣ İ Ⴀ".as_bytes(), Family::MySql).as_deref(), Ok("οδοσ i Ⴀ"));
        let refused = Err(ErrorKind::InvalidName);
        assert_eq!(exact(b"a\0b", Family::MariaDb), refused);
        for code in ["pool/vol 42", "x"] {
            let code = LockName::from(code).encoded(LONGEST);
            for family in [Family::MariaDb, Family::MySql] {
                assert_eq!(exact(code.as_bytes(), family), refused);
                assert_eq!(exact(code.to_ascii_uppercase().as_bytes(), family), refused);
                assert!(exact(&code.as_bytes()[..code.len() - 1], family).is_ok());
            }
        }
        let kelvin = format!("~{}.{}", '\u{212a}', "a".repeat(32));
        assert_eq!(exact(kelvin.as_bytes(), Family::MySql), refused);
        assert!(exact(kelvin.as_bytes(), Family::MariaDb).is_ok());
        assert_eq!(exact(&[b'x'; 193], Family::MariaDb), refused);
        assert!(exact(&[b'x'; 192], Family::MariaDb).is_ok());
        assert!(exact(&[0xff], Family::MariaDb).is_ok());
        assert_eq!(exact(&[0xff], Family::MySql), refused);
        assert_eq!(exact("😀".as_bytes(), Family::MySql), refused);
        assert_eq!(exact(&[b'x'; 65], Family::MySql), refused);
        assert!(exact("é".repeat(64).as_bytes(), Family::MySql).is_ok());
    }

    #[test]
    fn literals() {
        assert_eq!(Hex(b"abc'\n").to_string(), "X'616263270a'");
    }
}
