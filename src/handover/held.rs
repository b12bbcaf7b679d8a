//! A hold, as a lease keeps it: alone, or together with the other readers of this process. The
//! invariants are the module's.

use std::sync::Arc;

use super::{Gate, Key, Leaving, Turn, kept::Keep};
use crate::{
    contract::Confirmation,
    erased::{AnyHold, BoxHold},
    error::Error,
    sync::TaskTrackerToken,
};

/// A hold, as a lease keeps it.
pub(crate) enum Held {
    Alone(DropAlone),
    Together(Arc<Readers>),
}

impl Held {
    pub(super) fn alone(hold: BoxHold, turn: Turn, gate: Arc<Gate>, out: TaskTrackerToken) -> Self {
        Self::Alone(DropAlone(Some(Alone { hold, turn, gate, _out: out })))
    }

    pub(crate) fn hold(&self) -> &dyn AnyHold {
        match self {
            Self::Alone(alone) => &*alone.0.as_ref().expect("taken only to be dropped").hold,
            Self::Together(readers) => readers.hold(),
        }
    }

    /// Frees it, with the backend's word; false if it was ours no more.
    ///
    /// Cancel-safe: it is freed all the same.
    pub(crate) async fn release(self) -> Result<bool, Error> {
        match self {
            Self::Alone(mut alone) => match alone.0.take() {
                Some(alone) => alone.release().await,
                None => Ok(true),
            },
            // The last reader gives it back; for the others the hold lives on.
            Self::Together(readers) => {
                let _out = readers.out.clone(); // H4
                let mut readers = match Arc::try_unwrap(readers) {
                    Ok(last) => last,
                    Err(readers) => {
                        let confirmation = readers.hold().confirm();
                        // The others may have gone meanwhile, also one who only looked.
                        match Arc::into_inner(readers) {
                            Some(last) => last,
                            None => return confirmed(confirmation).await,
                        }
                    }
                };
                let hold = readers.hold.take();
                drop(readers); // nobody joins any more
                match hold {
                    Some(hold) => hold.release().await,
                    None => Ok(true),
                }
            }
        }
    }
}

/// The store's word on a hold that lives on.
async fn confirmed(confirmation: Option<Confirmation>) -> Result<bool, Error> {
    match confirmation {
        Some(confirmation) => confirmation.await,
        None => Ok(true),
    }
}

/// An exclusive hold and the turn that covers it. The order of the fields is H3.
struct Alone {
    hold: BoxHold,
    turn: Turn,
    gate: Arc<Gate>,
    _out: TaskTrackerToken,
}

impl Alone {
    /// Gives the hold to the next task of this process, if there is one and the backend allows it.
    ///
    /// That task does not wait for what is to be learned of the hold up to here.
    fn hand_over<T>(mut self, learn: impl FnOnce(&dyn AnyHold) -> T) -> Result<T, Self> {
        if self.turn.waiters() == 0 || !self.hold.pass_on() {
            return Err(self);
        }
        let learned = learn(&*self.hold);
        let Self { hold, turn, gate, _out } = self;
        let key = Arc::clone(turn.name());
        gate.kept.put(&key, Keep::HandedOver(hold));
        let leaving = Leaving { gate: &gate, key: &key };
        drop(turn);
        drop(leaving);
        Ok(learned)
    }

    async fn release(self) -> Result<bool, Error> {
        let out = self._out.clone(); // H4
        match self.hand_over(|hold| hold.confirm()) {
            Ok(confirmation) => {
                let _out = out;
                confirmed(confirmation).await
            }
            Err(Self { hold, turn, gate, _out }) => {
                let _after = (turn, gate, _out);
                hold.release().await
            }
        }
    }
}

/// Hands over, or frees.
pub(crate) struct DropAlone(Option<Alone>);

impl Drop for DropAlone {
    fn drop(&mut self) {
        drop(self.0.take().map(|alone| alone.hand_over(|_| ())));
    }
}

/// A shared hold of this process, and of all its tasks that have joined it.
pub(crate) struct Readers {
    /// None once its release has begun.
    hold: Option<BoxHold>,
    key: Key,
    gate: Arc<Gate>,
    out: TaskTrackerToken,
}

impl Readers {
    pub(super) fn new(
        hold: BoxHold,
        key: Key,
        gate: Arc<Gate>,
        out: TaskTrackerToken,
    ) -> Arc<Self> {
        Arc::new(Self { hold: Some(hold), key, gate, out })
    }

    pub(super) fn hold(&self) -> &dyn AnyHold {
        &**self.hold.as_ref().expect("taken by the last reader only")
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let gone = |keep: &Keep| match keep {
            Keep::Readers(readers) => readers.strong_count() == 0,
            Keep::HandedOver(_) => false,
        };
        drop(self.gate.kept.remove_if(&self.key, gone));
    }
}
