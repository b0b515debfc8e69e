//! Appends on a condition: as SQL, and drawn at random. Some come with a position that was taken a while ago, as of a
//! caller who thinks slowly, some with one that is still to come.

use super::{Append, NewEvent, quoted};
use crate::generate::Generator;
use crate::op::Op;
use neobank_sessions::{Ask, Client, Uuid};
use std::collections::HashMap;

/// Event types of a published ledger, by the type of the posting.
pub const POSTED: [(&str, &str); 9] = [
    ("deposit", "DepositPosted"),
    ("withdrawal", "WithdrawalPosted"),
    ("transfer", "TransferPosted"),
    ("payment", "PaymentPosted"),
    ("fee", "FeePosted"),
    ("interest", "InterestPosted"),
    ("refund", "RefundPosted"),
    ("reversal", "ReversalPosted"),
    ("adjustment", "AdjustmentPosted"),
];
pub const FAR: i64 = 1 << 60;

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Each event has an id.
    pub append: Append,
    pub after: i64,
    /// None: of any type.
    pub event_types: Option<Vec<&'static str>>,
    /// None: whatever the tags.
    pub tags: Option<Vec<String>>,
    /// The account that one of the tags is about.
    pub account: Option<Uuid>,
}

fn texts(texts: impl Iterator<Item = String>) -> String {
    format!("array[{}]::text[]", texts.collect::<Vec<_>>().join(", "))
}

impl Decision {
    pub fn sql(&self) -> String {
        let Append { aggregate, aggregate_type, events, expected, .. } = &self.append;
        let items: Vec<String> = events.iter().map(NewEvent::item).collect();
        let items = quoted(&format!("[{}]", items.join(", ")));
        let types = self.event_types.as_ref().map(|types| texts(types.iter().map(|of| quoted(of))));
        let tags = self.tags.as_ref().map(|tags| texts(tags.iter().map(|tag| quoted(tag))));
        let null = || "null".to_owned();
        format!(
            "select event_store.append_events_if('{aggregate_type}', '{aggregate}', {items}, {}, {}, {}, {})",
            self.after,
            types.unwrap_or_else(null),
            tags.unwrap_or_else(null),
            expected.map_or_else(null, |version| version.to_string()),
        )
    }
}

/// Of legs that are events the positions are kept under their transaction, below zero by the leg.
pub fn place_of_leg(transaction: Uuid, leg: usize) -> (Uuid, i32) {
    (transaction, -(leg as i32))
}

/// Where events are, as far as that position.
pub fn positions(session: &mut Client, up_to: i64) -> HashMap<(Uuid, i32), i64> {
    let rows = session.lines(&format!(
        "select case aggregate_type when 'LedgerTransaction' then (event_data ->> 'transaction_id')::uuid \
                else aggregate_id end, \
                case aggregate_type when 'LedgerTransaction' then -(event_data ->> 'leg')::int else event_version end, \
                global_position \
         from event_store.events where global_position <= {up_to}"
    ));
    let place = |line: &String| {
        let columns: Vec<&str> = line.split('|').collect();
        let number = |at: usize| columns[at].parse::<i64>().expect("a number");
        ((columns[0].parse().expect("an id"), number(1) as i32), number(2))
    };
    rows.iter().map(place).collect()
}

impl Generator<'_> {
    pub(crate) fn decide(&mut self) -> Op {
        let Op::Append(mut append) = self.append(true) else { unreachable!("it draws an append") };
        for event in &mut append.events {
            event.id = event.id.or(Some(self.id()));
        }
        let pool = self.pool;
        let after = match self.dice.below(12) {
            0 => 0,
            1 if self.one_in(2) => FAR,
            2 if self.one_in(3) => -1,
            // Not the latest: others have appended since.
            _ if !pool.positions.is_empty() => self.pick(pool.positions.as_slice()),
            _ => 0,
        };
        let day = |g: &mut Self| format!("day {}", g.dice.below(30));
        let (mut event_types, mut account) = (None, None);
        let tags = match self.dice.below(14) {
            0..4 => Some(vec!["till 3".to_owned(), day(self)]),
            4..7 => Some(vec![day(self)]),
            7 => Some(vec!["branch \"north\"".to_owned()]),
            8..11 => {
                let id = self.world.places[self.dice.below(self.world.places.len())].id;
                account = Some(id);
                event_types = Some(POSTED.map(|(_, event_type)| event_type).to_vec());
                Some(vec![format!("account:{id}")])
            }
            11 if self.one_in(4) => None,
            _ => {
                event_types = Some(vec!["LimitChanged", "AccountClosed"]);
                if self.one_in(2) { None } else { Some(vec!["till 3".to_owned()]) }
            }
        };
        Op::Decide(Decision { append, after, event_types, tags, account })
    }
}
