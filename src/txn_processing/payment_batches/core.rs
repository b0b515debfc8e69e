//! What a batch decides: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::error::Error;
use serde::Serialize;

/// The most items of one batch.
pub const MAX_ITEMS: i64 = 100_000;
/// The most items of one call, as of `post_batch`.
pub const MAX_CHUNK: i32 = 10_000;

/// A batch of that many items, of anything but an array where there is no number.
pub fn check_items(items: Option<i64>) -> Result<i32, Error> {
    let refuse = |why: String| Err(Error::ArgumentBounds { argument: "items", why });
    match items {
        None => refuse("It must be a JSON array.".into()),
        Some(0) => refuse("It is empty.".into()),
        Some(items) if items > MAX_ITEMS => {
            refuse(format!("It has {items} items; a batch takes up to {MAX_ITEMS}."))
        }
        Some(items) => Ok(items as i32),
    }
}

pub fn check_chunk(chunk: i32) -> Result<i64, Error> {
    if (1..=MAX_CHUNK).contains(&chunk) {
        return Ok(i64::from(chunk));
    }
    Err(Error::ArgumentBounds { argument: "chunk", why: format!("It is {chunk}; 1 to {MAX_CHUNK} can be.") })
}

/// What became of an item, as it is written beside it.
#[derive(Debug, Serialize)]
pub struct Verdict {
    item_no: i32,
    /// Nothing where it was posted.
    #[serde(flatten)]
    refusal: Option<Refusal>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: &'static str,
    sqlstate: &'static str,
    message: String,
    detail: Option<String>,
}

impl Verdict {
    /// `Err` for what says nothing about the item: the whole call is repeated then, and the item stays pending.
    pub fn of<T>(item_no: i32, outcome: Result<T, Error>) -> Result<Self, Error> {
        let refusal = match outcome {
            Ok(_) => None,
            Err(error) if !error.is_refusal() => return Err(error),
            Err(error) => {
                let report = error.report();
                let (code, sqlstate, detail) = (report.word, report.sqlstate, report.detail);
                Some(Refusal { code, sqlstate, message: report.message, detail })
            }
        };
        Ok(Verdict { item_no, refusal })
    }

    pub fn is_completed(&self) -> bool {
        self.refusal.is_none()
    }
}

/// What a call answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub completed: i32,
    pub failed: i32,
}

impl Tally {
    pub fn of(verdicts: &[Verdict]) -> Self {
        let completed = verdicts.iter().filter(|verdict| verdict.is_completed()).count() as i32;
        Tally { completed, failed: verdicts.len() as i32 - completed }
    }

    pub fn attempted(&self) -> i32 {
        self.completed + self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn bounds_are_what_they_say() {
        assert!(check_items(None).is_err());
        assert!(check_items(Some(0)).is_err());
        assert_eq!(check_items(Some(1)).ok(), Some(1));
        assert_eq!(check_items(Some(MAX_ITEMS)).ok(), Some(100_000));
        assert!(check_items(Some(MAX_ITEMS + 1)).is_err());
        for (chunk, fits) in [(-1, false), (0, false), (1, true), (MAX_CHUNK, true), (MAX_CHUNK + 1, false)] {
            assert_eq!(check_chunk(chunk).is_ok(), fits, "{chunk}");
        }
    }

    #[test]
    fn a_refusal_is_written_with_its_code_and_a_server_error_is_raised() {
        let account = Uuid::from_u128(7);
        let verdict = Verdict::of::<()>(3, Err(Error::AccountNotFound { account })).expect("a refusal");
        let json = serde_json::to_value(&verdict).expect("plain fields");
        assert_eq!(json["item_no"], 3);
        assert_eq!(json["code"], "account_not_found");
        assert_eq!(json["sqlstate"], "NB002");
        assert!(json["detail"].as_str().expect("a text").contains(&account.to_string()));
        let json = serde_json::to_value(Verdict::of(4, Ok(())).expect("posted")).expect("plain fields");
        assert_eq!(json, serde_json::json!({ "item_no": 4 }));
        for passing in [Error::IdInFlight, Error::ConcurrentUpdate, Error::Suppressed] {
            assert!(Verdict::of::<()>(1, Err(passing)).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_tally_counts_every_item_once(outcomes in proptest::collection::vec(any::<bool>(), 0..50)) {
            let verdict = |posted: &bool| {
                Verdict::of(1, if *posted { Ok(()) } else { Err(Error::LinkedFailed) }).expect("no server error")
            };
            let verdicts: Vec<Verdict> = outcomes.iter().map(verdict).collect();
            let tally = Tally::of(&verdicts);
            prop_assert_eq!(tally.attempted() as usize, outcomes.len());
            prop_assert_eq!(tally.completed as usize, outcomes.iter().filter(|posted| **posted).count());
        }
    }
}
