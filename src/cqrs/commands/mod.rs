//! Commands: what somebody wants done, kept with what became of it, and carried out once by a function of the
//! application's.
//!
//! A command and all that its handler does commit or roll back together, so a crash at any moment leaves it either carried
//! out and recorded, or as it was.

mod api;
mod core;
mod handlers;
mod running;
mod store;

pub use api::checked_name;
pub use handlers::{Function, Signature};
pub use running::appended;

/// A handler is under way.
pub fn is_any_running() -> bool {
    running::Running::is_any()
}
