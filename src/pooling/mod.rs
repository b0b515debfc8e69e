//! Schema `pooling`: connections and their pools.

pub mod api;
pub mod capture;
mod core;
mod pgbouncer;
pub mod pgbouncer_api;
