//! The SQL function that appends on a condition.

use super::api::{Batch, expectation, name, texts};
use super::append::append;
use super::boundary::Condition;
use crate::pg::{JsonDatum, Many, Text, finish};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::{id, required};
use pgrx::prelude::*;

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn append_events_if(
    aggregate_type: Option<Text>,
    aggregate_id: Option<pgrx::Uuid>,
    events: Option<JsonDatum>,
    after_position: Option<i64>,
    event_types: default!(Option<Many<String>>, "NULL"),
    tags: default!(Option<Many<String>>, "NULL"),
    expected_version: default!(Option<i32>, "NULL"),
) -> i64 {
    let result = (|| {
        let aggregate_type = name("aggregate_type", aggregate_type.as_deref())?;
        let aggregate = id(required("aggregate_id", aggregate_id)?);
        let events = required("events", events)?;
        let batch = Batch::of(&events)?;
        let after = required("after_position", after_position)?;
        let (types, with) = (texts(event_types.as_ref()), texts(tags.as_ref()));
        let condition = Condition { after, event_types: &types, tags: &with }
            .bounded(event_types.is_some(), tags.is_some())?;
        let expected = expectation("expected_version", expected_version)?;
        let desk = Desk::open();
        condition.refuse_open_past(desk.session())?;
        let new = batch.for_stream(aggregate, aggregate_type, &desk.caller);
        append(&desk, &new, expected, Some(&condition)).map(i64::from)
    })();
    drop((aggregate_type, event_types, tags));
    finish(result)
}
