//! Retention: the SQL functions.

use super::store::{self, Keep, Rule};
use crate::error::Error;
use crate::event_store::api::name;
use crate::event_store::fold::State;
use crate::event_store::reducers;
use crate::event_store::state::{self, Folded};
use crate::pg::{Session, Text, finish};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::required;
use pgrx::datum::Interval;
use pgrx::prelude::*;
use uuid::Uuid;

const MAX_EVENTS: i32 = 100_000;
const MAX_YEARS: i128 = 1_000;
const MICROS_PER_DAY: i128 = 86_400_000_000;
/// A twelfth of 365.2425 days.
const MICROS_PER_MONTH: i128 = 2_629_746_000_000;

fn bounded_keep(keep: &Interval) -> Result<Keep, Error> {
    let (months, days, micros) = (keep.months(), keep.days(), keep.micros());
    let total =
        i128::from(months) * MICROS_PER_MONTH + i128::from(days) * MICROS_PER_DAY + i128::from(micros);
    let most = MAX_YEARS * 12 * MICROS_PER_MONTH;
    if (0..=most).contains(&total) {
        return Ok(Keep(months, days, micros));
    }
    let why = format!("It must be 0 to {MAX_YEARS} years.");
    Err(Error::ArgumentBounds { argument: "keep", why })
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn set_retention(
    aggregate_type: Option<Text>,
    keep: Option<Interval>,
    keep_state: default!(Option<bool>, true),
) {
    let set = (|| {
        let of_type = name("aggregate_type", aggregate_type.as_deref())?;
        let keep_state = required("keep_state", keep_state)?;
        let keep = keep.as_ref().map(bounded_keep).transpose()?;
        let desk = Desk::open();
        match keep {
            Some(keep) => store::set(desk.session(), of_type, keep, keep_state, &desk.caller),
            None => store::unset(desk.session(), of_type),
        }
    })();
    drop(aggregate_type);
    finish(set);
}

/// The state at a version whose events are about to go; nothing where what it would begin with was not kept.
fn state_at(session: &Session, rule: &Rule, aggregate: Uuid, to: i32) -> Result<Option<State>, Error> {
    let rules = reducers::of_type(session, &rule.aggregate_type)?;
    match state::fold(session, aggregate, to, &rules) {
        Ok(Folded::To(state)) => Ok(Some(state)),
        // It has the rights of who reads a state, and here there is nobody who does.
        Ok(Folded::Function { version }) => {
            let why = "is for a reducer that is a function, which retention does not call".to_owned();
            Err(Error::NotFoldable { aggregate, version, why })
        }
        Err(Error::EventsDeleted { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes up to `most` events by that rule; how many, and of how many streams.
fn apply_rule(desk: &Desk, rule: &Rule, most: i32) -> Result<(i32, i32), Error> {
    let (mut events, mut streams) = (0, 0);
    for aggregate in store::lock_streams(desk.session(), rule, most)? {
        if events == most {
            break;
        }
        let Some((count, to)) = store::prefix(desk.session(), rule, aggregate, most - events)? else {
            continue;
        };
        let state = if rule.keep_state { state_at(desk.session(), rule, aggregate, to)? } else { None };
        store::bury(desk.session(), rule, aggregate, to, state, &desk.caller)?;
        events += count;
        streams += 1;
    }
    Ok((events, streams))
}

#[pg_extern(schema = "event_store", volatile, parallel_unsafe)]
fn apply_retention(
    max_events: default!(Option<i32>, 10_000),
) -> TableIterator<'static, (name!(events, i64), name!(streams, i64), name!(done, bool))> {
    let applied = required("max_events", max_events).and_then(|most| {
        if !(1..=MAX_EVENTS).contains(&most) {
            let why = format!("It is {most}; it must be 1 to {MAX_EVENTS}.");
            return Err(Error::ArgumentBounds { argument: "max_events", why });
        }
        let desk = Desk::open();
        let (mut events, mut streams, mut done) = (0, 0, true);
        for rule in store::rules(desk.session())? {
            let (gone, cut) = apply_rule(&desk, &rule, most - events)?;
            (events, streams) = (events + gone, streams + cut);
            if events == most {
                done = false;
                break;
            }
            done &= !store::is_left(desk.session(), &rule, most)?;
        }
        Ok((events.into(), streams.into(), done))
    });
    TableIterator::once(finish(applied))
}
