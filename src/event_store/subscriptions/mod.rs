//! Subscriptions: events handed out to consumers until each is acknowledged or parked.
//!
//! A stream belongs to one partition of a subscription. A fetch locks partitions that are free, reads on from where they
//! are, and leases those of which it takes events; so two consumers never have events of one stream. A stream with an
//! event that failed leaves its partition, which goes on without it, and is handed out by itself until it has caught up.
//!
//! Locks that a fetch wants it takes or leaves (SKIP LOCKED). Elsewhere the order is: the lease, streams by their id,
//! parked events, partitions by their number.

mod admin;
pub mod api;
mod core;
mod failure;
mod fetch;
mod settle;
mod statements;
mod store;
