//! Whatever else the user has by the names that the expansion uses.
#![deny(warnings)]
#![allow(
    dead_code,
    non_upper_case_globals,
    non_camel_case_types,
    reason = "it is for the compiler to see"
)]

use std::sync::LazyLock;

use keyward::{Error, LockRegistry, Locks, synchronized};

/// Patterns name constants, statics and unit structs before they bind anything; here by every name that an
/// expansion has ever had for variables.
mod items {
    use super::*;

    struct names;
    const lease: u8 = 1;
    static outcome: u8 = 1;
    static locks: LazyLock<Locks> = LazyLock::new(|| unreachable!());
    static registry: LazyLock<LockRegistry> = LazyLock::new(LockRegistry::new);

    #[synchronized("a", locks = locks)]
    async fn in_locks() -> Result<(), Error> {
        Ok(())
    }

    #[synchronized("a", registry = registry)]
    async fn in_registry() {}

    #[synchronized("{never}", locks = given)]
    async fn parameters<const acquire: u8, const never: u8>(given: &Locks) -> Result<(), Error> {
        Ok(())
    }
}

/// `from` is of a trait, of which there may be two in scope.
mod traits {
    use super::*;

    trait Make<T> {
        fn from(given: T) -> Self;
    }

    impl<T> Make<T> for T {
        fn from(given: T) -> T {
            given
        }
    }

    #[synchronized("{id}", locks = given)]
    async fn f(given: &Locks, id: u8) -> Result<(), Error> {
        Ok(())
    }

    #[synchronized("{id}", "b", registry = given)]
    async fn g(given: &LockRegistry, id: u8) {}
}

/// Methods that are found before ours are, since they take `self` as it is.
mod methods {
    use super::*;

    #[allow(clippy::wrong_self_convention, reason = "they are to be in the way")]
    trait Everything: Sized {
        fn run<F>(self, _: F) {}
        fn as_str(self) {}
        fn release_after<T>(self, _: T) {}
        fn lock_named<T>(self, _: T) {}
        fn lock_all<T>(self, _: T) {}
        fn shared(self) {}
        fn timeout<T>(self, _: T) {}
        fn blocking(self, _: bool) {}
        fn map_err<T>(self, _: T) {}
        fn with_name<T>(self, _: T) {}
        fn into_future(self) {}
    }

    impl<T> Everything for T {}

    #[synchronized("{id}", locks = given, timeout = "1s", shared)]
    async fn one(given: &Locks, id: u8) -> Result<(), Error> {
        Ok(())
    }

    #[synchronized("{id}", "b", locks = given, blocking = false)]
    async fn several(given: &Locks, id: u8) -> Result<(), Error> {
        Ok(())
    }

    #[synchronized("{id}")]
    async fn installed(id: u8) -> Result<(), Error> {
        Ok(())
    }

    #[synchronized("{id}", registry = given, timeout = "1s")]
    async fn one_key(given: &LockRegistry, id: u8) -> Result<(), keyward::Elapsed> {
        Ok(())
    }

    #[synchronized("{id}", "b", registry = given)]
    async fn several_keys(given: &LockRegistry, id: u8) {}
}

/// Or none.
mod without_prelude {
    #![no_implicit_prelude]

    use ::keyward::{Error, LockRegistry, Locks, synchronized};
    use ::std::result::Result::{self, Ok};

    #[synchronized("{id}", locks = given)]
    async fn f(given: &Locks, id: u8) -> Result<(), Error> {
        Ok(())
    }

    #[synchronized("{id}", "b", registry = given)]
    async fn g(given: &LockRegistry, id: u8) {}
}
