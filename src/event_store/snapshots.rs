//! States kept at some versions of long streams, so that what comes after is all that has to be folded.
//!
//! A snapshot is written with the events that it is made of, in their transaction and under the lock of their stream: who
//! sees it sees them, and it goes with them where they are rolled back. It has the generation of the reducers that made
//! it, and is taken by readers with the same ones only. Readers write nothing.

use super::fold::State;
use super::fold::rules::Rules;
use super::state::{self, Folded};
use crate::error::Error;
use crate::pg::{Arg, JsonDatum, PRESENT, Session, Statement, Type, server};
use uuid::Uuid;

/// No more than one snapshot for so many events.
pub const STEP: i32 = 500;

/// A state of so many bytes wants one event more before it is written again: to write and keep it must not cost more
/// than to fold what it saves.
const BYTES_PER_EVENT: i32 = 64;

/// The newest ones stay all, of the older ones those that are so many events apart.
const NEWEST: i32 = 8;
const KEPT_STEP: i32 = 16 * STEP;

/// The most events that an append folds, where reducers have changed or events were restored.
const MOST_TO_FOLD: i32 = 40 * STEP;

static NEAREST: Statement = Statement::new(
    c"SELECT n.version, n.state
      FROM event_store.snapshots n
      WHERE n.aggregate_id = $1 AND n.version <= $2 AND n.generation = $3
      ORDER BY n.version DESC LIMIT 1",
    &[Type::Uuid, Type::Int, Type::Uuid],
);

static LAST: Statement = Statement::new(
    c"SELECT n.version, n.bytes,
             coalesce((SELECT k.version FROM event_store.snapshots k
                       WHERE k.aggregate_id = $1 AND k.generation = $2 AND k.kept
                       ORDER BY k.version DESC LIMIT 1), 0)
      FROM event_store.snapshots n
      WHERE n.aggregate_id = $1 AND n.generation = $2
      ORDER BY n.version DESC LIMIT 1",
    &[Type::Uuid, Type::Uuid],
);

static INSERT: Statement = Statement::new(
    c"INSERT INTO event_store.snapshots (aggregate_id, version, generation, bytes, kept, state)
      VALUES ($1, $2, $3, $4, $5 > 0, $6)
      ON CONFLICT (aggregate_id, version) DO UPDATE
      SET generation = excluded.generation, bytes = excluded.bytes, kept = excluded.kept, state = excluded.state",
    &[Type::Uuid, Type::Int, Type::Uuid, Type::Int, Type::Int, Type::Jsonb],
);

static THIN: Statement = Statement::new(
    c"DELETE FROM event_store.snapshots n
      WHERE n.aggregate_id = $1
        AND (n.generation <> $2
             OR NOT n.kept AND n.version < (SELECT l.version FROM event_store.snapshots l
                                            WHERE l.aggregate_id = $1 AND l.generation = $2
                                            ORDER BY l.version DESC OFFSET $3 LIMIT 1))",
    &[Type::Uuid, Type::Uuid, Type::Int],
);

/// The state at the last snapshot up to `to`, or before the first event.
pub fn nearest(session: &Session, aggregate: Uuid, to: i32, rules: &Rules) -> Result<State, Error> {
    if to < STEP || rules.has_functions {
        return Ok(State::default());
    }
    let args = [Arg::Uuid(Some(aggregate)), Arg::Int(Some(to)), Arg::Uuid(Some(rules.generation))];
    let found = session.one(&NEAREST, &args, |row| {
        let (version, state) = (row.int(1).expect(PRESENT), row.json(2).expect(PRESENT));
        state.container(|object| State::of(version, object))
    })?;
    Ok(found.unwrap_or_default())
}

/// What is known of an aggregate's snapshots.
#[derive(Clone, Copy, Default)]
struct Last {
    version: i32,
    bytes: i32,
    kept: i32,
}

fn last(session: &Session, aggregate: Uuid, rules: &Rules) -> Result<Last, Error> {
    let args = [Arg::Uuid(Some(aggregate)), Arg::Uuid(Some(rules.generation))];
    let found = session.one(&LAST, &args, |row| {
        let [version, bytes, kept] = [1, 2, 3].map(|at| row.int(at).expect(PRESENT));
        Last { version, bytes, kept }
    })?;
    Ok(found.unwrap_or_default())
}

/// Whether an append has to look: once in so many events.
fn is_time(before: i32, version: i32) -> bool {
    before / STEP != version / STEP
}

/// How far an append folds to write a snapshot, if it does.
fn goal(last: Last, version: i32, may_catch_up: bool) -> Option<i32> {
    let missing = version - last.version;
    if missing < STEP.max(last.bytes / BYTES_PER_EVENT) {
        None
    } else if missing <= MOST_TO_FOLD {
        Some(version)
    } else {
        may_catch_up.then_some(last.version + MOST_TO_FOLD)
    }
}

/// Takes a snapshot where events that were just appended make one worth its cost.
///
/// What the last version of a stream has is new, and in nobody's way. A snapshot of an older version, and taking old ones
/// away, may meet rows that a transaction cannot see which reads by an older snapshot of the database: such a one leaves
/// it to others. A serializable transaction leaves all of it to others, or it would be in conflict with those that read.
pub fn after_append(
    session: &Session,
    aggregate: Uuid,
    aggregate_type: &str,
    (before, version): (i32, i32),
) -> Result<(), Error> {
    if !is_time(before, version) || server::is_serializable() {
        return Ok(());
    }
    let rules = super::reducers::of_type(session, aggregate_type)?;
    if rules.has_functions {
        return Ok(());
    }
    let may_change = server::is_read_committed();
    let last = last(session, aggregate, &rules)?;
    let Some(to) = goal(last, version, may_change) else { return Ok(()) };
    // What cannot be folded is no reason not to append.
    match state::fold(session, aggregate, to, &rules) {
        Ok(Folded::To(state)) if state.version() > last.version => {
            write(session, aggregate, &rules, last, state)?;
        }
        Ok(_) | Err(Error::NotFoldable { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    if may_change { thin(session, aggregate, &rules) } else { Ok(()) }
}

/// Takes a snapshot at that version, whatever it costs; false where there can be none. The stream is locked.
pub fn take(session: &Session, aggregate: Uuid, aggregate_type: &str, version: i32) -> Result<bool, Error> {
    let rules = super::reducers::of_type(session, aggregate_type)?;
    if rules.has_functions {
        return Ok(false);
    }
    let last = last(session, aggregate, &rules)?;
    if last.version < version {
        let Folded::To(state) = state::fold(session, aggregate, version, &rules)? else { return Ok(false) };
        write(session, aggregate, &rules, last, state)?;
        thin(session, aggregate, &rules)?;
    }
    Ok(true)
}

fn write(session: &Session, aggregate: Uuid, rules: &Rules, last: Last, state: State) -> Result<(), Error> {
    let version = state.version();
    let json = JsonDatum::of_text(&state.text())?;
    let args = [
        Arg::Uuid(Some(aggregate)),
        Arg::Int(Some(version)),
        Arg::Uuid(Some(rules.generation)),
        Arg::Int(Some(i32::try_from(json.size()).unwrap_or(i32::MAX))),
        Arg::Int(Some(i32::from(version - last.kept >= KEPT_STEP))),
        Arg::Jsonb(Some(json)),
    ];
    session.run(&INSERT, &args).map(drop)
}

fn thin(session: &Session, aggregate: Uuid, rules: &Rules) -> Result<(), Error> {
    let args = [Arg::Uuid(Some(aggregate)), Arg::Uuid(Some(rules.generation)), Arg::Int(Some(NEWEST - 1))];
    session.run(&THIN, &args).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_looked_for_once_in_so_many_events() {
        assert!(!is_time(0, 499) && is_time(499, 500) && !is_time(500, 501) && is_time(0, 10_000));
    }

    #[test]
    fn a_large_state_waits_longer() {
        let last = |version, bytes| Last { version, bytes, kept: 0 };
        assert_eq!(goal(last(0, 0), 500, true), Some(500));
        assert_eq!(goal(last(500, 64 * 700), 1_000, true), None);
        assert_eq!(goal(last(500, 64 * 700), 1_200, true), Some(1_200));
        assert_eq!(goal(last(0, 0), 1_000_000, true), Some(MOST_TO_FOLD));
        assert_eq!(goal(last(0, 0), 1_000_000, false), None);
    }
}
