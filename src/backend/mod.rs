//! The list of backends: scheme to backend, and nothing else.

#[cfg(feature = "file")]
pub mod file;
#[cfg(all(any(test, keyward_fuzz), feature = "file", feature = "mysql"))]
pub mod fuzzed;
pub mod memory;
#[cfg(feature = "mysql")]
pub mod mysql;

use std::env;

use crate::{
    error::Error,
    locks::{Locks, LocksBuilder},
    runtime,
    url::{self, BackendUrl},
};

/// Every scheme is recognised, also if its feature is off.
const SCHEMES: &str = "memory, file, mysql";

impl Locks {
    /// Connects to the store that a URL names; see the table at [`Locks`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing open.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](crate::ErrorKind::InvalidUrl) for an unknown scheme or option, with the known ones;
    /// [`FeatureDisabled`](crate::ErrorKind::FeatureDisabled) for a backend that is not compiled in; and what
    /// the backend finds wrong, with how to mend it. No error shows a password.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), keyward::Error> {
    /// use keyward::{ErrorKind, Locks};
    ///
    /// let locks = Locks::connect("memory:").await?;
    /// let error = Locks::connect("memroy:").await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidUrl);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, Error> {
        Self::builder().connect(url).await
    }

    /// [`connect`](Self::connect) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_connect(url: impl AsRef<str>) -> Result<Self, Error> {
        runtime::block_on(Self::connect(url))
    }

    /// Connects to what the environment names: `KEYWARD_URL`, and `KEYWARD_PREFIX` if it is set.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing open.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`](crate::ErrorKind::InvalidUrl) if `KEYWARD_URL` is not set, or one of them is not UTF-8;
    /// else as [`connect`](Self::connect).
    pub async fn from_env() -> Result<Self, Error> {
        let read = |variable| match env::var(variable) {
            Ok(value) => Ok(Some(value)),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(e) => Err(url::bad(format!("{variable} is not utf-8")).with_source(e)),
        };
        let missing = || url::bad("KEYWARD_URL is not set; it names the store, as in memory:");
        let url = read("KEYWARD_URL")?.ok_or_else(missing)?;
        let prefix = read("KEYWARD_PREFIX")?.unwrap_or_default();
        Self::builder().prefix(prefix).connect(url).await
    }

    /// [`from_env`](Self::from_env) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_from_env() -> Result<Self, Error> {
        runtime::block_on(Self::from_env())
    }
}

impl LocksBuilder {
    /// Connects to the store that a URL names.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing open.
    ///
    /// # Errors
    ///
    /// As [`Locks::connect`].
    #[allow(clippy::unused_async, reason = "backends on a network need it")]
    pub async fn connect(self, url: impl AsRef<str>) -> Result<Locks, Error> {
        let url = BackendUrl::parse(url.as_ref())?;
        match url.scheme() {
            "memory" => Ok(self.backend(memory::MemoryBackend::from_url(url)?)),
            #[cfg(feature = "file")]
            "file" => {
                let backend = file::FileBackend::from_url(url);
                let (backend, polite) = backend.map_err(|e| e.with_backend("file"))?;
                Ok(self.politely(polite).backend(backend))
            }
            #[cfg(not(feature = "file"))]
            "file" => Err(disabled("file", "file")),
            #[cfg(feature = "mysql")]
            "mysql" => {
                let backend = mysql::MySqlBackend::from_url(url).await;
                let (backend, polite) = backend.map_err(|e| e.with_backend("mysql"))?;
                Ok(self.politely(polite).backend(backend))
            }
            #[cfg(not(feature = "mysql"))]
            "mysql" => Err(disabled("mysql", "mysql")),
            other => Err(url::bad(format!("unknown scheme {other:?}; known are: {SCHEMES}"))),
        }
    }
}

impl LocksBuilder {
    /// [`connect`](Self::connect) for callers that are not async.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// If it is called within an asynchronous execution context.
    #[track_caller]
    pub fn blocking_connect(self, url: impl AsRef<str>) -> Result<Locks, Error> {
        runtime::block_on(self.connect(url))
    }

    /// What the URL says, if it says something.
    #[cfg(any(feature = "file", feature = "mysql"))]
    const fn politely(self, gap: Option<std::time::Duration>) -> Self {
        match gap {
            Some(gap) => self.polite(gap),
            None => self,
        }
    }
}

#[cfg(not(all(feature = "file", feature = "mysql")))]
fn disabled(scheme: &'static str, feature: &str) -> Error {
    Error::new(crate::error::ErrorKind::FeatureDisabled)
        .with_backend(scheme)
        .with_message(format!("enable the feature {feature:?} of the crate keyward for such urls"))
}
