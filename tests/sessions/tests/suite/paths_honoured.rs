//! What users hang on the ledger's tables in ways that are easily passed by.

use super::differential_world::check_indexes;
use super::paths_altered::{ACCOUNTS, MOVEMENTS, SLOTS, stage};
use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn an_index_on_the_same_columns_with_another_condition_gets_its_entries() {
    // Direct access knew an index by its columns and by whether it had a condition, not by which.
    for (drop, other) in [
        ("txn_processing.movements_reverses_idx", "txn_processing.movements (reverses) where amount > 0"),
        ("banking.accounts_customer_id_idx", "banking.accounts (customer_id) where version > 2"),
    ] {
        let mut stage = stage();
        stage.bank.db.run(&format!("drop index {drop}; create index on {other}"));
        let posting = stage.posting.clone();
        (0..60).for_each(|_| stage.session.run(&posting));
        stage.bank.db.run("set enable_seqscan = off");
        let by_index = stage.bank.db.count(
            "select count(*) from txn_processing.movements where reverses is null and amount > 0 \
             and description = 'One'",
        );
        assert_eq!(by_index, 61, "{other}");
        check_indexes(&mut stage.bank);
    }
}

#[test]
fn a_trigger_under_the_name_of_the_guard_is_no_guard() {
    for (table, guard) in [(ACCOUNTS, "guard_accounts"), (SLOTS, "guard_accounts"), (MOVEMENTS, "guard_ledger")] {
        let mut stage = stage();
        stage.bank.db.run(&format!(
            "drop trigger {guard} on {table}; create trigger {guard} after insert or update on {table} \
             for each row execute function public.note()"
        ));
        let posting = stage.posting.clone();
        stage.session.run(&posting);
        assert!(stage.noted() > 0, "{table}: passed by");
    }
}

#[test]
fn rows_of_a_child_table_are_left_alone() {
    // A row is written by its place, and a child has rows at the same places.
    for table in [ACCOUNTS, SLOTS] {
        let mut stage = stage();
        stage.bank.db.run(&format!("create table public.child () inherits ({table})"));
        let columns = "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute \
                       where attrelid = 'public.child'::regclass and attnum > 0";
        let columns = stage.bank.db.one(columns);
        let others = columns.replacen("account_id", "gen_random_uuid()", 1);
        stage
            .bank
            .db
            .run(&format!("insert into public.child select {others} from only {table}, generate_series(1, 9)"));
        let digest = "select md5(string_agg(c::text, '' order by c::text)) from public.child c";
        let before = stage.bank.db.one(digest);
        let posting = stage.posting.clone();
        stage.session.run(&posting);
        assert_eq!(before, stage.bank.db.one(digest), "{table}");
    }
}

#[test]
fn what_replication_needs_is_honoured() {
    // The executor refuses to update a table whose publication could not tell which row.
    for (make, code) in [
        (
            "alter table banking.accounts replica identity nothing; create publication p for table banking.accounts",
            "55000",
        ),
        ("create publication p for table banking.accounts where (current_balance > 0)", "42P10"),
        ("create publication p for table banking.accounts (current_balance)", "42P10"),
    ] {
        let mut stage = stage();
        stage.bank.db.run(make);
        let posting = stage.posting.clone();
        stage.session.run("set neobank.posting_path = spi");
        refused_with_code_only(&mut stage.session, &posting, code);
        stage.session.run("set neobank.posting_path = auto");
        refused_with_code_only(&mut stage.session, &posting, code);
    }
}

#[test]
fn a_trigger_made_while_a_transaction_was_posting_is_not_passed_by() {
    // The slots' table is first opened when a slot is wanted: what was known of it is old news then.
    let mut stage = stage();
    let (a, b) = (stage.bank.account("5"), stage.bank.account("5"));
    let posting = stage.posting.clone();
    stage.session.run("begin");
    stage.session.run(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
    stage.bank.db.run("set lock_timeout = '2s'");
    stage
        .bank
        .db
        .run("create trigger hung before update on banking.account_slots for each row execute function public.note()");
    match stage.session.try_lines(&posting) {
        Ok(_) => assert!(stage.noted() > 0, "passed by"),
        Err(refusal) => assert_eq!(refusal.code, "40001", "{refusal}"),
    }
    stage.session.run("rollback");
    stage.session.run(&posting);
    assert!(stage.noted() > 0, "passed by");
    audit(&mut stage.bank.db);
}

#[test]
fn an_index_made_concurrently_is_whole() {
    // Its building waits for nobody who comes later: they must give it their entries.
    let _crowd = crowd();
    let mut stage = stage();
    let posting = stage.posting.clone();
    let mut other = stage.bank.session_on("auto");
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let posting_on = std::thread::spawn(move || {
        let mut posted = 0;
        while !seen.load(Ordering::Relaxed) && posted < 600 {
            other.run(&format!("begin; {posting}; {posting}; commit"));
            posted += 2;
        }
        posted
    });
    for _ in 0..5 {
        stage.bank.db.run("create index concurrently hung on txn_processing.movements (amount, created_at)");
        stage.bank.db.run("create index concurrently hanging on banking.accounts (current_balance)");
        check_indexes(&mut stage.bank);
        stage.bank.db.run("drop index concurrently txn_processing.hung");
        stage.bank.db.run("drop index concurrently banking.hanging");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(posting_on.join().expect("it posts throughout") > 10);
    stage.is_direct("drop index concurrently");
    audit(&mut stage.bank.db);
    check_indexes(&mut stage.bank);
}
