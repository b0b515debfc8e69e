//! The only place with hand-written `unsafe`: everything that touches the server's C interface.
#![allow(unsafe_code)]

pub mod alarm;
pub mod append;
mod args;
pub mod call;
pub mod compat;
pub mod each;
pub mod ereport;
pub mod event;
pub mod explain;
#[cfg(any(test, feature = "pg_test"))]
pub mod faults;
pub mod handler;
pub mod history;
pub mod jsonb;
pub mod locks;
pub mod memory;
pub mod numeric;
mod oids;
mod plain;
pub mod plans;
pub mod prepared;
mod raw;
pub mod rights;
pub mod rows;
pub mod scan;
pub mod server;
pub mod settings;
pub mod spi;
pub mod subtransaction;
pub mod survey;
pub mod table;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
pub mod trigger;
pub mod types;
pub mod watch;
pub mod worker;

pub use args::{Arg, Type, array};
pub use ereport::finish;
pub use numeric::Numeric;
pub use oids::{RegClass, RegProc};
pub use rights::OwnerRights;
pub use spi::{PRESENT, Row, Session, Statement};
pub use types::{BpChar, Day, JsonDatum, Many, Text, Tid, Time, Varchar};
