//! Making matches and undoing them, one session at a time per account.

use super::core::{Item, Rule, ambiguous, matched};
use super::postings::{self, Posting};
use super::store::{self, External, Line, Member, NewMatch, units};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use crate::txn_processing::bounds::given_reason;
use crate::txn_processing::engine::Desk;
use rust_decimal::Decimal;
use std::collections::HashSet;
use uuid::Uuid;

/// Lines, and transactions, of one manual match.
const MAX_MEMBERS: usize = 1_000;

static LINES_BY_ID: Statement = Statement::new(
    c"SELECT l.line_id, s.account_id, l.amount,
             EXISTS (SELECT FROM txn_processing.reconciliation_match_lines m WHERE m.line_id = l.line_id AND m.in_force)
      FROM txn_processing.external_lines l
      JOIN txn_processing.external_statements s ON s.statement_id = l.statement_id
      WHERE l.line_id = ANY ($1)",
    &[Type::UuidArray],
);

static MATCH: Statement = Statement::new(
    c"SELECT m.account_id, m.undone_at IS NULL FROM txn_processing.reconciliation_matches m WHERE m.match_id = $1",
    &[Type::Uuid],
);

static UNDO: Statement = Statement::new(
    c"UPDATE txn_processing.reconciliation_matches
      SET undone_by = $2, undone_at = clock_timestamp(), undo_reason = $3 WHERE match_id = $1",
    &[Type::Uuid, Type::Text, Type::Text],
);

static FREE_LINES: Statement = Statement::new(
    c"UPDATE txn_processing.reconciliation_match_lines SET in_force = false WHERE match_id = $1",
    &[Type::Uuid],
);

static FREE_POSTINGS: Statement = Statement::new(
    c"UPDATE txn_processing.reconciliation_match_postings SET in_force = false WHERE match_id = $1",
    &[Type::Uuid],
);

/// A line as the matching sees it.
pub fn line_item(line: &Line, exponent: u32) -> Item {
    Item {
        amount: units(line.amount, exponent),
        day: line.day,
        references: line.reference.as_deref().map(name).into_iter().collect(),
        batch: line.counterparty.clone(),
    }
}

/// The references of lines: a posting's are of use only where they are among them, and most postings have many more
/// bytes of reference than of anything else.
pub struct Names {
    names: HashSet<String>,
    has_ids: bool,
    has_generated: bool,
}

impl Names {
    pub fn of(lines: &[Item]) -> Self {
        let names: HashSet<String> = lines.iter().flat_map(|line| line.references.iter().cloned()).collect();
        let has_ids = names.iter().any(|name| Uuid::parse_str(name).is_ok());
        let has_generated = names.iter().any(|name| name.starts_with("TXN-") || name.starts_with("REV-"));
        Names { names, has_ids, has_generated }
    }

    /// A posting as the matching sees it: it goes by its reference, given or generated, and by its id.
    pub fn item(&self, posting: &Posting, exponent: u32) -> Item {
        let given = posting.given_reference.as_deref().map(name);
        let generated = || self.has_generated.then(|| posting.generated_reference());
        let id = self.has_ids.then(|| posting.transaction.to_string());
        let references = given.or_else(generated).into_iter().chain(id);
        Item {
            amount: units(posting.amount, exponent),
            day: posting.day,
            references: references.filter(|name| self.names.contains(name)).collect(),
            batch: posting.batch.clone(),
        }
    }
}

/// A reference without the blanks around it; an id in the one way that ids are written.
fn name(reference: &str) -> String {
    let reference = reference.trim();
    Uuid::parse_str(reference).map_or_else(|_| reference.to_owned(), |id| id.to_string())
}

/// How many days around a statement's period its rules look.
pub fn margin(rules: &[Rule]) -> i32 {
    rules.iter().map(|rule| rule.date_tolerance_days.max(rule.reference_window_days)).max().unwrap_or(0)
}

/// What a call of `match_external_statement` did, and what it left.
pub struct Outcome {
    pub matches: usize,
    pub matched_lines: usize,
    pub matched_postings: usize,
    pub open_lines: usize,
    pub ambiguous_lines: usize,
}

/// Keeps the rules of these priorities.
fn chosen(rules: Vec<Rule>, priorities: Option<&[i32]>) -> Result<Vec<Rule>, Error> {
    let Some(priorities) = priorities else { return Ok(rules) };
    let missing = priorities.iter().find(|wanted| rules.iter().all(|rule| rule.priority != **wanted));
    if let Some(missing) = missing {
        let why = format!("The statement's source has no rule {missing}.");
        return Err(Error::ArgumentBounds { argument: "priorities", why });
    }
    Ok(rules.into_iter().filter(|rule| priorities.contains(&rule.priority)).collect())
}

pub fn match_statement(statement: Uuid, priorities: Option<&[i32]>) -> Result<Outcome, Error> {
    let desk = Desk::open();
    let session = desk.session();
    let external = store::external(session, statement)?;
    let exponent = external.mirror.exponent;
    store::lock(session, external.account)?;
    let rules = chosen(store::rules(session, &external.source, exponent)?, priorities)?;
    let (lines, postings) = open_items(&external, margin(&rules))?;
    let line_items: Vec<Item> = lines.iter().map(|line| line_item(line, exponent)).collect();
    let names = Names::of(&line_items);
    let posting_items: Vec<Item> = postings.iter().map(|posting| names.item(posting, exponent)).collect();
    let found = matched(&line_items, &posting_items, &rules);
    let matches: Vec<NewMatch> = found
        .iter()
        .map(|found| NewMatch {
            id: Uuid::now_v7(),
            pass: found.pass.name(),
            // Rules of a source count from 1; 0 is the one in force where it has none.
            priority: Some(found.priority).filter(|priority| *priority > 0),
            difference: Decimal::from_i128_with_scale(found.difference, exponent),
            lines: found.lines.iter().map(|&at| lines[at].id).collect(),
            postings: found.postings.iter().map(|&at| member(&postings[at])).collect(),
        })
        .collect();
    store::insert_matches(session, external.account, &matches, None, &desk.caller)?;
    let left = |items: Vec<Item>, taken: HashSet<usize>| {
        let open = items.into_iter().enumerate().filter(|(at, _)| !taken.contains(at));
        open.map(|(_, item)| item).collect::<Vec<_>>()
    };
    let taken_lines: HashSet<usize> = found.iter().flat_map(|f| f.lines.iter().copied()).collect();
    let taken_postings: HashSet<usize> = found.iter().flat_map(|f| f.postings.iter().copied()).collect();
    let (matched_lines, matched_postings) = (taken_lines.len(), taken_postings.len());
    let open_lines = left(line_items, taken_lines);
    let unclear = ambiguous(&open_lines, &left(posting_items, taken_postings), &rules);
    Ok(Outcome {
        matches: found.len(),
        matched_lines,
        matched_postings,
        open_lines: open_lines.len(),
        ambiguous_lines: unclear.into_iter().filter(|unclear| *unclear).count(),
    })
}

/// The statement's lines and the account's postings that are in no match; sessions of their own free what they read.
fn open_items(external: &External, days: i32) -> Result<(Vec<Line>, Vec<Posting>), Error> {
    let mut lines = store::lines(&Session::write(), external.id)?;
    lines.retain(|line| line.matched.is_none());
    let mut postings = postings::around(Session::write, external, days)?;
    postings.retain(|posting| posting.matched.is_none());
    // Read by chain, told by content: the order is the ids'.
    postings.sort_unstable_by_key(|posting| (posting.transaction, posting.leg));
    Ok((lines, postings))
}

fn member(posting: &Posting) -> Member {
    Member { transaction: posting.transaction, leg: posting.leg, amount: posting.amount }
}

fn distinct(argument: &'static str, ids: &[Uuid]) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::ArgumentBounds { argument, why });
    if ids.is_empty() || ids.len() > MAX_MEMBERS {
        return refuse(format!("It has {} elements; a match takes 1 to {MAX_MEMBERS}.", ids.len()));
    }
    let mut seen = HashSet::new();
    match ids.iter().find(|id| !seen.insert(**id)) {
        Some(twice) => refuse(format!("It has {twice} twice.")),
        None => Ok(()),
    }
}

/// The account of the lines, and what they come to; with `free`, none of them may be in a match.
fn lines_of(session: &Session, lines: &[Uuid], free: bool) -> Result<(Uuid, Decimal), Error> {
    let rows = session.run(&LINES_BY_ID, &[Arg::UuidArray(lines)])?;
    let mut found = HashSet::new();
    let (mut account, mut sum) = (None, Decimal::ZERO);
    for row in rows.iter() {
        let id = row.uuid(1).expect("a key");
        let of = row.uuid(2).expect(PRESENT);
        if free && row.bool(4) == Some(true) {
            return Err(Error::MatchState { why: format!("Line {id} is in a match.") });
        }
        if *account.get_or_insert(of) != of {
            let why = "Its lines mirror more than one account.".into();
            return Err(Error::ArgumentBounds { argument: "lines", why });
        }
        found.insert(id);
        sum += row.numeric(3).expect(PRESENT);
    }
    match (lines.iter().find(|id| !found.contains(id)), account) {
        (None, Some(account)) => Ok((account, sum)),
        (Some(&id), _) => Err(Error::ReconciliationNotFound { what: "line", id }),
        (None, None) => unreachable!("there is at least one line"),
    }
}

pub fn match_by_hand(lines: &[Uuid], transactions: &[Uuid], reason: &str) -> Result<Uuid, Error> {
    given_reason("reason", reason)?;
    distinct("lines", lines)?;
    distinct("transactions", transactions)?;
    let desk = Desk::open();
    let session = desk.session();
    let (account, _) = lines_of(session, lines, false)?;
    store::lock(session, account)?;
    let (_, lines_sum) = lines_of(session, lines, true)?;
    let mirror = store::mirror(session, account)?;
    let mut postings = postings::of_transactions(session, account, mirror.grows_by_debits, transactions)?;
    postings.sort_unstable_by_key(|posting| (posting.transaction, posting.leg));
    if let Some(taken) = postings.iter().find(|posting| posting.matched.is_some()) {
        let why = format!("Transaction {} is in a match.", taken.transaction);
        return Err(Error::MatchState { why });
    }
    let found: HashSet<Uuid> = postings.iter().map(|posting| posting.transaction).collect();
    if let Some(&id) = transactions.iter().find(|id| !found.contains(id)) {
        return Err(Error::ReconciliationNotFound {
            what: "posting on the lines' account of transaction",
            id,
        });
    }
    let by_hand = NewMatch {
        id: Uuid::now_v7(),
        pass: "manual",
        priority: None,
        difference: postings.iter().map(|posting| posting.amount).sum::<Decimal>() - lines_sum,
        lines: lines.to_vec(),
        postings: postings.iter().map(member).collect(),
    };
    store::insert_matches(session, account, std::slice::from_ref(&by_hand), Some(reason), &desk.caller)?;
    Ok(by_hand.id)
}

pub fn undo(id: Uuid, reason: &str) -> Result<(), Error> {
    given_reason("reason", reason)?;
    let desk = Desk::open();
    let session = desk.session();
    let read = || {
        let row = session.run(&MATCH, &[Arg::Uuid(Some(id))])?.first();
        let row = row.ok_or(Error::ReconciliationNotFound { what: "match", id })?;
        let present = "not null by its declaration";
        Ok::<_, Error>((row.uuid(1).expect(present), row.bool(2).expect(present)))
    };
    store::lock(session, read()?.0)?;
    if !read()?.1 {
        return Err(Error::MatchState { why: format!("Match {id} is undone already.") });
    }
    session.run(&UNDO, &[Arg::Uuid(Some(id)), Arg::Text(Some(&desk.caller)), Arg::Text(Some(reason))])?;
    session.run(&FREE_LINES, &[Arg::Uuid(Some(id))])?;
    session.run(&FREE_POSTINGS, &[Arg::Uuid(Some(id))])?;
    Ok(())
}
