//! A quiet moment: whoever reads events comes to their end, and then has come by all of them.

use crate::answer::agree;
use crate::sagas::bring_to_rest;
use crate::state::State;
use crate::tables::Table;
use neobank_sessions::{Ask, Client, all_read};
use std::collections::HashSet;

/// Steps that are taken until nothing is left to do; more than that are a fault.
const STEPS: usize = 10_000;

fn until(session: &mut Client, what: &str, sql: &str, ended: impl Fn(&str) -> bool) -> Result<(), String> {
    for _ in 0..STEPS {
        if ended(&session.one(sql)) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Err(format!("{what} comes to no end"))
}

/// The commands and the acknowledged events are those of the model.
pub fn compare_readers(session: &mut Client, state: &State) -> Result<(), String> {
    let mut seen = session.lines("select command_id, status, attempts from cqrs.commands");
    let mut wanted: Vec<String> =
        state.commands().map(|(id, status, attempts)| format!("{id}|{status}|{attempts}")).collect();
    seen.sort();
    wanted.sort();
    agree("commands", &seen, &wanted)?;
    let seen: HashSet<String> = session.lines("select saga_id, status from saga.sagas").into_iter().collect();
    for (saga, end) in state.saga_ends() {
        let statuses: &[&str] = match end {
            Some(end) => std::slice::from_ref(end),
            None => &["started", "running", "compensating", "parked"],
        };
        let found = statuses.iter().any(|status| seen.contains(&format!("{saga}|{status}")));
        agree(&format!("saga {saga} is as it was told, {end:?}"), found, true)?;
    }
    let told: HashSet<String> =
        session.lines("select aggregate_id, event_version from public.told").into_iter().collect();
    let wanted: HashSet<String> = state.told().map(|(aggregate, version)| format!("{aggregate}|{version}")).collect();
    agree("events that are acknowledged", &told, &wanted)
}

/// Has every saga come to its end, every command carried out, every projection brought up to date and every event handed out until it is handled;
/// then none is missing. How many events were read so.
pub fn come_to_rest(session: &mut Client) -> Result<i64, String> {
    bring_to_rest(session)?;
    until(
        session,
        "the queue of commands",
        "select (select count(*) from cqrs.process_commands(100)) + \
                (select count(*) from cqrs.commands where status = 'pending')",
        |left| left == "0",
    )?;
    all_read(session);
    for name in ["copied", "tallied"] {
        let under_way = format!("select rebuild_state is not null from cqrs.projection_status where name = '{name}'");
        if session.one(&under_way) == "t" {
            let step = format!("select cqrs.run_rebuild('{name}', 1000)");
            until_waiting(session, &step)?;
        }
    }
    until(session, "the projection", "select cqrs.run_projection('copied', 1000)", |read| read == "0")?;
    until(session, "what is handled", "select public.handle(1000, 'last')", |events| events == "0")?;
    settle_letters(session)?;
    histories_are_sound(session)?;
    handed_out(session)
}

/// How many events readers have come by, if they have come by all.
pub fn handed_out(session: &mut Client) -> Result<i64, String> {
    let missing = session.lines(
        "select 'copied', event_id from event_store.events \
         where not exists (select from public.copied c where c.event_id = events.event_id) \
         union all \
         select 'handled', event_id from event_store.events \
         where event_type in ('FundsDeposited', 'FundsWithdrawn', 'DepositPosted', 'TransferPosted') \
           and not exists (select from public.handled h where h.event_id = events.event_id) \
         union all \
         select 'told', event_id from event_store.events \
         where aggregate_type = 'Account' and not exists (select from public.told t where t.event_id = events.event_id) \
           and not exists (select from public.discarded d where d.event_id = events.event_id)",
    );
    agree("events that a reader was not given", missing, Vec::new())?;
    Ok(session.count(
        "select (select count(*) from public.copied) + (select count(*) from public.handled) \
                      + (select count(*) from public.told)",
    ))
}

/// Tables are brought up to what was recorded ahead of its time; then they and their histories say the same.
fn histories_are_sound(session: &mut Client) -> Result<(), String> {
    session.run("select temporal.apply_due()");
    for table in Table::ALL {
        let faults = session.lines(&format!("select * from temporal.check_history('public.{}')", table.name()));
        agree("what check_history says", faults, Vec::new())?;
    }
    Ok(())
}

/// A rebuild of an inline projection waits for transactions of the whole cluster.
fn until_waiting(session: &mut Client, step: &str) -> Result<(), String> {
    for _ in 0..STEPS {
        match session.one(step).as_str() {
            "done" => return Ok(()),
            "waiting" => std::thread::sleep(std::time::Duration::from_millis(20)),
            _ => {}
        }
    }
    Err("a rebuild comes to no end".to_owned())
}

/// What is in flight is acknowledged, what is parked handed out again.
fn settle_letters(session: &mut Client) -> Result<(), String> {
    const OPEN: &str =
        "select lease_token from event_store.subscription_leases where subscription = 'letters' and not done";
    const LEFT: &str = "select events_behind + parked from event_store.subscription_lag where subscription = 'letters'";
    for _ in 0..STEPS {
        for token in session.lines(OPEN) {
            // It may run out at this moment, and be taken away by the next fetch.
            session.run(&format!("select public.tell({token}, null)"));
        }
        session.run("select event_store.replay_parked('letters')");
        session.run("select count(*) from event_store.fetch('letters', 1000, 'last')");
        if session.one(LEFT) == "0" {
            return Ok(());
        }
    }
    Err(format!("letters come to no end: {:?}", session.lines("table event_store.subscription_lag")))
}
