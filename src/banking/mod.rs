//! Schema `banking`: tenants, customers and accounts.

mod accounts;
mod balance_mode;
mod core;
mod customers;
pub mod store;

pub use accounts::{checked_number, limit_in_currency};
