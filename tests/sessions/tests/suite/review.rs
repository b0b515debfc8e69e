//! Faults found by reading the code as an attacker would; each test tells one.

use neobank_sessions::*;
use std::thread;

fn teller(bank: &mut Bank) -> (String, Client) {
    let role = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{role}', 'teller')"));
    let session = bank.session_as(&role);
    (role, session)
}

#[test]
fn one_id_at_once_in_two_tenants_is_one_transaction() {
    // The key ended in the tenant: both committed, and which one reverse() took was chance.
    let mut bank = Bank::new();
    let tenant = bank.db.one("select banking.create_tenant('North')");
    let mine = bank.account("10");
    let customer = bank.customer_of(&format!("'{tenant}'"));
    let theirs =
        bank.db.id(&format!("select banking.open_account('{customer}', opening_deposit => 10, tenant => '{tenant}')"));
    let mut first = bank.session();
    first.run(&format!("begin; select txn_processing.withdraw('{mine}', 1, transaction_id => '{mine}')"));
    let mut second = bank.session();
    let backend = Bank::backend_of(&mut second);
    let waiting = thread::spawn(move || {
        second.fails(&format!("select txn_processing.withdraw('{theirs}', 1, transaction_id => '{mine}')"))
    });
    bank.wait_until_blocked(backend);
    first.run("commit");
    assert_eq!(waiting.join().expect("it answers").code, "NB007");
    assert_eq!(bank.db.balance(theirs), dec("10"));
}

#[test]
fn the_queue_is_no_way_round_the_grants() {
    // A teller's queued adjustment was posted by the operator's worker.
    let mut bank = Bank::new();
    let account = bank.account("10");
    let (_, mut session) = teller(&mut bank);
    let queue = |kind: &str, column: &str| {
        format!(
            "insert into txn_processing.transaction_queue (transaction_type, {column}, amount, request_data) \
             values ('{kind}', '{account}', 5, '{{\"reason\": \"because\"}}') returning request_id"
        )
    };
    session.run(&queue("deposit", "destination_account_id").replace(" returning request_id", ""));
    for (kind, column) in
        [("adjustment", "destination_account_id"), ("interest", "destination_account_id"), ("fee", "source_account_id")]
    {
        session.run(&queue(kind, column).replace(" returning request_id", ""));
        let request = bank
            .db
            .one(&format!("select request_id from txn_processing.transaction_queue where transaction_type = '{kind}'"));
        let answer = bank.db.json(&format!("select txn_processing.process_transaction('{request}')"));
        assert_eq!(answer["sqlstate"], "42501", "{answer}");
    }
    assert_eq!(bank.db.balance(account), dec("10"));
    let request =
        bank.db.one("select request_id from txn_processing.transaction_queue where transaction_type = 'deposit'");
    let answer = bank.db.json(&format!("select txn_processing.process_transaction('{request}')"));
    assert_eq!(answer["success"], true, "{answer}");
    for column in ["status", "transaction_id", "requested_by", "processed_at"] {
        let forged = format!(
            "insert into txn_processing.transaction_queue (transaction_type, amount, {column}) \
             values ('deposit', 1, null)"
        );
        assert_eq!(session.fails(&forged).code, "42501", "{column}");
    }
}

#[test]
fn who_processed_a_queued_reversal_is_on_record() {
    // It was recorded as the extension's owner, whose rights the function had already taken on.
    let mut bank = Bank::new();
    let account = bank.account("10");
    let paid = bank.db.id(&format!("select txn_processing.pay('{account}', 4)"));
    let role = bank.role("operator");
    bank.db.run(&format!("select neobank.grant_usage('{role}', 'operator')"));
    let request = bank.db.one(&format!(
        "insert into txn_processing.transaction_queue (transaction_type, amount, request_data) \
         values ('reversal', 4, '{{\"original_transaction_id\": \"{paid}\", \"reason\": \"twice\"}}') \
         returning request_id"
    ));
    let mut operator = bank.session_as(&role);
    let answer = operator.json(&format!("select txn_processing.process_transaction('{request}')"));
    assert_eq!(answer["success"], true, "{answer}");
    let recorded = "select created_by from txn_processing.movements where transaction_type = 'reversal'";
    assert_eq!(bank.db.one(recorded), role);
}

#[test]
fn a_number_of_the_banks_own_cannot_be_taken_beforehand() {
    // With it taken, the internal account of a currency was never made, and no deposit in it went through.
    let mut bank = Bank::new();
    let customer = bank.customer();
    refused(
        &mut bank.db,
        &format!("select banking.open_account('{customer}', account_number => 'INTERNAL-CASH-EUR')"),
        "NB020",
    );
}

#[test]
fn tellers_set_no_limits_and_refund_no_corrections() {
    let mut bank = Bank::new();
    let customer = bank.customer();
    let account = bank.account("10");
    let correction = bank.db.id(&format!("select txn_processing.adjust('{account}', -3, 'chargeback')"));
    let (_, mut session) = teller(&mut bank);
    let open = format!("select banking.open_account('{customer}', overdraft_limit => 1000000)");
    assert_eq!(session.fails(&open).code, "42501");
    let refund = format!("select txn_processing.refund('{correction}')");
    assert_eq!(session.fails(&refund).code, "NB008");
}

#[test]
fn what_an_owner_adds_to_the_tables_is_honoured() {
    // Direct access looked at the number of columns only, and gave block-range indexes' updates to all indexes.
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let transfer = format!("select txn_processing.transfer('{a}', '{b}', 1)");
    bank.db.run("alter table txn_processing.movements alter description set not null");
    assert_eq!(bank.db.fails(&transfer).code, "23502");
    bank.db.run("alter table txn_processing.movements alter description drop not null");
    bank.db.run("create extension amcheck; create index on banking.accounts using brin (updated_at)");
    for _ in 0..200 {
        bank.db.run(&transfer);
    }
    let checks = "select bt_index_check(i.indexrelid, true) from pg_index i join pg_class c on c.oid = i.indexrelid \
        join pg_am m on m.oid = c.relam where m.amname = 'btree' \
        and i.indrelid in ('banking.accounts'::regclass, 'txn_processing.movements'::regclass)";
    bank.db.run(checks);
    audit(&mut bank.db);
}

#[test]
fn indexes_are_whole_after_postings_by_direct_access() {
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..20).map(|_| bank.account("1000")).collect();
    bank.db.run("create extension amcheck");
    for round in 0..40 {
        let (a, b) = (accounts[round % 20], accounts[(round * 7 + 3) % 20]);
        bank.db.run(&format!(
            "select txn_processing.transfer('{a}', '{b}', 1) from generate_series(1, 30) where '{a}' <> '{b}'"
        ));
        // Cash is spread over slots: a table of its own, with an index.
        bank.db.run(&format!("select txn_processing.deposit('{a}', 1) from generate_series(1, 10)"));
    }
    bank.db.run(
        "select bt_index_check(indexrelid, true) from pg_index where indrelid in \
         ('banking.accounts'::regclass, 'banking.account_slots'::regclass, 'txn_processing.movements'::regclass)",
    );
    audit(&mut bank.db);
}

#[test]
fn no_backdated_entry_can_be_forged_in_a_bank_without_any() {
    // The table was empty, so its owner could load it, and balance_as_of told of money that was not there.
    let mut bank = Bank::new();
    let account = bank.account("10");
    let forge = format!(
        "insert into txn_processing.backdated_entries (account_id, effective_at, sequence, recorded_at, balance_change) \
         values ('{account}', '2020-01-01', 9999, '2020-01-02', 1000000)"
    );
    refused(&mut bank.db, &forge, "NB009");
}

#[test]
fn logs_are_append_only_too() {
    let mut bank = Bank::new();
    let account = bank.account("10");
    bank.status(account, "dormant");
    for statement in [
        "update banking.account_status_changes set reason = 'none'",
        "delete from banking.account_status_changes",
        "truncate neobank.guard_log",
    ] {
        refused(&mut bank.db, statement, "NB009");
    }
}

#[test]
fn what_accounts_use_stays_for_every_isolation_level_and_for_truncate() {
    let mut bank = Bank::new();
    let tenant = bank.db.one("select banking.create_tenant('South')");
    let customer = bank.customer();
    let mut late = bank.session();
    late.run("begin isolation level repeatable read; select count(*) from banking.customers");
    bank.db.run(&format!("select banking.open_account('{customer}')"));
    let moved = format!(
        "update banking.customers set tenant_no = (select tenant_no from banking.tenants \
         where tenant_id = '{tenant}') where customer_id = '{customer}'"
    );
    assert_eq!(late.fails(&moved).code, "NB023");
    late.run("rollback");
    for statement in [
        "truncate banking.customers",
        "truncate banking.currencies",
        "truncate banking.account_types",
        "update banking.currencies set name = 'Dollar' where currency_code = 'USD'",
        "delete from banking.account_types where account_type = 'loan'",
        "update banking.tenants set name = 'mine' where tenant_no = 0",
    ] {
        refused(&mut bank.db, statement, "NB023");
    }
}

#[test]
fn a_trigger_that_swallows_a_posting_is_told_of() {
    // It was a panic.
    let mut bank = Bank::new();
    let (a, b) = (bank.account("10"), bank.account("0"));
    bank.db.run(
        "create function swallow() returns trigger language plpgsql as 'begin return null; end'; \
         create trigger swallow before insert on txn_processing.movements \
         for each row execute function swallow()",
    );
    for options in ["", ", transaction_id => gen_random_uuid()"] {
        refused(&mut bank.db, &format!("select txn_processing.transfer('{a}', '{b}', 1{options})"), "NB025");
    }
    bank.db.run(
        "drop trigger swallow on txn_processing.movements; create trigger swallow before update \
         on banking.accounts for each row execute function swallow()",
    );
    refused(&mut bank.db, &format!("select txn_processing.transfer('{a}', '{b}', 1)"), "NB025");
}

#[test]
fn a_function_cannot_carry_the_guards_switch_into_another_session() {
    let mut bank = Bank::new();
    let account = bank.account("10");
    let role = bank.role("stranger");
    // Defined where the library is not loaded, so that nothing checks the setting.
    let mut fresh = bank.session();
    fresh.run(
        "create function public.carry() returns void language sql security definer \
         set neobank.ledger_guard = off as 'update banking.accounts set current_balance = 1000000'; \
         create function public.forge() returns void language sql security definer \
         set neobank.ledger_guard = off as 'insert into txn_processing.backdated_entries \
         (account_id, effective_at, sequence, recorded_at, balance_change) \
         select account_id, now(), 9999, now(), 1000000 from banking.accounts where customer_id is not null'",
    );
    let mut stranger = bank.session_as(&role);
    let refusal = stranger.fails("select public.carry()");
    assert_eq!(refusal.code, "NB010", "{refusal}");
    // The check of what was loaded once took the setting alone for the switch.
    let refusal = stranger.fails("select public.forge()");
    assert_eq!(refusal.code, "NB009", "{refusal}");
    assert_eq!(bank.db.balance(account), dec("10"));
}

#[test]
fn extreme_and_missing_arguments_are_answered() {
    let mut bank = Bank::new();
    let account = bank.account("10");
    bank.db.run(&format!("select txn_processing.charge_fee('{account}', 510)"));
    refused(
        &mut bank.db,
        &format!("select * from banking.update_account_optimistic('{account}', 79228162514264337593543950335, 3)"),
        "NB005",
    );
    assert_eq!(bank.db.one("select txn_processing.generated_reference(null, false, now()) is null"), "t");
    let off = "select count(*) from txn_processing.daily_reconciliation(null) where status <> 'Balanced'";
    assert_eq!(bank.db.count(off), 0);
}
