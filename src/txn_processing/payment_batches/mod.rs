//! Payment batches: many payments handed in at once, posted in chunks that can be interrupted and repeated.
//!
//! An item and its posting are settled in one transaction: either both stand or neither. The posting's id is drawn with
//! the item, so that even a caller who mends rows by hand cannot post it twice.

mod api;
mod core;
mod create;
mod process;
mod store;
