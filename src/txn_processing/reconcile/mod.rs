//! Reconciliation with other books: external statements, which of their lines are which postings, and what is left.

mod api;
mod breaks;
mod core;
mod import;
mod lines;
mod matching;
mod pairs;
mod postings;
mod store;
mod subset;
