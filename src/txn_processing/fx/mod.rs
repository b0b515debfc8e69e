//! Foreign exchange: rates, exchanges over the bank's positions, and the residues of their rounding.

mod api;
mod core;
mod store;
mod sweep;

pub use api::post_at_stored_rate;
pub use store::undo;
