//! What a client asks for, the facts that then stand in the tables, and what it knows about them by the answer.
//!
//! A fact is a line of text, worded by [`crate::Maker`] before anything is sent and, from the rows of the tables, by
//! [`crate::check`]: a posting with its id, accounts and amount is one, a hold, a capture, an event, a queued request. The
//! last word of it is a star where the client cannot know it beforehand.

use neobank_sessions::{Refusal, Uuid};
use std::path::PathBuf;

/// How an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Rows are a success, an error is a refusal.
    Rows,
    /// A refusal is an answer of its own: `"success": false`.
    Json,
    /// A row per item of a batch, and a group of facts for each: ordinal, transaction, code and whatever.
    Items,
    /// Requests of the queue that it carried out: request, status, transaction.
    Claims,
}

/// What is known of a group of facts, which stand or fall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was sent, and not answered.
    Open,
    Acknowledged,
    Refused,
}

#[derive(Clone, Debug)]
pub struct Request {
    /// For the statistics.
    pub label: &'static str,
    pub sql: String,
    pub reading: Reading,
    pub facts: Vec<Vec<String>>,
    /// A posting that tells whether it was carried out.
    pub probe: Option<Uuid>,
    /// Sent again it answers the same, whatever has happened since.
    pub is_repeatable: bool,
    /// A refusal by which a request that is sent again may tell that the first one was carried out.
    pub done_before: &'static str,
}

/// A line of a client's journal.
#[derive(Clone, Debug)]
pub struct Entry {
    pub request: Request,
    pub standings: Vec<Standing>,
    pub answer: Vec<String>,
    /// Where the sockets are of the server that answered.
    pub answered_by: PathBuf,
    /// How often it was sent without an answer.
    pub lost: u32,
}

impl Entry {
    pub fn new(request: Request) -> Entry {
        let standings = vec![Standing::Open; request.facts.len()];
        Entry { request, standings, answer: Vec::new(), answered_by: PathBuf::new(), lost: 0 }
    }

    pub fn is_acknowledged(&self) -> bool {
        !self.standings.is_empty() && self.standings.iter().all(|standing| *standing == Standing::Acknowledged)
    }

    /// The facts that were acknowledged: of a batch, those of its items that were not refused.
    pub fn promised(&self) -> impl Iterator<Item = &String> {
        let groups = self.request.facts.iter().zip(&self.standings);
        groups.filter(|(_, standing)| **standing == Standing::Acknowledged).flat_map(|(group, _)| group)
    }

    /// Takes in what the server answered.
    pub fn answered(&mut self, answer: Result<Vec<String>, Refusal>) {
        let all = |standing: Standing| vec![standing; self.request.facts.len()];
        match answer {
            Err(refusal) if self.lost > 0 && refusal.code == self.request.done_before => {}
            Err(_) => self.standings = all(Standing::Refused),
            Ok(lines) => {
                match self.request.reading {
                    Reading::Rows => self.standings = all(Standing::Acknowledged),
                    Reading::Json => {
                        let said = lines[0].contains("\"success\": true");
                        self.standings = all(if said { Standing::Acknowledged } else { Standing::Refused });
                    }
                    Reading::Items => self.standings = lines.iter().map(|line| item(line)).collect(),
                    Reading::Claims => {
                        let done = lines.iter().filter_map(|line| line.strip_prefix("completed "));
                        self.request.facts = done.map(|claim| vec![format!("completed {claim}")]).collect();
                        self.standings = vec![Standing::Acknowledged; self.request.facts.len()];
                    }
                }
                self.answer = lines;
            }
        }
        assert_eq!(self.standings.len(), self.request.facts.len(), "an answer for every item: {self:?}");
    }
}

fn item(line: &str) -> Standing {
    let code = line.split('|').nth(2).expect("the third column is the code");
    if code == "ok" { Standing::Acknowledged } else { Standing::Refused }
}
