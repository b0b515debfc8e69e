//! Operations of the model's generator as requests: those that their callers give ids, each with the facts that it is
//! to leave, and those that change settings or read.

use crate::books::Books;
use crate::request::{Reading, Request};
use neobank_model::cqrs::Command;
use neobank_model::events::{Append, Decision, binary, binary_text};
use neobank_model::op::{Item, Kind, Op, Posting, Request as Queued};
use neobank_model::sagas::Sagaing;
use neobank_model::subscriptions::Consuming;
use neobank_sessions::{Decimal, Uuid};
use std::collections::HashMap;

/// A leg of a posting, and its amount where that is known beforehand.
#[derive(Clone, Debug)]
pub struct Leg {
    pub debit: Uuid,
    pub credit: Uuid,
    pub amount: Option<Decimal>,
}

/// By transaction: what a client asked for.
pub type Known = HashMap<Uuid, Vec<Leg>>;

/// Of what stands in the tables everything but the last word may be known: that is a star then.
fn last_word(amount: Option<Decimal>) -> String {
    amount.map_or("*".to_owned(), |amount| amount.normalize().to_string())
}

pub fn movement(id: Uuid, kind: &str, legs: &[Leg], reverses: Option<Uuid>) -> Vec<String> {
    let reverses = reverses.map_or("-".to_owned(), |id| id.to_string());
    let fact = |(at, Leg { debit, credit, amount }): (usize, &Leg)| {
        format!("movement {id} {} {kind} {debit} {credit} {reverses} {}", at + 1, last_word(*amount))
    };
    legs.iter().enumerate().map(fact).collect()
}

pub fn appended(append: &Append) -> Vec<String> {
    let fact = |event: &neobank_model::events::NewEvent| {
        let id = event.id.expect("each has an id of its caller's");
        let tags = event.tags.as_ref().filter(|tags| !tags.is_empty());
        let tags = tags.map_or("-".to_owned(), |tags| serde_json::json!(tags).to_string());
        let [data, metadata] =
            [&event.data, event.metadata.as_ref().unwrap_or(&"{}".to_owned())].map(|text| binary_text(&binary(text)));
        let Append { aggregate, aggregate_type, .. } = append;
        format!("event {id} {aggregate} {aggregate_type} {} {data} {metadata} {tags}", event.event_type)
    };
    append.events.iter().map(fact).collect()
}

fn submitted(command: &Command) -> String {
    let Command { id, account, aggregate, aggregate_type, .. } = command;
    let of_type = if account.is_some() { "PayIn" } else { "Note" };
    format!("command {id} {of_type} {aggregate_type} {aggregate} {}", command.amount().normalize())
}

pub fn request(label: &'static str, sql: String, facts: Vec<Vec<String>>, probe: Option<Uuid>) -> Request {
    Request { label, sql, reading: Reading::Rows, facts, probe, is_repeatable: true, done_before: "" }
}

fn leg_of(books: &Books, posting: &Posting) -> Leg {
    let named = posting.from.or(posting.to).expect("it names an account");
    let own = |kind: &str| books.own(kind, books.currency(named));
    let other = match posting.kind {
        Kind::Deposit | Kind::Withdrawal => own("cash"),
        Kind::Payment | Kind::PayBank | Kind::ReceiveFromBank => own("payments_clearing"),
        Kind::Fee => own("fee_income"),
        Kind::Interest => own("interest_expense"),
        Kind::Transfer => Uuid::nil(),
    };
    let (debit, credit) = (posting.from.unwrap_or(other), posting.to.unwrap_or(other));
    Leg { debit, credit, amount: Some(posting.amount) }
}

fn of_batch(
    books: &Books,
    label: &'static str,
    sql: String,
    items: &[Item],
    atomic: bool,
    known: &mut Known,
) -> Request {
    let facts = items.iter().map(|Item { posting, .. }| {
        let leg = leg_of(books, posting);
        let facts = movement(posting.id, posting.kind.posted_as(), std::slice::from_ref(&leg), None);
        known.insert(posting.id, vec![leg]);
        facts
    });
    let facts: Vec<Vec<String>> = facts.collect();
    if atomic {
        let all = vec![facts.into_iter().flatten().collect()];
        return request(label, sql, all, None);
    }
    Request { reading: Reading::Items, ..request(label, sql, facts, None) }
}

fn of_queue(key: &str, queued: &Queued) -> String {
    let word = |account: &Option<Uuid>| account.map_or("-".to_owned(), |id| id.to_string());
    let (kind, from, to, amount) = match queued {
        Queued::Post { kind, from, to, amount } => (kind.posted_as(), *from, *to, amount),
        Queued::Adjust { account, amount } => ("adjustment", None, Some(*account), amount),
        Queued::Refund { amount, .. } => ("refund", None, None, amount),
        Queued::Reverse { amount, .. } => ("reversal", None, None, amount),
    };
    format!("request {key} {kind} {} {} {}", word(&from), word(&to), amount.normalize())
}

/// The same legs the other way round.
fn given_back(legs: &[Leg], amount: Option<Option<Decimal>>) -> Vec<Leg> {
    let back = |leg: &Leg| Leg { debit: leg.credit, credit: leg.debit, amount: amount.unwrap_or(leg.amount) };
    legs.iter().map(back).collect()
}

/// What the operation is as a request. What it posts is taken down in `known`; none where it cannot be said what it
/// would leave.
pub fn drawn(op: &Op, books: &Books, known: &mut Known) -> Option<Request> {
    let (label, sql) = (op.name(), op.sql());
    let mut posts = |id: Uuid, kind: &str, legs: Vec<Leg>, reverses: Option<Uuid>| {
        let facts = movement(id, kind, &legs, reverses);
        known.insert(id, legs);
        request(label, sql.clone(), vec![facts], Some(id))
    };
    Some(match op {
        Op::Post { posting, contract } => {
            let made = posts(posting.id, posting.kind.posted_as(), vec![leg_of(books, posting)], None);
            Request { reading: if *contract { Reading::Json } else { Reading::Rows }, ..made }
        }
        Op::Adjust { id, account, amount } => {
            let suspense = books.own("suspense", books.currency(*account));
            let debits = (*amount > Decimal::ZERO) == books.grows_by_debits(*account);
            let (debit, credit) = if debits { (*account, suspense) } else { (suspense, *account) };
            posts(*id, "adjustment", vec![Leg { debit, credit, amount: Some(amount.abs()) }], None)
        }
        Op::Refund { id, original, amount } => {
            let legs = given_back(known.get(original)?, Some(*amount));
            return Some(drawn_back(op, *id, "refund", legs, *original, known));
        }
        Op::Reverse { id, original, .. } => {
            let legs = given_back(known.get(original)?, None);
            return Some(drawn_back(op, *id, "reversal", legs, *original, known));
        }
        Op::Exchange { id, from, to, amount, .. } => {
            let position = |account| books.own("fx_position", books.currency(account));
            let paid = Leg { debit: *from, credit: position(*from), amount: Some(*amount) };
            posts(*id, "transfer", vec![paid, Leg { debit: position(*to), credit: *to, amount: None }], None)
        }
        Op::Batch { items, atomic, .. } => of_batch(books, label, sql, items, *atomic, known),
        Op::Append(append) | Op::Decide(Decision { append, .. }) => request(label, sql, vec![appended(append)], None),
        // Sent again it answers what has become of it by then.
        Op::Submit(command) => {
            Request { is_repeatable: false, ..request(label, sql, vec![vec![submitted(command)]], None) }
        }
        Op::Consume(Consuming::Ack { token, events: Some(events) }) => {
            let facts = events.iter().map(|event| format!("told {event} {token}")).collect();
            Request { is_repeatable: false, ..request(label, sql, vec![facts], None) }
        }
        Op::Saga(Sagaing::Start { key: Some(key), saga_type, .. }) => {
            request(label, sql, vec![vec![format!("saga {key} {saga_type}")]], None)
        }
        Op::Saga(Sagaing::Signal { saga, id, figure }) => {
            request(label, sql, vec![vec![format!("signal {id} {saga} {figure}")]], None)
        }
        // What it has come to by then is answered to who asks again.
        Op::Saga(Sagaing::Complete { task: (step, token) }) => {
            let facts = vec![vec![format!("answered {step} {token}")]];
            Request { is_repeatable: false, ..request(label, sql, facts, None) }
        }
        // What is open is known to the lease alone; and nothing stands that was forgotten on purpose.
        Op::Consume(Consuming::Ack { .. } | Consuming::Reset) => return None,
        Op::Enqueue { key, request: queued, .. } => request(label, sql, vec![vec![of_queue(key, queued)]], None),
        Op::Hold { id, account, amount, short: false, .. } => {
            request(label, sql, vec![vec![format!("hold {id} {account} {}", amount.normalize())]], None)
        }
        Op::Capture { id, hold, amount, .. } => {
            request(label, sql, vec![vec![format!("capture {hold} {id} {}", last_word(*amount))]], Some(*id))
        }
        Op::Release { hold } => {
            let made = request(label, sql, vec![vec![format!("released {hold}")]], None);
            Request { is_repeatable: false, done_before: "NB011", ..made }
        }
        Op::OpenDispute { id, transaction, .. } => {
            request(label, sql, vec![vec![format!("dispute {id} {transaction}")]], None)
        }
        Op::ResolveDispute { dispute, outcome, .. } => {
            request(label, sql, vec![vec![format!("resolved {dispute} {outcome}")]], None)
        }
        // Their ids are drawn by the bank, or they are carried out by others.
        Op::Hold { .. } | Op::CaptureGroup { .. } | Op::ReleaseGroup { .. } => return None,
        Op::ProcessQueue { .. } | Op::ProcessRequest { .. } => return None,
        // What has no id of its own leaves no fact, and is not sent twice.
        _ => Request { is_repeatable: false, ..request(label, sql, Vec::new(), None) },
    })
}

fn drawn_back(op: &Op, id: Uuid, kind: &str, legs: Vec<Leg>, original: Uuid, known: &mut Known) -> Request {
    let facts = movement(id, kind, &legs, Some(original));
    known.insert(id, legs);
    request(op.name(), op.sql(), vec![facts], Some(id))
}
