//! Whether several addresses are several servers: a name with both homes on one would wait for itself.
//!
//! What a server calls itself does not say so. MariaDB's `server_uid` is made of the network card and the port,
//! which two in containers may have in common, as have two that only have sockets; and older ones tell nothing.
//! A lock does say so: where one is seen that was taken through another address, it is the same server.

use std::hash::{BuildHasher, Hasher, RandomState};

use futures::future::join_all;

use super::{
    change::{Found, Seen},
    layout::{Place, refused},
    name::Hex,
    server::{self, Family, answered},
};
use crate::error::Error;

/// A lock that nobody else knows of; it ends with the connection that has it.
pub(super) struct Mark(String);

impl Mark {
    /// Takes it on a server.
    pub(super) async fn leave(seen: &mut Seen) -> Result<Self, Error> {
        let random = RandomState::new().build_hasher().finish();
        let name = format!("~keyward-apart.{random:016x}");
        let take = format!("SELECT CONCAT_WS(',',IFNULL(GET_LOCK({},0),2))", Hex(name.as_bytes()));
        let taken = answered(seen.wire.ask_in_time(take, 1).await?)?.numbers();
        match taken.as_deref() {
            Some(&[1]) => Ok(Self(name)),
            _ => Err(server::refused("it does not grant a lock that nobody has")),
        }
    }

    /// What a server is asked: the one that has this answers with a row.
    pub(super) fn question(&self) -> String {
        let name = Hex(self.0.as_bytes());
        format!("SELECT 'here' FROM DUAL WHERE IS_USED_LOCK({name}) IS NOT NULL")
    }
}

/// They are of that family, and none is there by two addresses. Who fails to answer is of no use.
pub(super) async fn tell_apart(family: Family, found: &mut Found) -> Result<(), Error> {
    let marks = found.iter_mut().map(|(place, slot)| async move {
        let seen = slot.as_mut().ok()?;
        match Mark::leave(seen).await {
            Ok(mark) => Some((place, mark)),
            Err(e) => {
                *slot = Err(e);
                None
            }
        }
    });
    let marks: Vec<(Place, Mark)> = join_all(marks)
        .await
        .into_iter()
        .flatten()
        .map(|(place, mark)| (place.clone(), mark))
        .collect();
    for (place, slot) in &mut *found {
        if let Ok(seen) = slot {
            is_of(family, place, seen)?;
        }
    }
    let marks = &marks;
    let looks = found.iter_mut().map(|(place, slot)| async move {
        let Ok(seen) = slot else { return Ok(()) };
        for (other, mark) in marks.iter().filter(|(other, _)| other != place) {
            match seen.wire.ask_in_time(mark.question(), 1).await.and_then(answered) {
                Ok(answer) if answer.rows.is_empty() => {}
                Ok(_) => return Err(is_the_same(place, other)),
                Err(e) => {
                    *slot = Err(e);
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    join_all(looks).await.into_iter().collect()
}

/// A name has one native key.
pub(super) fn is_of(family: Family, place: &Place, seen: &Seen) -> Result<(), Error> {
    if seen.server.family == family {
        return Ok(());
    }
    let why = "MariaDB and MySQL have different names: several servers are of one kind";
    Err(refused(place, why))
}

pub(super) fn is_the_same(place: &Place, other: &Place) -> Error {
    refused(place, format!("it is the same server as {other}, and would wait for itself"))
}
