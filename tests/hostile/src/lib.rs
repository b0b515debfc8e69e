//! Bad input to every function, and attacks by roles that may do little.
