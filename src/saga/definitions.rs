//! Definitions of sagas, kept in each backend: a version never changes.

use super::core::{Function, Invalid, Named, Plan};
use crate::error::Error;
use crate::pg::subtransaction::attempted;
use crate::pg::watch::Watch;
use crate::pg::{Arg, JsonDatum, PRESENT, Session, Statement, Type};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

static OF_VERSION: Statement = Statement::new(
    c"SELECT d.steps FROM saga.definitions d WHERE d.saga_type = $1 AND d.version = $2",
    &[Type::Text, Type::Int],
);

static NEWEST: Statement = Statement::new(
    c"SELECT d.version, d.steps FROM saga.definitions d WHERE d.saga_type = $1 ORDER BY d.version DESC LIMIT 1",
    &[Type::Text],
);

static ADD: Statement = Statement::new(
    c"INSERT INTO saga.definitions (saga_type, version, steps, defined_by)
      VALUES ($1, $2, $3, $4)
      ON CONFLICT (saga_type, version) DO NOTHING",
    &[Type::Text, Type::Int, Type::Jsonb, Type::Text],
);

// parse_ident refuses what is no name.
static FUNCTION: Statement = Statement::new(
    c"SELECT n.nspname::text, p.proname::text,
             p.prokind = 'f' AND NOT p.proretset AND p.prorettype = 'pg_catalog.jsonb'::pg_catalog.regtype,
             has_function_privilege($2, p.oid, 'EXECUTE')
      FROM (SELECT parse_ident($1) AS parts) i
      JOIN pg_namespace n ON n.nspname = i.parts[1]
      JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = i.parts[2]
      WHERE cardinality(i.parts) = 2 AND p.proargtypes::text = ('uuid'::regtype::oid::text || ' ' || 'uuid'::regtype::oid
            || ' ' || 'jsonb'::regtype::oid || ' ' || 'jsonb'::regtype::oid)",
    &[Type::Text, Type::Text],
);

static WATCH: Watch = Watch::new([c"saga", c"definitions"]);

#[derive(Default)]
struct Kept {
    plans: HashMap<(String, i32), Rc<Plan>>,
    newest: HashMap<String, i32>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

fn refresh() -> Result<(), Error> {
    if !WATCH.is_fresh()? {
        KEPT.take();
        WATCH.begin()?;
    }
    Ok(())
}

fn stored(steps: JsonDatum) -> Rc<Plan> {
    let plan = Plan::of_json(&steps.tree(), &mut |named: Named| match named {
        Named::Known(function) => Ok(function),
        Named::Written(_) => Err("It is not as it was stored.".to_owned()),
    });
    Rc::new(plan.expect("checked when it was defined"))
}

/// What a saga of that version follows.
pub fn of_version(session: &Session, saga_type: &str, version: i32) -> Result<Rc<Plan>, Error> {
    refresh()?;
    let key = (saga_type.to_owned(), version);
    if let Some(plan) = KEPT.with_borrow(|kept| kept.plans.get(&key).cloned()) {
        return Ok(plan);
    }
    let row =
        session.run_latest(&OF_VERSION, &[Arg::Text(Some(saga_type)), Arg::Int(Some(version))])?.first();
    let row = row.ok_or_else(|| Error::SagaTypeUnknown { saga_type: saga_type.to_owned() })?;
    let plan = stored(row.json(1).expect(PRESENT));
    KEPT.with_borrow_mut(|kept| kept.plans.insert(key, plan.clone()));
    Ok(plan)
}

/// What a new saga follows, with its version.
pub fn newest(session: &Session, saga_type: &str) -> Result<(i32, Rc<Plan>), Error> {
    refresh()?;
    let known = KEPT.with_borrow(|kept| kept.newest.get(saga_type).copied());
    let version = match known {
        Some(version) => version,
        None => {
            let row = session.run_latest(&NEWEST, &[Arg::Text(Some(saga_type))])?.first();
            let row = row.ok_or_else(|| Error::SagaTypeUnknown { saga_type: saga_type.to_owned() })?;
            let version = row.int(1).expect(PRESENT);
            KEPT.with_borrow_mut(|kept| kept.newest.insert(saga_type.to_owned(), version));
            version
        }
    };
    Ok((version, of_version(session, saga_type, version)?))
}

/// The function of that name, if it is one that `caller` may have called in a step.
fn function(session: &Session, written: &str, caller: &str) -> Result<Result<Function, String>, Error> {
    let args = [Arg::Text(Some(written)), Arg::Text(Some(caller))];
    // A name that is none raises.
    let found = attempted(|| {
        session.one(&FUNCTION, &args, |row| {
            let function =
                Function { schema: row.text(1).expect(PRESENT), name: row.text(2).expect(PRESENT) };
            (function, row.bool(3) == Some(true), row.bool(4) == Some(true))
        })
    })?;
    Ok(match found {
        Ok(Some((function, true, true))) => Ok(function),
        Ok(Some((_, true, false))) => Err(format!("Function {written} may not be executed by {caller}.")),
        _ => Err(format!(
            "There is no function {written}, named with its schema, that takes (uuid, uuid, jsonb, jsonb) and returns jsonb."
        )),
    })
}

/// The steps that somebody wrote, checked.
pub fn checked(session: &Session, steps: &Value, caller: &str) -> Result<Plan, Error> {
    let mut failed = None;
    let mut resolve = |named: Named| {
        let written = match named {
            Named::Written(text) => text.to_owned(),
            Named::Known(function) => quoted(&function),
        };
        match function(session, &written, caller) {
            Ok(found) => found,
            Err(error) => {
                failed = Some(error);
                Err("It cannot be looked up.".to_owned())
            }
        }
    };
    let plan = Plan::of_json(steps, &mut resolve);
    match failed {
        Some(error) => Err(error),
        None => plan.map_err(|Invalid { step, key, why }| Error::SagaDefinition { step, key, why }),
    }
}

fn quoted(function: &Function) -> String {
    let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    format!("{}.{}", quote(&function.schema), quote(&function.name))
}

/// Keeps the definition, and answers its version: that of the newest one where it is the same.
pub fn add(session: &Session, saga_type: &str, plan: &Plan, caller: &str) -> Result<i32, Error> {
    let steps = plan.to_json();
    loop {
        let row = session.run_latest(&NEWEST, &[Arg::Text(Some(saga_type))])?.first();
        let newest = row.map(|row| (row.int(1).expect(PRESENT), row.json(2).expect(PRESENT)));
        if let Some((version, same)) = &newest
            && same.tree() == steps
        {
            return Ok(*version);
        }
        let version = newest.map_or(1, |(version, _)| version + 1);
        let json = JsonDatum::of_value(&steps);
        let args = [
            Arg::Text(Some(saga_type)),
            Arg::Int(Some(version)),
            Arg::Jsonb(Some(json)),
            Arg::Text(Some(caller)),
        ];
        // Nothing where somebody else has just made that version.
        if session.run(&ADD, &args)?.count() > 0 {
            WATCH.announce()?;
            return Ok(version);
        }
    }
}
