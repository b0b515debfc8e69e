//! The SQL function that explains a query.

use super::core::{Finding, Severity};
use super::store::{Asked, explain as ask};
use crate::error::Error;
use crate::pg::{JsonDatum, Many, Numeric, Text, finish};
use crate::txn_processing::bounds::given_text;
use crate::txn_processing::required;
use pgrx::prelude::*;
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use std::ffi::CString;

const MAX_QUERY: usize = 100_000;
const MAX_PARAMS: usize = 1_000;

/// Rounded to thousandths; nothing where it is past what `numeric` is read as here.
pub fn rounded(value: f64) -> Option<Numeric> {
    Decimal::from_f64(value).map(|value| value.round_dp(3).normalize().into())
}

type Row = (
    &'static str,
    &'static str,
    String,
    Option<String>,
    Option<Numeric>,
    Option<&'static str>,
    Option<Numeric>,
    String,
    Option<String>,
    Option<String>,
    Option<JsonDatum>,
);

fn row(finding: Finding) -> Row {
    (
        finding.check_id,
        finding.severity.word(),
        finding.node,
        finding.object,
        rounded(finding.value),
        Some(finding.unit),
        rounded(finding.threshold),
        finding.detail,
        Some(finding.remedy),
        finding.remediation_sql,
        None,
    )
}

#[pg_extern(schema = "troubleshoot", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn explain(
    query: Option<Text>,
    params: default!(Option<Many<String>>, "'{}'"),
    analyze: default!(Option<bool>, false),
) -> TableIterator<
    'static,
    (
        name!(check_id, &'static str),
        name!(severity, &'static str),
        name!(node, String),
        name!(object, Option<String>),
        name!(value, Option<Numeric>),
        name!(unit, Option<&'static str>),
        name!(threshold, Option<Numeric>),
        name!(detail, String),
        name!(remedy, Option<String>),
        name!(remediation_sql, Option<String>),
        name!(plan, Option<JsonDatum>),
    ),
> {
    let result = (|| {
        let text = given_text("query", required("query", query.as_deref())?, MAX_QUERY)?;
        let run = required("analyze", analyze)?;
        let params: Vec<Option<&str>> =
            params.iter().flat_map(|many| &many.0).map(Option::as_deref).collect();
        if params.len() > MAX_PARAMS {
            let why = format!("It has {} elements; the most is {MAX_PARAMS}.", params.len());
            return Err(Error::ArgumentBounds { argument: "params", why });
        }
        let answer = ask(&Asked { query: text, params: &params, run })?;
        let plan = CString::new(answer.plan.as_str()).expect("the server's JSON has no zero byte");
        Ok((JsonDatum::of_text(&plan)?, answer))
    })();
    drop((query, params));
    let (plan, answer) = finish(result);
    let whole: Row = (
        "plan",
        Severity::Ok.word(),
        "the query".into(),
        None,
        None,
        None,
        None,
        answer.summary,
        None,
        None,
        Some(plan),
    );
    let rows: Vec<Row> = std::iter::once(whole).chain(answer.findings.into_iter().map(row)).collect();
    TableIterator::new(rows)
}
