//! Random operations of every kind, a model that predicts their answers, and an auditor.

pub mod generate;
pub mod op;
pub mod pool;
mod sql;
pub mod world;
