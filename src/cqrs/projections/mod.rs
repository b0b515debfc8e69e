//! Projections: a table of the application's that one of its functions keeps from events, in the appending transaction or
//! behind it, and that can be built anew while the old one serves.

mod api;
mod core;
mod inline;
mod rebuild;
mod run;
mod store;
mod twin;

pub use inline::{apply as apply_inline, may_be_any as may_be_any_inline};
