//! Reducers as rows, and as each backend keeps them.

use super::fold::grammar;
use super::fold::operation::Operation;
use super::fold::rules::{Action, Reducer, Rules};
use super::fold::tree::Tree;
use crate::error::Error;
use crate::pg::jsonb::Item;
use crate::pg::watch::Watch;
use crate::pg::{Arg, JsonDatum, PRESENT, Session, Statement, Type};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

static ALL: Statement = Statement::new(
    c"SELECT r.aggregate_type::text, r.event_type::text, r.operations, r.handler,
             pg_catalog.substr(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
                 pg_catalog.jsonb_build_array(r.aggregate_type, r.event_type, r.operations, r.handler)::text, 'UTF8')),
                 'hex'), 1, 32)::uuid
      FROM event_store.reducers r",
    &[],
);

static DEFINE: Statement = Statement::new(
    c"INSERT INTO event_store.reducers AS r (aggregate_type, event_type, operations, handler, defined_by)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (aggregate_type, event_type) DO UPDATE
      SET operations = excluded.operations, handler = excluded.handler, defined_by = excluded.defined_by,
          defined_at = pg_catalog.clock_timestamp()
      WHERE (r.operations::text, r.handler) IS DISTINCT FROM (excluded.operations::text, excluded.handler)",
    &[Type::Text, Type::Text, Type::Jsonb, Type::Text, Type::Text],
);

static DROP: Statement = Statement::new(
    c"DELETE FROM event_store.reducers r
      WHERE r.aggregate_type IS NOT DISTINCT FROM $1 AND r.event_type IS NOT DISTINCT FROM $2",
    &[Type::Text, Type::Text],
);

static WATCH: Watch = Watch::new([c"event_store", c"reducers"]);

#[derive(Default)]
struct Kept {
    reducers: Vec<Reducer>,
    by_type: HashMap<String, Rc<Rules>>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

/// Aggregate types whose rules a backend keeps ready.
const MAX_TYPES: usize = 1_000;

/// What the events of that type do by now, whatever snapshot the transaction reads events by.
pub fn of_type(session: &Session, aggregate_type: &str) -> Result<Rc<Rules>, Error> {
    if !WATCH.is_fresh()? {
        WATCH.begin()?;
        let reducers = read(session).inspect_err(|_| WATCH.forget())?;
        KEPT.set(Kept { reducers, by_type: HashMap::new() });
    }
    Ok(KEPT.with_borrow_mut(|kept| {
        if let Some(rules) = kept.by_type.get(aggregate_type) {
            return Rc::clone(rules);
        }
        let rules = Rc::new(Rules::of(aggregate_type, &kept.reducers));
        if kept.by_type.len() < MAX_TYPES {
            kept.by_type.insert(aggregate_type.to_owned(), Rc::clone(&rules));
        }
        rules
    }))
}

fn read(session: &Session) -> Result<Vec<Reducer>, Error> {
    let rows = session.run_latest(&ALL, &[])?;
    rows.iter()
        .map(|row| {
            let action = match (row.json(3), row.text(4)) {
                (Some(operations), _) => Action::Operations(checked(operations)?),
                (None, handler) => Action::Function(handler.expect("a reducer has one or the other")),
            };
            Ok(Reducer {
                aggregate_type: row.text(1),
                event_type: row.text(2),
                action: Rc::new(action),
                digest: row.uuid(5).expect(PRESENT),
            })
        })
        .collect()
}

/// The operations that a definition writes.
pub fn checked(definition: JsonDatum) -> Result<Vec<Operation>, Error> {
    let whole = definition.container();
    let tree = Tree::from(match whole.is_object() {
        true => Item::Object(whole),
        false if whole.is_scalar() => Item::Null,
        false => Item::Array(whole),
    });
    grammar::operations(&tree).map_err(|bad| Error::ReducerInvalid {
        operation: bad.number,
        key: bad.key,
        why: bad.why,
    })
}

/// Whom a reducer is for; nothing: any.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub aggregate_type: Option<&'a str>,
    pub event_type: Option<&'a str>,
}

pub fn define(
    session: &Session,
    target: Target,
    operations: Option<JsonDatum>,
    handler: Option<&str>,
    by: &str,
) -> Result<(), Error> {
    let texts = [target.aggregate_type, target.event_type, handler, Some(by)].map(Arg::Text);
    session.run(&DEFINE, &[texts[0], texts[1], Arg::Jsonb(operations), texts[2], texts[3]])?;
    WATCH.announce()
}

pub fn drop_defined(session: &Session, target: Target) -> Result<(), Error> {
    let args = [Arg::Text(target.aggregate_type), Arg::Text(target.event_type)];
    if session.run(&DROP, &args)?.count() == 0 {
        let [aggregate_type, event_type] =
            [target.aggregate_type, target.event_type].map(|name| name.map(str::to_owned));
        return Err(Error::ReducerNotFound { aggregate_type, event_type });
    }
    WATCH.announce()
}
