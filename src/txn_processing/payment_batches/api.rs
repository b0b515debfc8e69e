//! The SQL functions of payment batches.

use super::core::check_chunk;
use super::{create, process, store};
use crate::pg::{JsonDatum, Text, finish};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::strict::{id, required, sql_id};
use pgrx::prelude::*;

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn create_payment_batch(
    items: Option<JsonDatum>,
    idempotency_key: Option<Text>,
    description: default!(Option<Text>, "NULL"),
) -> pgrx::Uuid {
    let created = (|| {
        let items = required("items", items)?;
        let key = required("idempotency_key", idempotency_key.as_deref())?;
        create::create(&Desk::open(), items, key, description.as_deref())
    })();
    drop((idempotency_key, description));
    sql_id(finish(created))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn process_payment_batch(
    batch_id: Option<pgrx::Uuid>,
    chunk: default!(Option<i32>, 1000),
) -> TableIterator<
    'static,
    (name!(attempted, i32), name!(completed, i32), name!(failed, i32), name!(more, bool)),
> {
    let processed = (|| {
        let batch = id(required("batch_id", batch_id)?);
        let chunk = check_chunk(required("chunk", chunk)?)?;
        process::process(&Desk::open(), batch, chunk)
    })();
    let (tally, more) = finish(processed);
    TableIterator::once((tally.attempted(), tally.completed, tally.failed, more))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn retry_payment_batch(batch_id: Option<pgrx::Uuid>) -> i64 {
    finish(required("batch_id", batch_id).and_then(|batch| store::retry(Desk::open().session(), id(batch))))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn cancel_payment_batch(batch_id: Option<pgrx::Uuid>) -> i64 {
    finish(required("batch_id", batch_id).and_then(|batch| store::cancel(Desk::open().session(), id(batch))))
}
