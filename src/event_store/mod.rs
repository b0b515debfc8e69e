//! Events of aggregates: appended under their stream's lock, read in an order that skips nobody, folded into state.

mod api;
mod append;
mod boundary;
mod conditional;
mod core;
mod define;
mod direct;
mod fold;
mod handlers;
mod items;
mod position;
pub mod publish;
mod reducers;
mod retention;
mod snapshots;
mod state;
mod store;
mod subscriptions;
mod tags;

pub use store::base_has_moved;
