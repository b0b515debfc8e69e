//! Random operations of every kind, a model that predicts their answers, and an auditor.

pub mod alone;
pub mod answer;
pub mod auditor;
pub mod compare;
pub mod cqrs;
pub mod crowd;
pub mod events;
pub mod generate;
pub mod histories;
mod names;
pub mod op;
pub mod pool;
pub mod quiet;
pub mod replay;
pub mod round;
pub mod sagas;
mod sql;
pub mod state;
pub mod subscriptions;
pub mod tables;
pub mod tally;
pub mod world;
