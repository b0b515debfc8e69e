//! Who waits for what, and how to end it.

mod api;
mod core;
mod kill;
mod waiting;
