//! The SQL functions of metrics and the report.

use super::{exposition, page, store};
use crate::error::Error;
use crate::pg::compat::PinnedSearchPath;
use crate::pg::plans::CallersPlans;
use crate::pg::{Session, finish};
use pgrx::prelude::*;

fn read<T>(work: impl FnOnce(&Session) -> Result<T, Error>) -> T {
    let result = {
        let _path = PinnedSearchPath::pin();
        let session = Session::write();
        // What is read here is all of it, and not the few rows that ours want elsewhere.
        let _plans = CallersPlans::restore();
        work(&session)
    };
    finish(result)
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn metrics() -> String {
    exposition::exposition(&read(store::figures))
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
fn report_html() -> String {
    page::page(&read(store::data))
}
