//! Which operations there are, and who holds the names that they ask for.

/// Who holds names that are asked for: nobody, the same `Locks`, or another one on the same store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Free,
    Near,
    Far,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Lock,
    /// Behind another task, which lets go as soon as it has it.
    Handed,
    Shared,
    Timeout,
    Deadline,
    Try,
    All,
    AllShared,
    AllTimeout,
    AllDeadline,
    AllTry,
    TryShared,
    Release,
    /// With a wait of the same process behind it, and one of another.
    ReleaseQueued,
    ReleaseAfter,
    ReleaseAll,
    ReleaseAllAfter,
    EnsureHeld,
    EnsureAllHeld,
    Lost,
    AllLost,
    Run,
    RunAll,
    Inspect,
    CollectGarbage,
    Connect,
    Close,
    /// With a lease that is released, and a wait that is ended.
    CloseBusy,
}

impl Verb {
    pub(super) fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::TryShared | Self::AllShared)
    }

    /// Whether what it asks for is waited for as long as others hold it, or it is not lost or done.
    pub(super) fn waits(self, held: Held) -> bool {
        match self {
            Self::Lock
            | Self::Handed
            | Self::Shared
            | Self::Timeout
            | Self::Deadline
            | Self::All => held != Free,
            Self::AllShared | Self::AllTimeout | Self::AllDeadline => held != Free,
            Self::Lost | Self::AllLost | Self::Run | Self::RunAll | Self::CloseBusy => true,
            _ => false,
        }
    }
}

use Held::{Far, Free, Near};

pub(super) const CASES: &[(&str, Verb, Held)] = &[
    ("lock_named (free)", Verb::Lock, Free),
    ("lock_named (held by a task)", Verb::Lock, Near),
    ("lock_named (held elsewhere)", Verb::Lock, Far),
    ("lock_named (handed over by a task)", Verb::Handed, Near),
    ("lock_named.shared (free)", Verb::Shared, Free),
    ("lock_named.shared (held by a task)", Verb::Shared, Near),
    ("lock_named.shared (held elsewhere)", Verb::Shared, Far),
    ("lock_named.timeout (held by a task)", Verb::Timeout, Near),
    ("lock_named.timeout (held elsewhere)", Verb::Timeout, Far),
    ("lock_named.deadline (held elsewhere)", Verb::Deadline, Far),
    ("try_lock_named (free)", Verb::Try, Free),
    ("try_lock_named (held by a task)", Verb::Try, Near),
    ("try_lock_named (held elsewhere)", Verb::Try, Far),
    ("try_lock_named.shared (held elsewhere)", Verb::TryShared, Far),
    ("lock_all (free)", Verb::All, Free),
    ("lock_all (held by tasks)", Verb::All, Near),
    ("lock_all (held elsewhere)", Verb::All, Far),
    ("lock_all.shared (held elsewhere)", Verb::AllShared, Far),
    ("lock_all.timeout (held elsewhere)", Verb::AllTimeout, Far),
    ("lock_all.deadline (held elsewhere)", Verb::AllDeadline, Far),
    ("lock_all.blocking(false) (free)", Verb::AllTry, Free),
    ("lock_all.blocking(false) (held elsewhere)", Verb::AllTry, Far),
    ("Lease::release", Verb::Release, Free),
    ("Lease::release (with waits behind it)", Verb::ReleaseQueued, Free),
    ("Lease::release_after", Verb::ReleaseAfter, Free),
    ("Leases::release", Verb::ReleaseAll, Free),
    ("Leases::release_after", Verb::ReleaseAllAfter, Free),
    ("Lease::ensure_held", Verb::EnsureHeld, Free),
    ("Leases::ensure_held", Verb::EnsureAllHeld, Free),
    ("Lease::lost", Verb::Lost, Free),
    ("Leases::lost", Verb::AllLost, Free),
    ("Lease::run", Verb::Run, Free),
    ("Leases::run", Verb::RunAll, Free),
    ("Locks::inspect (held elsewhere)", Verb::Inspect, Far),
    ("Locks::collect_garbage", Verb::CollectGarbage, Free),
    ("Locks::connect", Verb::Connect, Free),
    ("Locks::close", Verb::Close, Free),
    ("Locks::close (with a lease and a wait)", Verb::CloseBusy, Free),
];
