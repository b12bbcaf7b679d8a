//! The default [`Locks`] of the process: what `#[keyward::synchronized]` uses where it is told nothing
//! else.
//!
//! 1. They are installed once and stay: two callers in one process never lock in two places because
//!    somebody came between them.
//! 2. Without them there is an error, and never a lock that reaches less far than was meant.
#![forbid(unsafe_code)]

use std::sync::OnceLock;

use crate::{
    error::{Error, ErrorKind},
    locks::Locks,
};

static INSTALLED: OnceLock<Locks> = OnceLock::new();

impl Locks {
    /// Makes these the default of the process, which `#[keyward::synchronized]` uses where it
    /// is not told which.
    ///
    /// For the program's start, and for programs: a library takes its [`Locks`] as an argument. It cannot
    /// be taken back, and [`close`](Self::close) leaves the default there, closed. The locks live on the
    /// runtime that they were connected in, and what they run there ends with it: tests with a runtime
    /// each have locks of their own, and give them to `locks = …`.
    ///
    /// # Errors
    ///
    /// [`AlreadyInstalled`](ErrorKind::AlreadyInstalled) if there is a default; it stays.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// use keyward::Locks;
    ///
    /// Locks::connect("memory:").await?.install_default()?;
    /// let _lease = Locks::installed()?.lock_named("vol-42").await?;
    /// assert!(Locks::connect("memory:").await?.install_default().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn install_default(self) -> Result<(), Error> {
        INSTALLED.set(self).map_err(|_| Error::new(ErrorKind::AlreadyInstalled))
    }

    /// A clone of the default of the process.
    ///
    /// # Errors
    ///
    /// [`NotInstalled`](ErrorKind::NotInstalled) if [`install_default`](Self::install_default) has not
    /// been called.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// use keyward::Locks;
    ///
    /// assert!(Locks::installed().is_err()); // nobody has, so there is no lock to fall back to
    /// Locks::connect("memory:").await?.install_default()?;
    /// Locks::installed()?.lock_named("vol-42").await?.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn installed() -> Result<Self, Error> {
        INSTALLED.get().cloned().ok_or_else(|| Error::new(ErrorKind::NotInstalled))
    }
}
