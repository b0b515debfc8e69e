//! The bounded search for amounts that add up to a sum.
#![forbid(unsafe_code)]

/// More candidates than this are not searched.
pub const MAX_CANDIDATES: usize = 24;
/// A subset has at most so many members.
pub const MAX_MEMBERS: usize = 8;
/// Steps of one search, and of all searches of one call.
const MAX_STEPS: u64 = 50_000;
const MAX_STEPS_OF_CALL: u64 = 20_000_000;

/// Steps that a call has left; when they are used up its searches find nothing more.
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Budget(MAX_STEPS_OF_CALL)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    None,
    Only(Vec<usize>),
    Several,
    /// Too many candidates, or out of steps: nothing is known.
    GaveUp,
}

struct Search<'a> {
    /// Descending.
    amounts: &'a [(u128, usize)],
    /// What all from here on add up to.
    rest: Vec<u128>,
    taken: Vec<usize>,
    found: Option<Vec<usize>>,
    several: bool,
    steps: u64,
}

impl Search<'_> {
    /// Answers whether the search may go on.
    fn from(&mut self, start: usize, wanted: u128) -> bool {
        if self.steps == 0 {
            return false;
        }
        self.steps -= 1;
        if wanted == 0 {
            if self.taken.len() < 2 {
                return true;
            }
            self.several = self.found.is_some();
            self.found.get_or_insert_with(|| self.taken.clone());
            return !self.several;
        }
        if self.taken.len() == MAX_MEMBERS {
            return true;
        }
        for at in start..self.amounts.len() {
            if self.rest[at] < wanted {
                return true;
            }
            let (amount, index) = self.amounts[at];
            if amount > wanted {
                continue;
            }
            self.taken.push(index);
            let go_on = self.from(at + 1, wanted - amount);
            self.taken.pop();
            if !go_on {
                return false;
            }
        }
        true
    }
}

/// The only 2 to [`MAX_MEMBERS`] of the candidates (amount above zero, index) that add up to `wanted`.
pub fn subset(wanted: u128, candidates: impl Iterator<Item = (u128, usize)>, budget: &mut Budget) -> Answer {
    let mut amounts: Vec<_> = candidates.take(MAX_CANDIDATES + 1).collect();
    if amounts.len() > MAX_CANDIDATES || budget.0 == 0 {
        return Answer::GaveUp;
    }
    amounts.sort_unstable_by(|a, b| b.cmp(a));
    let mut rest: Vec<u128> = amounts
        .iter()
        .rev()
        .scan(0u128, |sum, (amount, _)| {
            *sum += amount;
            Some(*sum)
        })
        .collect();
    rest.reverse();
    let steps = MAX_STEPS.min(budget.0);
    let (taken, found) = (Vec::with_capacity(MAX_MEMBERS), None);
    let mut search = Search { amounts: &amounts, rest, taken, found, several: false, steps };
    search.from(0, wanted);
    budget.0 -= steps - search.steps;
    match search.found {
        _ if search.several => Answer::Several,
        _ if search.steps == 0 => Answer::GaveUp,
        None => Answer::None,
        Some(mut members) => {
            members.sort_unstable();
            Answer::Only(members)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every subset, one by one.
    fn by_force(wanted: u128, amounts: &[u128]) -> Answer {
        let mut answer = Answer::None;
        for mask in 0u32..1 << amounts.len() {
            let members: Vec<usize> = (0..amounts.len()).filter(|at| mask >> at & 1 == 1).collect();
            let sum: u128 = members.iter().map(|&at| amounts[at]).sum();
            if sum == wanted && (2..=MAX_MEMBERS).contains(&members.len()) {
                match answer {
                    Answer::None => answer = Answer::Only(members),
                    _ => return Answer::Several,
                }
            }
        }
        answer
    }

    proptest! {
        #[test]
        fn it_answers_what_trying_all_answers(amounts in proptest::collection::vec(1u128..60, 0..12), wanted in 1u128..200) {
            let candidates = amounts.iter().copied().zip(0..);
            let found = subset(wanted, candidates, &mut Budget::default());
            prop_assert_eq!(found, by_force(wanted, &amounts));
        }

        #[test]
        fn it_ends_whatever_it_is_given(amounts in proptest::collection::vec(1u128..1_000_000, 20..40), wanted in 1u128..8_000_000) {
            let mut budget = Budget::default();
            let found = subset(wanted, amounts.iter().copied().zip(0..), &mut budget);
            prop_assert!(budget.0 >= MAX_STEPS_OF_CALL - MAX_STEPS);
            if let Answer::Only(members) = found {
                prop_assert_eq!(members.iter().map(|&at| amounts[at]).sum::<u128>(), wanted);
            }
            if amounts.len() > MAX_CANDIDATES {
                prop_assert_eq!(budget.0, MAX_STEPS_OF_CALL);
            }
        }
    }
}
