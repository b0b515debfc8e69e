//! The ledger's rows by direct access. Columns are those of `sql/`; [`DirectBooks::open`] checks that they still are.

use super::core::Account;
use super::store::{Movement, side};
use crate::error::Error;
use crate::pg::heap::{Column, FreshSnapshot, LockedRow, Shape, Table, enum_label, refuse_read_only};
use crate::pg::{Arg, Time};
use pgrx::pg_sys;
use rust_decimal::Decimal;
use std::ffi::CString;
use uuid::Uuid;

/// Columns of `banking.accounts`.
mod account {
    pub const CUSTOMER_ID: usize = 2;
    pub const VERSION: usize = 3;
    pub const UPDATED_AT: usize = 5;
    pub const TENANT_NO: usize = 7;
    pub const NORMAL_SIDE: usize = 8;
    pub const ACCOUNT_STATUS: usize = 9;
    pub const CURRENCY_CODE: usize = 10;
    pub const CURRENT_BALANCE: usize = 11;
    pub const AVAILABLE_BALANCE: usize = 12;
    pub const OVERDRAFT_LIMIT: usize = 13;
}

/// Columns of `txn_processing.movements`.
mod movement {
    pub const TRANSACTION_TYPE: usize = 8;
}

static ACCOUNTS: Shape = Shape {
    columns: &[
        Column::required(pg_sys::UUIDOID),
        Column::optional(pg_sys::UUIDOID),
        Column::required(pg_sys::INT8OID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::optional(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::INT4OID),
        Column::required(pg_sys::CHAROID),
        Column::of_own_type(),
        Column::required(pg_sys::BPCHAROID),
        Column::required(pg_sys::NUMERICOID),
        Column::required(pg_sys::NUMERICOID),
        Column::required(pg_sys::NUMERICOID),
        Column::required(pg_sys::VARCHAROID),
        Column::required(pg_sys::VARCHAROID),
    ],
    indexes: 4,
    trigger: c"guard_accounts",
};

static MOVEMENTS: Shape = Shape {
    columns: &[
        Column::required(pg_sys::UUIDOID),
        Column::required(pg_sys::UUIDOID),
        Column::required(pg_sys::UUIDOID),
        Column::required(pg_sys::INT8OID),
        Column::required(pg_sys::INT8OID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::INT4OID),
        Column::of_own_type(),
        Column::required(pg_sys::INT2OID),
        Column::required(pg_sys::NUMERICOID),
        Column::required(pg_sys::NUMERICOID),
        Column::required(pg_sys::NUMERICOID),
        Column::required(pg_sys::BPCHAROID),
        Column::required(pg_sys::TEXTOID),
        Column::optional(pg_sys::TIMESTAMPTZOID),
        Column::optional(pg_sys::UUIDOID),
        Column::optional(pg_sys::VARCHAROID),
        Column::optional(pg_sys::TEXTOID),
        Column::optional(pg_sys::JSONBOID),
    ],
    indexes: 4,
    trigger: c"guard_ledger",
};

/// An account and its row.
pub type InRow<'b> = (Account, LockedRow<'b>);

pub struct DirectBooks {
    accounts: Table,
    movements: Table,
    _snapshot: FreshSnapshot,
}

impl DirectBooks {
    /// Nothing where something hangs on the tables that direct access would pass by.
    pub fn open() -> Result<Option<Self>, Error> {
        let accounts = Table::open(c"banking", c"accounts");
        let movements = Table::open(c"txn_processing", c"movements");
        if !accounts.is_plain(&ACCOUNTS) || !movements.is_plain(&MOVEMENTS) {
            return Ok(None);
        }
        refuse_read_only(c"a posting")?;
        Ok(Some(DirectBooks { accounts, movements, _snapshot: FreshSnapshot::take() }))
    }

    /// Locks both accounts in ascending order of their ids and reads them as they are then.
    pub fn lock(&self, debit: Uuid, credit: Uuid) -> Result<(InRow<'_>, InRow<'_>), Error> {
        let lock = |id: Uuid| {
            let row = self.accounts.lock_row(id)?;
            Ok::<_, Error>(row.map(|row| (read(id, &row), row)))
        };
        let (debited, credited) = if debit < credit {
            let debited = lock(debit)?;
            (debited, lock(credit)?)
        } else {
            let credited = lock(credit)?;
            (lock(debit)?, credited)
        };
        let debited = debited.ok_or(Error::AccountNotFound { account: debit })?;
        Ok((debited, credited.ok_or(Error::AccountNotFound { account: credit })?))
    }

    pub fn insert(&self, movement: &Movement) -> Result<(), Error> {
        let Movement { order, effect, debit, credit, .. } = movement;
        let label = CString::new(order.kind.name()).expect("no label has a zero byte");
        let enum_type = self.movements.column_type(movement::TRANSACTION_TYPE);
        self.movements.insert(&[
            Arg::Uuid(Some(movement.id)).datum(),
            Arg::Uuid(Some(debit.id)).datum(),
            Arg::Uuid(Some(credit.id)).datum(),
            Arg::BigInt(Some(debit.version)).datum(),
            Arg::BigInt(Some(credit.version)).datum(),
            Arg::Timestamp(Some(movement.created_at)).datum(),
            Arg::Int(Some(debit.tenant_no)).datum(),
            Some(enum_label(enum_type, &label)),
            Arg::Int(Some(1)).datum(),
            Arg::Numeric(Some(effect.amount)).datum(),
            Arg::Numeric(Some(effect.debit_balance)).datum(),
            Arg::Numeric(Some(effect.credit_balance)).datum(),
            Arg::Text(Some(&debit.currency)).datum(),
            Arg::Text(Some(movement.created_by)).datum(),
            Arg::Timestamp(order.effective_at).datum(),
            Arg::Uuid(order.reverses.map(|original| original.id)).datum(),
            Arg::Text(order.reference).datum(),
            Arg::Text(order.description).datum(),
            Arg::Jsonb(order.metadata).datum(),
        ])
    }
}

fn read(id: Uuid, row: &LockedRow) -> Account {
    let present = "not null by its declaration";
    let figure = |column: usize| {
        let numeric: crate::pg::Numeric = row.get(column).expect(present);
        numeric.0.expect("the ledger bounds every figure that it stores")
    };
    Account {
        id,
        tenant_no: row.get(account::TENANT_NO).expect(present),
        currency: row.get(account::CURRENCY_CODE).expect(present),
        status: row.get(account::ACCOUNT_STATUS).expect(present),
        normal_side: side(row.get::<i8>(account::NORMAL_SIDE).map(|letter| letter as u8)),
        balance: figure(account::CURRENT_BALANCE),
        available: figure(account::AVAILABLE_BALANCE),
        overdraft_limit: figure(account::OVERDRAFT_LIMIT),
        version: row.get(account::VERSION).expect(present),
        updated_at: row.get::<Time>(account::UPDATED_AT).expect(present).0,
        internal: row.get::<pgrx::Uuid>(account::CUSTOMER_ID).is_none(),
    }
}

/// Writes an account's balance after a posting.
pub fn update(row: &LockedRow, account: &Account, balance: Decimal, at: i64) -> Result<(), Error> {
    let datum = |arg: Arg| arg.datum().expect("a value that is not null");
    row.update(&[
        (account::VERSION, datum(Arg::BigInt(Some(account.version + 1)))),
        (account::UPDATED_AT, datum(Arg::Timestamp(Some(at)))),
        (account::CURRENT_BALANCE, datum(Arg::Numeric(Some(balance)))),
        (account::AVAILABLE_BALANCE, datum(Arg::Numeric(Some(account.available_after(balance))))),
    ])
}
