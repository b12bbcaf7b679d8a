//! What a request under a lock can fail with.

use std::{error, fmt};

use crate::error::Error;

/// The lock of a request was not to be had or was lost, or the inner service failed.
///
/// # Examples
///
/// ```
/// use keyward::{Error, ErrorKind, tower::LockServiceError};
///
/// fn status<E>(error: &LockServiceError<E>) -> u16 {
///     match error {
///         LockServiceError::Lock(e) if e.is_would_block() => 409,
///         LockServiceError::Lock(e) if e.is_timed_out() => 423,
///         LockServiceError::Lock(_) => 503,
///         _ => 500,
///     }
/// }
///
/// let busy = LockServiceError::<std::io::Error>::Lock(Error::new(ErrorKind::WouldBlock));
/// assert_eq!(status(&busy), 409);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LockServiceError<E> {
    /// The lock could not be had, and the inner service was not called; or it was
    /// [lost](crate::ErrorKind::Lost) while the inner service was at work.
    Lock(Error),
    /// The inner service failed.
    Service(E),
}

impl<E> LockServiceError<E> {
    /// The error of the lock or of the service in a box, as tower's own layers have their errors:
    /// `error.downcast_ref::<keyward::Error>()` tells the two apart.
    ///
    /// With [`map_err`](Result::map_err), for services whose errors are boxes already, which are no
    /// [`std::error::Error`]s themselves.
    ///
    /// # Examples
    ///
    /// ```
    /// use keyward::{Error, ErrorKind, tower::LockServiceError};
    ///
    /// type BoxError = Box<dyn std::error::Error + Send + Sync>;
    /// let error = LockServiceError::<BoxError>::Lock(Error::new(ErrorKind::TimedOut)).into_boxed();
    /// assert!(error.downcast_ref::<keyward::Error>().is_some_and(|e| e.is_timed_out()));
    /// ```
    pub fn into_boxed(self) -> Box<dyn error::Error + Send + Sync>
    where
        E: Into<Box<dyn error::Error + Send + Sync>>,
    {
        match self {
            Self::Lock(error) => error.into(),
            Self::Service(error) => error.into(),
        }
    }
}

impl<E> From<Error> for LockServiceError<E> {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

/// Says which it was; the error itself is the [`source`](error::Error::source).
impl<E> fmt::Display for LockServiceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock(_) => "the lock of the request could not be had or kept",
            Self::Service(_) => "the service failed",
        })
    }
}

impl<E: error::Error + 'static> error::Error for LockServiceError<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Lock(error) => Some(error),
            Self::Service(error) => Some(error),
        }
    }
}
