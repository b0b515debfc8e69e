//! Bad input to every function, and attacks by roles that may do little.
//!
//! What is called comes from the catalog, with the types and names of its arguments; what it is called with, from the
//! tables of a bank with a bit of everything and from lists of what has broken programs before.

pub mod calls;
pub mod catalog;
pub mod foul;
pub mod json;
pub mod memory;
pub mod report;
pub mod run;
pub mod values;
pub mod verdict;
pub mod world;
