//! Payments to and from other banks, and their settlement.
//!
//! Such a payment goes through the bank's internal account payments_clearing and leaves a clearing item that names the
//! other bank. `settle` nets the items per bank and takes the net from clearing to nostro, or back.

mod api;
mod core;
mod interbank;
mod settle;
mod store;

pub use interbank::PAY_BANK;
pub use store::{CLEARING, record_give_back};
