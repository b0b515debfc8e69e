//! Schema `troubleshoot`: finding out what is wrong with a server.

pub mod checks;
mod sessions;
