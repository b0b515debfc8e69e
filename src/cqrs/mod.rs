//! Schema `cqrs`: read models of the ledger, commands and what carries them out, and projections of events.

pub mod activity;
