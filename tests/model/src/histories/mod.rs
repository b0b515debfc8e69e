//! The history of accounts: corrections of years before the accounts were opened, and questions about those years.
//!
//! What changes while a run goes on has times that the model does not know; those years have none but what corrections
//! say of them, and the opening, which a correction up to now reaches.

mod rules;

pub use rules::HISTORIES;

use crate::generate::Generator;
use neobank_sessions::{Decimal, Uuid};

/// The first of the years, and how many there are.
const FIRST: usize = 2001;
pub const YEARS: usize = 6;

/// An attribute with a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    Status(&'static str),
    Limit(Decimal),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Historical {
    /// From the beginning of a year to that of another, or to now.
    Correct { account: Uuid, from: usize, to: Option<usize>, change: Change },
    /// What it was in the middle of a year, as it is known now.
    Ask { account: Uuid, year: usize },
}

fn begin_of(year: usize) -> String {
    format!("'{}-01-01 00:00:00Z'", FIRST + year)
}

impl Historical {
    pub fn name(&self) -> &'static str {
        match self {
            Historical::Correct { .. } => "correction",
            Historical::Ask { .. } => "account of the past",
        }
    }

    pub fn sql(&self) -> String {
        match self {
            Historical::Correct { account, from, to, change } => {
                let change = match change {
                    Change::Status(status) => format!(r#"{{"account_status": "{status}"}}"#),
                    Change::Limit(limit) => format!(r#"{{"overdraft_limit": {limit}}}"#),
                };
                let to = to.map_or("null".to_owned(), begin_of);
                format!("select temporal.correct('{account}', {}, {to}, '{change}', 'as it was')", begin_of(*from))
            }
            Historical::Ask { account, year } => format!(
                "select account_status, trim_scale(overdraft_limit) \
                 from temporal.get_account_as_of('{account}', '{}-06-30', 'infinity')",
                FIRST + year
            ),
        }
    }
}

impl Generator<'_> {
    pub(crate) fn historical(&mut self) -> Historical {
        let account = self.account();
        if self.one_in(2) {
            return Historical::Ask { account, year: self.dice.below(YEARS) };
        }
        let from = self.dice.below(YEARS);
        // Some are empty or inverted.
        let to = (!self.one_in(3)).then(|| (from + self.dice.below(4)).min(YEARS - 1));
        let change = match self.dice.below(5) {
            0..3 => Change::Status(self.pick(&["active", "dormant", "frozen", "closed"])),
            _ => Change::Limit(Decimal::from(self.dice.below(4) as i64 * 50 - 10 * i64::from(self.one_in(10)))),
        };
        Historical::Correct { account, from, to, change }
    }
}
