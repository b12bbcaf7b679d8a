//! Drops an operation at each of its await points, in three ways, and looks at what is left.
//!
//! For k = 1, 2, … until the operation finishes by itself, each time in a fresh world:
//!
//! * **parked**: poll it to its k-th `Pending` and drop it there;
//! * **woken**: poll it to its k-th `Pending`, let the world advance until its waker has fired (the
//!   lock may have been handed to it by now), and drop it *without polling it again*;
//! * **moved**: poll it to its k-th `Pending`, poll it there once more as *another task*, let the world
//!   advance until the waker of that one has fired, and drop it.
//!
//! A hand-over that forgets the second case leaves a holder that nobody will ever be. A wait that keeps
//! the waker of its first poll fails the third: a `select!` that has been moved is never woken.

use std::{future::Future, pin::Pin};

use tokio_test::task;

/// How the operation is dropped at its await point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drop {
    Parked,
    Woken,
    Moved,
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
    for how in [Drop::Woken, Drop::Moved] {
        let again = (1..).take_while(|&k| drop_at(&world(), k, how)).count();
        assert_eq!(parked, again, "the operation waits a different number of times each run");
    }
    parked
}

/// False if the operation finished before its k-th `Pending`.
fn drop_at(world: &impl World, k: usize, how: Drop) -> bool {
    let mut operation = world.operation();
    let mut task = task::spawn(());
    for pending in 1.. {
        if task.enter(|cx, _| operation.as_mut().poll(cx)).is_ready() {
            return false;
        }
        if pending == k && how == Drop::Parked {
            break;
        }
        if pending == k && how == Drop::Moved {
            task = task::spawn(());
            if task.enter(|cx, _| operation.as_mut().poll(cx)).is_ready() {
                break; // it had woken itself, and has come to its end
            }
        }
        while !task.is_woken() {
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
