//! Schema `banking`: tenants, customers and accounts.

mod accounts;
mod core;
mod customers;
mod store;
