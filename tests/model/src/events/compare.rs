//! The model's streams against the tables, and a reader who goes on while others write.

use crate::answer::{Answer, agree};
use crate::state::State;
use neobank_sessions::{Ask, Client, Uuid};
use std::collections::{HashMap, HashSet};

const EVENTS: &str = "select event_version, event_id, aggregate_type, event_type, event_data, metadata, to_json(tags), \
     aggregate_id, global_position, created_by = session_user \
     from event_store.events where aggregate_type not like 'Ledger%' order by global_position";

/// The bank names the streams of the ledger; nobody else has any of these types.
const LEGS: &str = "select event_data ->> 'transaction_id', event_data ->> 'leg', event_type \
     from event_store.events where aggregate_type = 'LedgerTransaction'";

/// So many numbers a range of positions has.
const RANGE_BITS: u32 = 20;

/// Every event is in its stream as the model appended it, and there is no other; the state folds to what is told.
pub fn compare_events(session: &mut Client, state: &State) -> Result<(), String> {
    let mut left: HashMap<Uuid, i32> = state.streams().map(|(id, stream)| (*id, stream.version)).collect();
    let rows = session.lines(EVENTS);
    agree("events in the store", rows.len() as i32, left.values().sum())?;
    let mut writers: HashMap<i64, u64> = HashMap::new();
    for row in &rows {
        let columns: Vec<&str> = row.rsplitn(4, '|').collect();
        let [by_us, position, aggregate, event] = columns[..] else { return Err(format!("ten columns: {row}")) };
        agree("written by this user", by_us, "t")?;
        let aggregate: Uuid = aggregate.parse().map_err(|e| format!("{e}: {row}"))?;
        let version = event.split('|').next().and_then(|version| version.parse().ok()).ok_or("a version")?;
        state.same_line(aggregate, version, event)?;
        // Each range of positions is one transaction's alone.
        let range = position.parse::<i64>().map_err(|e| format!("{e}: {row}"))? >> RANGE_BITS;
        let turn = state.event(aggregate, version).expect("it was compared").turn;
        let writer = *writers.entry(range).or_insert(turn);
        agree(&format!("the writer of range {range}"), turn, writer)?;
    }
    let streams = session.lines(
        "select aggregate_id, version, aggregate_type from event_store.streams \
                                 where aggregate_type not like 'Ledger%'",
    );
    agree("streams", streams.len(), left.len())?;
    for line in streams {
        let columns: Vec<&str> = line.split('|').collect();
        let id: Uuid = columns[0].parse().map_err(|e| format!("{e}: {line}"))?;
        agree(&line, left.remove(&id).map(|version| version.to_string()).as_deref(), Some(columns[1]))?;
        let told = session.try_lines(&format!("select event_store.get_aggregate_state('{id}')"));
        let told = told.map_or_else(|refusal| Answer::Refused(refusal.code), Answer::Done);
        state.state_of(id, None).is(&told).map_err(|error| format!("{id}: {error}"))?;
    }
    compare_legs(session, state)
}

/// Every leg that was posted while the ledger was published is an event, once, and no other one is.
fn compare_legs(session: &mut Client, state: &State) -> Result<(), String> {
    let seen = session.lines(LEGS);
    let (many, known) = state.published_legs();
    agree("legs that are events", seen.len(), many)?;
    let seen: HashSet<String> = seen.into_iter().collect();
    agree("each of them once", seen.len(), many)?;
    for (transaction, leg, event_type) in known {
        let line = format!("{transaction}|{leg}|{event_type}");
        agree(&format!("{line} is published"), seen.contains(&line), true)?;
    }
    Ok(())
}

/// Reads all events in their order for as long as `goes_on` says so, and then what is left. What it came to see is all
/// there is in that order, as far as it came: nobody was skipped.
pub fn read_on(session: &mut Client, goes_on: impl Fn() -> bool) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    loop {
        let last_time = !goes_on();
        loop {
            let after = seen.last().map_or("0", |line| line.split('|').next().expect("a position comes first"));
            let page = format!("select global_position, event_id from event_store.read_all({after}, 50)");
            let page = session.lines(&page);
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        if last_time {
            return seen;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
