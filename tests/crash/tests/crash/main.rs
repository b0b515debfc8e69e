//! Kills and promotions in the middle of load, and the jackhammer: what must survive them. Each file opens with what it
//! is about; the load, the servers and the check are in the library.

mod checker;
mod jackhammer;
mod kills;
mod retries;
mod standby;
