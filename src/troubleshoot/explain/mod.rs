//! Plans in plain words.

pub mod api;
pub mod core;
mod store;
