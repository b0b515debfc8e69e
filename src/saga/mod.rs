//! Schema `saga`: long transactions of steps that all finish, or are undone in reverse order.
//!
//! The state machine is in `core`; the rest locks a saga, asks it what to do, does it, and writes what became of it.

mod api;
mod core;
mod definitions;
mod held;
mod run;
mod running;
mod store;
mod worker;

pub use worker::turn;
