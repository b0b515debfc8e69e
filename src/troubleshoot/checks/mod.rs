//! Checks of a server and a database, their thresholds, and findings that somebody has taken note of.
//!
//! A check is a query in `queries/`, which reads catalogs and statistics only, and a line of `registry.rs`. The query
//! answers what it found: what tells it from other findings, object, value, the severity it has at least, detail, and
//! what to run. Its parameters are the mildest threshold, below which nothing need be answered, and the check's minimum.

pub mod api;
pub mod core;
pub mod files;
pub mod registry;
pub mod run;
pub mod settings;
