//! Events of aggregates: appended under their stream's lock, read in an order that skips nobody, folded into state.

mod api;
mod core;
mod define;
mod fold;
mod handlers;
mod position;
mod reducers;
mod snapshots;
mod state;
mod store;
