//! A dump that is restored is the same bank: same balances, same postings,
//! same rights, and it goes on posting behind the same guards.

use crate::differential_world::check_indexes;
use crate::filled::*;
use neobank_sessions::*;
use std::path::Path;

struct Original {
    bank: Bank,
    filled: Filled,
    scratch: Scratch,
}

/// A bank with something in every table that a dump must carry.
fn original() -> Original {
    original_with(Some("Branch Two"))
}

/// The same with a tenant of that name, or with none.
fn original_with(tenant: Option<&str>) -> Original {
    let mut bank = Bank::new();
    let filled = fill(&mut bank, tenant);
    assert_eq!(empty_tables(&mut bank), [""; 0], "something of everything");
    let scratch = Scratch::new(&format!("{}_dump", bank.name));
    Original { bank, filled, scratch }
}

/// The tables, row for row. Row 0 of the tenants is the install's own, made anew at the time of the restore.
fn tables(bank: &mut Bank) -> Vec<String> {
    let mut lines = snapshot(&mut bank.db);
    lines.retain(|line| !line.starts_with("banking.tenants|"));
    lines.extend(
        bank.db.lines("select tenant_no, tenant_id, name, created_at from banking.tenants where tenant_no <> 0"),
    );
    let sequences = "select format('select %L, last_value, is_called from %s', c.oid::regclass, c.oid::regclass) \
         from pg_class c where relkind = 'S' \
         and relnamespace in ('banking'::regnamespace, 'txn_processing'::regnamespace, 'neobank'::regnamespace) order by 1";
    for sequence in bank.db.lines(sequences) {
        lines.push(bank.db.one(&sequence));
    }
    lines
}

/// Everything that can be compared, and then everything that must go on.
fn same_bank(original: &mut Original, mut restored: Bank) {
    let Filled { a, slotted, ref teller, .. } = original.filled;
    assert_eq!(tables(&mut original.bank), tables(&mut restored));
    for sql in [
        "select * from txn_processing.trial_balance()",
        "select * from txn_processing.daily_reconciliation(current_date)",
        "select * from txn_processing.ledger order by transaction_id, leg, entry_type",
        "select * from banking.account_balances order by account_id",
        "select a.account_id, c.changed_at, txn_processing.balance_as_of(a.account_id, c.changed_at) \
         from banking.accounts a cross join banking.balance_mode_changes c order by 1, 2",
        "select * from txn_processing.fx_positions order by 1, 2",
        "select * from txn_processing.disputes",
        "select * from txn_processing.reconciliation_summary((select statement_id from txn_processing.external_statements))",
    ] {
        assert_eq!(original.bank.db.lines(sql), restored.db.lines(sql), "{sql}");
    }
    audit(&mut restored.db);
    check_indexes(&mut restored);
    for (sql, code) in [
        ("update txn_processing.movements set amount = 1", "NB009"),
        ("insert into txn_processing.movements select (m).* from txn_processing.movements m limit 1", "NB009"),
        ("delete from banking.accounts", "NB010"),
        ("insert into banking.accounts select (a).* from banking.accounts a limit 1", "NB010"),
        ("update banking.account_slots set balance = balance + 1", "NB010"),
        ("insert into banking.account_slots select (s).* from banking.account_slots s limit 1", "NB010"),
        ("update txn_processing.external_lines set amount = amount + 1", "NB009"),
        ("delete from txn_processing.reconciliation_match_lines", "NB009"),
        ("insert into banking.balance_mode_changes select (c).* from banking.balance_mode_changes c limit 1", "NB009"),
    ] {
        refused(&mut restored.db, sql, code);
    }
    let mut teller = restored.session_as(teller);
    teller.run(&format!("select txn_processing.deposit('{a}', 2.50)"));
    let refusal = teller.fails(&format!("select txn_processing.adjust('{a}', 1, 'why')"));
    assert_eq!(refusal.code, "42501", "{refusal}");
    // The batch goes on with its second item, and what is settled stays settled.
    assert_eq!(restored.db.count("select sum(completed) from txn_processing.payment_batches b, txn_processing.process_payment_batch(b.batch_id)"), 1);
    let settled = "select count(*) from txn_processing.settle((now() at time zone 'UTC')::date, 'USD')";
    assert_eq!(restored.db.count(settled), original.bank.db.count(settled));
    // Slots go on where they were, with their numbers and the bound.
    assert_eq!(restored.slots(slotted), 3);
    let left = restored.db.balance(slotted) + dec("20");
    refused(&mut restored.db, &format!("select txn_processing.withdraw('{slotted}', {left} + 0.01)"), "NB001");
    restored.db.run(&format!("select txn_processing.withdraw('{slotted}', {left})"));
    restored.grow(slotted, 5);
    restored.mode(slotted, "exclusive");
    for (call, table) in [
        ("set_interest_rule('savings', 'USD', 1, 'act/365', current_date)", "interest_rules"),
        ("set_fee_schedule('wire', 'payment', 'USD', 'fixed', current_date, fixed_amount => 1)", "fee_schedules"),
    ] {
        let count = format!("select count(*) from txn_processing.{table}");
        let before = restored.db.count(&count);
        restored.db.run(&format!("select txn_processing.{call}"));
        assert_eq!(restored.db.count(&count), before + 1);
    }
    assert_eq!(original.filled.retry(&mut restored), original.filled.transfer.to_string(), "a retry is known");
    restored.account("5");
    restored.db.run("select banking.create_tenant('Branch Three')");
    audit(&mut restored.db);
}

fn dump(original: &Original, program: &Path, arguments: &[&str], file: &Path) {
    let mut command = server().tool(program, &original.bank.name);
    run_tool(command.args(arguments).arg("-f").arg(file));
}

fn restore(bank: &Bank, program: &Path, arguments: &[&str], file: &Path) {
    let mut command = server().tool(program, &bank.name);
    run_tool(command.args(["--exit-on-error"]).args(arguments).arg(file));
}

fn tools(names: &[&str]) -> Option<Vec<std::path::PathBuf>> {
    let found: Option<Vec<_>> = names.iter().map(|name| bindir_tool(name)).collect();
    if found.is_none() {
        skipped("dump and restore", &format!("this server lacks one of {names:?}"));
    }
    found
}

#[test]
fn a_custom_format_dump_restores_the_same_bank() {
    let Some(tools) = tools(&["pg_dump", "pg_restore"]) else {
        return;
    };
    let mut original = original();
    let file = original.scratch.file("bank.dump");
    dump(&original, &tools[0], &["-Fc"], &file);
    let restored = Bank::empty_database();
    let mut restore = server().tool(&tools[1], &restored.name);
    run_tool(restore.arg("--exit-on-error").arg(&file));
    same_bank(&mut original, restored);
    let restored = Bank::empty_database();
    let mut restore = server().tool(&tools[1], &restored.name);
    run_tool(restore.args(["--exit-on-error", "--single-transaction"]).arg(&file));
    same_bank(&mut original, restored);
}

#[test]
fn several_jobs_restore_the_same_bank_in_whatever_order() {
    // The largest tables come first then, and each in a transaction of its own: what a guard holds a row against may be
    // there already, or not yet. Here one job is at the customers while another loads the postings, then the log of
    // switches, and the accounts last.
    let Some(tools) = tools(&["pg_dump", "pg_restore"]) else {
        return;
    };
    let mut original = original_with(None);
    let (db, slotted) = (&mut original.bank.db, original.filled.slotted);
    db.run(
        "insert into banking.customers (first_name, last_name, address_line1) \
         select 'A', 'B', repeat('x', 200) from generate_series(1, 30000)",
    );
    db.run(&format!("select txn_processing.deposit('{slotted}', 1) from generate_series(1, 1000)"));
    db.run(&format!(
        "select banking.set_balance_mode('{slotted}', (array['exclusive', 'slotted'])[1 + n % 2]) \
         from generate_series(0, 199) n"
    ));
    original.bank.grow(slotted, 3);
    let file = original.scratch.file("bank.dump");
    dump(&original, &tools[0], &["-Fc"], &file);
    for jobs in ["2", "4", "8"] {
        let restored = Bank::empty_database();
        let mut restore = server().tool(&tools[1], &restored.name);
        run_tool(restore.args(["--exit-on-error", "--jobs", jobs]).arg(&file));
        same_bank(&mut original, restored);
    }
}

#[test]
fn a_plain_dump_restores_the_same_bank() {
    let Some(tools) = tools(&["pg_dump", "psql"]) else {
        return;
    };
    let mut original = original();
    let file = original.scratch.file("bank.sql");
    for arguments in [&[][..], &["--inserts", "--rows-per-insert=1000"][..]] {
        dump(&original, &tools[0], arguments, &file);
        let restored = Bank::empty_database();
        let mut restore = server().tool(&tools[1], &restored.name);
        run_tool(restore.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"]).arg(&file));
        same_bank(&mut original, restored);
    }
}

#[test]
fn data_alone_restores_into_a_fresh_installation() {
    // What the installation itself put into the tables is not in the dump, and must not be there twice.
    let Some(tools) = tools(&["pg_dump", "pg_restore", "psql"]) else {
        return;
    };
    let mut original = original();
    let file = original.scratch.file("data.dump");
    dump(&original, &tools[0], &["-Fc", "--data-only"], &file);
    let grant = format!("select neobank.grant_usage('{}', 'teller')", original.filled.teller);
    let mut restored = Bank::new();
    restore(&restored, &tools[1], &["--single-transaction"], &file);
    restored.db.run(&grant);
    same_bank(&mut original, restored);
    // Into a database that has anything already, nothing of it goes.
    let mut used = Bank::new();
    used.account("5");
    let before = snapshot(&mut used.db);
    let mut again = server().tool(&tools[1], &used.name);
    let output = again.args(["--exit-on-error", "--single-transaction"]).arg(&file).output().expect("it starts");
    assert!(!output.status.success(), "a bank was restored over another one");
    assert_eq!(before, snapshot(&mut used.db));
    // Rights and structure first, data later, both as SQL.
    let restored = Bank::empty_database();
    for part in ["--schema-only", "--data-only"] {
        let file = original.scratch.file("part.sql");
        dump(&original, &tools[0], &[part], &file);
        let mut psql = server().tool(&tools[2], &restored.name);
        run_tool(psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f"]).arg(&file));
    }
    same_bank(&mut original, restored);
}

#[test]
fn a_folder_and_its_sections_restore_the_same_bank() {
    let Some(tools) = tools(&["pg_dump", "pg_restore"]) else {
        return;
    };
    let mut original = original_with(None);
    let folder = original.scratch.file("folder");
    dump(&original, &tools[0], &["-Fd", "--jobs", "4"], &folder);
    let restored = Bank::empty_database();
    restore(&restored, &tools[1], &["--jobs", "4"], &folder);
    same_bank(&mut original, restored);
    let restored = Bank::empty_database();
    for section in ["pre-data", "data", "post-data"] {
        restore(&restored, &tools[1], &["--section", section], &folder);
    }
    same_bank(&mut original, restored);
}

#[test]
fn one_table_alone_restores_into_its_empty_self() {
    let Some(tools) = tools(&["pg_dump", "pg_restore"]) else {
        return;
    };
    let mut original = original();
    let file = original.scratch.file("table.dump");
    let mut restored = Bank::new();
    let rows = |bank: &mut Bank, table: &str| bank.db.lines(&format!("select t::text from {table} t order by 1"));
    for table in ["banking.currencies", "banking.accounts", "txn_processing.movements", "txn_processing.holds"] {
        dump(&original, &tools[0], &["-Fc", "--data-only", "--table", table], &file);
        restore(&restored, &tools[1], &[], &file);
        assert_eq!(rows(&mut original.bank, table), rows(&mut restored, table), "{table}");
    }
    // The same again is not a restore any more.
    dump(&original, &tools[0], &["-Fc", "--data-only", "--table", "txn_processing.movements"], &file);
    let mut again = server().tool(&tools[1], &restored.name);
    let output = again.args(["--exit-on-error"]).arg(&file).output().expect("it starts");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the ledger is append-only"), "{output:?}");
}

#[test]
fn no_row_of_a_user_is_left_out_of_a_dump_and_no_shipped_one_changed() {
    // The story: a currency that somebody inserted with shipped true, or a dispute policy of the installation that
    // somebody updated in place, was not in the dump, and the restored bank had accounts in a currency it did not know.
    let mut bank = Bank::new();
    let currency = "insert into banking.currencies (currency_code, exponent, name, shipped)";
    let kind = "insert into banking.account_types (account_type, account_class, normal_side, description, shipped)";
    bank.db.run(&format!("{currency} values ('QQP', 1, 'Points', false)"));
    bank.db.run(&format!("{kind} values ('piggy_bank', 'liability', 'C', 'For children', false)"));
    bank.db.run("select txn_processing.set_dispute_policy('checking', true, 30)");
    for sql in [
        &format!("{currency} values ('QQR', 1, 'Points', true)"),
        &format!("{kind} values ('jar', 'liability', 'C', 'For children', true)"),
        "update banking.currencies set shipped = true where currency_code = 'QQP'",
        "update banking.account_types set shipped = true where account_type = 'piggy_bank'",
        "update banking.currencies set exponent = 3 where currency_code = 'USD'",
        "update banking.account_types set description = 'x' where account_type = 'checking'",
        "delete from banking.currencies where currency_code = 'XOF'",
        "update txn_processing.dispute_policies set shipped = true where not shipped",
        "update txn_processing.dispute_policies set window_days = 5 where shipped",
        "delete from txn_processing.dispute_policies where shipped",
        "update banking.tenants set name = 'x' where tenant_no = 0",
    ] {
        refused(&mut bank.db, sql, "NB023");
    }
    bank.db.run("update banking.currencies set name = 'Stars' where currency_code = 'QQP'");
    bank.db.run("delete from txn_processing.dispute_policies where not shipped");
    // Every table and sequence is in the dump, but for the list of rights, which an installation makes.
    let left_out = "select c.oid::regclass from pg_class c \
         where c.relnamespace in ('banking'::regnamespace, 'txn_processing'::regnamespace, 'neobank'::regnamespace) \
         and c.relkind in ('r', 'p', 'S') \
         and not exists (select from pg_extension where extname = 'neobank' and c.oid = any (extconfig))";
    assert_eq!(bank.db.lines(left_out), ["neobank.access_rights"]);
}

#[test]
fn a_bank_without_customers_survives_its_dump() {
    let Some(tools) = tools(&["pg_dump", "pg_restore"]) else {
        return;
    };
    let bank = Bank::new();
    let scratch = Scratch::new(&format!("{}_empty", bank.name));
    let file = scratch.file("bank.dump");
    let mut command = server().tool(&tools[0], &bank.name);
    run_tool(command.arg("-Fc").arg("-f").arg(&file));
    let mut restored = Bank::empty_database();
    let mut restore = server().tool(&tools[1], &restored.name);
    run_tool(restore.arg("--exit-on-error").arg(&file));
    let a = restored.account("5");
    assert_eq!(restored.db.balance(a), dec("5"));
}

#[test]
fn the_way_for_a_restore_is_open_for_the_owner_and_the_empty_table_only() {
    let mut bank = Bank::new();
    let stranger = bank.role("stranger");
    bank.db.run(&format!(
        "grant usage on schema txn_processing, banking to {stranger}; \
         grant insert, select on txn_processing.movements, banking.accounts to {stranger}"
    ));
    let mut session = bank.session_as(&stranger);
    let account = "insert into banking.accounts (account_id, created_at, updated_at, tenant_no, \
         normal_side, currency_code, current_balance, available_balance, account_type, \
         account_number) values (gen_random_uuid(), now(), now(), 0, 'D', 'USD', 0, 0, 'cash', 'x')";
    let refusal = session.fails(account);
    assert_eq!(refusal.code, "NB010", "{refusal}");
    let movement = "insert into txn_processing.movements (transaction_id, debit_account, \
         credit_account, debit_sequence, credit_sequence, created_at, tenant_no, \
         transaction_type, leg, amount, debit_balance, credit_balance, currency_code, created_by) \
         values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 1, now(), 0, \
         'transfer', 1, 1, 1, 1, 'USD', 'x')";
    let refusal = session.fails(movement);
    assert_eq!(refusal.code, "NB009", "{refusal}");
    // The owner's single statement into the empty table is a restore; after
    // it the table is not empty any more.
    bank.db.run(account);
    refused(&mut bank.db, account, "NB010");
}
