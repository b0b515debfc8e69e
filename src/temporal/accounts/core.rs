//! An account's periods, and how a correction splits them: no server, no clock.
#![forbid(unsafe_code)]

use rust_decimal::Decimal;
use uuid::Uuid;

/// What is recorded of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Nobody: the bank's own account.
    pub customer: Option<Uuid>,
    pub number: String,
    pub account_type: String,
    pub status: String,
    pub overdraft_limit: Decimal,
}

/// What a correction sets; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub customer: Option<Uuid>,
    pub number: Option<String>,
    pub account_type: Option<String>,
    pub status: Option<String>,
    pub overdraft_limit: Option<Decimal>,
}

impl Changes {
    pub fn applied(&self, to: &Attributes) -> Attributes {
        let or = |new: &Option<String>, old: &String| new.as_ref().unwrap_or(old).clone();
        Attributes {
            customer: self.customer.or(to.customer),
            number: or(&self.number, &to.number),
            account_type: or(&self.account_type, &to.account_type),
            status: or(&self.status, &to.status),
            overdraft_limit: self.overdraft_limit.unwrap_or(to.overdraft_limit),
        }
    }
}

/// A period that is recorded now, to the end of time where `to` is none. Periods of an account leave no gap.
#[derive(Clone, Debug)]
pub struct Period {
    pub row: i64,
    pub from: i64,
    pub to: Option<i64>,
    pub attributes: Attributes,
}

impl Period {
    fn ends_by(&self, at: i64) -> bool {
        self.to.is_some_and(|to| to <= at)
    }
}

/// A period that takes the place of what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What stays of a row.
    Rest {
        row: i64,
        from: i64,
        to: Option<i64>,
    },
    Corrected {
        from: i64,
        to: i64,
        attributes: Attributes,
    },
}

/// Rows that are no longer what is known, and what is in their place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub closed: Vec<i64>,
    pub parts: Vec<Part>,
}

/// The correction would leave a time without a period between itself and the account's first.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap {
    pub first: i64,
}

/// Corrects the periods from `from` to `to`, of which the former is earlier. `periods` are in their order those that
/// overlap or begin at `to`; those that read so already stay. Where `from` is before the first of all, `first`, that
/// one's beginning is what it was before.
pub fn corrected(periods: &[Period], first: i64, from: i64, to: i64, changes: &Changes) -> Result<Plan, Gap> {
    let mut plan = Plan::default();
    if from < first {
        let earliest = periods.first().filter(|period| period.from == first && first <= to);
        let Some(earliest) = earliest else { return Err(Gap { first }) };
        let attributes = changes.applied(&earliest.attributes);
        plan.parts.push(Part::Corrected { from, to: first, attributes });
    }
    for period in periods.iter().filter(|period| period.from < to && !period.ends_by(from)) {
        let attributes = changes.applied(&period.attributes);
        if attributes == period.attributes {
            continue;
        }
        let (begins, ends) = (period.from.max(from), period.to.map_or(to, |end| end.min(to)));
        plan.closed.push(period.row);
        if period.from < begins {
            plan.parts.push(Part::Rest { row: period.row, from: period.from, to: Some(begins) });
        }
        plan.parts.push(Part::Corrected { from: begins, to: ends, attributes });
        if !period.ends_by(ends) {
            plan.parts.push(Part::Rest { row: period.row, from: ends, to: period.to });
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attributes(status: u8) -> Attributes {
        Attributes {
            customer: None,
            number: "1".into(),
            account_type: "checking".into(),
            status: status.to_string(),
            overdraft_limit: Decimal::ZERO,
        }
    }

    fn periods(lengths: &[(u8, i64)]) -> Vec<Period> {
        let mut from = 0;
        let mut periods = Vec::new();
        for (at, (status, length)) in lengths.iter().enumerate() {
            let to = (at + 1 < lengths.len()).then_some(from + length);
            periods.push(Period { row: at as i64 + 1, from, to, attributes: attributes(*status) });
            from += length;
        }
        periods
    }

    /// The status at an instant, after the plan.
    fn status(periods: &[Period], plan: &Plan, at: i64) -> Vec<String> {
        let holds = |from: i64, to: Option<i64>| from <= at && to.is_none_or(|to| at < to);
        let mut found = Vec::new();
        for period in periods.iter().filter(|period| !plan.closed.contains(&period.row)) {
            if holds(period.from, period.to) {
                found.push(period.attributes.status.clone());
            }
        }
        for part in &plan.parts {
            match part {
                Part::Rest { row, from, to } if holds(*from, *to) => {
                    found.push(periods[*row as usize - 1].attributes.status.clone());
                }
                Part::Corrected { from, to, attributes } if holds(*from, Some(*to)) => {
                    found.push(attributes.status.clone());
                }
                _ => {}
            }
        }
        found
    }

    proptest! {
        /// Every instant has one status: the corrected one inside, the one before outside.
        #[test]
        fn a_correction_reads_so_inside_and_changes_nothing_outside(
            lengths in prop::collection::vec((0u8..3, 1i64..6), 1..6),
            from in -4i64..25,
            length in 1i64..12,
            new in 0u8..3,
        ) {
            let (all, to) = (periods(&lengths), from + length);
            let near: Vec<Period> =
                all.iter().filter(|p| p.from <= to && !p.ends_by(from)).cloned().collect();
            let changes = Changes { status: Some(new.to_string()), ..Changes::default() };
            let unchanged = Plan::default();
            match corrected(&near, 0, from, to, &changes) {
                Err(gap) => prop_assert!(from < 0 && to < 0 && gap.first == 0),
                Ok(plan) => {
                    prop_assert!(from >= 0 || to >= 0);
                    for at in -6..40 {
                        let before = status(&all, &unchanged, at);
                        let wanted = if from <= at && at < to { vec![new.to_string()] } else { before };
                        prop_assert_eq!(status(&all, &plan, at), wanted, "at {}", at);
                    }
                    for part in &plan.parts {
                        let (from, to) = match part {
                            Part::Rest { from, to, .. } => (*from, *to),
                            Part::Corrected { from, to, .. } => (*from, Some(*to)),
                        };
                        prop_assert!(to.is_none_or(|to| from < to));
                    }
                }
            }
        }
    }

    #[test]
    fn what_reads_so_already_stays() {
        let all = periods(&[(1, 5), (2, 5), (1, 5)]);
        let changes = Changes { status: Some("1".into()), ..Changes::default() };
        assert_eq!(corrected(&all, 0, 0, 5, &changes), Ok(Plan::default()));
        let plan = corrected(&all, 0, 2, 12, &changes).expect("no gap");
        let corrected = Part::Corrected { from: 5, to: 10, attributes: attributes(1) };
        assert_eq!(plan, Plan { closed: vec![2], parts: vec![corrected] });
    }
}
