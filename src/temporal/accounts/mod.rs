//! The history of accounts: recorded by a trigger as they change, corrected, and read on both axes.

pub mod api;
mod changes;
mod core;
pub mod reading;
mod store;

pub use store::because;
