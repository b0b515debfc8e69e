//! What is usual on this server, and what departs from it.

pub mod api;
mod core;
mod store;
mod watched;
