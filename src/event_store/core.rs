//! What an append is allowed to do, decided on what the stream's lock shows.
#![forbid(unsafe_code)]

use super::position::Position;
use std::collections::HashSet;

/// The most events of one call.
pub const MAX_EVENTS: usize = 10_000;
pub const MAX_NAME: usize = 100;
pub const MAX_TAGS: usize = 20;

/// The types of the ledger's own events: balances are rebuilt from them, so only its publication writes them.
const OF_THE_LEDGER: [&str; 3] = ["LedgerTransaction", "LedgerOpening", "LedgerPublication"];

pub fn is_ledgers(aggregate_type: &str) -> bool {
    OF_THE_LEDGER.contains(&aggregate_type)
}

/// What the caller believes of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Any,
    NoStream,
    Exists,
    Version(i32),
}

impl Expected {
    /// As the functions spell it: null, 0, -1, or a version.
    pub fn of(version: Option<i32>) -> Option<Expected> {
        match version {
            None => Some(Expected::Any),
            Some(0) => Some(Expected::NoStream),
            Some(-1) => Some(Expected::Exists),
            Some(version) if version > 0 => Some(Expected::Version(version)),
            Some(_) => None,
        }
    }

    pub fn holds(self, actual: i32) -> bool {
        match self {
            Expected::Any => true,
            Expected::NoStream => actual == 0,
            Expected::Exists => actual > 0,
            Expected::Version(version) => actual == version,
        }
    }

    pub fn text(self) -> String {
        match self {
            Expected::Any => "any".into(),
            Expected::NoStream => "no stream".into(),
            Expected::Exists => "a stream".into(),
            Expected::Version(version) => format!("version {version}"),
        }
    }
}

/// A stream as its lock shows it; one that has no event yet is at version 0.
#[derive(Clone, Debug)]
pub struct Stream {
    pub aggregate_type: String,
    pub version: i32,
    pub last_position: Position,
    /// When its last event was recorded, in microseconds.
    pub last_at: i64,
}

/// 1 to 100 characters that are not all blank.
pub fn name_is_good(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        Err("It is blank.")
    } else if name.chars().nth(MAX_NAME).is_some() {
        Err("It is longer than 100 characters.")
    } else {
        Ok(())
    }
}

pub fn tags_are_good<'a>(tags: impl ExactSizeIterator<Item = Option<&'a str>>) -> Result<(), &'static str> {
    if tags.len() > MAX_TAGS {
        return Err("There are more than 20.");
    }
    let mut seen = HashSet::new();
    for tag in tags {
        let tag = tag.ok_or("One is not a text.")?;
        name_is_good(tag).map_err(|_| "One is blank or longer than 100 characters.")?;
        if !seen.insert(tag) {
            return Err("One is there twice.");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_about_the_version_found() {
        let cases =
            [(None, 0, true), (None, 7, true), (Some(0), 0, true), (Some(0), 1, false), (Some(-1), 0, false)];
        for (given, actual, holds) in cases {
            assert_eq!(Expected::of(given).map(|e| e.holds(actual)), Some(holds), "{given:?} of {actual}");
        }
        assert!(Expected::of(Some(3)).is_some_and(|e| e.holds(3) && !e.holds(4)));
        assert_eq!(Expected::of(Some(-2)), None);
    }
}
