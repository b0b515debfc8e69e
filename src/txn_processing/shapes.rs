//! The ledger's tables as `sql/` makes them, for direct access.

use crate::pg::table::{Column, Index, Only, Shape};
use pgrx::pg_sys;

/// Columns of `banking.accounts`.
pub mod account {
    pub const CUSTOMER_ID: usize = 2;
    pub const VERSION: usize = 4;
    pub const UPDATED_AT: usize = 5;
    pub const TENANT_NO: usize = 6;
    pub const SLOTS: usize = 7;
    pub const NORMAL_SIDE: usize = 8;
    pub const LIMITED: usize = 9;
    pub const CURRENT_BALANCE: usize = 10;
    pub const AVAILABLE_BALANCE: usize = 11;
    pub const ACCOUNT_STATUS: usize = 12;
    pub const CURRENCY_CODE: usize = 13;
    pub const OVERDRAFT_LIMIT: usize = 14;
    pub const ACCOUNT_TYPE: usize = 15;
}

/// Columns of `banking.account_slots`.
pub mod slot {
    pub const SEQUENCE: usize = 2;
    pub const UPDATED_AT: usize = 3;
    pub const SLOT_NO: usize = 4;
    pub const BALANCE: usize = 5;
}

/// Columns of `txn_processing.movements`.
pub mod movement {
    pub const TRANSACTION_TYPE: usize = 8;
}

pub static ACCOUNTS: Shape = Shape::new(
    [c"banking", c"accounts"],
    &[
        Column::required(pg_sys::UUIDOID),
        Column::optional(pg_sys::UUIDOID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::INT8OID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::INT4OID),
        Column::required(pg_sys::INT2OID),
        Column::required(pg_sys::CHAROID),
        Column::required(pg_sys::BOOLOID),
        Column::optional(pg_sys::NUMERICOID),
        Column::optional(pg_sys::NUMERICOID),
        Column::of_own_type(),
        Column::required(pg_sys::BPCHAROID),
        Column::required(pg_sys::NUMERICOID),
        Column::required(pg_sys::VARCHAROID),
        Column::required(pg_sys::VARCHAROID),
        Column::optional(pg_sys::TIMESTAMPTZOID),
    ],
    &[
        Index::unique(&[1]),
        Index::unique(&[6, 16]),
        Index { only: Some(Only::Null(2)), ..Index::unique(&[6, 13, 15]) },
        Index::plain(&[2], Some(Only::NotNull(2))),
    ],
    c"guard_accounts",
)
.only_updated(&[account::VERSION, account::UPDATED_AT, account::CURRENT_BALANCE, account::AVAILABLE_BALANCE]);

pub static SLOTS: Shape = Shape::new(
    [c"banking", c"account_slots"],
    &[
        Column::required(pg_sys::UUIDOID),
        Column::required(pg_sys::INT8OID),
        Column::required(pg_sys::TIMESTAMPTZOID),
        Column::required(pg_sys::INT2OID),
        Column::required(pg_sys::NUMERICOID),
    ],
    &[Index::unique(&[1, 4])],
    c"guard_accounts",
);

pub static MOVEMENTS: Shape = Shape::new(
    [c"txn_processing", c"movements"],
    &[
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
    &[
        Index::unique(&[1, 9]),
        Index::unique(&[2, 4]),
        Index::unique(&[3, 5]),
        Index::plain(&[16], Some(Only::NotNull(16))),
    ],
    c"guard_ledger",
);
