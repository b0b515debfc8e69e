//! What keeps an account's balance and a statement's apart.
//!
//! At the end of a statement's period, exactly:
//!
//! ```text
//! ledger balance - closing balance =
//!     (ledger balance - opening balance) at the start of the period
//!   + postings of the period in no match - lines in no match
//!   + over all matches: postings of the period in it - lines of the statement in it
//! ```
//!
//! Each break carries its part of that, and the parts add up to the difference.

use super::core::{Item, ambiguous};
use super::matching::{Names, line_item, margin};
use super::postings::{self, Posting};
use super::store::{self, External, Line};
use crate::error::Error;
use crate::pg::{Arg, OwnerRights, Session, Statement, Type};
use crate::txn_processing::balances::balance_at;
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use uuid::Uuid;

static DIFFERENCES: Statement = Statement::new(
    c"SELECT m.match_id, m.difference FROM txn_processing.reconciliation_matches m WHERE m.match_id = ANY ($1)",
    &[Type::UuidArray],
);

/// One break; `difference` is its part of ledger balance less statement balance.
pub struct Break {
    pub kind: &'static str,
    pub line: Option<(Uuid, i32)>,
    pub posting: Option<(Uuid, i16)>,
    pub matched: Option<Uuid>,
    pub day: i32,
    pub age_days: i32,
    pub amount: Decimal,
    pub difference: Decimal,
    pub reference: Option<String>,
}

/// A statement held against its account, at the caller's snapshot.
pub struct Picture {
    pub external: External,
    pub opening_difference: Decimal,
    pub ledger_balance: Decimal,
    lines: Vec<Line>,
    postings: Vec<Posting>,
    ambiguous: Vec<bool>,
    /// Opening balance less the closing balance of the statement before, where that is not the day before's or differs.
    gap: Option<Decimal>,
    /// Of each match with members here: postings of the period less lines of the statement.
    matches: BTreeMap<Uuid, Decimal>,
    differences: BTreeMap<Uuid, Decimal>,
}

impl Picture {
    pub fn of(statement: Uuid) -> Result<Self, Error> {
        let _rights = OwnerRights::to_read();
        let session = Session::read();
        let external = store::external(&session, statement)?;
        let exponent = external.mirror.exponent;
        let rules = store::rules(&session, &external.source, exponent)?;
        let lines = store::lines(&Session::read(), statement)?;
        let mut postings = postings::around(Session::read, &external, margin(&rules))?;
        let open_lines = lines.iter().filter(|line| line.matched.is_none());
        let open_lines: Vec<Item> = open_lines.map(|line| line_item(line, exponent)).collect();
        let names = Names::of(&open_lines);
        let open = postings.iter().filter(|posting| posting.matched.is_none());
        let open: Vec<Item> = open.map(|posting| names.item(posting, exponent)).collect();
        let ambiguous = ambiguous(&open_lines, &open, &rules);
        drop(open);
        postings.retain(|posting| (external.start..external.end).contains(&posting.at));
        postings.sort_unstable_by_key(|posting| (posting.at, posting.transaction, posting.leg));
        let mut matches: BTreeMap<Uuid, Decimal> = BTreeMap::new();
        for (id, amount) in postings.iter().filter_map(|p| Some((p.matched?, p.amount))) {
            *matches.entry(id).or_default() += amount;
        }
        for (id, amount) in lines.iter().filter_map(|line| Some((line.matched?, line.amount))) {
            *matches.entry(id).or_default() -= amount;
        }
        let uneven: Vec<Uuid> =
            matches.iter().filter(|(_, part)| !part.is_zero()).map(|(id, _)| *id).collect();
        let differences = session
            .run(&DIFFERENCES, &[Arg::UuidArray(&uneven)])?
            .iter()
            .filter_map(|row| row.uuid(1).zip(row.numeric(2)))
            .collect();
        let before = store::begun_by(&session, external.account, &external.source, external.from - 1)?;
        let gap = before
            .filter(|other| other.to + 1 != external.from || other.closing != external.opening)
            .map(|other| external.opening - other.closing);
        Ok(Picture {
            opening_difference: balance_at(external.account, external.start - 1)? - external.opening,
            ledger_balance: balance_at(external.account, external.end - 1)?,
            external,
            lines,
            postings,
            ambiguous,
            gap,
            matches,
            differences,
        })
    }

    fn at_opening(&self, kind: &'static str, amount: Decimal, difference: Decimal) -> Break {
        Break {
            kind,
            line: None,
            posting: None,
            matched: None,
            day: self.external.from,
            age_days: self.external.today - self.external.from,
            amount,
            difference,
            reference: None,
        }
    }

    fn of_line(&self, line: &Line, ambiguous: bool) -> Break {
        Break {
            kind: if ambiguous { "ambiguous" } else { "line_without_posting" },
            line: Some((line.id, line.no)),
            day: line.day,
            age_days: self.external.today - line.day,
            reference: line.reference.clone(),
            ..self.at_opening("", line.amount, -line.amount)
        }
    }

    fn of_posting(&self, posting: &Posting) -> Break {
        Break {
            kind: "posting_without_line",
            posting: Some((posting.transaction, posting.leg)),
            day: posting.day,
            age_days: self.external.today - posting.day,
            reference: posting.given_reference.clone().or_else(|| Some(posting.generated_reference())),
            ..self.at_opening("", posting.amount, posting.amount)
        }
    }

    /// A match that does not come out even here: by a difference in amount, or with members outside of the period.
    fn of_match(&self, id: Uuid, part: Decimal) -> Break {
        let in_full = self.differences.get(&id) == Some(&part);
        let day = self.lines.iter().filter(|line| line.matched == Some(id)).map(|line| line.day);
        let days = day.chain(self.postings.iter().filter(|p| p.matched == Some(id)).map(|p| p.day));
        let day = days.min().unwrap_or(self.external.from);
        Break {
            kind: if in_full { "amount_difference" } else { "timing" },
            matched: Some(id),
            day,
            age_days: self.external.today - day,
            ..self.at_opening("", part, part)
        }
    }

    /// All breaks, in a fixed order.
    pub fn breaks(&self) -> Vec<Break> {
        let mut breaks = Vec::new();
        if !self.opening_difference.is_zero() {
            breaks.push(self.at_opening(
                "opening_difference",
                self.opening_difference,
                self.opening_difference,
            ));
        }
        if let Some(gap) = self.gap {
            // Part of the opening difference already.
            breaks.push(self.at_opening("gap", gap, Decimal::ZERO));
        }
        let open_lines = self.lines.iter().filter(|line| line.matched.is_none());
        breaks
            .extend(open_lines.zip(&self.ambiguous).map(|(line, ambiguous)| self.of_line(line, *ambiguous)));
        let open_postings = self.postings.iter().filter(|posting| posting.matched.is_none());
        breaks.extend(open_postings.map(|posting| self.of_posting(posting)));
        let uneven = self.matches.iter().filter(|(_, part)| !part.is_zero());
        breaks.extend(uneven.map(|(id, part)| self.of_match(*id, *part)));
        breaks
    }

    pub fn line_count(&self) -> usize {
        self.lines.len()
    }
}
