//! What each of several servers knows of generations: one row, and who looks at it.
//!
//! * **G1** Nothing of a generation is granted by a session that has not read the row in its set-up, or
//!   that has not read it for nine tenths of the ttl: in these sessions only the questions that ask for
//!   the row prolong what they vouch for ([`Session::prove`](super::session::Session::prove)).
//! * **G2** A ttl is in the row before a session that lives by it reads the generation. So who tells a
//!   server of a generation, and reads the ttl after that, knows the largest of all who have not been told.
//! * **G3** The generation in a row never falls; a row is changed only from what it was read to be.
//! * **G4** What a server has counted that is gone, or has lost its tables, nobody can read. So where there is
//!   such a one, tokens go on above the time, in µs, by a server's clock: a token is counted in a statement
//!   of its own, five at a time, which takes more than 5 µs, so that no count comes up with the time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{
    layout::{Layout, Place, Standing, refused, split},
    name::Hex,
    server::{self, CLOCK, answered},
    wire::{Answer, Refusal, Wire},
};
use crate::error::{Error, ErrorKind};

/// How the table is made. Its only row is 1.
pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS keyward_shards \
    (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, generation BIGINT UNSIGNED NOT NULL, \
    layout VARBINARY(4096) NOT NULL, telling VARBINARY(4096) NOT NULL, ttl INT UNSIGNED NOT NULL, \
    fence BIGINT UNSIGNED NOT NULL, since TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP) ENGINE=InnoDB";

/// The generation, as a part of another question; 0 if the row is gone.
pub(super) const COLUMN: &str = ",IFNULL((SELECT generation FROM keyward_shards WHERE id=1),0)";

const READ: &str = "SELECT CONCAT(generation),layout,telling,CONCAT(ttl),CONCAT(fence) \
    FROM keyward_shards WHERE id=1";

/// How many times longer than other answers the one may take that looks at all tokens.
const SCAN: u32 = 4;

/// There is no such table.
const NO_TABLE: u16 = 1146;

/// A server's row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) layout: Layout,
    /// Whom whoever has begun this generation has to tell; nobody any more once it is over.
    pub(super) telling: Vec<Place>,
    /// The largest in use, in seconds.
    pub(super) ttl: u64,
    /// No token of the tables was larger, when the generation began, with those who are now out of it.
    pub(super) fence: u64,
    raw: [String; 3],
}

impl Row {
    pub(super) const fn is_settled(&self) -> bool {
        self.telling.is_empty()
    }

    fn of_answer(answer: Answer, place: &Place) -> Result<Option<Self>, Error> {
        let Some(cells) = answer.rows.into_iter().next() else { return Ok(None) };
        let cells: Option<Vec<_>> = cells.into_iter().collect();
        let cells = cells.and_then(|cells| <[String; 5]>::try_from(cells).ok());
        let row = cells.and_then(|[generation, layout, telling, ttl, fence]| {
            Some(Self {
                layout: Layout::parse(generation.parse().ok()?, &layout).ok()?,
                telling: split(&telling).ok()?,
                ttl: ttl.parse().ok()?,
                fence: fence.parse().ok()?,
                raw: [generation, layout, telling],
            })
        });
        let odd = || refused(place, "keyward_shards holds what this version does not understand");
        row.map(Some).ok_or_else(odd)
    }
}

/// What a user is told whose server has no table.
fn no_table(refusal: Refusal, place: &Place) -> Error {
    if refusal.number != NO_TABLE {
        return refusal.error;
    }
    let message = format!(
        "no table keyward_shards in the database of the server at {place}; shards=create-table makes \
         it, or {TABLE}"
    );
    Error::new(ErrorKind::Unsupported).with_message(message).with_source(refusal.error)
}

async fn read_after(wire: &mut Wire, change: &str, place: &Place) -> Result<Option<Row>, Error> {
    let answer = wire.ask_in_time(format!("{change}{READ}"), 1).await?;
    match answer.refused {
        Some(refusal) => Err(no_table(refusal, place)),
        None => Row::of_answer(answer, place),
    }
}

/// Makes the table.
pub(super) async fn create(wire: &mut Wire) -> Result<(), Error> {
    answered(wire.ask_in_time(TABLE.to_owned(), 1).await?).map(drop)
}

/// Reads the row, if there is one.
pub(super) async fn read(wire: &mut Wire, place: &Place) -> Result<Option<Row>, Error> {
    read_after(wire, "", place).await
}

/// Writes a first row, whose fence is an expression; returns the one that is there then.
async fn insert(
    wire: &mut Wire,
    place: &Place,
    layout: &Layout,
    telling: &str,
    ttl: u64,
    fence: &str,
) -> Result<Option<Row>, Error> {
    let (text, generation) = (layout.text(), layout.generation);
    let [text, telling] = [&text, telling].map(|text| Hex(text.as_bytes()));
    let insert = format!(
        "INSERT IGNORE INTO keyward_shards (id,generation,layout,telling,ttl,fence) \
         VALUES (1,{generation},{text},{telling},{ttl},{fence});"
    );
    read_after(wire, &insert, place).await
}

/// Tells a server of a layout that has no row.
pub(super) async fn tell_first(
    wire: &mut Wire,
    place: &Place,
    layout: &Layout,
    telling: &str,
    ttl: u64,
) -> Result<Option<Row>, Error> {
    insert(wire, place, layout, telling, ttl, "0").await
}

/// Gives a server back the row that it has lost. It may have lost what it had counted, too (G4).
pub(super) async fn give_back(
    wire: &mut Wire,
    place: &Place,
    layout: &Layout,
    [ttl, fence]: [u64; 2],
) -> Result<Option<Row>, Error> {
    insert(wire, place, layout, "", ttl, &format!("GREATEST({fence},{CLOCK})")).await
}

/// Tells a server of a layout, if its row is still what it was (G3); returns the row that is there then.
pub(super) async fn advance(
    wire: &mut Wire,
    place: &Place,
    row: &Row,
    layout: &Layout,
    telling: &str,
) -> Result<Option<Row>, Error> {
    let (text, generation) = (layout.text(), layout.generation);
    let [text, telling] = [&text, telling].map(|text| Hex(text.as_bytes()));
    let [was, was_text, was_telling] = &row.raw;
    let [was_text, was_telling] = [was_text, was_telling].map(|text| Hex(text.as_bytes()));
    let update = format!(
        "UPDATE keyward_shards SET generation={generation},layout={text},telling={telling},\
         since=CURRENT_TIMESTAMP WHERE id=1 AND generation={was} AND layout={was_text} \
         AND telling={was_telling};"
    );
    read_after(wire, &update, place).await
}

/// The generation may be granted from: everybody has been told, and who was not has had his time.
pub(super) async fn settle(
    wire: &mut Wire,
    place: &Place,
    layout: &Layout,
    fence: u64,
) -> Result<(), Error> {
    let (text, generation) = (layout.text(), layout.generation);
    let text = Hex(text.as_bytes());
    // In this order: who finds it settled finds the fence.
    let update = format!(
        "UPDATE keyward_shards SET fence=GREATEST(fence,{fence}) WHERE id=1;\
         UPDATE keyward_shards SET telling='' WHERE id=1 AND generation={generation} AND layout={text};"
    );
    read_after(wire, &update, place).await.map(drop)
}

/// The largest token that a server has counted, for any name; it has to look at all of them.
pub(super) async fn largest_token(wire: &mut Wire) -> Result<u64, Error> {
    let largest = "SELECT CONCAT_WS(',',IFNULL(MAX(token),0)) FROM keyward_fence";
    let answer = wire.ask_in_time(largest.to_owned(), SCAN).await?;
    match &answer.refused {
        Some(refusal) if refusal.number == NO_TABLE => return Ok(0),
        _ => {}
    }
    let numbers = answered(answer)?.numbers();
    Ok(numbers.and_then(|numbers| numbers.first().copied()).unwrap_or_default())
}

/// A number that is larger than all tokens so far, also of servers that cannot be asked (G4).
pub(super) async fn beyond_all_tokens(wire: &mut Wire) -> Result<u64, Error> {
    let answer = wire.ask_in_time(format!("SELECT CONCAT_WS(',',{CLOCK})"), 1).await?;
    let numbers = answered(answer)?.numbers();
    let clock = numbers.and_then(|numbers| numbers.first().copied());
    clock.ok_or_else(|| server::refused("it does not say what time it is"))
}

/// A process's part in a layout, as the sessions with one of its servers know it.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) place: Place,
    pub(super) layout: Arc<Layout>,
    /// What a token has to be larger than; the same for all servers.
    pub(super) fence: Arc<AtomicU64>,
}

impl Membership {
    /// Whether a session may be set up for locks (G1, G2).
    pub(super) async fn admit(&self, wire: &mut Wire, ttl: u64) -> Result<(), Error> {
        let mut row = read(wire, &self.place).await?;
        // Only then, since a server that is locked for a backup can be read and not be written.
        if row.as_ref().is_some_and(|row| row.ttl < ttl) {
            let raise = format!("UPDATE keyward_shards SET ttl={ttl} WHERE id=1 AND ttl<{ttl};");
            row = read_after(wire, &raise, &self.place).await?;
        }
        let row = row.ok_or_else(|| self.forgotten())?;
        match self.layout.judge(&row.layout, &self.place)? {
            Standing::Older => Err(self.went_back(row.layout.generation)),
            Standing::Ours | Standing::Next => {
                self.fence.fetch_max(row.fence, Ordering::AcqRel);
                Ok(())
            }
        }
    }

    /// Whether a session may go on, by the generation that it has read.
    pub(super) fn goes_on(&self, generation: u64) -> Result<(), Error> {
        match self.layout.judge_generation(generation, &self.place)? {
            Some(Standing::Ours | Standing::Next) => Ok(()),
            Some(Standing::Older) => Err(self.went_back(generation)),
            None => Err(self.forgotten()),
        }
    }

    fn forgotten(&self) -> Error {
        refused(&self.place, "the row of keyward_shards is gone: connect anew")
    }

    fn went_back(&self, generation: u64) -> Error {
        let ours = self.layout.generation;
        let why = "its table was set back: connect anew, and it will be told";
        refused(
            &self.place,
            format!("it was told of generation {ours}, and has {generation}; {why}"),
        )
    }

    /// What a token of this server has to be larger than.
    pub(super) fn fence(&self) -> u64 {
        self.fence.load(Ordering::Acquire)
    }
}
