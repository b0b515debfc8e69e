//! The two ways to the same rows: direct access where the tables are as the installation made them, SQL otherwise.

use super::core::Account;
use super::direct::{self, DirectBooks};
use super::store::{self, Movement};
use crate::error::Error;
use crate::guc::{self, PostingPath};
use crate::pg::heap::LockedRow;
use crate::pg::{Session, Tid};
use uuid::Uuid;

pub struct Books<'s> {
    session: &'s Session,
    direct: Option<DirectBooks>,
}

/// Two accounts locked until the transaction ends.
pub struct LockedPair<'b> {
    session: &'b Session,
    debit: (Account, Place<'b>),
    credit: (Account, Place<'b>),
}

enum Place<'b> {
    Row(LockedRow<'b>),
    Tid(Tid),
}

impl<'s> Books<'s> {
    pub fn open(session: &'s Session) -> Result<Self, Error> {
        let direct = match guc::posting_path() {
            PostingPath::Auto => DirectBooks::open()?,
            PostingPath::Spi => None,
        };
        Ok(Books { session, direct })
    }

    /// Locks both accounts, in ascending order of their ids.
    pub fn lock(&self, debit: Uuid, credit: Uuid) -> Result<LockedPair<'_>, Error> {
        let session = self.session;
        if let Some(books) = &self.direct {
            let (debit, credit) = books.lock(debit, credit)?;
            let row = |(account, row)| (account, Place::Row(row));
            return Ok(LockedPair { session, debit: row(debit), credit: row(credit) });
        }
        let (debit, credit) = store::lock(session, debit, credit)?;
        let tid = |(account, tid)| (account, Place::Tid(tid));
        Ok(LockedPair { session, debit: tid(debit), credit: tid(credit) })
    }

    /// False where the movement's id is there already.
    pub fn insert(&self, movement: &Movement) -> Result<bool, Error> {
        match &self.direct {
            // An id that was drawn here meets no other; a given one needs SQL's ON CONFLICT to wait and see.
            Some(books) if movement.order.transaction_id.is_none() => books.insert(movement).map(|()| true),
            _ => store::insert(self.session, movement),
        }
    }
}

impl LockedPair<'_> {
    pub fn accounts(&self) -> (&Account, &Account) {
        (&self.debit.0, &self.credit.0)
    }

    /// Writes the balances after the movement.
    pub fn update(&self, movement: &Movement) -> Result<(), Error> {
        let effect = &movement.effect;
        match (&self.debit.1, &self.credit.1) {
            (Place::Row(debit), Place::Row(credit)) => {
                direct::update(debit, movement.debit, effect.debit_balance, movement.created_at)?;
                direct::update(credit, movement.credit, effect.credit_balance, movement.created_at)
            }
            (Place::Tid(debit), Place::Tid(credit)) => {
                store::update_balances(self.session, (*debit, *credit), movement)
            }
            _ => unreachable!("both accounts are locked the same way"),
        }
    }
}
