//! The decisions and the arithmetic of the ledger, at the paths by which they name each other.

#[path = "../../../src/txn_processing/account.rs"]
pub mod account;
#[path = "../../../src/txn_processing/calendar.rs"]
pub mod calendar;
#[path = "../../../src/txn_processing/core.rs"]
pub mod core;
#[path = "../../../src/txn_processing/disputes/core.rs"]
pub mod disputes;
#[path = "../../../src/txn_processing/exact.rs"]
pub mod exact;
#[path = "../../../src/txn_processing/fees/core.rs"]
pub mod fees;
#[path = "../../../src/txn_processing/fx/core.rs"]
pub mod fx;
#[path = "../../../src/txn_processing/interest/core.rs"]
pub mod interest_core;
#[path = "../../../src/txn_processing/limits/core.rs"]
pub mod limits;
#[path = "../../../src/txn_processing/reconcile/lines.rs"]
pub mod lines;
#[path = "../../../src/txn_processing/queue/core.rs"]
pub mod queue;
#[path = "../../../src/txn_processing/settlement/core.rs"]
pub mod settlement;

pub mod interest {
    pub use super::interest_core as core;
}

pub use self::core::{Kind, MAX_AMOUNT};
