//! Above READ COMMITTED: what others have recorded of a key since this transaction's snapshot, which it does not see and
//! so cannot keep apart from what it records itself.

use crate::error::Error;
use crate::pg::{Arg, JsonDatum, RegClass, Session, Statement, Type, finish, server};
use crate::txn_processing::required;
use pgrx::prelude::*;

static PLACES: Statement = Statement::new(
    c"SELECT temporal.places(temporal.enabled_table($1::oid::regclass), $2)",
    &[Type::BigInt, Type::Jsonb],
);

fn check(table: Option<RegClass>, key: Option<JsonDatum>) -> Result<(), Error> {
    let table = i64::from(u32::from(required("p_table", table)?.0));
    let key = required("p_key", key)?;
    if server::is_read_committed() {
        return Ok(());
    }
    let session = Session::write();
    let args = [Arg::BigInt(Some(table)), Arg::Jsonb(Some(key))];
    let seen = session.run(&PLACES, &args)?.first().and_then(|row| row.text(1)).unwrap_or_default();
    let there = session.run_latest(&PLACES, &args)?.first().and_then(|row| row.text(1)).unwrap_or_default();
    let is_seen = |place: &str| seen.split(';').any(|known| known == place);
    if there.split(';').all(|place| place.is_empty() || is_seen(place)) {
        return Ok(());
    }
    Err(Error::ConcurrentUpdate)
}

#[pg_extern(schema = "temporal", volatile, parallel_unsafe)]
fn check_snapshot(p_table: Option<RegClass>, p_key: Option<JsonDatum>) {
    finish(check(p_table, p_key))
}
