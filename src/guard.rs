//! The guards of the ledger: nothing but the posting engine writes postings, balances and statuses.
//!
//! Two ways past: a superuser's `neobank.ledger_guard = off`, each statement logged and recorded, and one whole
//! statement into the empty table by its owner, which is what a restore does (COPY runs after the triggers exist).

use crate::error::Error;
use crate::event_store::{self, publish};
use crate::guc;
use crate::pg::trigger::{Triggered, fired};
use crate::pg::{Arg, OwnerRights, Session, Statement, Type, ereport, server};
use pgrx::prelude::*;

static MOVEMENTS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.movements)", &[]);

static BACKDATED_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.backdated_entries)", &[]);

static CHANGES_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM banking.account_status_changes)", &[]);

static GUARD_LOG_EMPTY: Statement = Statement::new(c"SELECT NOT EXISTS (SELECT FROM neobank.guard_log)", &[]);

static ACCOUNTS_EMPTY: Statement = Statement::new(c"SELECT NOT EXISTS (SELECT FROM banking.accounts)", &[]);

static SLOTS_EMPTY: Statement = Statement::new(c"SELECT NOT EXISTS (SELECT FROM banking.account_slots)", &[]);

static MODES_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM banking.balance_mode_changes)", &[]);

static STATEMENTS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.external_statements)", &[]);

static LINES_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.external_lines)", &[]);

static MATCHES_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.reconciliation_matches)", &[]);

static MATCH_LINES_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.reconciliation_match_lines)", &[]);

static MATCH_POSTINGS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM txn_processing.reconciliation_match_postings)", &[]);

static REDUCERS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM event_store.reducers)", &[]);

static PRUNINGS_EMPTY: Statement = Statement::new(c"SELECT NOT EXISTS (SELECT FROM saga.prunings)", &[]);

static TRANSITIONS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM saga.transitions)", &[]);

// What nobody loads: it is no part of a dump.
static NEVER: Statement = Statement::new(c"SELECT false", &[]);

static EVENTS_EMPTY: Statement = Statement::new(c"SELECT NOT EXISTS (SELECT FROM event_store.events)", &[]);

static STREAMS_EMPTY: Statement = Statement::new(c"SELECT NOT EXISTS (SELECT FROM event_store.streams)", &[]);

static PUBLICATIONS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM event_store.ledger_publications)", &[]);

static TOMBSTONES_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM event_store.tombstones)", &[]);

static PERIODS_EMPTY: Statement =
    Statement::new(c"SELECT NOT EXISTS (SELECT FROM temporal.account_periods)", &[]);

// What a history says of the present is what the account is, as far as it is there (a restore may load it later).
static PERIODS_MATCH: Statement = Statement::new(
    c"SELECT NOT EXISTS (
          SELECT FROM temporal.account_periods p
          JOIN banking.accounts a ON a.account_id = p.account_id
          WHERE p.valid_to IS NULL AND p.transaction_to IS NULL
            AND (p.customer_id, p.account_number, p.account_type, p.account_status, p.overdraft_limit)
                IS DISTINCT FROM (a.customer_id, a.account_number, a.account_type, a.account_status, a.overdraft_limit))",
    &[],
);

// Positions that were loaded may be above what this cluster's transactions have come to; new ones must not go below.
static CONTINUE_POSITIONS: Statement = Statement::new(
    c"UPDATE event_store.position_base
      SET added = loaded.needed
      FROM (SELECT (greatest((SELECT max(e.global_position) FROM event_store.events e),
                             (SELECT max(t.to_position) FROM event_store.tombstones t)) >> 20)
                   + 1 - pg_catalog.pg_current_xact_id()::text::bigint AS needed) loaded
      WHERE loaded.needed > added
      RETURNING true",
    &[],
);

// A bank that never backdated has no entries, so emptiness alone would let forged ones in.
static BACKDATED_MATCH: Statement = Statement::new(
    c"SELECT NOT EXISTS (SELECT FROM txn_processing.movements)
          OR NOT EXISTS (
              SELECT FROM txn_processing.backdated_entries b
              WHERE NOT EXISTS (SELECT FROM txn_processing.movements m
                                WHERE m.debit_account = b.account_id AND m.debit_sequence = b.sequence
                                  AND m.effective_at = b.effective_at AND m.created_at = b.recorded_at AND m.amount = abs(b.balance_change))
                AND NOT EXISTS (SELECT FROM txn_processing.movements m
                                WHERE m.credit_account = b.account_id AND m.credit_sequence = b.sequence
                                  AND m.effective_at = b.effective_at AND m.created_at = b.recorded_at AND m.amount = abs(b.balance_change)))",
    &[],
);

// The same of switches of the balance mode, as far as the account is there (a restore may load it later): each must say
// what the postings recorded before it add up to, and the last of an account the mode that it is in.
static MODES_MATCH: Statement = Statement::new(
    c"SELECT NOT EXISTS (SELECT FROM txn_processing.movements)
          OR NOT EXISTS (
              SELECT FROM banking.balance_mode_changes c
              JOIN banking.accounts a ON a.account_id = c.account_id
              WHERE c.balance <> coalesce((
                        SELECT sum(CASE (m.debit_account = a.account_id) = (a.normal_side = 'D')
                                   WHEN true THEN m.amount ELSE -m.amount END)
                        FROM txn_processing.movements m
                        WHERE (m.debit_account = a.account_id OR m.credit_account = a.account_id)
                          AND m.created_at < c.changed_at), 0)
                 OR (c.balance_mode = 'slotted') <> (a.slots > 0)
                    AND NOT EXISTS (SELECT FROM banking.balance_mode_changes l
                                    WHERE l.account_id = c.account_id AND l.changed_at > c.changed_at))",
    &[],
);

static RECORD_BYPASS: Statement = Statement::new(
    c"INSERT INTO neobank.guard_log (session_role, acting_role, action, relation, query)
      VALUES ($1, $2, $3, $4, pg_catalog.current_query())",
    &[Type::Text, Type::Text, Type::Text, Type::Text],
);

/// The setting is a superuser's, but a function may have carried it into somebody else's session.
fn is_switched_off() -> bool {
    !guc::ledger_guard() && server::is_superuser(server::session_user())
}

/// Lets the statement through, or answers with `refusal`.
fn check(action: &'static str, relation: &str, empty: &Statement, refusal: Error) -> Result<(), Error> {
    let (session_role, acting_role) =
        (server::role_name(server::session_user()), server::role_name(server::current_user()));
    if is_switched_off() {
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
    let is_owner = server::has_privileges_of(server::current_user(), server::owner());
    if action == INSERT && is_owner && answers_yes(empty)? {
        pgrx::log!("neobank: {relation} was empty and is loaded by {session_role}");
        return Ok(());
    }
    Err(refusal)
}

fn answers_yes(question: &Statement) -> Result<bool, Error> {
    let _rights = OwnerRights::to_read();
    // A fresh snapshot: an AFTER trigger asks about rows that its own statement wrote.
    let session = Session::write();
    let answer = session.run(question, &[])?.first().and_then(|row| row.bool(1));
    Ok(answer == Some(true))
}

/// Lets positions go on from those that were loaded.
fn continue_positions() -> Result<(), Error> {
    if answers_yes(&CONTINUE_POSITIONS)? { event_store::base_has_moved() } else { Ok(()) }
}

/// What was loaded must be borne out by the postings, where these are there. A subscription's tables are copied each at
/// a moment of its own, so there the postings may be older; they follow.
fn check_loaded(rule: &Statement, refusal: Error) -> Result<(), Error> {
    if is_switched_off() || server::is_applying() || answers_yes(rule)? { Ok(()) } else { Err(refusal) }
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

    /// Refuses direct writes to the append-only tables with NB009.
    #[pg_extern]
    fn guard_ledger(fcinfo: pg_sys::FunctionCallInfo) -> Triggered {
        if OwnerRights::engine_is_writing() {
            return Triggered;
        }
        let trigger = ereport::finish(fired(fcinfo, "guard_ledger"));
        let action = action_of(&trigger);
        let table = trigger.table_name().unwrap_or_default();
        let schema = trigger.table_schema().unwrap_or_default();
        let relation = format!("{schema}.{table}");
        let empty = match table.as_str() {
            "movements" => &MOVEMENTS_EMPTY,
            "events" => &EVENTS_EMPTY,
            "streams" => &STREAMS_EMPTY,
            "reducers" => &REDUCERS_EMPTY,
            "snapshots" => &NEVER,
            "ledger_publications" => &PUBLICATIONS_EMPTY,
            "tombstones" => &TOMBSTONES_EMPTY,
            "transitions" => &TRANSITIONS_EMPTY,
            "prunings" => &PRUNINGS_EMPTY,
            "backdated_entries" => &BACKDATED_EMPTY,
            "account_status_changes" => &CHANGES_EMPTY,
            "balance_mode_changes" => &MODES_EMPTY,
            "account_periods" => &PERIODS_EMPTY,
            "external_statements" => &STATEMENTS_EMPTY,
            "external_lines" => &LINES_EMPTY,
            "reconciliation_matches" => &MATCHES_EMPTY,
            "reconciliation_match_lines" => &MATCH_LINES_EMPTY,
            "reconciliation_match_postings" => &MATCH_POSTINGS_EMPTY,
            _ => &GUARD_LOG_EMPTY,
        };
        let refusal = Error::AppendOnly { action, relation: relation.clone() };
        let result = match trigger.when() {
            Ok(PgTriggerWhen::After) if table == "events" || table == "tombstones" => continue_positions(),
            Ok(PgTriggerWhen::After) if table == "ledger_publications" => publish::announce(),
            Ok(PgTriggerWhen::After) if table == "balance_mode_changes" => {
                check_loaded(&MODES_MATCH, refusal)
            }
            Ok(PgTriggerWhen::After) if table == "account_periods" => check_loaded(&PERIODS_MATCH, refusal),
            Ok(PgTriggerWhen::After) => check_loaded(&BACKDATED_MATCH, refusal),
            _ => check(action, &relation, empty, refusal),
        };
        drop((table, schema, relation));
        ereport::finish(result);
        Triggered
    }

    /// Refuses direct writes to `banking.accounts` and its slots with NB010.
    #[pg_extern]
    fn guard_accounts(fcinfo: pg_sys::FunctionCallInfo) -> Triggered {
        if OwnerRights::engine_is_writing() {
            return Triggered;
        }
        let trigger = ereport::finish(fired(fcinfo, "guard_accounts"));
        let action = action_of(&trigger);
        let (relation, empty) = match trigger.table_name().as_deref() {
            Ok("account_slots") => ("banking.account_slots", &SLOTS_EMPTY),
            _ => ("banking.accounts", &ACCOUNTS_EMPTY),
        };
        let refusal = Error::BalanceGuard { action, relation };
        ereport::finish(check(action, relation, empty, refusal));
        Triggered
    }
}
