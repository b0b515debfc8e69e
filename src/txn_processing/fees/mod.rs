//! Fees by rule: on a transaction, with it, or once a period.

mod api;
mod charge;
mod core;
mod periodic;
mod store;
