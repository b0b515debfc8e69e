//! Pairs of a line and a posting of which neither has another candidate: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A line of a statement, or an account's side of a posting.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// In the currency's smallest unit, signed as the account's balance changes.
    pub amount: i128,
    /// Days, counted from anywhere.
    pub day: i32,
    /// What it can be named by: a line's reference; a posting's reference and its id.
    pub references: Vec<String>,
    /// What it has in common with others: a line's counterparty, a posting's batch.
    pub batch: Option<String>,
}

/// Items by sign and day, each day's by magnitude.
pub struct Shelf(BTreeMap<(bool, i32), Vec<(u128, usize)>>);

/// How many items fit, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitting {
    None,
    One(usize),
    Several,
}

impl Shelf {
    pub fn of(items: &[Item], members: impl Iterator<Item = usize>) -> Self {
        let mut days: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for at in members {
            let item = &items[at];
            days.entry((item.amount < 0, item.day)).or_default().push((item.amount.unsigned_abs(), at));
        }
        days.values_mut().for_each(|day| day.sort_unstable());
        Shelf(days)
    }

    /// The days of the sign of `item`, at most `days` away.
    fn days(&self, item: &Item, days: i32) -> impl Iterator<Item = &Vec<(u128, usize)>> {
        let at = |day| (item.amount < 0, day);
        let range = at(item.day.saturating_sub(days))..=at(item.day.saturating_add(days));
        self.0.range(range).map(|(_, day)| day)
    }

    /// Magnitudes and indexes of the items there.
    pub fn near(&self, item: &Item, days: i32) -> impl Iterator<Item = (u128, usize)> {
        self.days(item, days).flatten().copied()
    }

    /// Those of the sign of `item`, at most `days` away, whose magnitude is `Equal`; `reach` ascends with it.
    fn fitting(&self, item: &Item, days: i32, reach: impl Fn(u128) -> Ordering) -> Fitting {
        let mut found = Fitting::None;
        for day in self.days(item, days) {
            let first = day.partition_point(|&(magnitude, _)| reach(magnitude) == Ordering::Less);
            for &(_, at) in day[first..].iter().take_while(|(m, _)| reach(*m) == Ordering::Equal).take(2) {
                if found != Fitting::None {
                    return Fitting::Several;
                }
                found = Fitting::One(at);
            }
        }
        found
    }
}

fn apart(magnitude: u128, low: u128, high: u128) -> Ordering {
    if magnitude < low {
        Ordering::Less
    } else if magnitude > high {
        Ordering::Greater
    } else {
        Ordering::Equal
    }
}

/// The postings that a line may be.
pub fn postings_for(line: &Item, postings: &Shelf, days: i32, tolerance: &dyn Fn(u128) -> u128) -> Fitting {
    let wanted = line.amount.unsigned_abs();
    let by = tolerance(wanted);
    postings.fitting(line, days, |m| apart(m, wanted.saturating_sub(by), wanted.saturating_add(by)))
}

/// The pairs of which neither has another candidate.
pub fn only_pairs(
    lines: (&[Item], &[usize]),
    postings: (&[Item], &[usize]),
    days: i32,
    tolerance: &dyn Fn(u128) -> u128,
) -> Vec<(usize, usize)> {
    let line_shelf = Shelf::of(lines.0, lines.1.iter().copied());
    let posting_shelf = Shelf::of(postings.0, postings.1.iter().copied());
    let mut pairs = Vec::new();
    for &line in lines.1 {
        let fitting = postings_for(&lines.0[line], &posting_shelf, days, tolerance);
        let Fitting::One(posting) = fitting else { continue };
        let magnitude = postings.0[posting].amount.unsigned_abs();
        // A line's reach grows with it, at either end.
        let others = line_shelf.fitting(&postings.0[posting], days, |m| {
            let by = tolerance(m);
            if m.saturating_add(by) < magnitude {
                Ordering::Less
            } else if m.saturating_sub(by) > magnitude {
                Ordering::Greater
            } else {
                Ordering::Equal
            }
        });
        if others == Fitting::One(line) {
            pairs.push((line, posting));
        }
    }
    pairs
}
