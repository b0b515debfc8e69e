//! Of the module that talks to the server, what needs none.

pub mod ereport {
    /// There is no server here that could raise one.
    #[derive(Debug)]
    pub struct ServerError;
}

#[path = "../../../src/pg/numeric/digits.rs"]
pub mod digits;
