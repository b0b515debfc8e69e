//! The only place with hand-written `unsafe`: everything that touches the server's C interface.
#![allow(unsafe_code)]

pub mod compat;
pub mod ereport;
pub mod heap;
pub mod numeric;
pub mod rights;
pub mod server;
pub mod settings;
pub mod spi;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
pub mod types;

pub use ereport::finish;
pub use numeric::Numeric;
pub use rights::OwnerRights;
pub use spi::{Arg, Row, Session, Statement, Type};
pub use types::{BpChar, JsonDatum, Tid, Time, Varchar};
