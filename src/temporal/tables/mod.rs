//! History of any table. What is recorded is decided in SQL, in `sql/temporal_tables*.sql`, by functions that run with
//! the rights of the table's owner; here is what SQL cannot do: take on these rights, and give them up.

mod api;
pub mod core;
pub mod follow;
pub mod record;
mod snapshot;
