//! Schema `troubleshoot`: finding out what is wrong with a server.

mod sessions;
