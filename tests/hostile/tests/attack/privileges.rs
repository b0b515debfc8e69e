//! Everything that the server would let somebody do with a table, a function or a schema, tried by each level on every
//! object of the extension.

use crate::world::{World, objects};
use neobank_sessions::*;

const TABLES: &str = "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace \
    where nspname in ('neobank', 'banking', 'txn_processing') and relkind = 'r' order by 1";

/// With one column of each table, and one of its rows put back as it is.
fn statements(table: &str, column: &str) -> Vec<String> {
    vec![
        format!("update {table} set {column} = {column}"),
        format!("delete from {table}"),
        format!("insert into {table} select * from {table}"),
        format!("insert into {table} default values"),
        format!(
            "merge into {table} t using {table} s on false when not matched then do nothing when matched then delete"
        ),
        format!("truncate {table}"),
        format!("truncate {table} cascade"),
        format!("copy {table} from program 'true'"),
        format!("copy {table} from '/dev/null'"),
        format!("copy {table} to program 'cat'"),
        format!("with gone as (delete from {table} returning 1) select count(*) from gone"),
        format!("do $$ begin lock table {table} in share mode; end $$"),
        format!("do $$ begin lock table {table} in access exclusive mode; end $$"),
        format!("select 1 from {table} for update"),
        format!("select 1 from {table} for key share"),
        format!("alter table {table} disable trigger all"),
        format!("alter table {table} disable row level security"),
        format!("alter table {table} add column evil int"),
        format!("alter table {table} drop column {column}"),
        format!("alter table {table} alter column {column} set default null"),
        format!("alter table {table} owner to current_user"),
        format!("alter table {table} set schema public"),
        format!("alter table {table} rename to evil"),
        format!("alter table {table} replica identity full"),
        format!("alter table {table} set (fillfactor = 10)"),
        format!("alter table {table} set unlogged"),
        format!("create trigger evil before insert on {table} execute function public.noop()"),
        format!("create rule evil as on insert to {table} do instead nothing"),
        format!("create policy evil on {table} using (true)"),
        format!("create index evil on {table} ({column})"),
        format!("create statistics public.evil (dependencies) on {column}, ctid from {table}"),
        format!("create table public.evil () inherits ({table})"),
        format!("create table public.evil (x int references {table})"),
        format!("create publication evil for table {table}"),
        format!("comment on table {table} is 'evil'"),
        format!("drop table {table} cascade"),
        format!("reindex table {table}"),
        format!("cluster {table}"),
    ]
}

/// What the levels have been given, which the server therefore lets through or refuses for another reason.
fn is_granted(level: &str, table: &str, sql: &str) -> bool {
    let is_teller = level == "teller" || level == "operator";
    let may_insert = sql.starts_with("insert") || sql.starts_with("update") || sql.contains("lock table");
    let may_lock = sql.starts_with("select 1");
    let may_ask = table == "txn_processing.transaction_queue" && sql.ends_with("default values");
    is_teller && (table == "banking.customers" && (may_insert || may_lock) || may_ask)
}

fn attack(level: &str) {
    let mut world = World::new(level);
    world.session.run("create function public.noop() returns trigger language plpgsql as 'begin return new; end'");
    let (tables, before) = (world.bank.db.lines(TABLES), snapshot(&mut world.bank.db));
    let made = objects(&mut world.bank.db);
    assert!(tables.len() > 40, "{tables:?}");
    for table in &tables {
        let column = world
            .bank
            .db
            .one(&format!("select attname from pg_attribute where attrelid = '{table}'::regclass and attnum = 1"));
        for sql in statements(table, &column) {
            if is_granted(level, table, &sql) {
                continue;
            }
            // Some are refused before the server comes to ask for the right.
            let refusal = world.session.fails(&sql);
            let codes =
                ["42501", "42704", "42809", "0A000", "42P07", "42710", "25001", "42701", "428C9", "55006", "42P16"];
            assert!(codes.contains(&refusal.code.as_str()), "{refusal}: {sql}");
        }
    }
    let some =
        ["banking.accounts", "banking.customers", "txn_processing.movements", "txn_processing.transaction_queue"];
    for table in some {
        for sql in ["vacuum", "analyze", "grant all on"] {
            // These skip with a warning what one may not, where they refuse nothing.
            let to = if sql.starts_with("grant") { "to public" } else { "" };
            let outcome = world.session.try_lines(&format!("{sql} {table} {to}"));
            assert!(outcome.as_ref().err().is_none_or(|refusal| refusal.code == "42501"), "{outcome:?}");
        }
    }
    assert!(before == snapshot(&mut world.bank.db), "{level} has moved something");
    assert!(made == objects(&mut world.bank.db), "{level} has changed an object");
    audit(&mut world.bank.db);
}

#[test]
fn a_stranger_changes_no_table() {
    attack("stranger");
}

#[test]
fn a_reader_changes_no_table() {
    attack("reader");
}

#[test]
fn a_teller_changes_no_table() {
    attack("teller");
}

#[test]
fn an_operator_changes_no_table() {
    attack("operator");
}

#[test]
fn functions_schemas_sequences_and_types_are_nobodys_to_change() {
    for level in ["stranger", "operator"] {
        let mut world = World::new(level);
        world.session.run("create table public.customers (customer_id int, tenant_no int)");
        let before = (snapshot(&mut world.bank.db), objects(&mut world.bank.db));
        for sql in [
            "create or replace function txn_processing.transfer(uuid, uuid) returns uuid language sql as 'select null::uuid'",
            "create function txn_processing.evil() returns int language sql as 'select 1'",
            "create table banking.evil (x int)",
            "create operator txn_processing.= (leftarg = uuid, rightarg = text, function = texteq)",
            "create view neobank.evil as select 1",
            "alter function txn_processing.balance_as_of(uuid, timestamptz) owner to current_user",
            "alter function txn_processing.balance_as_of(uuid, timestamptz) security definer",
            "alter function txn_processing.trial_balance(timestamptz) set search_path = public",
            "alter function banking.keep_in_use() reset all",
            "alter function neobank.guard_ledger() rename to evil",
            "drop function neobank.guard_ledger() cascade",
            "alter routine banking.keep_in_use() depends on extension neobank",
            "alter schema txn_processing rename to evil",
            "alter schema banking owner to current_user",
            "drop schema banking cascade",
            "alter sequence banking.account_number_seq restart with 1",
            "select setval('banking.account_number_seq', 1)",
            "select setval('banking.customer_number_seq', 1)",
            "select nextval('banking.account_number_seq')",
            "alter type txn_processing.txn_type add value 'evil'",
            "alter domain banking.account_status drop constraint account_status_check",
            "alter view txn_processing.ledger owner to current_user",
            "alter view banking.account_balances set (security_invoker = true)",
            "create or replace view txn_processing.queue_status as select 1",
            "create cast (uuid as text) with inout as implicit",
            "create cast (numeric as text) with inout as implicit",
            "create operator class public.evil default for type uuid using btree as operator 1 <",
            "create event trigger evil on ddl_command_end execute function banking.keep_in_use()",
            "alter system set neobank.ledger_guard = off",
            "reassign owned by postgres to current_user",
            "create subscription evil connection '' publication evil",
            "select pg_read_file('PG_VERSION')",
            "load 'neobank'",
            // The trigger function that acts as its owner, hung on a table of the attacker's own by that name.
            "create trigger evil before delete on public.customers for each row execute function banking.keep_in_use()",
            "create trigger evil before delete on public.customers execute function neobank.guard_accounts()",
            "select banking.keep_in_use()",
            "select neobank.guard_ledger()",
            "select neobank.grant_usage(current_user, 'operator')",
            "select neobank.revoke_usage(current_user)",
            "alter table public.customers set schema banking",
            "insert into neobank.access_rights values ('teller', 'ALL', 'TABLE', 'banking.accounts')",
        ] {
            let refusal = world.session.fails(sql);
            assert!(["42501", "42883", "0A000"].contains(&refusal.code.as_str()), "{refusal}: {sql}");
        }
        for grant in ["execute on all functions in schema txn_processing", "usage on schema banking, txn_processing"] {
            // With a warning at the most, where the role has the right itself and may not pass it on.
            let _ = world.session.try_lines(&format!("grant {grant} to public"));
        }
        assert!(before == (snapshot(&mut world.bank.db), objects(&mut world.bank.db)), "{level} has changed something");
        audit(&mut world.bank.db);
    }
}
