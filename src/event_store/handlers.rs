//! Reducers that are functions of the users' own, called with the caller's rights.
//!
//! Whoever owns a function may put another body into it, which would run with the rights of all who read a state. So a
//! reducer's function belongs to a superuser or to the extension's owner, or to nobody but the caller himself: that is
//! looked up each time, since owners change.

use super::fold::State;
use crate::error::Error;
use crate::pg::call::Composite;
use crate::pg::handler;
use crate::pg::{Arg, JsonDatum, PRESENT, RegProc, Session, Statement, Type, server};
use uuid::Uuid;

static NAMED: Statement = Statement::new(
    c"SELECT pg_catalog.format('%I.%I', n.nspname, p.proname)
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      WHERE p.oid = $1::oid",
    &[Type::BigInt],
);

static FOUND: Statement = Statement::new(
    c"SELECT p.oid::bigint, p.prokind = 'f' AND NOT p.proretset AND p.prorettype = 'pg_catalog.jsonb'::pg_catalog.regtype,
             r.rolsuper OR p.proowner = $2::oid, p.proowner = $3::oid,
             pg_catalog.has_function_privilege($3::oid, p.oid, 'EXECUTE')
             AND pg_catalog.has_schema_privilege($3::oid, p.pronamespace, 'USAGE')
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
      WHERE p.oid = pg_catalog.to_regprocedure($1 || '(pg_catalog.jsonb, event_store.events)')",
    &[Type::Text, Type::BigInt, Type::BigInt],
);

/// A function's name with its schema, quoted where it must be.
pub fn name(session: &Session, function: RegProc) -> Result<String, Error> {
    let number = Arg::BigInt(Some(u32::from(function.0).into()));
    let name = session.one(&NAMED, &[number], |row| row.text(1).expect("it has a name"))?;
    name.ok_or_else(|| unusable(&u32::from(function.0).to_string(), "There is no such function."))
}

fn unusable(function: &str, why: &str) -> Error {
    Error::ReducerFunction { function: function.to_owned(), why: why.to_owned() }
}

/// Whose function it must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// For everybody.
    ToDefine,
    ToCall,
}

/// The function's number, where that role may use it so.
pub fn find(session: &Session, name: &str, purpose: Use, role: pgrx::pg_sys::Oid) -> Result<u32, Error> {
    let [owner, role] = [server::owner(), role].map(|oid| Arg::BigInt(Some(u32::from(oid).into())));
    let found = session.one(&FOUND, &[Arg::Text(Some(name)), owner, role], |row| {
        let [shaped, trusted, own, allowed] = [2, 3, 4, 5].map(|at| row.bool(at).expect(PRESENT));
        (row.bigint(1).expect(PRESENT), shaped, trusted, own, allowed)
    })?;
    let Some((number, true, trusted, own, allowed)) = found else {
        let why =
            "There is no function of that name that takes jsonb and event_store.events and returns jsonb.";
        return Err(unusable(name, why));
    };
    let is_fit = trusted || (own && purpose == Use::ToCall);
    if !is_fit {
        return Err(unusable(name, "Its owner is neither a superuser nor the extension's owner."));
    }
    if !allowed {
        return Err(unusable(name, "The caller may not execute it."));
    }
    Ok(u32::try_from(number).expect("an oid has 32 bits"))
}

/// Folds one event by a function.
pub fn fold(
    state: &mut State,
    (function, name): (u32, &str),
    event: &Composite,
    (aggregate, version): (Uuid, i32),
) -> Result<(), Error> {
    let before = JsonDatum::of_text(&std::mem::take(state).text())?;
    let fails = |why: String| Error::NotFoldable { aggregate, version, why };
    let Some(after) = handler::reduce(function, before, event)? else {
        return Err(fails(format!("has {name} answer null")));
    };
    if !after.is_object() {
        return Err(fails(format!("has {name} answer what is no object")));
    }
    state.replace(after.container(), version);
    Ok(())
}
