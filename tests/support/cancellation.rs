//! Drops an operation at each of its await points, in two ways, and looks at what is left.
//!
//! For k = 1, 2, … until the operation finishes by itself, each time in a fresh world:
//!
//! * **parked**: poll it to its k-th `Pending` and drop it there;
//! * **woken**: poll it to its k-th `Pending`, let the world advance until its waker has fired (the
//!   lock may have been handed to it by now), and drop it *without polling it again*.
//!
//! A hand-over that forgets the second case leaves a holder that nobody will ever be.

use std::{future::Future, pin::Pin, task::Poll};

use tokio_test::task;

/// How the operation is dropped at its await point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    Parked,
    Woken,
}

/// An operation, and what surrounds it.
pub(crate) trait World {
    /// Starts the operation. `Self` is borrowed as long as it runs.
    fn operation(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;

    /// Makes the next thing happen that the operation waits for; false if there is none.
    fn advance(&self) -> bool;

    /// Asserts that nothing of the operation is left.
    fn check(&self, k: usize, how: Drop);
}

/// Runs it all and returns the number of await points that were found.
pub(crate) fn explore<W: World>(world: impl Fn() -> W) -> usize {
    let parked = (1..).take_while(|&k| drop_at(&world(), k, Drop::Parked)).count();
    let woken = (1..).take_while(|&k| drop_at(&world(), k, Drop::Woken)).count();
    assert_eq!(parked, woken, "the operation waits a different number of times each run");
    parked
}

/// False if the operation finished before its k-th `Pending`.
fn drop_at(world: &impl World, k: usize, how: Drop) -> bool {
    let mut operation = task::spawn(world.operation());
    for pending in 1.. {
        if operation.poll() == Poll::Ready(()) {
            return false;
        }
        if pending == k && how == Drop::Parked {
            break;
        }
        while !operation.is_woken() {
            assert!(world.advance(), "{how:?} {k}: nothing will ever wake the operation");
        }
        if pending == k {
            break;
        }
    }
    drop(operation);
    world.check(k, how);
    true
}
