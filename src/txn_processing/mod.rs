//! Schema `txn_processing`: the double-entry ledger.

mod answer;
mod balances;
mod books;
mod contract;
mod core;
mod direct;
pub mod engine;
mod give_back;
mod queue;
mod reading;
mod store;
mod strict;

pub use self::core::{Kind, MAX_AMOUNT, in_currency};
pub use strict::{Tail, finite, id, post_adjustment, post_against, required};
