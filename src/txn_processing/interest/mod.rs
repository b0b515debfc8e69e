//! Interest: rules, daily accrual, capitalisation.

mod accrual;
pub mod api;
mod capitalisation;
pub mod core;
mod rules;
