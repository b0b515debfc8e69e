//! Disputes: a customer contests a transaction; the money goes through an account of its own until that is resolved.

mod api;
mod core;
mod desk;
mod policy;
mod store;
