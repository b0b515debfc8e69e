//! Kills and promotions in the middle of load, and what must survive them.
//!
//! [`Server`] is a cluster that a test may kill in any way. [`Load`] keeps a crowd of clients at work on it; each writes
//! down what it is about to ask for before it sends it, and what it was answered, and sends again under the same ids what
//! was not answered. [`check`] holds what they wrote down against what stands in the tables.

mod books;
mod check;
mod drawn;
mod load;
mod maker;
mod pages;
mod request;
mod server;
mod standby;
mod teller;

pub use books::Books;
pub use check::{are_there, check, drained, facts};
pub use load::{Counts, Load};
pub use maker::Maker;
pub use pages::{all_sound, unsound};
pub use request::{Entry, Reading, Request, Standing};
pub use server::Server;
