//! The two ways to the same rows: direct access where the tables are as the installation made them, SQL otherwise.

use super::account::Account;
use super::direct::{self, DirectBooks};
use super::engine::{Desk, Order};
use super::holding::{self, Rows};
use super::limits;
use super::sql_rows::SqlRows;
use super::store::{self, Movement};
use crate::error::Error;
use crate::event_store::publish;
use crate::guc::{self, PostingPath};
use crate::pg::Tid;
use crate::pg::rows::{Replaced, Row, Wait};
use uuid::Uuid;

/// An account that a posting is about to change.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    pub account: Uuid,
    /// All slots are needed: something is taken that must be there, or the total is told. The bank's own accounts have
    /// no bound, so of them one slot always does.
    pub whole: bool,
    /// Of a slotted account, the first slot and no other.
    pub first_slot: bool,
}

impl Want {
    /// What an order wants, in the order in which every posting locks: ascending ids.
    pub fn of(order: &Order) -> [Want; 2] {
        let first_slot = order.reverses.is_some();
        let bounded = !order.may_overdraw && !order.kind.ignores_limit();
        let debit = Want { account: order.debit, whole: bounded || first_slot, first_slot };
        let credit = Want { account: order.credit, whole: false, first_slot };
        if order.debit < order.credit { [debit, credit] } else { [credit, debit] }
    }
}

/// An account whose rows are locked until the transaction ends.
pub struct Held<'b> {
    pub account: Account,
    /// The number that its next posting was to get when it was locked.
    first_sequence: i64,
    place: Place<'b>,
}

impl<'b> Held<'b> {
    fn new(account: Account, place: Place<'b>) -> Self {
        Held { account, first_sequence: account.sequence, place }
    }

    /// Whether a posting was taken in since.
    pub fn has_changed(&self) -> bool {
        self.account.sequence != self.first_sequence
    }
}

enum Place<'b> {
    Row(Row<'b>),
    Tid(Tid),
}

pub struct Books<'d> {
    desk: &'d Desk,
    direct: Option<DirectBooks>,
}

impl<'d> Books<'d> {
    pub fn open(desk: &'d Desk) -> Result<Self, Error> {
        let direct = match guc::posting_path() {
            PostingPath::Auto => DirectBooks::open()?,
            PostingPath::Direct => match DirectBooks::open()? {
                None => {
                    let why = DirectBooks::obstacle()?.unwrap_or_else(|| "has changed".into());
                    return Err(Error::NoDirectPath { why });
                }
                books => books,
            },
            PostingPath::Spi => None,
        };
        limits::refresh(|| desk.session())?;
        Ok(Books { desk, direct })
    }

    /// Locks what postings on the accounts change and reads it as it is then; `wants` ascend by account, each once.
    /// An account that does not exist gives nothing.
    pub fn hold(&self, wants: &[Want]) -> Result<Vec<Option<Held<'_>>>, Error> {
        match &self.direct {
            Some(books) => books.hold(self.desk, wants, in_row),
            None => {
                let rows = SqlRows(self.desk.session());
                let hold = |want: &Want| holding::hold(&rows, self.desk, want, rows.lock_row(want.account)?);
                let at_tid = |(account, tid)| Held::new(account, Place::Tid(tid));
                wants.iter().map(|want| Ok(hold(want)?.map(at_tid))).collect()
            }
        }
    }

    /// Reads two accounts without a lock; [`Books::replace`] tells whether they were still so. Nothing where it is not
    /// as simple as that.
    pub fn read(&self, wants: &[Want; 2]) -> Result<Option<[Held<'_>; 2]>, Error> {
        let Some(books) = &self.direct else { return Ok(None) };
        Ok(books.read([&wants[0], &wants[1]])?.map(|held| held.map(in_row)))
    }

    /// Writes an account that was only read, and so locks it; false where somebody else is at it or was since, and
    /// nothing is written then.
    pub fn replace(&self, held: &Held) -> Result<bool, Error> {
        let Place::Row(row) = &held.place else { unreachable!("only direct access reads without a lock") };
        Ok(direct::write(row, &held.account, Wait::No)? == Replaced::Done)
    }

    /// Writes a locked account as it is after its postings.
    pub fn write(&self, held: &Held) -> Result<(), Error> {
        match &held.place {
            Place::Row(row) => match direct::write(row, &held.account, Wait::Yes)? {
                Replaced::Done => Ok(()),
                Replaced::Busy | Replaced::Changed => unreachable!("the row is locked by this transaction"),
            },
            Place::Tid(tid) => store::write(self.desk.session(), &held.account, *tid),
        }
    }

    /// Appends movements with ids that nobody else has.
    pub fn append(&self, movements: &[Movement]) -> Result<(), Error> {
        match &self.direct {
            Some(books) => books.append(movements)?,
            None => movements.iter().try_for_each(|movement| store::insert(self.desk.session(), movement))?,
        }
        self.publish(movements)
    }

    /// As events, where the ledger is published; the movements are written.
    fn publish(&self, movements: &[Movement]) -> Result<(), Error> {
        publish::postings(|| self.desk.session(), || movements.iter().map(Movement::as_event).collect())
    }

    /// Appends a movement with an id that the caller gave; false where it is there already. A second session that
    /// brings the same id waits here for the first to end.
    pub fn append_unless_taken(&self, movement: &Movement) -> Result<bool, Error> {
        let is_new = match &self.direct {
            Some(books) => books.append_unless_taken(movement)?,
            None => store::insert_unless_taken(self.desk.session(), movement)?,
        };
        if is_new {
            self.publish(std::slice::from_ref(movement))?;
        }
        Ok(is_new)
    }
}

fn in_row<'b>((account, row): direct::Held<'b>) -> Held<'b> {
    Held::new(account, Place::Row(row))
}
