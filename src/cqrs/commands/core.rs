//! What becomes of a command that failed: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::txn_processing::is_transient;

/// The most attempts that a command may ask for.
pub const MAX_ATTEMPTS: i32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is tried another time.
    Again,
    Failed,
}

/// Whether to try again a command that has now failed `attempts` times. Beside what the server may get over, a version
/// conflict: the handler decides anew.
pub fn fate(sqlstate: &str, attempts: i32, max_attempts: i32) -> Fate {
    let passes = is_transient(sqlstate) || sqlstate == "NB101";
    if passes && attempts < max_attempts { Fate::Again } else { Fate::Failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_so_often_and_the_rest_once() {
        for sqlstate in ["40001", "40P01", "55P03", "53200", "NB101"] {
            assert_eq!(fate(sqlstate, 1, 3), Fate::Again);
            assert_eq!(fate(sqlstate, 3, 3), Fate::Failed);
            assert_eq!(fate(sqlstate, 1, 1), Fate::Failed);
        }
        for sqlstate in ["NB001", "42501", "P0001", "NB121", "22004"] {
            assert_eq!(fate(sqlstate, 1, 3), Fate::Failed);
        }
    }
}
