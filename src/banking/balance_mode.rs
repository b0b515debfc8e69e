//! Switching an account between one balance, which postings change one after another, and slots, which they change
//! side by side.

use super::store::{self, LockedAccount};
use crate::error::Error;
use crate::pg::{Arg, Session, Statement, Text, Type, finish, server};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{
    MAX_SLOT_BALANCE, chain_start, forget_usage, id, is_limited, open_holds, required,
};
use pgrx::prelude::*;
use uuid::Uuid;

// Slots may be left from a time before: their numbers go on, and the first takes the balance.
static FILL_FIRST_SLOT: Statement = Statement::new(
    c"INSERT INTO banking.account_slots AS s (account_id, sequence, updated_at, slot_no, balance)
      VALUES ($1, $2, $3, 1, $4)
      ON CONFLICT (account_id, slot_no) DO UPDATE SET updated_at = $3, balance = $4",
    &[Type::Uuid, Type::BigInt, Type::Timestamp, Type::Numeric],
);

static EMPTY_SLOTS: Statement = Statement::new(
    c"UPDATE banking.account_slots SET updated_at = $2, balance = balance - balance WHERE account_id = $1",
    &[Type::Uuid, Type::Timestamp],
);

static SET_MODE: Statement = Statement::new(
    c"UPDATE banking.accounts
      SET slots = $2, updated_at = $3, current_balance = $4, available_balance = $4
      WHERE account_id = $1",
    &[Type::Uuid, Type::Int, Type::Timestamp, Type::Numeric],
);

static RECORD: Statement = Statement::new(
    c"INSERT INTO banking.balance_mode_changes (account_id, changed_at, balance_mode, balance, changed_by)
      VALUES ($1, $2, $3, $4, $5)",
    &[Type::Uuid, Type::Timestamp, Type::Text, Type::Numeric, Type::Text],
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Exclusive,
    Slotted,
}

impl Mode {
    fn of(name: &str) -> Result<Self, Error> {
        match name {
            "exclusive" => Ok(Mode::Exclusive),
            "slotted" => Ok(Mode::Slotted),
            _ => Err(Error::ArgumentBounds {
                argument: "mode",
                why: format!("It is {name:?}; modes are exclusive and slotted."),
            }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mode::Exclusive => "exclusive",
            Mode::Slotted => "slotted",
        }
    }
}

fn to_slots(session: &Session, account: &LockedAccount, at: i64) -> Result<(), Error> {
    let why = if let Some(reserved) = open_holds(session, account.id)? {
        Some(format!("has open holds of {reserved}, which are held against one balance"))
    } else if is_limited(session, account.id)? {
        Some("has limits, which are counted on one balance".to_owned())
    } else {
        None
    };
    if let Some(why) = why {
        return Err(Error::BalanceMode { account: account.id, why });
    }
    if account.balance.abs() > MAX_SLOT_BALANCE {
        return Err(Error::LimitExceeded { account: account.id, most: MAX_SLOT_BALANCE });
    }
    let (id, at) = (Arg::Uuid(Some(account.id)), Arg::Timestamp(Some(at)));
    let first = Arg::BigInt(Some(chain_start(1) + 1));
    session.run(&FILL_FIRST_SLOT, &[id, first, at, Arg::Numeric(Some(account.balance))])?;
    session.run(&SET_MODE, &[id, Arg::Int(Some(1)), at, Arg::Numeric(None)])?;
    // Last: until the slots are written, postings that hold one may come to wait for this transaction.
    forget_usage(session, account.id)
}

fn to_one_row(session: &Session, account: &LockedAccount, at: i64) -> Result<(), Error> {
    let (id, at) = (Arg::Uuid(Some(account.id)), Arg::Timestamp(Some(at)));
    session.run(&EMPTY_SLOTS, &[id, at])?;
    session.run(&SET_MODE, &[id, Arg::Int(Some(0)), at, Arg::Numeric(Some(account.balance))])?;
    Ok(())
}

fn switch(account: Uuid, mode: Mode, tenant: Option<Uuid>) -> Result<(), Error> {
    let desk = Desk::open();
    let session = desk.session();
    let locked = store::lock_tenants_account(session, account, tenant)?;
    let found = if locked.slots == 0 { Mode::Exclusive } else { Mode::Slotted };
    if found == mode {
        return Ok(());
    }
    // Later than every posting before, so that a time says in which mode the account was.
    let at = server::clock_micros().max(locked.updated_at) + 1;
    match mode {
        Mode::Slotted => to_slots(session, &locked, at)?,
        Mode::Exclusive => to_one_row(session, &locked, at)?,
    }
    let args = [
        Arg::Uuid(Some(account)),
        Arg::Timestamp(Some(at)),
        Arg::Text(Some(mode.name())),
        Arg::Numeric(Some(locked.balance)),
        Arg::Text(Some(&desk.caller)),
    ];
    session.run(&RECORD, &args)?;
    Ok(())
}

#[pg_extern(schema = "banking", volatile, parallel_unsafe)]
fn set_balance_mode(
    account_id: Option<pgrx::Uuid>,
    mode: Option<Text>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) {
    let result = required("account_id", account_id).and_then(|account| {
        let mode = Mode::of(required("mode", mode.as_deref())?)?;
        switch(id(account), mode, tenant.map(id))
    });
    drop(mode);
    finish(result)
}
