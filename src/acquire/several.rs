//! Several names at once: all of them or none, and never a deadlock between two who ask for the same.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{join_all, maybe_done};

use super::{
    Acquire, Begun, Names,
    wait::{Asked, about, ask, outcome, seen, wait_for},
};
use crate::{
    boxed::Boxed,
    contract::Wait,
    error::Error,
    handover::{Gate, Key},
    lease::{Lease, Leases},
    name::LockName,
    observe::Waiting,
};

pub(super) fn begin_all(acquire: Acquire<Leases>, _: &mut Context<'_>) -> Begun<Leases> {
    Begun::Waits(Boxed::new(async move {
        let (wait, refusal) = (acquire.wait(), acquire.refusal());
        let Acquire { gate, names, mode, .. } = acquire;
        let names = match names {
            Names::One(name) => vec![name],
            Names::Many(names) => names,
        };
        let names = distinct(&gate, names)?;
        // All are tried at once, which a store on a network may be asked in one breath; a single one
        // need not be asked twice. Kept are those before the first that is not free: who waits holds
        // nothing that comes later in the order.
        let try_one = |(key, name): (&Key, &LockName)| {
            let (gate, key, name) = (Arc::clone(&gate), Arc::clone(key), name.clone());
            async move {
                let asked = Asked { gate: &gate, name: &name, mode };
                let mut waiting = Waiting::begin(asked.observed());
                let one = ask(asked, &key, Wait::No, None, refusal);
                match seen(&mut waiting, Wait::No, one).await {
                    // It is not over yet.
                    Err(e) if e.kind() == refusal && wait != Wait::No => Tried::Busy(waiting),
                    tried => {
                        waiting.end(&outcome(&tried));
                        Tried::Done(tried)
                    }
                }
            }
        };
        let mut tries = Vec::new();
        poll_fn(|cx| {
            if names.len() == 1 || !tries.is_empty() {
                return Poll::Ready(()); // they have been begun, and one has been woken
            }
            let mut waits = false;
            for name in &names {
                let mut tried = Box::pin(maybe_done(try_one(name)));
                waits |= tried.as_mut().poll(cx).is_pending();
                // Where it is known at once, the next ones are left to whoever has this one: of two who
                // try the same names, each could stand in the other's way.
                let is_last = tried.as_mut().output_mut().is_some_and(|tried| !tried.is_held());
                tries.push(tried);
                if is_last {
                    break;
                }
            }
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        join_all(tries.iter_mut().map(Pin::as_mut)).await;
        let tried = tries.into_iter().map(|mut tried| tried.as_mut().take_output());
        let mut tried: Vec<Option<Tried>> = tried.collect();
        let held =
            tried.iter().take_while(|tried| tried.as_ref().is_some_and(Tried::is_held)).count();
        for tried in tried.iter_mut().skip(held) {
            if tried.as_ref().is_some_and(Tried::is_held) {
                *tried = None; // given back, and asked for again
            }
        }
        let (mut tried, mut leases) = (tried.into_iter(), Leases::none());
        for (key, name) in names {
            let asked = Asked { gate: &gate, name: &name, mode };
            let lease = match tried.next().flatten() {
                Some(Tried::Done(tried)) => tried,
                Some(Tried::Busy(mut waiting)) => {
                    let one = ask(asked, &key, wait, None, refusal);
                    let lease = seen(&mut waiting, wait, one).await;
                    waiting.end(&outcome(&lease));
                    lease
                }
                None => wait_for(asked, &key, wait, None, refusal).await,
            };
            leases.push(lease?);
        }
        Ok(leases)
    }))
}

/// What the try of one name has come to.
enum Tried {
    Done(Result<Lease, Error>),
    /// Not to be had at once, and to be waited for.
    Busy(Waiting),
}

impl Tried {
    const fn is_held(&self) -> bool {
        matches!(self, Self::Done(Ok(_)))
    }
}

/// The names in locking order, and of those that are one lock only the first.
///
/// The order is that of the store's keys, or two callers with different names for one lock could meet
/// in a deadlock.
fn distinct(gate: &Gate, names: Vec<LockName>) -> Result<BTreeMap<Key, LockName>, Error> {
    let mut sorted = BTreeMap::new();
    for name in names {
        let key = gate.key(&name).map_err(|e| about(gate, &name, e))?;
        sorted.entry(key).or_insert(name);
    }
    Ok(sorted)
}
