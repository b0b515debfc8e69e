//! Deleting sagas that ended long ago.

use super::super::store::{self, Gone};
use super::{name, within};
use crate::error::Error;
use crate::pg::{Session, Text, Time, finish, server};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::required;
use pgrx::prelude::*;

const MAX_SAGAS: i32 = 10_000;
const MAX_KEYS: i32 = 100_000;

/// An instant that is not yet to come.
fn past(before: Option<Time>) -> Result<i64, Error> {
    let before = required("before", before)?.0;
    if before > server::clock_micros() {
        return Err(Error::ArgumentBounds { argument: "before", why: "It lies in the future.".into() });
    }
    Ok(before)
}

/// Deletes about `most` sagas of these types, and answers whether nothing that could go is left.
fn prune_types(session: &Session, types: &[String], before: i64, most: i32) -> Result<(Gone, bool), Error> {
    let mut all = Gone::default();
    let mut is_done = true;
    for of_type in types {
        let room = i32::try_from(i64::from(most) - all.sagas).unwrap_or(0);
        if room > 0 {
            let gone = store::prune(session, of_type, before, room)?;
            all.sagas += gone.sagas;
            all.transitions += gone.transitions;
            all.until = all.until.max(gone.until);
        }
        is_done = is_done && !store::is_left(session, of_type, before)?;
    }
    Ok((all, is_done))
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn prune(
    before: Option<Time>,
    max_sagas: default!(Option<i32>, 1000),
    saga_type: default!(Option<Text>, "NULL"),
) -> TableIterator<'static, (name!(sagas, i64), name!(done, bool))> {
    let result = (|| {
        let before = past(before)?;
        let most = within("max_sagas", max_sagas, MAX_SAGAS)?;
        let of_type = saga_type.as_deref().map(|given| name("saga_type", Some(given))).transpose()?;
        let desk = Desk::open();
        let session = desk.session();
        let types = match of_type {
            Some(of_type) => vec![of_type.to_owned()],
            None => store::ended_types(session)?,
        };
        let (gone, is_done) = prune_types(session, &types, before, most)?;
        if gone.sagas > 0 {
            store::record(session, &gone, before, of_type, &desk.caller)?;
        }
        Ok((gone.sagas, is_done))
    })();
    drop(saga_type);
    TableIterator::once(finish(result))
}

#[pg_extern(schema = "saga", volatile, parallel_unsafe)]
fn forget_keys(
    before: Option<Time>,
    max_keys: default!(Option<i32>, 10_000),
) -> TableIterator<'static, (name!(keys, i64), name!(done, bool))> {
    let result = (|| {
        let before = past(before)?;
        let most = within("max_keys", max_keys, MAX_KEYS)?;
        let desk = Desk::open();
        let session = desk.session();
        let gone = store::forget_keys(session, before, most)?;
        if gone.keys > 0 {
            store::record(session, &gone, before, None, &desk.caller)?;
        }
        Ok((gone.keys, !store::are_keys_left(session, before)?))
    })();
    TableIterator::once(finish(result))
}
