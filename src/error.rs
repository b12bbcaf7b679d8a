//! What can go wrong, as types.
//!
//! A wait on a [`LockRegistry`](crate::LockRegistry) cannot fail; what can is asking not to wait
//! ([`TryLockError`]) or not to wait for long ([`Elapsed`]). Both are unit-like, as tokio's are: the
//! caller knows which key it asked for, and there is only one reason. What has a backend can fail in
//! many ways, and does so with an [`Error`].
#![forbid(unsafe_code)]

use std::{borrow::Cow, error, fmt, sync::Arc};

use crate::name::LockName;

/// The key is held, or others are queued for it, so it could not be locked without waiting.
///
/// Returned by [`LockRegistry::try_lock_named`](crate::LockRegistry::try_lock_named) and
/// [`LockRegistry::try_read_named`](crate::LockRegistry::try_read_named). It is an `Err` and not a
/// `None` so that `let _guard = registry.try_lock_named(key)?` leaves the function: code after that
/// line never runs without the lock.
///
/// # Examples
///
/// ```
/// let registry = keyward::LockRegistry::<String>::new();
/// let _guard = registry.try_lock_named("vol-1")?;
/// let busy = registry.try_lock_named("vol-1").unwrap_err();
/// assert_eq!(busy.to_string(), "the lock is held and waiting was not asked for");
/// # Ok::<(), keyward::TryLockError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TryLockError(());

impl TryLockError {
    pub(crate) const fn would_block() -> Self {
        Self(())
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is held and waiting was not asked for")
    }
}

impl error::Error for TryLockError {}

/// The lock was not to be had within the time that was given.
///
/// Returned by the futures of [`LockNamed::timeout`](crate::futures::LockNamed::timeout) and
/// [`ReadNamed::timeout`](crate::futures::ReadNamed::timeout). Nothing is held and nothing is queued
/// once it is returned.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
///
/// let registry = keyward::LockRegistry::<String>::new();
/// let _guard = registry.lock_named("vol-1").await;
/// let late = registry.lock_named("vol-1").timeout(Duration::from_millis(1)).await.unwrap_err();
/// assert_eq!(late.to_string(), "the lock was not to be had within the time limit");
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Elapsed(());

impl Elapsed {
    pub(crate) const fn new() -> Self {
        Self(())
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock was not to be had within the time limit")
    }
}

impl error::Error for Elapsed {}

/// A lease could not be had, or could not be kept.
///
/// One type for every backend: the [`kind`](Self::kind) says what a program can do about it, the
/// message what a person can, and [`source`](error::Error::source) what the backend said. It names the lock
/// and the backend, and never a password.
///
/// That others hold the lock is an `Err` like every other failure, so that
/// `let lease = locks.try_lock_named("vol-1").await?` leaves the function: code after that line never
/// runs without the lock.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// let locks = keyward::Locks::connect("memory:").await?;
/// let _lease = locks.lock_named("vol-1").await?;
/// let busy = locks.try_lock_named("vol-1").await.unwrap_err();
/// assert!(busy.is_would_block());
/// assert_eq!(busy.to_string(), r#"somebody else holds it (lock "vol-1", memory)"#);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    name: Option<LockName>,
    backend: Option<&'static str>,
    source: Option<Arc<dyn error::Error + Send + Sync>>,
}

/// What went wrong, as far as a program can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// This process has default [`Locks`](crate::Locks) already.
    AlreadyInstalled,
    /// The [`Locks`](crate::Locks) have been closed.
    Closed,
    /// The URL's backend is in a feature of the crate that is not enabled.
    FeatureDisabled,
    /// The name is empty, or the backend cannot take it as it is and must not map it.
    InvalidName,
    /// The URL or an option is not one that we understand.
    InvalidUrl,
    /// The lease was lost: others may hold the lock now.
    Lost,
    /// This process has no default [`Locks`](crate::Locks).
    NotInstalled,
    /// The backend does not let us.
    PermissionDenied,
    /// The backend cannot be written to.
    ReadOnly,
    /// The process or the backend is at a limit: open files, threads, connections.
    ResourceLimit,
    /// The backend has no room left.
    StorageFull,
    /// The lock was not to be had within the time limit.
    TimedOut,
    /// The backend is not there, or does not work.
    Unavailable,
    /// The backend cannot do what was asked for.
    Unsupported,
    /// The lock directory can be changed by others than us.
    Untrusted,
    /// Somebody else holds the lock, and waiting was not asked for.
    WouldBlock,
}

impl ErrorKind {
    const fn message(self) -> &'static str {
        match self {
            Self::AlreadyInstalled => {
                "default locks are installed already, once for all of the process"
            }
            Self::Closed => "these locks have been closed",
            Self::FeatureDisabled => "the backend is not compiled in",
            Self::InvalidName => "not a usable name",
            Self::InvalidUrl => "not a usable url",
            Self::Lost => "the lease was lost",
            Self::NotInstalled => {
                "no default locks: call Locks::install_default when the program starts"
            }
            Self::PermissionDenied => "permission denied",
            Self::ReadOnly => "the backend is read-only",
            Self::ResourceLimit => "a resource limit was reached",
            Self::StorageFull => "the storage is full",
            Self::TimedOut => "not to be had within the time limit",
            Self::Unavailable => "the backend is not available",
            Self::Unsupported => "the backend cannot do this",
            Self::Untrusted => "the lock directory can be changed by others",
            Self::WouldBlock => "somebody else holds it",
        }
    }
}

impl Error {
    /// An error of that kind; without more, its message says what the kind means.
    pub fn new(kind: ErrorKind) -> Self {
        let message = Cow::Borrowed(kind.message());
        Self(Box::new(Inner { kind, message, name: None, backend: None, source: None }))
    }

    /// With a message of its own: lower case, without a full stop, and without the source's text.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// With the lock it is about.
    #[must_use]
    pub fn with_name(mut self, name: &LockName) -> Self {
        self.0.name = Some(name.clone());
        self
    }

    /// With the backend it comes from.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        self.0.backend = Some(backend);
        self
    }

    /// With what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What went wrong, as far as a program can act on it.
    pub const fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The lock it is about, if it is about one.
    pub const fn name(&self) -> Option<&LockName> {
        self.0.name.as_ref()
    }

    /// The backend it comes from, if it has come that far.
    pub const fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// Whether somebody else holds the lock and waiting was not asked for.
    pub const fn is_would_block(&self) -> bool {
        matches!(self.0.kind, ErrorKind::WouldBlock)
    }

    /// Whether the time limit ran out.
    pub const fn is_timed_out(&self) -> bool {
        matches!(self.0.kind, ErrorKind::TimedOut)
    }

    /// Whether a lease was lost.
    pub const fn is_lost(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Lost)
    }

    /// Whether the same call may succeed later without anybody mending anything.
    pub const fn is_retryable(&self) -> bool {
        use ErrorKind::{ResourceLimit, StorageFull, TimedOut, Unavailable, WouldBlock};
        matches!(self.0.kind, WouldBlock | TimedOut | ResourceLimit | StorageFull | Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, name, backend, .. } = &*self.0;
        match (name, backend) {
            (Some(name), Some(backend)) => write!(f, "{message} (lock {name:?}, {backend})"),
            (Some(name), None) => write!(f, "{message} (lock {name:?})"),
            (None, Some(backend)) => write!(f, "{message} ({backend})"),
            (None, None) => f.write_str(message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("name", &self.0.name)
            .field("backend", &self.0.backend)
            .field("source", &self.0.source)
            .finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
