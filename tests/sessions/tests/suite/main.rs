//! neobank through real sessions: what a transaction that is rolled back at the
//! end of a unit test can never show.

mod attack;
mod auditor;
mod berka;
mod bounds;
mod catalog;
mod concurrency;
mod contract;
mod documents;
mod dump;
mod guards;
mod idempotency;
mod memory;
mod paths;
mod pooler;
mod privileges;
mod queue;
mod reading;
mod refusals;
mod review;
mod rollback;
mod seed_defects;
mod status;
mod strict;
mod tenants;
