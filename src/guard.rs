//! The guards of the ledger: nothing but the posting engine writes postings, balances and statuses.
//!
//! Two ways past: a superuser's `neobank.ledger_guard = off`, each statement logged and recorded, and one whole
//! statement into the empty table by its owner, which is what a restore does (COPY runs after the triggers exist).

use crate::error::Error;
use crate::guc;
use crate::pg::{Arg, OwnerRights, Session, Statement, Type, ereport, server};
use pgrx::prelude::*;

static MOVEMENTS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.movements)", &[]);

static BACKDATED_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.backdated_entries)", &[]);

static ACCOUNTS_EMPTY: Statement = Statement::new(c"SELECT NOT EXISTS (SELECT FROM banking.accounts)", &[]);

static RECORD_BYPASS: Statement = Statement::new(
    c"INSERT INTO neobank.guard_log (session_role, acting_role, action, relation, query)
      VALUES ($1, $2, $3, $4, pg_catalog.current_query())",
    &[Type::Text, Type::Text, Type::Text, Type::Text],
);

/// Lets the statement through, or answers with `refusal`.
fn check(action: &'static str, relation: &str, empty: &Statement, refusal: Error) -> Result<(), Error> {
    if OwnerRights::engine_is_writing() {
        return Ok(());
    }
    let (session_role, acting_role) =
        (server::role_name(server::session_user()), server::role_name(server::current_user()));
    if !guc::ledger_guard() {
        let rights = OwnerRights::to_write();
        let session = Session::write();
        session.run(
            &RECORD_BYPASS,
            &[
                Arg::Text(Some(&session_role)),
                Arg::Text(Some(&acting_role)),
                Arg::Text(Some(action)),
                Arg::Text(Some(relation)),
            ],
        )?;
        drop((session, rights));
        pgrx::log!("neobank: ledger guard is off: {action} on {relation} by {session_role}");
        return Ok(());
    }
    if action == INSERT && server::has_privileges_of(server::current_user(), server::owner()) {
        let rights = OwnerRights::to_read();
        let session = Session::read();
        let is_empty = session.run(empty, &[])?.first().and_then(|row| row.bool(1));
        drop((session, rights));
        if is_empty == Some(true) {
            pgrx::log!("neobank: {relation} was empty and is loaded by {session_role}");
            return Ok(());
        }
    }
    Err(refusal)
}

const INSERT: &str = "INSERT";

fn action_of(trigger: &PgTrigger) -> &'static str {
    match trigger.op() {
        Ok(PgTriggerOperation::Insert) => INSERT,
        Ok(PgTriggerOperation::Update) => "UPDATE",
        Ok(PgTriggerOperation::Delete) => "DELETE",
        Ok(PgTriggerOperation::Truncate) => "TRUNCATE",
        Err(_) => "a write",
    }
}

#[pg_schema]
mod neobank {
    use super::*;

    /// Refuses direct writes to `txn_processing.movements` and `backdated_entries` with NB009.
    #[pg_trigger]
    fn guard_ledger<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, std::convert::Infallible> {
        let action = action_of(trigger);
        let table = trigger.table_name().unwrap_or_default();
        let relation = format!("txn_processing.{table}");
        let empty = if table == "movements" { &MOVEMENTS_EMPTY } else { &BACKDATED_EMPTY };
        let refusal = Error::AppendOnly { action, relation: relation.clone() };
        let result = check(action, &relation, empty, refusal);
        drop((table, relation));
        ereport::finish(result);
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    }

    /// Refuses direct writes to `banking.accounts` with NB010.
    #[pg_trigger]
    fn guard_accounts<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, std::convert::Infallible> {
        let action = action_of(trigger);
        let refusal = Error::BalanceGuard { action };
        ereport::finish(check(action, "banking.accounts", &ACCOUNTS_EMPTY, refusal));
        Ok(None::<PgHeapTuple<'a, AllocatedByPostgres>>)
    }
}
