//! Which way postings reach the tables, for people to see.

use super::direct::DirectBooks;
use crate::guc::{self, PostingPath};
use crate::pg::finish;
use pgrx::prelude::*;

#[pg_schema]
mod neobank {
    use super::*;

    /// The setting, the way in force in this session, and why it is that one.
    #[pg_extern(stable, parallel_restricted)]
    fn posting_path_in_force() -> TableIterator<
        'static,
        (name!(setting, &'static str), name!(path, &'static str), name!(reason, String)),
    > {
        let obstacle = finish(DirectBooks::obstacle());
        let plain = || "the tables are as the extension made them".to_owned();
        let line = match (guc::posting_path(), obstacle) {
            (PostingPath::Spi, _) => ("spi", "spi", "neobank.posting_path says so".to_owned()),
            (PostingPath::Auto, None) => ("auto", "direct", plain()),
            (PostingPath::Auto, Some(why)) => ("auto", "spi", why),
            (PostingPath::Direct, None) => ("direct", "direct", plain()),
            (PostingPath::Direct, Some(why)) => ("direct", "none", why),
        };
        TableIterator::once(line)
    }
}
