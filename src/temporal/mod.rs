//! Schema `temporal`: history on two axes, of accounts and of any table.

pub mod accounts;
pub mod tables;
