//! The list of facts against all that a history says: every question at every instant.

use super::facts::{FOREVER, History, Period, Row};
use super::{Key, Table};
use crate::answer::agree;
use crate::state::State;
use neobank_sessions::{Ask, Client};
use std::collections::BTreeMap;

/// A row with its periods of valid and known time.
type Rectangle = (Row, Period, Period);

fn period(from: &str, to: &str) -> Result<Period, String> {
    let read = |text: &str| text.parse::<i64>().map_err(|error| format!("{error}: {text}"));
    Ok((read(from)?, if to.is_empty() { FOREVER } else { read(to)? }))
}

fn row(amount: &str, link: &str) -> Result<Row, String> {
    let read = |text: &str| text.parse::<i64>().map_err(|error| format!("{error}: {text}"));
    Ok(Row { amount: read(amount)?, link: if link.is_empty() { None } else { Some(read(link)?) } })
}

/// All that the history of a table says, by key.
fn timeline(session: &mut Client, table: Table) -> Result<BTreeMap<Key, Vec<Rectangle>>, String> {
    let micros =
        |name: &str| format!("case when isfinite({name}) then (extract(epoch from {name}) * 1000000)::bigint end");
    let times = ["valid_from", "valid_to", "known_from", "known_to"].map(micros).join(", ");
    let lines =
        session.lines(&format!("select {}, amount, link, {times} from public_history.{}", table.both(), table.name()));
    let mut found: BTreeMap<Key, Vec<Rectangle>> = BTreeMap::new();
    for line in lines {
        let columns: Vec<&str> = line.split('|').collect();
        let [first, second, amount, link, valid_from, valid_to, known_from, known_to] = columns[..] else {
            return Err(format!("of the history of {}: {line}", table.name()));
        };
        let figure = |text: &str| text.parse::<u8>().map_err(|error| format!("{error}: {line}"));
        let rectangle = (row(amount, link)?, period(valid_from, valid_to)?, period(known_from, known_to)?);
        found.entry((figure(first)?, figure(second)?)).or_default().push(rectangle);
    }
    Ok(found)
}

/// What was known at an instant, in the order of time, neighbours that say the same as one.
fn known_at(facts: &[Rectangle], known: i64, since: i64) -> Vec<(Period, Row)> {
    let then = facts.iter().filter(|(_, _, period)| period.0 <= known && known < period.1);
    let mut then: Vec<(Period, Row)> = then.map(|(row, valid, _)| ((valid.0.max(since), valid.1), *row)).collect();
    then.retain(|(valid, _)| valid.0 < valid.1);
    then.sort_by_key(|(valid, _)| *valid);
    let mut merged: Vec<(Period, Row)> = Vec::new();
    for (valid, row) in then {
        match merged.last_mut() {
            Some((before, same)) if before.1 == valid.0 && *same == row => before.1 = valid.1,
            _ => merged.push((valid, row)),
        }
    }
    merged
}

fn same_history(name: &str, seen: &[Rectangle], wanted: &[Rectangle], since: i64) -> Result<(), String> {
    let mut instants: Vec<i64> = seen.iter().chain(wanted).flat_map(|(_, _, known)| [known.0, known.1 - 1]).collect();
    instants.retain(|at| *at >= since);
    instants.sort_unstable();
    instants.dedup();
    for known in instants {
        agree(&format!("{name} as known at {known}"), known_at(seen, known, since), known_at(wanted, known, since))?;
    }
    Ok(())
}

fn line(key: Key, row: Row) -> String {
    format!("{}|{}|{}|{}", key.0, key.1, row.amount, row.link.map_or(String::new(), |link| link.to_string()))
}

/// Instants at which an answer could differ from that of their neighbours.
fn boundaries(histories: &BTreeMap<Key, &History>) -> (Vec<i64>, Vec<i64>) {
    let facts = || histories.values().flat_map(|history| history.facts());
    let around = |at: i64| [at - 1, at];
    let mut valid: Vec<i64> = facts().flat_map(|fact| [fact.valid.0, fact.valid.1]).flat_map(around).collect();
    let mut known: Vec<i64> = facts().flat_map(|fact| [fact.known.0, fact.known.1]).flat_map(around).collect();
    for instants in [&mut valid, &mut known] {
        instants.retain(|at| *at < FOREVER - 1);
        instants.sort_unstable();
        instants.dedup();
    }
    (valid, known)
}

fn instant(micros: i64) -> String {
    format!("(timestamptz 'epoch' + {micros} * interval '1 microsecond')")
}

/// Some of the questions, put to `temporal.as_of` and to the view with its settings.
fn same_answers(
    session: &mut Client,
    table: Table,
    histories: &BTreeMap<Key, &History>,
    since: i64,
    questions: usize,
) -> Result<(), String> {
    let (valid, known) = boundaries(histories);
    if valid.is_empty() {
        return Ok(());
    }
    let (name, columns) = (table.name(), format!("{}, amount, link", table.both()));
    for n in 0..questions {
        // Spread over both, and another pair of them each time.
        let (v, k) = (valid[n * 7919 % valid.len()], known[n * 104_729 % known.len()]);
        let then = format!("{name} at {v} as known at {k}");
        let by_function = format!(
            "select {columns} from temporal.as_of(null::public.{name}, {}, {}) order by 1, 2",
            instant(v),
            instant(k)
        );
        if v.min(k) < since {
            let refused = session.try_lines(&by_function).err().map(|refusal| refusal.code);
            agree(&then, refused.as_deref(), Some("NB331"))?;
            continue;
        }
        let told = histories.iter().filter_map(|(key, history)| history.at(v, k).map(|fact| line(*key, fact.row)));
        let told: Vec<String> = told.collect();
        let seen = session.try_lines(&by_function).map_err(|refusal| format!("{then}: {refusal}"))?;
        agree(&then, seen, told.clone())?;
        let by_view = format!(
            "select set_config('neobank.as_of', {}::text, false), set_config('neobank.known_at', {}::text, false)",
            instant(v),
            instant(k)
        );
        session.run(&by_view);
        let seen = session.lines(&format!("select {columns} from public_as_of.{name} order by 1, 2"));
        session.run("reset neobank.as_of; reset neobank.known_at");
        agree(&format!("the report on {then}"), seen, told)?;
    }
    Ok(())
}

/// Each table and its history say what the model says, at every instant on both axes from what is kept on. As many
/// questions about each are put to the function and to the view that answer them.
pub fn compare_tables(session: &mut Client, state: &State, questions: usize) -> Result<(), String> {
    for table in Table::ALL {
        let (name, since) = (table.name(), state.kept_since(table));
        let histories: BTreeMap<Key, &History> = state.histories(table).collect();
        let present = session.lines(&format!("select {}, amount, link from public.{name} order by 1, 2", table.both()));
        let wanted = histories.iter().filter_map(|(key, history)| history.present.map(|row| line(*key, row)));
        agree(&format!("table {name}"), present, wanted.collect())?;
        let seen = timeline(session, table)?;
        for key in seen.keys().chain(histories.keys()) {
            let facts = histories.get(key).map_or(&[][..], |history| history.facts());
            let wanted: Vec<Rectangle> = facts.iter().map(|fact| (fact.row, fact.valid, fact.known)).collect();
            let seen = seen.get(key).map_or(&[][..], Vec::as_slice);
            same_history(&format!("{name} {key:?}"), seen, &wanted, since)?;
        }
        same_answers(session, table, &histories, since, questions)?;
    }
    Ok(())
}
