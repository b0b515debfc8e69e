//! Batches: items one after the other, chains that stand or fall together.

use super::State;
use super::rows::{Content, Same};
use crate::answer::{Answer, Faults, agree, code_of, figure_in};
use crate::op::Item;
use neobank_sessions::Decimal;

/// A row of the answer: the id, a code, and two balances.
struct Row {
    id: String,
    code: String,
    balances: (Option<Decimal>, Option<Decimal>),
}

fn rows(lines: &[String], items: usize) -> Result<Vec<Row>, String> {
    agree("rows of a batch", lines.len(), items)?;
    let row = |line: &String| {
        let columns: Vec<&str> = line.split('|').collect();
        let code = if columns[2] == "ok" { "ok".to_owned() } else { code_of(columns[2]) };
        Row { id: columns[1].to_owned(), code, balances: (figure_in(columns[3]), figure_in(columns[4])) }
    };
    Ok(lines.iter().map(row).collect())
}

impl State {
    /// What the item answers is one of its faults, or a posting; the state is then as after it.
    fn accept_item(&mut self, item: &Item, code: &str) -> Result<(), String> {
        let posting = &item.posting;
        let mut faults = Faults::default();
        let posted = self.draft(posting, &mut faults);
        match self.repeats(posting.id, &Content::Post(posting.clone())) {
            Some(Same::Yes) if code == "ok" => return Ok(()),
            Some(Same::Yes) => return Err(format!("a retry is refused with {code}: {item:?}")),
            Some(_) => faults.must("NB007", true),
            None => {}
        }
        if code != "ok" {
            return faults.allow(code).map_err(|error| format!("{item:?}: {error}"));
        }
        faults.allow_success().map_err(|error| format!("{item:?}: {error}"))?;
        self.book(Some(posting.id), posted.expect("nothing is wrong with it"));
        Ok(())
    }

    /// A chain that was felled: one item is told a fault of its own after those before it were fine, and nothing stays.
    fn accept_felled(&mut self, chain: &[Item], cause: usize, code: &str) -> Result<(), String> {
        let before = self.mark();
        let mut accepted = Ok(());
        for (at, item) in chain[..=cause].iter().enumerate() {
            accepted = accepted.and_then(|()| self.accept_item(item, if at == cause { code } else { "ok" }));
        }
        self.back_to(before);
        accepted
    }

    fn accept_chain(&mut self, chain: &[Item], rows: &[Row]) -> Result<(), String> {
        let Some(cause) = rows.iter().position(|row| row.code != "ok" && row.code != "NB028") else {
            for (item, row) in chain.iter().zip(rows) {
                self.accept_item(item, &row.code)?;
                agree("the id of an item", row.id.as_str(), &item.posting.id.to_string())?;
                let (from, to) = self.postings.get(&item.posting.id).expect("it was posted").balances;
                let named = (item.posting.from.and(from), item.posting.to.and(to));
                agree("balances of an item", row.balances, named)?;
            }
            return Ok(());
        };
        for (at, row) in rows.iter().enumerate().filter(|(at, _)| *at != cause) {
            agree(&format!("the code of item {at} of a felled chain"), row.code.as_str(), "NB028")?;
        }
        self.accept_felled(chain, cause, &rows[cause].code)
    }

    pub(super) fn accept_batch(&mut self, items: &[Item], atomic: bool, seen: &Answer) -> Result<(), String> {
        match seen {
            Answer::Refused(code) if atomic => {
                let causes: Vec<_> = (0..items.len()).map(|cause| self.accept_felled(items, cause, code)).collect();
                match causes.iter().any(Result::is_ok) {
                    true => Ok(()),
                    false => Err(format!("no item is refused with {code}: {causes:#?}")),
                }
            }
            Answer::Refused(code) => Err(format!("a batch that is not atomic raises {code}")),
            Answer::Done(lines) if atomic => self.accept_chain(items, &rows(lines, items.len())?),
            Answer::Done(lines) => {
                let mut rows = rows(lines, items.len())?.into_iter();
                for chain in items.split_inclusive(|item| !item.linked) {
                    let answers: Vec<Row> = rows.by_ref().take(chain.len()).collect();
                    self.accept_chain(chain, &answers)?;
                }
                Ok(())
            }
        }
    }
}
