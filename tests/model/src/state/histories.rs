//! What was known of the years before an account was opened.

use super::{State, done};
use crate::answer::{Answer, Faults, agree};
use crate::histories::{Change, Historical, YEARS};
use neobank_sessions::{Decimal, Uuid};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Was {
    status: &'static str,
    limit: Decimal,
}

/// By year, and last as it was when it was opened. The last year goes on until then.
#[derive(Clone, Debug)]
pub(super) struct Past {
    /// The first year in which the account was there.
    first: usize,
    years: [Was; YEARS + 1],
}

impl Past {
    pub(super) fn opened_with(limit: Decimal) -> Past {
        Past { first: YEARS, years: [Was { status: "active", limit }; YEARS + 1] }
    }
}

impl State {
    pub(super) fn accept_history(&mut self, historical: &Historical, seen: &Answer) -> Result<(), String> {
        match *historical {
            Historical::Ask { account, year } => {
                let past = self.pasts.get(&account).filter(|past| past.first <= year);
                let line = |was: Was| format!("{}|{}", was.status, was.limit.normalize());
                let wanted: Vec<String> = past.map(|past| line(past.years[year])).into_iter().collect();
                agree("the account in that year", done(seen)?, wanted.as_slice())
            }
            Historical::Correct { account, from, to, change } => {
                self.accept_correction(account, from, to, change, seen)
            }
        }
    }

    fn accept_correction(
        &mut self,
        id: Uuid,
        from: usize,
        to: Option<usize>,
        change: Change,
        seen: &Answer,
    ) -> Result<(), String> {
        let mut faults = Faults::default();
        faults.must("NB300", to.is_some_and(|to| to <= from));
        faults.must("NB005", matches!(change, Change::Limit(limit) if limit < Decimal::ZERO));
        self.named(id, &mut faults);
        let past = self.pasts.get(&id).cloned();
        let leaves_gap = |past: &Past| from < past.first && to.is_some_and(|to| to < past.first);
        faults.must("NB300", past.as_ref().is_some_and(leaves_gap));
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        let mut past = past.expect("it is a customer's");
        let mut changes = from < past.first;
        if changes {
            let earliest = past.years[past.first];
            past.years[from..past.first].fill(earliest);
            past.first = from;
        }
        for was in &mut past.years[from..to.unwrap_or(YEARS + 1)] {
            let before = *was;
            match change {
                Change::Status(status) => was.status = status,
                Change::Limit(limit) => was.limit = limit,
            }
            changes |= *was != before;
        }
        // Up to now there is what the run did, which the model has no times of.
        if changes || to.is_some() {
            agree("whether the past read otherwise", !lines[0].is_empty(), changes)?;
        }
        self.pasts.set(id, past);
        Ok(())
    }
}
