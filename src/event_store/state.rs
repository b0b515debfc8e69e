//! The state of an aggregate, at any version and at any time.

use super::fold::State;
use super::fold::rules::{Action, Lookup, Rules};
use super::handlers::{self, Use};
use super::{reducers, retention, snapshots};
use crate::error::Error;
use crate::pg::call::Composite;
use crate::pg::each::Passing;
use crate::pg::jsonb::Container;
use crate::pg::plans::OrderedPlans;
use crate::pg::scan::{Ordered, Span};
use crate::pg::{
    Arg, JsonDatum, OwnerRights, PRESENT, Session, Statement, Time, Type, finish, memory, server,
};
use crate::txn_processing::{id, required};
use pgrx::prelude::*;
use std::collections::HashMap;
use std::ops::ControlFlow;
use uuid::Uuid;

static STREAM: Statement = Statement::new(
    c"SELECT s.aggregate_type::text, s.version FROM event_store.streams s WHERE s.aggregate_id = $1",
    &[Type::Uuid],
);

static EVENTS: Statement = Statement::new(
    c"SELECT e.event_version, e.event_type, e.event_data
      FROM event_store.events e
      WHERE e.aggregate_id = $1 AND e.event_version > $2 AND e.event_version <= $3
      ORDER BY e.event_version",
    &[Type::Uuid, Type::Int, Type::Int],
);

static PAGE: Statement = Statement::new(
    c"SELECT e.event_version, e.event_type::text, e.event_data, e
      FROM event_store.events e
      WHERE e.aggregate_id = $1 AND e.event_version > $2 AND e.event_version <= $3
      ORDER BY e.event_version LIMIT 100",
    &[Type::Uuid, Type::Int, Type::Int],
);

// From the end: clocks are set back, so a later event may have an earlier time.
// Of the first version from there on that is there: retention may have deleted some.
static TIME_OF: Statement = Statement::new(
    c"SELECT e.event_version, e.created_at
      FROM event_store.events e
      WHERE e.aggregate_id = $1 AND e.event_version >= $2
      ORDER BY e.event_version LIMIT 1",
    &[Type::Uuid, Type::Int],
);

/// Bytes of the tree for each byte of an event.
const BYTES_PER_BYTE: usize = 16;

/// How far the events of an aggregate were folded.
pub enum Folded {
    To(State),
    /// The event of that version is for a function.
    Function {
        version: i32,
    },
}

/// Where events are found without the executor.
static TABLE: Ordered = Ordered {
    schema: c"event_store",
    name: c"events",
    columns: &[
        (c"event_id", pg_sys::UUIDOID),
        (c"aggregate_id", pg_sys::UUIDOID),
        (c"global_position", pg_sys::INT8OID),
        (c"created_at", pg_sys::TIMESTAMPTZOID),
        (c"event_version", pg_sys::INT4OID),
        (c"aggregate_type", pg_sys::VARCHAROID),
        (c"event_type", pg_sys::VARCHAROID),
        (c"created_by", pg_sys::TEXTOID),
        (c"event_data", pg_sys::JSONBOID),
    ],
    key: [2, 5],
    wanted: &[5, 7, 9],
};

/// Fewer are read sooner by a statement whose plan is kept.
const MANY: i32 = 200;

fn each(
    session: &Session,
    span: Span,
    mut take: impl FnMut(&Passing) -> ControlFlow<()>,
) -> Result<(), Error> {
    if span.up_to.saturating_sub(span.above) >= MANY && TABLE.each(span, session.writes(), &mut take)? {
        return Ok(());
    }
    let args = [Arg::Uuid(Some(span.key)), Arg::Int(Some(span.above)), Arg::Int(Some(span.up_to))];
    session.each(&EVENTS, &args, take)
}

/// Folds from the nearest snapshot up to a version.
pub fn fold(session: &Session, aggregate: Uuid, to: i32, rules: &Rules) -> Result<Folded, Error> {
    let snapshot = snapshots::nearest(session, aggregate, to, rules)?;
    let mut state = retention::origin(session, aggregate, to, snapshot)?;
    let mut stopped = Ok(());
    let mut function = None;
    let mut lookup = Lookup::of(rules);
    let span = Span { key: aggregate, above: state.version(), up_to: to };
    let take = |row: &Passing| {
        let (version, data) = (row.int(1), row.bytes(3));
        let Action::Operations(operations) = lookup.action(row.bytes(2)) else {
            function = Some(version);
            return ControlFlow::Break(());
        };
        stopped = memory::need(data.len(), BYTES_PER_BYTE).and_then(|()| {
            let folded = state.apply(operations, Container::of(data), version);
            folded.map_err(|why| Error::NotFoldable { aggregate, version, why })
        });
        if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    each(session, span, take)?;
    stopped?;
    Ok(function.map_or(Folded::To(state), |version| Folded::Function { version }))
}

/// One event for a function, or for operations.
struct Event {
    version: i32,
    event_type: String,
    data: Vec<u8>,
    row: Composite,
}

/// Folds by functions too, which see the caller's rights and not the owner's.
fn fold_by_functions(aggregate: Uuid, to: i32, rules: &Rules, caller: pg_sys::Oid) -> Result<State, Error> {
    let mut state = {
        let _rights = OwnerRights::to_read();
        retention::origin(&Session::read(), aggregate, to, State::default())?
    };
    let mut functions: HashMap<&str, u32> = HashMap::new();
    loop {
        // One session a page: what SPI has read lives as long as its session.
        let page = page(aggregate, state.version(), to)?;
        if page.is_empty() {
            return Ok(state);
        }
        for event in page {
            let version = event.version;
            match rules.action(event.event_type.as_bytes()) {
                Action::Operations(operations) => state
                    .apply(operations, Container::of(&event.data), version)
                    .map_err(|why| Error::NotFoldable { aggregate, version, why })?,
                Action::Function(name) => {
                    let function = match functions.get(name.as_str()) {
                        Some(function) => *function,
                        None => {
                            let _rights = OwnerRights::to_read();
                            let found = handlers::find(&Session::read(), name, Use::ToCall, caller)?;
                            functions.insert(name, found);
                            found
                        }
                    };
                    handlers::fold(&mut state, (function, name), &event.row, (aggregate, version))?;
                }
            }
        }
    }
}

fn page(aggregate: Uuid, after: i32, to: i32) -> Result<Vec<Event>, Error> {
    let _rights = OwnerRights::to_read();
    let session = Session::read();
    let args = [Arg::Uuid(Some(aggregate)), Arg::Int(Some(after)), Arg::Int(Some(to))];
    let rows = session.run(&PAGE, &args)?;
    rows.iter()
        .map(|row| {
            let data = row.json(3).expect(PRESENT);
            memory::need(data.size(), BYTES_PER_BYTE)?;
            Ok(Event {
                version: row.int(1).expect(PRESENT),
                event_type: row.text(2).expect(PRESENT),
                data: data.container().bytes().to_vec(),
                row: row.composite(4).expect("a row is not null"),
            })
        })
        .collect()
}

/// Up to where a state is asked for.
enum UpTo {
    Version(i32),
    Time(Time),
}

/// The last version that was recorded at or before that time, 0 if there is none. Times ascend within a stream, so it is
/// found by bisection.
fn last_at(session: &Session, aggregate: Uuid, version: i32, time: i64) -> Result<i32, Error> {
    let _plans = OrderedPlans::prefer();
    let from = |at: i32| {
        let args = [Arg::Uuid(Some(aggregate)), Arg::Int(Some(at))];
        session.one(&TIME_OF, &args, |row| (row.int(1).expect(PRESENT), row.time(2).expect(PRESENT).0))
    };
    // Most ask for a time of which nothing has come since.
    if from(version)?.is_some_and(|(_, at)| at <= time) {
        return Ok(version);
    }
    // Versions up to `early` were recorded by then, those from `late` on were not.
    let (mut early, mut late) = (0, version);
    while late - early > 1 {
        let middle = early + (late - early) / 2;
        match from(middle)? {
            Some((found, at)) if found < late && at <= time => early = found,
            _ => late = middle,
        }
    }
    if early == 0 { retention::last_at(session, aggregate, time) } else { Ok(early) }
}

fn state_of(aggregate: Uuid, up_to: UpTo) -> Result<State, Error> {
    let caller = server::current_user();
    let (to, rules) = {
        let _rights = OwnerRights::to_read();
        let session = Session::read();
        let stream = session.one(&STREAM, &[Arg::Uuid(Some(aggregate))], |row| {
            (row.text(1).expect(PRESENT), row.int(2).expect(PRESENT))
        })?;
        let Some((aggregate_type, version)) = stream else { return Ok(State::default()) };
        let to = match up_to {
            UpTo::Version(wanted) => wanted.min(version),
            UpTo::Time(time) => last_at(&session, aggregate, version, time.0)?,
        };
        let rules = reducers::of_type(&session, &aggregate_type)?;
        if let Folded::To(state) = fold(&session, aggregate, to, &rules)? {
            return Ok(state);
        }
        (to, rules)
    };
    fold_by_functions(aggregate, to, &rules, caller)
}

fn answer(result: Result<State, Error>) -> JsonDatum {
    finish(result.and_then(|state| JsonDatum::of_text(&state.text())))
}

#[pg_extern(schema = "event_store", stable, parallel_unsafe)]
fn get_aggregate_state(
    p_aggregate_id: Option<pgrx::Uuid>,
    p_up_to_version: default!(Option<i32>, "NULL"),
) -> JsonDatum {
    answer(required("p_aggregate_id", p_aggregate_id).map(id).and_then(|aggregate| {
        let to = p_up_to_version.unwrap_or(i32::MAX);
        if to < 0 {
            let why = format!("It is {to}; versions begin at 1.");
            return Err(Error::ArgumentBounds { argument: "p_up_to_version", why });
        }
        state_of(aggregate, UpTo::Version(to))
    }))
}

#[pg_extern(schema = "event_store", stable, parallel_unsafe)]
fn get_aggregate_state_at(p_aggregate_id: Option<pgrx::Uuid>, p_at: Option<Time>) -> JsonDatum {
    answer(required("p_aggregate_id", p_aggregate_id).map(id).and_then(|aggregate| {
        let time = required("p_at", p_at)?;
        state_of(aggregate, UpTo::Time(time))
    }))
}
