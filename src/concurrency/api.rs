//! The SQL functions of named locks, leases and the log of deadlocks.

use super::core::Scope;
use super::deadlocks::{self, Report};
use super::leases::{self, Held, Taker};
use super::locks;
use crate::error::Error;
use crate::pg::{Many, OwnerRights, Session, Text, Time, finish, server};
use crate::txn_processing::bounds::{bounded_text, given_text};
use crate::txn_processing::{id, required};
use pgrx::prelude::*;

/// A week: of a lease and of a wait.
const MAX_MS: i32 = 7 * 24 * 3_600 * 1_000;
const MAX_NAMES: usize = 1_000;
const MAX_NAME: usize = 100;
const MAX_DETAIL: usize = 100_000;

fn within(argument: &'static str, value: Option<i32>, from: i32) -> Result<i32, Error> {
    let value = required(argument, value)?;
    if (from..=MAX_MS).contains(&value) {
        return Ok(value);
    }
    Err(Error::ArgumentBounds { argument, why: format!("It is {value}; it must be {from} to {MAX_MS}.") })
}

fn good_name<'a>(argument: &'static str, name: Option<&'a str>) -> Result<&'a str, Error> {
    given_text(argument, required(argument, name)?, MAX_NAME)
}

fn good_names<'a>(names: Option<&'a Many<String>>) -> Result<Vec<&'a str>, Error> {
    let names = required("names", names)?;
    if !(1..=MAX_NAMES).contains(&names.0.len()) {
        let why = format!("It has {} elements; it must have 1 to {MAX_NAMES}.", names.0.len());
        return Err(Error::ArgumentBounds { argument: "names", why });
    }
    let why = || Error::ArgumentBounds { argument: "names", why: "One of its elements is null.".into() };
    names.0.iter().map(|name| good_name("names", Some(name.as_deref().ok_or_else(why)?))).collect()
}

fn scope_of(scope: Option<&str>) -> Result<Scope, Error> {
    let scope = required("scope", scope)?;
    Scope::of(scope).ok_or_else(|| Error::ArgumentBounds {
        argument: "scope",
        why: format!("It is {scope:?}; it must be transaction or session."),
    })
}

fn caller() -> String {
    server::role_name(server::current_user())
}

/// Runs `work` on the tables of leases and deadlocks, which are written by the extension only.
fn as_owner<T>(work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
    let _rights = OwnerRights::to_write();
    work(&Session::write())
}

fn customer(p_customer_id: Option<pgrx::Uuid>) -> Result<Vec<i64>, Error> {
    let customer = id(required("p_customer_id", p_customer_id)?);
    locks::keys(&[&format!("customer:{customer}")])
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn acquire_customer_lock(
    p_customer_id: Option<pgrx::Uuid>,
    p_timeout_ms: default!(Option<i32>, 5000),
) -> bool {
    finish(customer(p_customer_id).and_then(|keys| {
        let timeout_ms = within("p_timeout_ms", p_timeout_ms, 0)?;
        locks::acquire(&keys, timeout_ms, Scope::Transaction)
    }))
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn release_customer_lock(p_customer_id: Option<pgrx::Uuid>) -> bool {
    let released = customer(p_customer_id).and_then(|keys| locks::release(&keys, Scope::Transaction));
    finish(released) > 0
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn acquire_lock(
    name: Option<Text>,
    timeout_ms: default!(Option<i32>, 5000),
    scope: default!(Option<Text>, "'transaction'"),
) -> bool {
    let taken = (|| {
        let name = good_name("name", name.as_deref())?;
        let timeout_ms = within("timeout_ms", timeout_ms, 0)?;
        locks::acquire(&locks::keys(&[name])?, timeout_ms, scope_of(scope.as_deref())?)
    })();
    drop((name, scope));
    finish(taken)
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn acquire_locks(
    names: Option<Many<String>>,
    timeout_ms: default!(Option<i32>, 5000),
    scope: default!(Option<Text>, "'transaction'"),
) -> bool {
    let taken = (|| {
        let names = good_names(names.as_ref())?;
        let timeout_ms = within("timeout_ms", timeout_ms, 0)?;
        locks::acquire(&locks::keys(&names)?, timeout_ms, scope_of(scope.as_deref())?)
    })();
    drop((names, scope));
    finish(taken)
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn release_lock(name: Option<Text>, scope: default!(Option<Text>, "'transaction'")) -> bool {
    let released = (|| {
        let name = good_name("name", name.as_deref())?;
        locks::release(&locks::keys(&[name])?, scope_of(scope.as_deref())?)
    })();
    drop((name, scope));
    finish(released) > 0
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn release_locks(names: Option<Many<String>>, scope: default!(Option<Text>, "'transaction'")) -> i32 {
    let released = (|| {
        let names = good_names(names.as_ref())?;
        locks::release(&locks::keys(&names)?, scope_of(scope.as_deref())?)
    })();
    drop((names, scope));
    finish(released)
}

/// Names in their order, each once, with their tokens; nothing where they cannot all be had in time.
fn lease(
    names: &mut Vec<&str>,
    holder: Option<&str>,
    lease_ms: Option<i32>,
    timeout_ms: Option<i32>,
) -> Result<Vec<i64>, Error> {
    let role = caller();
    let holder = given_text("holder", required("holder", holder)?, MAX_NAME)?;
    let taker = Taker { role: &role, holder, lease_ms: within("lease_ms", lease_ms, 1)? };
    let timeout_ms = within("timeout_ms", timeout_ms, 0)?;
    names.sort_unstable();
    names.dedup();
    let tokens = as_owner(|session| leases::acquire(session, names, &taker, timeout_ms))?;
    Ok(tokens.unwrap_or_default())
}

#[pg_extern(schema = "concurrency", name = "acquire_lease", volatile, parallel_unsafe)]
fn acquire_lease_sql(
    name: Option<Text>,
    holder: Option<Text>,
    lease_ms: default!(Option<i32>, 30000),
    timeout_ms: default!(Option<i32>, 0),
) -> Option<i64> {
    let taken = good_name("name", name.as_deref())
        .and_then(|name| lease(&mut vec![name], holder.as_deref(), lease_ms, timeout_ms));
    drop((name, holder));
    finish(taken).first().copied()
}

#[pg_extern(schema = "concurrency", name = "acquire_leases", volatile, parallel_unsafe)]
fn acquire_leases_sql(
    names: Option<Many<String>>,
    holder: Option<Text>,
    lease_ms: default!(Option<i32>, 30000),
    timeout_ms: default!(Option<i32>, 0),
) -> TableIterator<'static, (name!(name, String), name!(token, i64))> {
    let taken = good_names(names.as_ref()).and_then(|mut names| {
        let tokens = lease(&mut names, holder.as_deref(), lease_ms, timeout_ms)?;
        Ok(names.into_iter().map(str::to_owned).zip(tokens).collect::<Vec<_>>())
    });
    drop((names, holder));
    TableIterator::new(finish(taken))
}

/// Does something with a lease that the caller says it has.
fn with_held<T>(
    name: Option<&str>,
    token: Option<i64>,
    work: impl FnOnce(&Held, &Session) -> Result<T, Error>,
) -> Result<T, Error> {
    let name = good_name("name", name)?;
    let token = required("token", token)?;
    let role = caller();
    as_owner(|session| work(&Held { name, token, role: &role }, session))
}

#[pg_extern(schema = "concurrency", name = "extend_lease", volatile, parallel_unsafe)]
fn extend_lease_sql(
    name: Option<Text>,
    token: Option<i64>,
    lease_ms: default!(Option<i32>, 30000),
) -> Option<Time> {
    let extended = within("lease_ms", lease_ms, 1).and_then(|lease_ms| {
        with_held(name.as_deref(), token, |held, session| held.extend(session, lease_ms))
    });
    drop(name);
    Some(finish(extended))
}

#[pg_extern(schema = "concurrency", name = "release_lease", volatile, parallel_unsafe)]
fn release_lease_sql(name: Option<Text>, token: Option<i64>) -> bool {
    let released = with_held(name.as_deref(), token, |held, session| held.release(session));
    drop(name);
    finish(released)
}

#[pg_extern(schema = "concurrency", name = "hold_lease", volatile, parallel_unsafe)]
fn hold_lease_sql(name: Option<Text>, token: Option<i64>) {
    let held = with_held(name.as_deref(), token, |held, session| held.hold(session));
    drop(name);
    finish(held)
}

#[pg_extern(schema = "concurrency", name = "break_lease", volatile, parallel_unsafe)]
fn break_lease_sql(name: Option<Text>) -> bool {
    let role = caller();
    let broken = good_name("name", name.as_deref()).and_then(|name| {
        let found = as_owner(|session| leases::take_away(session, name))?;
        if let Some((token, holder, taken_by)) = &found {
            pgrx::log!(
                "neobank: {role} broke lease {name:?} (token {token}) of {holder:?}, taken by {taken_by}"
            );
        }
        Ok(found.is_some())
    });
    drop((name, role));
    finish(broken)
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn record_deadlock(
    detail: Option<Text>,
    query_text: default!(Option<Text>, "NULL"),
    resolution: default!(Option<Text>, "NULL"),
    process_id: default!(Option<i32>, "NULL"),
) -> i64 {
    let recorded = (|| {
        let detail = required("detail", detail.as_deref())?;
        bounded_text("detail", Some(detail), MAX_DETAIL)?;
        bounded_text("query_text", query_text.as_deref(), MAX_DETAIL)?;
        bounded_text("resolution", resolution.as_deref(), 1_000)?;
        let role = caller();
        let report = Report {
            at: None,
            pid: process_id,
            transaction: None,
            query: query_text.as_deref(),
            detail,
            resolution: resolution.as_deref(),
            source: "client",
            role: &role,
        };
        as_owner(|session| deadlocks::record(session, &report))
    })();
    drop((detail, query_text, resolution));
    finish(recorded)
}

#[pg_extern(schema = "concurrency", volatile, parallel_unsafe)]
fn collect_deadlocks() -> i32 {
    let role = caller();
    let collected = deadlocks::collect(&role);
    drop(role);
    finish(collected)
}
