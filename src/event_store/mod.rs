//! Events of aggregates: appended under their stream's lock, read in an order that skips nobody, folded into state.

mod api;
mod core;
mod fold;
mod position;
mod store;
mod subscriptions;
