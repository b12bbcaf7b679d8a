//! How the command ends: its exit codes, which scripts rely on, and which failure has which.

use keyward::{Error, ErrorKind};

/// Something does not do what it should; of `doctor` only.
pub(crate) const FAULTY: u8 = 1;
/// The command line, a name or a URL cannot be used: `EX_USAGE`.
pub(crate) const USAGE: u8 = 64;
/// The store is not there, or does not let us: `EX_UNAVAILABLE`.
pub(crate) const UNAVAILABLE: u8 = 69;
/// Others hold the lock: `EX_TEMPFAIL`.
pub(crate) const BUSY: u8 = 75;
/// The lock was lost while the program ran.
pub(crate) const LOST: u8 = 76;
/// The program could not be run, as a shell says it.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The program was not found, as a shell says it.
pub(crate) const NOT_FOUND: u8 = 127;
/// And the number of the signal that ended it, as a shell says it.
pub(crate) const SIGNALLED: u8 = 128;

/// The table, for people.
pub(crate) const TABLE: &str = "\
Exit codes:
  the program's own, if it ran and ended by itself
  0      done: for try and wait, the lock could be had; for inspect, nobody holds it
  1      doctor: something does not do what it should
  64     the command line, the name or the URL cannot be used
  69     the store is not reachable, or does not let us: permissions, no room, limits
  75     others hold the lock; it was not to be had within the time limit
  76     the lock was lost while the program ran
  126    the program could not be run
  127    the program was not found
  128+n  signal n ended the program; a signal that ends the wait ends keyward itself";

/// How the process is going to end.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Code(u8),
    /// By this signal, so that whoever waits for us sees what has happened.
    Signal(i32),
}

/// The code of a failure.
pub(crate) const fn code(kind: ErrorKind) -> u8 {
    use ErrorKind::{
        FeatureDisabled, InvalidName, InvalidUrl, Lost, TimedOut, Unsupported, WouldBlock,
    };
    match kind {
        WouldBlock | TimedOut => BUSY,
        Lost => LOST,
        InvalidUrl | InvalidName | FeatureDisabled | Unsupported => USAGE,
        // PermissionDenied, ReadOnly, Untrusted, StorageFull, ResourceLimit, Unavailable, Closed, and
        // what is yet to come.
        _ => UNAVAILABLE,
    }
}

impl From<&Error> for End {
    fn from(error: &Error) -> Self {
        Self::Code(code(error.kind()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code() {
        use ErrorKind as K;

        let table: [(u8, &[ErrorKind]); 4] = [
            (75, &[K::WouldBlock, K::TimedOut]),
            (76, &[K::Lost]),
            (64, &[K::InvalidUrl, K::InvalidName, K::FeatureDisabled, K::Unsupported]),
            (
                69,
                &[
                    K::PermissionDenied,
                    K::ReadOnly,
                    K::Untrusted,
                    K::StorageFull,
                    K::ResourceLimit,
                    K::Unavailable,
                    K::Closed,
                ],
            ),
        ];
        for (expected, kinds) in table {
            for &kind in kinds {
                assert_eq!(code(kind), expected, "{kind:?}");
            }
        }
    }
}
