//! [`Locks`]: named locks in some store, behind one type for all backends.
#![forbid(unsafe_code)]

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    acquire::Acquire,
    contract::{Backend, Capability, Occupancy},
    error::Error,
    handover::Gate,
    lease::Leases,
    name::LockName,
};

/// Named locks that reach beyond this process, in a store that is chosen by a URL.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// use std::time::Duration;
///
/// let locks = keyward::Locks::connect("memory:").await?; // or "file:///var/lib/cinder"
///
/// let lease = locks.lock_named("vol-42").timeout(Duration::from_secs(5)).await?;
/// assert!(locks.try_lock_named("vol-42").await.is_err()); // an error, never a silent pass
/// lease.release().await?; // confirmed; a plain drop releases too
/// # Ok(())
/// # }
/// ```
///
/// | URL | contenders | what it rests on |
/// |---|---|---|
/// | `memory:` | tasks of this process | a [`LockRegistry`](crate::LockRegistry); a namespace of its own |
/// | `memory:name` | tasks of this process | the same for everybody who names it |
/// | `file:///dir` | processes of this host | record locks on the files of a directory; see [`file`](crate::file) |
/// | `mysql://user:password@host/database` | hosts | `GET_LOCK` of a MySQL or MariaDB server; see `keyward::mysql` |
///
/// What a [`Lease`](crate::Lease) means is the same for all of them; what each can do beyond that, and how late it
/// tells of a loss, says its [`capability`](Self::capability).
///
/// # Queues
///
/// The tasks that use one `Locks` and its clones queue inside the process, first come, first served,
/// and only the first of them asks the store. So share one `Locks`, as you would a connection pool.
/// Processes are served in the order of asking where the backend is [fair](Capability::fair).
///
/// # Deadlocks
///
/// Locks are not re-entrant: a task that asks for a name it holds waits for ever. So do two tasks that
/// lock two names in opposite orders; take several names with [`lock_all`](Self::lock_all). A wait of
/// more than 5 s is reported through `tracing`, with who holds the lock if the backend knows.
#[derive(Clone)]
pub struct Locks {
    gate: Arc<Gate>,
    prefix: Arc<str>,
}

impl Locks {
    /// What can be said about [`Locks`] before they are connected.
    pub fn builder() -> LocksBuilder {
        LocksBuilder::default()
    }

    /// Asks for a lease of the name; await what it returns.
    ///
    /// The lease holds the name exclusively until it is released, dropped or lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the queue and nothing else.
    ///
    /// # Errors
    ///
    /// See [`Acquire`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let lease = locks.lock_named("vol-42").await?;
    /// assert_eq!(lease.name().to_string(), "vol-42");
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock_named(&self, name: impl Into<LockName>) -> Acquire {
        Acquire::one(Arc::clone(&self.gate), self.whole(name))
    }

    /// Asks for a lease of the name if that takes no wait: [`lock_named`](Self::lock_named) with
    /// [`blocking(false)`](Acquire::blocking).
    ///
    /// It is async because it asks the store.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](crate::ErrorKind::WouldBlock) if somebody holds the name, or is queued for it; and
    /// see [`Acquire`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let _lease = locks.try_lock_named("vol-1").await?;
    /// assert!(locks.try_lock_named("vol-1").await.unwrap_err().is_would_block());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_lock_named(&self, name: impl Into<LockName>) -> Acquire {
        self.lock_named(name).blocking(false)
    }

    /// Asks for leases of all the names, or of none.
    ///
    /// The names are sorted as the backend knows them, each lock is taken once, and they are taken one
    /// after the other in that order: two callers with the same names in different orders, or different
    /// spellings, do not deadlock. What has been taken is released if one cannot be had. A time limit
    /// covers all of them together.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future releases what it holds and loses the place in the queue.
    ///
    /// # Errors
    ///
    /// See [`Acquire`]; the error names the lock that could not be had.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let both = locks.lock_all(["vol-7", "vol-3", "vol-7"]).await?;
    /// let names: Vec<_> = both.iter().map(|lease| lease.name().to_string()).collect();
    /// assert_eq!(names, ["vol-3", "vol-7"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock_all<N: Into<LockName>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Acquire<Leases> {
        let names = names.into_iter().map(|name| self.whole(name)).collect();
        Acquire::many(Arc::clone(&self.gate), names)
    }

    /// The same locks under names that have `prefix` before them. Prefixes add up.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let _lease = locks.with_prefix("cinder-").lock_named("LIN").await?;
    /// assert!(locks.try_lock_named("cinder-LIN").await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_prefix(&self, prefix: impl AsRef<str>) -> Self {
        let prefix = [&*self.prefix, prefix.as_ref()].concat().into();
        Self { gate: Arc::clone(&self.gate), prefix }
    }

    /// Looks who holds the name, without holding it.
    ///
    /// For people and logs: it may be out of date when it is returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](crate::ErrorKind::InvalidName); [`Unsupported`](crate::ErrorKind::Unsupported) if
    /// the backend does not tell; or whatever it fails with.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// let lease = locks.lock_named("vol-1").await?;
    /// assert!(locks.inspect("vol-1").await?.is_held());
    /// lease.release().await?;
    /// assert!(!locks.inspect("vol-1").await?.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inspect(&self, name: impl Into<LockName>) -> Result<Status, Error> {
        let (gate, name) = (&self.gate, self.whole(name));
        let about = |e: Error| e.with_name(&name).with_backend(gate.label);
        let key = gate.key(&name).map_err(about)?;
        let occupancy = gate.backend.inspect(&name).await.map_err(about)?;
        let (waiters, since) = gate.waits.look(&key);
        Ok(Status { name, occupancy, waiters, longest_wait: since.map(|since| since.elapsed()) })
    }

    /// Removes from the store what nobody has used for `older_than`, and returns how many things.
    ///
    /// For `file:`, the lock files of names that nobody locks any more. It is safe while others lock
    /// and wait: what may be in use stays.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the work half done, which harms nothing.
    ///
    /// # Errors
    ///
    /// Whatever keeps the backend from looking.
    pub async fn collect_garbage(&self, older_than: Duration) -> Result<u64, Error> {
        let collected = self.gate.backend.collect_garbage(older_than).await;
        collected.map_err(|e| e.with_backend(self.gate.label))
    }

    /// What the backend can do.
    pub fn capability(&self) -> Capability {
        self.gate.backend.capability()
    }

    /// Ends these locks, for all clones: waits that are under way and new ones fail with
    /// [`Closed`](crate::ErrorKind::Closed), and once every lease has been released, so is what the
    /// backend has kept for reuse.
    ///
    /// It does not take leases away from their holders, who would not know: like closing a connection
    /// pool, it waits for them, and for waits that are under way to be polled or dropped. When it
    /// returns, the store holds nothing of ours.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the locks closed; call it again to wait for the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// let locks = keyward::Locks::connect("memory:").await?;
    /// locks.close().await;
    /// let error = locks.lock_named("vol-1").await.unwrap_err();
    /// assert_eq!(error.kind(), keyward::ErrorKind::Closed);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) {
        self.gate.close().await;
    }

    fn whole(&self, name: impl Into<LockName>) -> LockName {
        name.into().prefixed(&self.prefix)
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").field("gate", &self.gate).field("prefix", &self.prefix).finish()
    }
}

/// What can be said about [`Locks`] before they are connected.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
/// let locks = keyward::Locks::builder().prefix("cinder-").connect("memory:").await?;
/// assert_eq!(locks.lock_named("LIN").await?.name().to_string(), "cinder-LIN");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is connected"]
pub struct LocksBuilder {
    prefix: String,
    pub(crate) polite: Option<Duration>,
}

impl LocksBuilder {
    /// Puts `prefix` before every name.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Shares names with peers who poll.
    ///
    /// Python's lock libraries do not queue: they try, sleep for up to 0.1 s (files) or 1 s (MySQL), and
    /// try again.
    /// Between processes that are woken at every release they do not get their turn. With this, once
    /// keyward's processes have used a name for `gap` without leaving it free for that long, they leave
    /// it alone for `gap`. A peer who waits alone and polls more often than that then waits no longer
    /// than two `gap`s and one hold. All processes that lock the name by keyward have to be polite with
    /// the same gap. The price: the name stands idle for up to half of the time under load.
    ///
    /// For `file:` at least 110 ms, the longest sleep of the pollers and a little; for `mysql:` at least
    /// 1.1 s, where time by the server's clock is cut into windows of two gaps, and in the second half
    /// of each those stay away who have lately used the name or waited for it. A process that comes to
    /// a name afresh does not, so where many come rarely, a poller may find it taken once more for each
    /// that does. Also `?polite=150ms` in the URL.
    pub const fn polite(mut self, gap: Duration) -> Self {
        self.polite = Some(gap);
        self
    }

    /// Locks in a backend that is made by hand, or one of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// use keyward::{Locks, memory::MemoryBackend};
    ///
    /// let locks = Locks::builder().backend(MemoryBackend::new());
    /// let _lease = locks.lock_named("vol-1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn backend(self, backend: impl Backend) -> Locks {
        let gate = Arc::new(Gate::new(Box::new(backend), self.polite));
        Locks { gate, prefix: self.prefix.into() }
    }
}

/// What [`Locks::inspect`] has seen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The name, prefix included.
    pub name: LockName,
    /// Who holds it, as far as the store tells.
    pub occupancy: Occupancy,
    /// How many tasks wait for it with these [`Locks`] and their clones: for whoever holds it, or for the
    /// store's answer.
    pub waiters: usize,
    /// How long the one of them has waited that began first.
    pub longest_wait: Option<Duration>,
}

impl Status {
    /// Whether somebody holds it.
    pub const fn is_held(&self) -> bool {
        matches!(self.occupancy, Occupancy::Held { .. })
    }
}
