//! What a statement may come to: an answer, or a refusal with a code that is documented and a text that a person can
//! read.

use neobank_sessions::{Refusal, repository_root};
use std::collections::BTreeSet;
use std::fs;

/// The longest text of an error, however long the argument was that it is about.
const LONGEST: usize = 2_000;

/// What a program writes that nobody meant to be read.
const LEFTOVERS: &[&str] =
    &["panicked", "unwrap", "src/", ".rs:", "Some(", "Ok(", "Err(", "RUST_BACKTRACE", "called `"];

/// What is asked for decides which of the server's codes are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A function, with arguments of its types.
    Call,
    /// A function that is given a statement, or names for objects that it makes: the server says what is wrong with them.
    Statement,
    /// A function that only the server calls.
    Trigger,
    /// A query, or a direct write.
    Table,
    /// SET of a setting, or a call while it is set.
    Setting,
}

pub struct Verdict {
    documented: BTreeSet<String>,
}

/// What any statement may meet: rights, a lack of resources, too deep a nesting, a cancel, a lock, a conflict.
const ALWAYS: &[&str] = &["42501", "57014", "55P03", "40001", "40P01", "54000", "54001", "53100", "53200", "53300"];
/// NULL where a value is needed; a role that is not there; a procedure that commits, called in a transaction.
const CALL: &[&str] = &["22004", "42704", "2D000"];
/// Constraints, lengths, columns that are generated, values that no operator of the column's type takes, views that are none to write to.
const TABLE: &[&str] = &[
    "23502", "23503", "23505", "23514", "22001", "428C9", "22003", "22007", "22008", "22P02", "22023", "42804", "55000",
];

impl Default for Verdict {
    fn default() -> Self {
        Verdict::new()
    }
}

impl Verdict {
    /// The extension's own codes are those of docs/errors.md.
    pub fn new() -> Verdict {
        let text = fs::read_to_string(repository_root().join("docs/errors.md")).expect("docs/errors.md is there");
        let documented: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| NB")?.split(' ').next().map(|number| format!("NB{number}")))
            .collect();
        assert!(documented.len() > 40, "docs/errors.md lists the codes: {documented:?}");
        Verdict { documented }
    }

    fn is_in_order(&self, asked: Asked, code: &str) -> bool {
        if asked == Asked::Statement && ["0A", "22", "23", "25", "3F", "42"].iter().any(|class| code.starts_with(class))
        {
            return true;
        }
        let further: &[&str] = match asked {
            Asked::Call | Asked::Statement => CALL,
            Asked::Trigger => &["0A000", "39P01", "39P03"],
            Asked::Table => TABLE,
            Asked::Setting => &["22004", "22023", "55P02", "42704", "2D000"],
        };
        ALWAYS.contains(&code) || further.contains(&code) || self.documented.contains(code)
    }

    /// What is wrong with this error, if anything is.
    pub fn fault(&self, asked: Asked, refusal: &Refusal) -> Option<String> {
        if refusal.code == "client" {
            return Some("the connection broke, or the answer is no text".to_owned());
        }
        if !self.is_in_order(asked, &refusal.code) {
            return Some(format!("SQLSTATE {} is none that this may raise", refusal.code));
        }
        let own = refusal.code.starts_with("NB");
        if own && (refusal.message.starts_with(char::is_uppercase) || refusal.message.ends_with('.')) {
            return Some("the message is not in house style".to_owned());
        }
        if own && refusal.hint.is_empty() {
            return Some("no hint says what to do".to_owned());
        }
        // The server's parser repeats the word at which it stops, as long as that is: of a text that was to be explained.
        let is_parsers = refusal.code == "42601";
        let own_texts = [&refusal.message, &refusal.detail, &refusal.hint].into_iter().skip(usize::from(is_parsers));
        own_texts.into_iter().find_map(|text| self.fault_of_text(text))
    }

    fn fault_of_text(&self, text: &str) -> Option<String> {
        if text.len() > LONGEST {
            return Some(format!("a text of {} bytes", text.len()));
        }
        LEFTOVERS.iter().find(|leftover| text.contains(**leftover)).map(|leftover| format!("a text with {leftover:?}"))
    }

    /// The same for an answer as JSON that tells a refusal. None where it tells something else.
    pub fn told(&self, line: &str) -> Option<Result<(), String>> {
        let answer: serde_json::Value = serde_json::from_str(line).ok()?;
        if answer.get("success")? != false {
            return None;
        }
        let text = |key: &str| answer.get(key).and_then(|value| value.as_str()).unwrap_or_default();
        if text("code").is_empty() || text("error").is_empty() {
            return Some(Err("a refusal without a code or a text".to_owned()));
        }
        // Words without a code are about the request, not about a posting.
        let sqlstate = text("sqlstate");
        if !sqlstate.is_empty() && !self.is_in_order(Asked::Call, sqlstate) {
            return Some(Err(format!("SQLSTATE {sqlstate} is none that this may answer")));
        }
        let fault = ["error", "detail", "hint"].into_iter().find_map(|key| self.fault_of_text(text(key)));
        Some(fault.map_or(Ok(()), Err))
    }
}
