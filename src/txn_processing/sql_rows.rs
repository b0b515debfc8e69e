//! The rows of accounts through SQL, for [`super::holding`].

use super::account::{Account, Currency, Slot, Status};
use super::holding::{Found, Rows};
use super::limits::has_limits;
use super::store::side;
use crate::error::Error;
use crate::pg::spi::c_text;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Tid, Type};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The columns that `account` reads.
macro_rules! select_account {
    ($conditions:literal) => {{
        const SQL: &str = concat!(
            "SELECT account_id, tenant_no, currency_code, account_status, normal_side, current_balance, \
                    available_balance, overdraft_limit, version, updated_at, customer_id IS NULL, slots, ctid, \
                    limited, account_type \
             FROM ONLY banking.accounts WHERE account_id = $1",
            $conditions,
            "\0"
        );
        Statement::new(c_text(SQL), &[Type::Uuid])
    }};
}

static LOCK_EXCLUSIVE: Statement = select_account!(" AND slots = 0 FOR NO KEY UPDATE");

static LOCK_ACCOUNT: Statement = select_account!(" FOR NO KEY UPDATE");

static READ_ACCOUNT: Statement = select_account!("");

static LOCK_SLOT: Statement = Statement::new(
    c"SELECT slot_no, balance, sequence, updated_at, ctid
      FROM ONLY banking.account_slots WHERE account_id = $1 AND slot_no = $2 FOR NO KEY UPDATE",
    &[Type::Uuid, Type::Int],
);

static READ_SLOT: Statement = Statement::new(
    c"SELECT ctid FROM ONLY banking.account_slots WHERE account_id = $1 AND slot_no = $2",
    &[Type::Uuid, Type::Int],
);

// A new version has another place.
static TRY_SLOT: Statement = Statement::new(
    c"SELECT slot_no, balance, sequence, updated_at, ctid
      FROM ONLY banking.account_slots WHERE account_id = $1 AND slot_no = $2 AND ctid = $3
      FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Uuid, Type::Int, Type::Tid],
);

/// The account, how many slots it has, and where its row is.
fn account(row: &Row) -> Option<(Account, i16, Tid)> {
    let slots = row.get::<i16>(12)?;
    let account = Account {
        id: row.uuid(1)?,
        tenant_no: row.int(2)?,
        currency: Currency::of(row.text(3)?.as_bytes())?,
        status: Status::of(row.text(4)?.as_bytes())?,
        normal_side: side(row.letter(5)),
        balance: row.numeric(6).unwrap_or_default(),
        available: row.numeric(7).unwrap_or_default(),
        elsewhere: None,
        overdraft_limit: row.numeric(8)?,
        sequence: row.bigint(9)?,
        updated_at: row.time(10)?.0,
        internal: row.bool(11)?,
        slotted: slots > 0,
        limited: row.bool(14)? || has_limits(row.text(15)?.as_bytes()),
        spent: Decimal::ZERO,
        spent_times: 0,
    };
    Some((account, slots, row.get(13)?))
}

fn slot(row: &Row) -> (Slot, Tid) {
    let slot = Slot {
        no: row.get(1).expect(PRESENT),
        balance: row.numeric(2).expect(PRESENT),
        sequence: row.bigint(3).expect(PRESENT),
        updated_at: row.time(4).expect(PRESENT).0,
    };
    (slot, row.get(5).expect(PRESENT))
}

pub struct SqlRows<'s>(pub &'s Session);

impl SqlRows<'_> {
    fn account(&self, statement: &Statement, id: Uuid) -> Result<Option<(Account, i16, Tid)>, Error> {
        self.0.one(statement, &[Arg::Uuid(Some(id))], |row| account(row).expect(PRESENT))
    }
}

impl Rows for SqlRows<'_> {
    type Place = Tid;

    /// One that does not exist is not told from one in slots.
    fn lock_row(&self, id: Uuid) -> Result<Found<Tid>, Error> {
        let locked = self.account(&LOCK_EXCLUSIVE, id)?;
        Ok(locked.map_or(Found::Elsewhere, |(account, _, tid)| Found::Held(account, tid)))
    }

    fn glance(&self, id: Uuid) -> Result<Option<(Account, i16)>, Error> {
        Ok(self.account(&READ_ACCOUNT, id)?.map(|(account, slots, _)| (account, slots)))
    }

    fn refuse_if_changed(&self, id: Uuid) -> Result<(), Error> {
        self.account(&LOCK_ACCOUNT, id).map(drop)
    }

    fn lock_slot(&self, id: Uuid, no: i16) -> Result<(Slot, Tid), Error> {
        let args = [Arg::Uuid(Some(id)), Arg::Int(Some(i32::from(no)))];
        self.0.one(&LOCK_SLOT, &args, slot)?.ok_or(Error::ConcurrentUpdate)
    }

    fn try_slot(&self, id: Uuid, no: i16) -> Result<Option<Found<Tid>>, Error> {
        let key = [Arg::Uuid(Some(id)), Arg::Int(Some(i32::from(no)))];
        let found: Option<Tid> = self.0.one(&READ_SLOT, &key, |row| row.get(1).expect(PRESENT))?;
        let account = self.glance(id)?.filter(|(_, count)| *count >= no);
        let Some(((account, _), place)) = account.zip(found) else { return Ok(Some(Found::Elsewhere)) };
        let args = [key[0], key[1], Arg::Tid(place)];
        let locked = self.0.one_if_unchanged(&TRY_SLOT, &args, slot)?;
        Ok(locked.map(|(slot, place)| Found::Held(account.on_slot(&[slot], false).0, place)))
    }
}
