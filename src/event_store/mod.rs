//! Events of aggregates: appended under their stream's lock, read in an order that skips nobody, folded into state.

mod api;
mod append;
mod boundary;
mod conditional;
mod core;
mod direct;
mod fold;
mod items;
mod position;
mod store;
mod tags;

pub use store::base_has_moved;
