//! Schema `troubleshoot`: finding out what is wrong with a server.

pub mod baselines;
pub mod checks;
pub mod explain;
pub mod report;
mod sessions;
mod severity;
