//! The SQL functions.

use super::breaks::{Break, Picture};
use super::core::Pass;
use super::import::{self, Given, named};
use super::matching;
use super::store::{self, NewRule};
use crate::error::Error;
use crate::pg::{BpChar, Day, JsonDatum, Many, Numeric, Text, finish};
use crate::txn_processing::core::MAX_AMOUNT;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::strict::{finite, id, required, sql_id};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

fn ids(name: &'static str, ids: Option<Many<pgrx::Uuid>>) -> Result<Vec<Uuid>, Error> {
    required(name, ids)?.0.into_iter().map(|element| required(name, element).map(id)).collect()
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn import_external_statement(
    source: Option<Text>,
    statement_ref: Option<Text>,
    account: Option<pgrx::Uuid>,
    currency: Option<BpChar>,
    opening_balance: Option<Numeric>,
    closing_balance: Option<Numeric>,
    lines: Option<JsonDatum>,
    from_date: default!(Option<Day>, "NULL"),
    to_date: default!(Option<Day>, "NULL"),
) -> pgrx::Uuid {
    let given = Given {
        source,
        statement_ref,
        account,
        currency,
        opening_balance,
        closing_balance,
        lines,
        from_date,
        to_date,
    };
    let result = import::import(&given).map(sql_id);
    drop(given);
    finish(result)
}

fn within<T: PartialOrd + std::fmt::Display>(
    argument: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<T, Error> {
    if value < least || value > most {
        let why = format!("It is {value}; it may be {least} to {most}.");
        return Err(Error::ArgumentBounds { argument, why });
    }
    Ok(value)
}

/// The arguments of `set_reconciliation_rule` after source and priority.
type Tolerances = (Option<Numeric>, Option<Numeric>, Option<i32>, Option<i32>, Option<Vec<Option<String>>>);

fn set_rule(source: Option<&str>, priority: Option<i32>, tolerances: &Tolerances) -> Result<(), Error> {
    let (amount, percent, days, window, passes) = tolerances;
    let bounded = |name, figure: Option<Numeric>, most| {
        within(name, finite(required(name, figure)?)?, Decimal::ZERO, most)
    };
    let passes = required("passes", passes.as_ref())?.iter().map(|name| {
        let name = required("passes", name.as_deref())?;
        Pass::of(name).ok_or_else(|| Error::ArgumentBounds {
            argument: "passes",
            why: format!("It has {name:?}; passes are reference, date, one_to_many, many_to_one and subset."),
        })
    });
    let mut passes = passes.collect::<Result<Vec<_>, _>>()?;
    passes.sort_unstable();
    passes.dedup();
    let rule = NewRule {
        source: named("source", required("source", source)?, 100)?,
        priority: within("priority", required("priority", priority)?, 1, 100)?,
        amount_tolerance: bounded("amount_tolerance", *amount, MAX_AMOUNT)?,
        amount_tolerance_percent: bounded("amount_tolerance_percent", *percent, Decimal::ONE_HUNDRED)?,
        date_tolerance_days: within("date_tolerance_days", required("date_tolerance_days", *days)?, 0, 366)?,
        reference_window_days: within(
            "reference_window_days",
            required("reference_window_days", *window)?,
            0,
            366,
        )?,
        passes: &passes,
    };
    let desk = Desk::open();
    store::set_rule(desk.session(), &rule, &desk.caller)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments)]
fn set_reconciliation_rule(
    source: Option<Text>,
    priority: Option<i32>,
    amount_tolerance: default!(Option<Numeric>, 0),
    amount_tolerance_percent: default!(Option<Numeric>, 0),
    date_tolerance_days: default!(Option<i32>, 0),
    reference_window_days: default!(Option<i32>, 31),
    passes: default!(Option<Vec<Option<String>>>, "'{reference,date,one_to_many,many_to_one}'"),
) {
    let tolerances =
        (amount_tolerance, amount_tolerance_percent, date_tolerance_days, reference_window_days, passes);
    let result = set_rule(source.as_deref(), priority, &tolerances);
    drop((source, tolerances));
    finish(result)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn match_external_statement(
    statement_id: Option<pgrx::Uuid>,
    priorities: default!(Option<Vec<Option<i32>>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(matches, i64),
        name!(matched_lines, i64),
        name!(matched_postings, i64),
        name!(open_lines, i64),
        name!(ambiguous_lines, i64),
    ),
> {
    let result = (|| {
        let statement = id(required("statement_id", statement_id)?);
        let wanted = |list: &Vec<Option<i32>>| {
            list.iter().map(|priority| required("priorities", *priority)).collect::<Result<Vec<_>, _>>()
        };
        let priorities = priorities.as_ref().map(wanted).transpose()?;
        matching::match_statement(statement, priorities.as_deref())
    })();
    drop(priorities);
    let done = finish(result);
    TableIterator::once((
        done.matches as i64,
        done.matched_lines as i64,
        done.matched_postings as i64,
        done.open_lines as i64,
        done.ambiguous_lines as i64,
    ))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn manual_match(
    lines: Option<Many<pgrx::Uuid>>,
    transactions: Option<Many<pgrx::Uuid>>,
    reason: Option<Text>,
) -> pgrx::Uuid {
    let result = (|| {
        let (lines, transactions) = (ids("lines", lines)?, ids("transactions", transactions)?);
        matching::match_by_hand(&lines, &transactions, required("reason", reason.as_deref())?).map(sql_id)
    })();
    drop(reason);
    finish(result)
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
fn unmatch(match_id: Option<pgrx::Uuid>, reason: Option<Text>) {
    let result = required("match_id", match_id)
        .and_then(|found| matching::undo(id(found), required("reason", reason.as_deref())?));
    drop(reason);
    finish(result)
}

type BreakRow = (
    &'static str,
    Option<pgrx::Uuid>,
    Option<i32>,
    Option<pgrx::Uuid>,
    Option<i16>,
    Option<pgrx::Uuid>,
    Day,
    i32,
    Numeric,
    Numeric,
    Option<String>,
);

fn break_row(found: Break) -> BreakRow {
    (
        found.kind,
        found.line.map(|(id, _)| sql_id(id)),
        found.line.map(|(_, no)| no),
        found.posting.map(|(id, _)| sql_id(id)),
        found.posting.map(|(_, leg)| leg),
        found.matched.map(sql_id),
        Day(found.day),
        found.age_days,
        found.amount.into(),
        found.difference.into(),
        found.reference,
    )
}

#[pg_extern(schema = "txn_processing", stable, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn reconciliation_breaks(
    statement_id: Option<pgrx::Uuid>,
) -> TableIterator<
    'static,
    (
        name!(kind, &'static str),
        name!(line_id, Option<pgrx::Uuid>),
        name!(line_no, Option<i32>),
        name!(transaction_id, Option<pgrx::Uuid>),
        name!(leg, Option<i16>),
        name!(match_id, Option<pgrx::Uuid>),
        name!(booked_on, Day),
        name!(age_days, i32),
        name!(amount, Numeric),
        name!(difference, Numeric),
        name!(reference, Option<String>),
    ),
> {
    let breaks = required("statement_id", statement_id)
        .and_then(|statement| Picture::of(id(statement)))
        .map(|picture| picture.breaks().into_iter().map(break_row).collect::<Vec<_>>());
    TableIterator::new(finish(breaks))
}

/// The sums of a statement's breaks, by what they are.
#[derive(Default)]
struct Sums {
    postings: Decimal,
    lines: Decimal,
    matches: Decimal,
    timing: Decimal,
    open_lines: i64,
    ambiguous: i64,
}

#[pg_extern(schema = "txn_processing", stable, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn reconciliation_summary(
    statement_id: Option<pgrx::Uuid>,
) -> TableIterator<
    'static,
    (
        name!(account_id, pgrx::Uuid),
        name!(from_date, Day),
        name!(to_date, Day),
        name!(ledger_balance, Numeric),
        name!(statement_balance, Numeric),
        name!(difference, Numeric),
        name!(opening_difference, Numeric),
        name!(unmatched_postings, Numeric),
        name!(unmatched_lines, Numeric),
        name!(amount_differences, Numeric),
        name!(timing, Numeric),
        name!(unexplained, Numeric),
        name!(line_count, i64),
        name!(open_lines, i64),
        name!(ambiguous_lines, i64),
    ),
> {
    let picture =
        finish(required("statement_id", statement_id).and_then(|statement| Picture::of(id(statement))));
    let mut sums = Sums::default();
    for found in picture.breaks() {
        match found.kind {
            "posting_without_line" => sums.postings += found.amount,
            "line_without_posting" | "ambiguous" => {
                sums.lines += found.amount;
                sums.open_lines += 1;
                sums.ambiguous += i64::from(found.kind == "ambiguous");
            }
            "amount_difference" => sums.matches += found.difference,
            "timing" => sums.timing += found.difference,
            _ => {}
        }
    }
    let external = &picture.external;
    let difference = picture.ledger_balance - external.closing;
    let explained = picture.opening_difference + sums.postings - sums.lines + sums.matches + sums.timing;
    let figure = |mut figure: Decimal| {
        figure.rescale(external.mirror.exponent);
        Numeric::from(figure)
    };
    TableIterator::once((
        sql_id(external.account),
        Day(external.from),
        Day(external.to),
        figure(picture.ledger_balance),
        figure(external.closing),
        figure(difference),
        figure(picture.opening_difference),
        figure(sums.postings),
        figure(sums.lines),
        figure(sums.matches),
        figure(sums.timing),
        figure(difference - explained),
        picture.line_count() as i64,
        sums.open_lines,
        sums.ambiguous,
    ))
}
