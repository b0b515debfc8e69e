//! Attempts: which failures are tried again, and when.
#![forbid(unsafe_code)]

use super::definition::Backoff;
use super::state::{Effort, Failure, Micros};

const MICROS_PER_MS: i64 = 1_000;

/// How often an attempt may be put off because of a lock before that counts as a failure.
const MOST_PUT_OFF: i32 = 100;

/// Delays of what was put off, in milliseconds: the first, and the most.
const PUT_OFF_MS: (i64, i64) = (50, 5_000);

/// Whether others stood in the way, which says nothing about what was tried: serialization failure, deadlock, lock
/// timeout.
pub fn is_in_the_way(sqlstate: &str) -> bool {
    matches!(sqlstate, "40001" | "40P01" | "55P03")
}

/// Whether the same attempt would fail again: a refusal of this extension's, bad data, a constraint, a missing object or
/// right. A version conflict (NB101), a lost claim (NB030) and a saga that is under way (NB206) are none.
pub fn is_final(sqlstate: &str) -> bool {
    let class = sqlstate.get(..2).unwrap_or_default();
    matches!(class, "22" | "23" | "42" | "NB") && !matches!(sqlstate, "NB101" | "NB030" | "NB206")
}

/// Between half of the bound and all of it: `first` after the first failure, doubled with each further one.
fn delay_ms((first, most): (i64, i64), failures: i32, roll: u32) -> i64 {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(40);
    let bound = first.saturating_mul(1 << doublings).min(most);
    let half = bound / 2;
    // Bounds are far below 2^40 milliseconds, so the product fits.
    half + ((i128::from(bound - half + 1) * i128::from(roll)) >> 32) as i64
}

impl Effort {
    /// Another attempt after a failure.
    pub(super) fn back_off(&mut self, now: Micros, backoff: Backoff, roll: u32) {
        let delay = delay_ms((backoff.first_ms, backoff.most_ms), self.attempts, roll);
        self.next_attempt_at = Some(now + delay * MICROS_PER_MS);
    }

    pub(super) fn may_be_put_off(&mut self) -> bool {
        if self.put_off < MOST_PUT_OFF {
            return true;
        }
        self.put_off = 0;
        false
    }

    /// The attempt that was under way counts as none.
    pub(super) fn put_off(&mut self, now: Micros, roll: u32, failure: Failure) {
        self.fail(&failure);
        self.put_off += 1;
        self.attempts -= 1;
        // At least a millisecond: what is put off is not due at the same moment.
        let delay = delay_ms(PUT_OFF_MS, self.put_off, roll).max(1);
        self.next_attempt_at = Some(now + delay * MICROS_PER_MS);
    }

    pub(super) fn begin(&mut self, now: Micros) {
        self.attempts += 1;
        self.next_attempt_at = None;
        self.started_at.get_or_insert(now);
    }

    pub(super) fn succeed(&mut self, now: Micros) {
        self.completed_at = Some(now);
        self.failure = None;
        self.next_attempt_at = None;
        self.leased_until = None;
    }

    pub(super) fn fail(&mut self, failure: &Failure) {
        self.failure = Some(failure.clone());
        self.leased_until = None;
        self.next_attempt_at = None;
    }

    /// A person says that it is done. Whatever the worker that had it last would say now, it has not been done by that.
    pub(super) fn settle(&mut self, now: Micros) {
        self.completed_at = Some(now);
        self.lease_token = None;
    }

    /// A person wants it tried anew.
    pub(super) fn start_over(&mut self, now: Micros) {
        self.attempts = 0;
        self.put_off = 0;
        self.next_attempt_at = Some(now);
    }

    pub(super) fn is_due(&self, now: Micros) -> bool {
        self.next_attempt_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_most() {
        for (failures, bound) in [(1, 1_000), (2, 2_000), (5, 16_000), (60, 300_000)] {
            assert_eq!(delay_ms((1_000, 300_000), failures, 0), bound / 2);
            assert_eq!(delay_ms((1_000, 300_000), failures, u32::MAX), bound);
        }
        assert_eq!(delay_ms((0, 0), 3, u32::MAX), 0);
    }

    #[test]
    fn refusals_are_final_and_locks_are_not() {
        assert!(["NB001", "23505", "22012", "42883"].iter().all(|code| is_final(code)));
        assert!(["NB101", "P0001", "40001", "58030", "XX000"].iter().all(|code| !is_final(code)));
    }
}
