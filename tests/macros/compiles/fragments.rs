//! Values of the attribute's arguments that come from the caller of a macro, and expressions that are blocks.
#![deny(warnings)]
#![allow(dead_code, reason = "it is for the compiler to see")]

use keyward::{Error, LockRegistry, Locks, synchronized};

macro_rules! operation {
    ($name:ident, $template:literal, $prefix:literal, $timeout:literal, $blocking:literal) => {
        #[synchronized($template, locks = locks, prefix = $prefix, blocking = $blocking, timeout = $timeout)]
        async fn $name(locks: &Locks) -> Result<(), Error> {
            Ok(())
        }
    };
}

operation!(f, "a", "p-", "5s", true);

/// An expression of a reference to the locks, as documented.
#[synchronized("a", locks = if is_first { one } else { other })]
async fn of_two(one: &Locks, other: &Locks, is_first: bool) -> Result<(), Error> {
    Ok(())
}

#[synchronized("a", registry = match is_first { true => one, false => other })]
async fn of_two_registries(one: &LockRegistry, other: &LockRegistry, is_first: bool) {}
