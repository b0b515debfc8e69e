//! Events of aggregates: appended under their stream's lock, read in an order that skips nobody, folded into state.

mod api;
mod core;
mod fold;
mod position;
pub mod publish;
mod retention;
mod store;
