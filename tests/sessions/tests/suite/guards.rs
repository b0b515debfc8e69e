//! The ledger is append-only and accounts are written by the ledger alone, for
//! everyone: the superuser and the tables' owner included.

use neobank_sessions::*;

/// A bank with one account and one posting, so that no table is empty.
fn bank() -> (Bank, Uuid) {
    let mut bank = Bank::new();
    let a = bank.account("100");
    bank.db.run(&format!("select txn_processing.deposit('{a}', 1, effective_at => now() - interval '1 day')"));
    (bank, a)
}

/// Ways to write to the movements past the engine.
fn movement_writes() -> Vec<String> {
    let t = "txn_processing.movements";
    let copy_of_all = format!("insert into {t} select * from {t}");
    // What balances at a time are read from is as much the ledger as the postings.
    let dated = "txn_processing.backdated_entries";
    vec![
        format!("update {dated} set balance_change = 1000000"),
        format!("delete from {dated}"),
        format!("truncate {dated}"),
        format!("insert into {dated} select * from {dated}"),
        format!("update {t} set amount = amount + 1"),
        format!("update {t} set description = 'nothing to see'"),
        format!("update {t} set amount = amount where false"),
        format!("delete from {t}"),
        format!("truncate {t}"),
        format!("truncate {t} cascade"),
        copy_of_all.clone(),
        format!("{copy_of_all} on conflict do nothing"),
        format!("{copy_of_all} on conflict (transaction_id, leg) do update set amount = 1"),
        format!("with gone as (delete from {t} returning *) select count(*) from gone"),
        format!("with more as ({copy_of_all} returning *) select count(*) from more"),
        format!(
            "merge into {t} m using {t} s on m.transaction_id = s.transaction_id \
             when matched then update set amount = 1"
        ),
        format!(
            "merge into {t} m using {t} s on m.transaction_id = s.transaction_id \
             when matched then delete"
        ),
        format!("do $do$ begin delete from {t}; end $do$"),
        format!("do $do$ begin execute 'update {t} set amount = 1'; end $do$"),
    ]
}

fn account_writes() -> Vec<String> {
    let t = "banking.accounts";
    let copy_of_all = format!("insert into {t} select * from {t}");
    vec![
        format!("update {t} set current_balance = current_balance + 1"),
        format!("update {t} set available_balance = 0"),
        format!("update {t} set account_status = 'active'"),
        format!("update {t} set version = version + 1"),
        format!("update {t} set account_id = gen_random_uuid()"),
        format!("update {t} set tenant_no = 0"),
        format!("update {t} set currency_code = 'EUR'"),
        format!("update {t} set overdraft_limit = 1000000"),
        format!("update {t} set account_number = 'x'"),
        format!("delete from {t}"),
        format!("truncate {t} cascade"),
        copy_of_all.clone(),
        format!("{copy_of_all} on conflict (account_id) do update set current_balance = 1"),
        format!("with gone as (delete from {t} returning *) select count(*) from gone"),
        format!("with rich as (update {t} set current_balance = 1 returning *) select * from rich"),
        format!(
            "merge into {t} a using {t} s on a.account_id = s.account_id \
             when matched then update set current_balance = 1"
        ),
        format!("do $do$ begin update {t} set current_balance = 1; end $do$"),
    ]
}

#[test]
fn a_superuser_writes_neither_postings_nor_balances() {
    let (mut bank, _) = bank();
    for sql in movement_writes() {
        refused(&mut bank.db, &sql, "NB009");
    }
    for sql in account_writes() {
        // TRUNCATE ... CASCADE may meet the guard of either table first.
        let code = bank.db.fails(&sql).code;
        let wanted = if code == "NB009" && sql.contains("cascade") { "NB009" } else { "NB010" };
        refused(&mut bank.db, &sql, wanted);
    }
    for (table, code) in [
        ("txn_processing.movements", "NB009"),
        ("txn_processing.backdated_entries", "NB009"),
        ("banking.accounts", "NB010"),
    ] {
        refused(&mut bank.db, &format!("copy {table} from program 'true'"), code);
    }
    audit(&mut bank.db);
}

#[test]
fn the_owner_of_the_tables_does_not_either() {
    let (mut bank, _) = bank();
    let owner = bank.role("owner");
    bank.db.run(&format!(
        "alter table txn_processing.movements owner to {owner}; \
         alter table banking.accounts owner to {owner}; \
         grant usage on schema txn_processing, banking to {owner}; \
         grant select on banking.tenants, banking.currencies, banking.customers to {owner}"
    ));
    let mut session = bank.session_as(&owner);
    let before = snapshot(&mut bank.db);
    for (sql, code) in [
        ("update txn_processing.movements set amount = 1", "NB009"),
        ("delete from txn_processing.movements", "NB009"),
        ("truncate txn_processing.movements", "NB009"),
        ("insert into txn_processing.movements select * from txn_processing.movements", "NB009"),
        ("update banking.accounts set current_balance = 1", "NB010"),
        ("delete from banking.accounts", "NB010"),
    ] {
        let refusal = session.fails(sql);
        assert_eq!(refusal.code, code, "{refusal}: {sql}");
        assert!(!refusal.hint.is_empty(), "{refusal}");
    }
    assert_eq!(before, snapshot(&mut bank.db));
    drop(session);
    bank.db.run(&format!("reassign owned by {owner} to current_user; drop owned by {owner}"));
}

#[test]
fn a_replicating_session_is_stopped_too() {
    // Triggers that are not ALWAYS are silent under session_replication_role,
    // which a superuser may hand to others.
    let (mut bank, _) = bank();
    bank.db.run("set session_replication_role = replica");
    refused(&mut bank.db, "update txn_processing.movements set amount = 1", "NB009");
    refused(&mut bank.db, "update banking.accounts set current_balance = 1", "NB010");
}

#[test]
fn the_switch_lets_one_session_of_a_superuser_through_and_is_recorded() {
    let (mut bank, a) = bank();
    let root = bank.role("root");
    bank.db.run(&format!("alter role {root} superuser"));
    let mut session = bank.session_as(&root);
    let entries = "select count(*) from neobank.guard_log";
    let before = bank.db.count(entries);
    session.run("set neobank.ledger_guard = off");
    session.run("update txn_processing.movements set description = 'mended'");
    session.run(&format!("update banking.accounts set updated_at = updated_at where account_id = '{a}'"));
    let recorded = format!(
        "select action, relation from neobank.guard_log where session_role = '{root}' \
         and acting_role = '{root}' and query like 'update %' order by logged_at"
    );
    assert_eq!(bank.db.lines(&recorded), ["UPDATE|txn_processing.movements", "UPDATE|banking.accounts"]);
    assert_eq!(bank.db.count(entries), before + 2);
    // Nobody else's guard is off, and this one is on again after a reset.
    refused(&mut bank.db, "update txn_processing.movements set amount = 1", "NB009");
    session.run("reset neobank.ledger_guard");
    let refusal = session.fails("update txn_processing.movements set amount = 1");
    assert_eq!(refusal.code, "NB009", "{refusal}");
    assert_eq!(bank.db.count(entries), before + 2);
    drop(session);
    let Some(log) = server().log else {
        skipped("the server log's line about the switch", "NEOBANK_LOG is not set");
        return;
    };
    let log = std::fs::read(&log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
    let log = String::from_utf8_lossy(&log);
    let statement = format!("ledger guard is off: UPDATE on txn_processing.movements by {root}");
    for line in ["the ledger guard is switched off for this session", &statement] {
        assert!(log.contains(line), "the server's log does not say: {line}");
    }
}

#[test]
fn the_switch_ends_with_its_transaction_when_it_was_set_local() {
    let (mut bank, _) = bank();
    bank.db.run("begin");
    bank.db.run("set local neobank.ledger_guard = off");
    bank.db.run("update txn_processing.movements set description = 'x'");
    bank.db.run("rollback");
    refused(&mut bank.db, "update txn_processing.movements set description = 'x'", "NB009");
}

#[test]
fn nobody_but_a_superuser_has_the_switch() {
    // Before the library is loaded the setting is a placeholder that anybody
    // can set; the value must not survive the loading.
    let (mut bank, _) = bank();
    let owner = bank.role("owner");
    bank.db.run(&format!(
        "alter table txn_processing.movements owner to {owner}; \
         grant usage on schema txn_processing to {owner}; \
         select neobank.grant_usage('{owner}', 'operator')"
    ));
    let before = snapshot(&mut bank.db);
    for preparation in [
        "set neobank.ledger_guard = off",
        "select set_config('neobank.ledger_guard', 'off', false)",
        "select neobank.uuid_v7(); set neobank.ledger_guard = off",
        "select neobank.uuid_v7(); set local neobank.ledger_guard = off",
    ] {
        let mut session = bank.session_as(&owner);
        if let Err(refusal) = session.try_lines(preparation) {
            assert_eq!(refusal.code, "42501", "{refusal}");
        }
        let refusal = session.fails("update txn_processing.movements set amount = 1");
        assert_eq!(refusal.code, "NB009", "{refusal}: {preparation}");
        assert_eq!(session.one("show neobank.ledger_guard"), "on");
    }
    let mut loaded = bank.session_as(&owner);
    loaded.run("select neobank.uuid_v7()");
    for sql in [
        "set neobank.ledger_guard = off",
        "set neobank.max_backdate_days = 100000",
        "set neobank.reversal_overdraft = off",
    ] {
        refused_with_code_only(&mut loaded, sql, "42501");
    }
    assert_eq!(before, snapshot(&mut bank.db));
    drop(loaded);
    bank.db.run(&format!("reassign owned by {owner} to current_user; drop owned by {owner}"));
}

#[test]
fn the_switch_is_not_thrown_for_whole_databases_or_roles() {
    // One session, and it is seen doing so: not a line in a file that stays.
    let (mut bank, _) = bank();
    let name = bank.name.clone();
    let root = bank.role("root");
    bank.db.run(&format!("alter role {root} superuser"));
    for sql in [
        format!("alter database {name} set neobank.ledger_guard = off"),
        format!("alter role {root} set neobank.ledger_guard = off"),
        "alter system set neobank.ledger_guard = off".to_owned(),
    ] {
        let _ = bank.db.try_lines(&sql);
        let mut session = bank.session_as(&root);
        let refusal = session.try_lines("update txn_processing.movements set description = 'x'").expect_err(&sql);
        assert_eq!(refusal.code, "NB009", "{refusal}: {sql}");
    }
}

#[test]
fn the_views_are_for_reading() {
    let (mut bank, _) = bank();
    let before = snapshot(&mut bank.db);
    for sql in [
        "update txn_processing.ledger set amount = 1",
        "delete from txn_processing.ledger",
        "insert into banking.transactions (amount) values (1)",
        "delete from banking.transactions",
    ] {
        bank.db.fails(sql);
    }
    assert_eq!(before, snapshot(&mut bank.db));
}
