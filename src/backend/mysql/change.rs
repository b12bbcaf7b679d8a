//! How a generation begins, so that two servers never have two holders of one name.
//!
//! The rule for those who lock: generations g and g+1 may work side by side, since for every name there
//! is a server on which both lock it (L2); g and g+2 must not. So a process of generation g does not
//! grant anything before every process of generation g-2 or earlier has stopped, and it makes them stop
//! by *telling* their servers: it writes g into their rows.
//!
//! * **C1** *Told are* all servers of our layout, of every earlier layout that is found in their rows, and
//!   those that a beginning which has not come to its end has to tell, as its rows say; and what is found
//!   there, and so on. An earlier layout locks each name on a server of its members, so each of its holds
//!   has a session with a server that is told. One that cannot be told stops the beginning.
//! * **C2** *A list is not lost*: a row that is changed says from then on whom the change has to tell,
//!   until all have been told. Who dies in between is followed by anybody who comes.
//! * **C3** *The drain*: a session reads the row when it is set up and to go on (G1). The last proof of one
//!   that has not read ours was asked for before the server was told, and is good for nine tenths of its
//!   ttl; and that ttl is in the row (G2). After the largest ttl, counted on our clock from when the last
//!   server has answered, every such session has told its holders, or has run out by its own clock.
//! * **C4** *Side by side*: where a row of a neighbouring generation is found, or one of our own, its layout
//!   has to fit (L2, L3). Two processes that do not fit tell at least one server in common, since each
//!   tells those of whatever it has found, and a row is changed only from what was read (G3): so one of
//!   them finds the other.
//! * **C5** *The first one*: without any row anywhere there is only generation 1, and all servers of its
//!   layout have to be there. A later one that finds nobody before it cannot know whom to tell.
//! * **C6** *Settled* is a row whose list is empty: all servers had been told of its generation then, and the
//!   time of C3 has passed. Who finds such a row, of his generation or the next one, and none that is older,
//!   may begin at once, and a server that is down has been told; one without a row has lost it, and gets it
//!   back. Lists in other rows, of that generation or earlier ones, are over too.
//! * **C6a** Who finds that the next generation has begun and is not settled, and none of his own that is,
//!   waits himself until everybody has been told and the time has passed. What was there before ours may
//!   not be known any more, so that also generations 1 and 2 wait then, which need not otherwise.
//! * **C7** *Tokens*: after the drain, and before the row is settled, it gets a fence: no token of any server
//!   that was told is larger, nor any of one that is gone or has died meanwhile (G4). So where a name has moved
//!   between two generations, its tokens go on above.
//! * **C8** *Gone*: a server of which it is said that it will never be back is not told, and not locked on.
//!   It was gone before it was said, so that after the time of C3 whoever held a name there has lost it.
//!
//! Taken for granted: a server keeps what it has committed (a row that comes back older, or not at all,
//! *while a generation begins* may let g and g+2 meet), and nobody writes to the table by hand.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use super::{
    errors,
    generation::{self, Row},
    layout::{Layout, Place, Standing, join, refused},
    one::first_look,
    options::MySqlOptions,
    server::Server,
    wire::Wire,
};
use crate::{
    contract::Fencing,
    error::{Error, ErrorKind},
};

/// How often a beginning may meet another one.
const ROUNDS: u32 = 20;

/// How often is looked whether somebody else has settled the generation.
const LOOK: Duration = Duration::from_secs(1);

/// A server that is there, its row, and a connection for the next question.
pub(super) struct Seen {
    pub(super) server: Server,
    pub(super) row: Option<Row>,
    pub(super) wire: Wire,
}

/// What was found of servers.
pub(super) type Found = BTreeMap<Place, Result<Seen, Error>>;

/// Looks at a server, and makes sure that its locks can be relied on if it is one of ours.
pub(super) async fn look(
    options: &MySqlOptions,
    place: &Place,
    is_ours: bool,
) -> Result<Seen, Error> {
    let options = place.options(options);
    let address = options.address();
    if is_ours {
        first_look(&options, &address).await?;
    }
    let look = async {
        let mut wire = Wire::connect(&address).await?;
        let server = Server::ask(&mut wire).await?;
        server.check(options.leniency)?;
        server.prepare(&mut wire, options.ttl, options.fencing).await?;
        if options.create_shards {
            generation::create(&mut wire).await?;
        }
        let row = generation::read(&mut wire, place).await?;
        Ok(Seen { server, row, wire })
    };
    let late = |e| errors::gone(&address.place, "no answer in time from the server").with_source(e);
    timeout(address.connect_timeout.saturating_mul(2), look).await.map_err(late)?
}

/// Looks at some.
pub(super) async fn look_at(
    options: &MySqlOptions,
    places: impl IntoIterator<Item = Place>,
    are_ours: bool,
) -> Found {
    let looks = places.into_iter().map(|place| async move {
        let seen = look(options, &place, are_ours).await;
        (place, seen)
    });
    join_all(looks).await.into_iter().collect()
}

/// A generation whose servers have all been told, and that may not grant anything yet.
#[derive(Debug)]
pub(super) struct Drain {
    layout: Layout,
    told: Vec<Place>,
    until: Instant,
}

/// Begins the generation of a layout, whose servers have been looked at; `None` if there is nothing to wait
/// for.
pub(super) async fn begin(
    options: &MySqlOptions,
    layout: &Layout,
    found: &mut Found,
) -> Result<Option<Drain>, Error> {
    for round in 0..ROUNDS {
        if round > 0 {
            sleep(Duration::from_millis(10) * round).await;
            let places: Vec<_> = found.keys().cloned().collect();
            found.extend(look_at(options, places, false).await);
        }
        judge_all(layout, found)?;
        if is_settled(layout, found) {
            give_rows_back(options, layout, found).await?;
            return Ok(None);
        }
        let told = whom_to_tell(options, layout, found).await?;
        if let Some(ttl) = tell(options, layout, found, &told).await? {
            let drain = Drain {
                layout: layout.clone(),
                told,
                until: Instant::now() + Duration::from_secs(ttl),
            };
            if layout.generation > 2 || layout.has_gone() || has_next(layout, found) {
                return Ok(Some(drain));
            }
            // Two generations before it there was none.
            drain.settle(options).await?;
            return Ok(None);
        }
    }
    let message =
        "other processes begin generations of the servers at the same time, again and again";
    Err(Error::new(ErrorKind::Unavailable).with_message(message))
}

fn rows(found: &Found) -> impl Iterator<Item = (&Place, &Row)> {
    found.iter().filter_map(|(place, seen)| Some((place, seen.as_ref().ok()?.row.as_ref()?)))
}

/// C4
fn judge_all(layout: &Layout, found: &Found) -> Result<(), Error> {
    rows(found).try_for_each(|(place, row)| layout.judge(&row.layout, place).map(drop))
}

/// C6
fn is_settled(layout: &Layout, found: &Found) -> bool {
    rows(found).all(|(_, row)| row.layout.generation >= layout.generation)
        && rows(found).any(|(_, row)| row.is_settled())
}

/// C6a; of what is not settled.
fn has_next(layout: &Layout, found: &Found) -> bool {
    rows(found).any(|(_, row)| row.layout.generation > layout.generation)
}

/// A server of ours that has lost its row gets it back, if another one has our generation's (C6).
async fn give_rows_back(
    options: &MySqlOptions,
    layout: &Layout,
    found: &mut Found,
) -> Result<(), Error> {
    let is_ours = |row: &&Row| row.layout.generation == layout.generation;
    let ours = rows(found).map(|(_, row)| row).filter(is_ours);
    let of_ours = ours.fold(None, |numbers: Option<[u64; 2]>, row| {
        let [ttl, fence] = numbers.unwrap_or_default();
        Some([ttl.max(row.ttl), fence.max(row.fence)])
    });
    for (place, slot) in found.iter_mut() {
        let Ok(seen) = slot else { continue };
        if seen.row.is_some() {
            continue;
        }
        let Some([ttl, fence]) = of_ours else {
            let why = "it knows of no generation, and others of the next one";
            *slot = Err(refused(place, why));
            continue;
        };
        let ttl = ttl.max(options.ttl.as_secs());
        seen.row = generation::give_back(&mut seen.wire, place, layout, [ttl, fence]).await?;
    }
    judge_all(layout, found)
}

/// C1; all of them have been looked at then.
async fn whom_to_tell(
    options: &MySqlOptions,
    layout: &Layout,
    found: &mut Found,
) -> Result<Vec<Place>, Error> {
    loop {
        let mut told = layout.servers();
        // A list is over with any row that proves it: who has settled may have died before he came to the others.
        let settled = rows(found).filter(|(_, row)| row.is_settled());
        let settled = settled.map(|(_, row)| row.layout.generation).max();
        for (_, row) in rows(found) {
            let is_over = settled >= Some(row.layout.generation);
            if row.layout.generation < layout.generation || !is_over {
                told.extend(row.layout.servers());
            }
            if !is_over {
                told.extend(row.telling.iter().cloned());
            }
        }
        told.retain(|place| !layout.is_gone(place));
        told.sort();
        told.dedup();
        let new: Vec<_> = told.iter().filter(|place| !found.contains_key(place)).cloned().collect();
        let is_all = new.is_empty();
        found.extend(look_at(options, new, false).await);
        for place in &told {
            if let Some(Err(e)) = found.get(place) {
                let generation = layout.generation;
                let message = format!(
                    "the server at {place} has to be told of generation {generation}, and cannot be: {e}"
                );
                return Err(Error::new(e.kind()).with_message(message).with_source(e.clone()));
            }
        }
        judge_all(layout, found)?;
        if is_all {
            if rows(found).next().is_none() && layout.generation != 1 {
                let message = format!(
                    "none of the servers {} knows of any generation before {}: the first one is 1, and \
                     a later one names the servers before it with previous=",
                    join(&told),
                    layout.generation
                );
                return Err(Error::new(ErrorKind::Unsupported).with_message(message));
            }
            return Ok(told);
        }
    }
}

/// Tells them, and returns the largest ttl of those who may not know yet; `None` if somebody else has changed
/// a row meanwhile (C2, G3).
async fn tell(
    options: &MySqlOptions,
    layout: &Layout,
    found: &mut Found,
    told: &[Place],
) -> Result<Option<u64>, Error> {
    let list = join(told);
    if list.len() > super::layout::LONGEST {
        let message = "these are too many servers to be told of a generation";
        return Err(Error::new(ErrorKind::InvalidUrl).with_message(message));
    }
    let mut largest = options.ttl.as_secs();
    for place in told {
        let Some(Ok(seen)) = found.get_mut(place) else { return Ok(None) };
        let row = match &seen.row {
            None => {
                let ttl = options.ttl.as_secs();
                generation::tell_first(&mut seen.wire, place, layout, &list, ttl).await?
            }
            Some(row) if row.layout.generation < layout.generation => {
                generation::advance(&mut seen.wire, place, row, layout, &list).await?
            }
            // Read once more, for its ttl.
            Some(_) => generation::read(&mut seen.wire, place).await?,
        };
        let Some(row) = row else { return Ok(None) };
        if layout.judge(&row.layout, place)? == Standing::Older {
            return Ok(None);
        }
        largest = largest.max(row.ttl);
        seen.row = Some(row);
    }
    Ok(Some(largest))
}

impl Drain {
    /// How long it takes at most, from now on.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Waits for the time of C3, and settles the generation; or until somebody else has. Returns the fence.
    pub(super) async fn run(self, options: &MySqlOptions) -> Result<u64, Error> {
        while self.left() > Duration::ZERO {
            sleep(self.left().min(LOOK)).await;
            if let Some(fence) = self.settled_by_others(options).await? {
                return Ok(fence);
            }
        }
        loop {
            match self.settle(options).await {
                Err(e) if e.is_retryable() => {
                    tracing::warn!(error = %e, "a generation of servers cannot be settled yet");
                    sleep(LOOK).await;
                }
                settled => return settled,
            }
        }
    }

    async fn settled_by_others(&self, options: &MySqlOptions) -> Result<Option<u64>, Error> {
        let found = look_at(options, self.told.iter().take(1).cloned(), false).await;
        judge_all(&self.layout, &found)?;
        let is_settled = is_settled(&self.layout, &found);
        Ok(rows(&found).map(|(_, row)| row.fence).next().filter(|_| is_settled))
    }

    /// C7; the fence. Who has died since he was told holds up nobody: his counts are as those of one that is
    /// gone.
    async fn settle(&self, options: &MySqlOptions) -> Result<u64, Error> {
        let mut found = look_at(options, self.told.iter().cloned(), false).await;
        judge_all(&self.layout, &found)?;
        let is_all = found.values().all(Result::is_ok);
        let mut fence = None;
        for seen in found.values_mut().flatten() {
            let mut its = seen.row.as_ref().map_or(0, |row| row.fence);
            if options.fencing == Fencing::Durable {
                its = its.max(generation::largest_token(&mut seen.wire).await?);
                if self.layout.has_gone() || !is_all {
                    its = its.max(generation::beyond_all_tokens(&mut seen.wire).await?);
                }
            }
            fence = fence.max(Some(its));
        }
        let Some(fence) = fence else {
            let error = found.into_values().find_map(Result::err);
            return Err(error.unwrap_or_else(|| Error::new(ErrorKind::Unavailable)));
        };
        for (place, slot) in &mut found {
            if let Ok(seen) = slot {
                generation::settle(&mut seen.wire, place, &self.layout, fence).await?;
            }
        }
        Ok(fence)
    }
}
