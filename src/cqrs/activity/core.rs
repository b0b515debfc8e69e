//! Where marks are: no server, no clock, no randomness.
#![forbid(unsafe_code)]

/// Postings between two marks of a chain: so many at the most are read beside them, at each end of a span of time.
pub const STEP: i64 = 256;

/// The part of a chain of which the marks are to be made: after `after`, to `to`, `marks` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub after: i64,
    pub to: i64,
    pub marks: i64,
}

/// What lacks of a chain that begins after `start`, gives the number `end` next and has its newest mark at `newest`, no
/// more than `most` marks.
pub fn lacking(start: i64, end: i64, newest: Option<i64>, most: i64) -> Option<Lacking> {
    let after = newest.unwrap_or(start);
    assert!((after - start) % STEP == 0, "marks are at multiples of the step");
    let marks = ((end - 1 - after) / STEP).min(most);
    (marks > 0).then(|| Lacking { after, to: after + marks * STEP, marks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mark_stands_at_its_last_posting() {
        assert_eq!(lacking(0, 1, None, 9), None);
        assert_eq!(lacking(0, STEP, None, 9), None);
        assert_eq!(lacking(0, STEP + 1, None, 9), Some(Lacking { after: 0, to: STEP, marks: 1 }));
        assert_eq!(lacking(0, 2 * STEP, Some(STEP), 9), None);
        let slot = 3 << 48;
        let found = lacking(slot, slot + 5 * STEP + 7, Some(slot + 2 * STEP), 2);
        assert_eq!(found, Some(Lacking { after: slot + 2 * STEP, to: slot + 4 * STEP, marks: 2 }));
    }

    proptest! {
        #[test]
        fn after_all_steps_less_than_a_step_is_left(postings in 0i64..1_000_000, most in 1i64..100) {
            let (mut newest, mut made) = (None, 0);
            while let Some(step) = lacking(0, postings + 1, newest, most) {
                prop_assert!(step.marks <= most && step.to <= postings);
                newest = Some(step.to);
                made += step.marks;
            }
            prop_assert!(postings - newest.unwrap_or(0) < STEP);
            prop_assert_eq!(made, postings / STEP);
        }
    }
}
