//! How much goes on on an account, told from its postings: what a long history adds up to is kept in marks, and what came
//! after the last mark is read from the postings, so that every reading is exact and no posting pays for it.

pub mod api;
mod core;
mod store;
