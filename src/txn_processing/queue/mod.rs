//! Requests that wait to be posted: made by `enqueue`, carried out by `process_queue`, its background workers and
//! `process_transaction`.

mod api;
mod core;
mod processing;
mod store;
mod worker;

pub use core::{delay_ms, is_transient};
pub use worker::run_queue_worker;
