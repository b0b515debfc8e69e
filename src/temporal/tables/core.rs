//! When a plain statement's change is known from, and whether it may go the short way.
#![forbid(unsafe_code)]

/// The newest row of a key, as the statement finds it; instants in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Newest {
    pub valid_from: i64,
    pub known_from: i64,
    /// Recorded by the transaction that is under way.
    pub is_own: bool,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It ends at this instant on both axes, and the new one begins.
    EndAt(i64),
    /// Nobody has seen it: it is written over.
    Overwrite,
    /// It was recorded ahead of its time, or past its table's statements: this takes more than a step.
    Settle,
}

/// `began`: the start of the transaction.
pub fn step(newest: Newest, began: i64) -> Step {
    let Newest { valid_from, known_from, is_own } = newest;
    if is_own && known_from >= began {
        return if valid_from == known_from { Step::Overwrite } else { Step::Settle };
    }
    // A transaction that began later may have been first: then this one comes right after it.
    let instant = began.max(known_from.saturating_add(1));
    if valid_from <= known_from && valid_from < instant { Step::EndAt(instant) } else { Step::Settle }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use super::*;
    use pgrx::pg_test;

    #[pg_test]
    fn periods_are_never_empty_or_inverted() {
        for valid_from in -3..4 {
            for known_from in -3..4 {
                for began in -3..4 {
                    for is_own in [false, true] {
                        let newest = Newest { valid_from, known_from, is_own };
                        if let Step::EndAt(instant) = step(newest, began) {
                            assert!(
                                instant >= began && instant > valid_from && instant > known_from,
                                "{newest:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[pg_test]
    fn what_is_scheduled_or_corrected_takes_more_than_a_step() {
        let newest = |valid_from, known_from, is_own| Newest { valid_from, known_from, is_own };
        assert_eq!(step(newest(5, 5, false), 9), Step::EndAt(9));
        assert_eq!(step(newest(5, 20, false), 9), Step::EndAt(21));
        assert_eq!(step(newest(30, 20, false), 9), Step::Settle);
        assert_eq!(step(newest(9, 9, true), 9), Step::Overwrite);
        assert_eq!(step(newest(2, 9, true), 9), Step::Settle);
        // A restored row may bear the number of a transaction of this cluster's.
        assert_eq!(step(newest(5, 5, true), 9), Step::EndAt(9));
    }
}
