//! A dump that is restored is the same bank: same balances, same postings,
//! same rights, and it goes on posting behind the same guards.

use neobank_sessions::*;
use std::path::Path;

struct Original {
    bank: Bank,
    a: Uuid,
    teller: String,
    scratch: Scratch,
}

/// A bank with something in every table that a dump must carry.
fn original() -> Original {
    let mut bank = Bank::new();
    bank.db.run("insert into banking.currencies (currency_code, exponent, name) values ('QQP', 1, 'Points')");
    bank.db.run(
        "insert into banking.account_types (account_type, account_class, normal_side, description) \
         values ('piggy_bank', 'liability', 'C', 'For children')",
    );
    let tenant = bank.db.id("select banking.create_tenant('Branch Two')");
    let customer = bank.customer_of(&format!("'{tenant}'"));
    bank.db.run(&format!("select banking.open_account('{customer}', 'piggy_bank', 'QQP', 12.5, tenant => '{tenant}')"));
    let a = bank.account("1000");
    let b = bank.account("0");
    for n in 1..=30 {
        bank.db.run(&format!(
            "select txn_processing.transfer('{a}', '{b}', {n}.25, \
             description => E'line\\nbreak \\t tab', metadata => '{{\"n\": {n}}}')"
        ));
    }
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    bank.db.run(&format!("select txn_processing.reverse('{payment}', 'why')"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 1, effective_at => now() - interval '9 days')"));
    bank.db.run(&format!(
        "insert into txn_processing.transaction_queue (transaction_type, destination_account_id, \
         amount, request_data) values ('deposit', '{a}', 5, '{{}}')"
    ));
    bank.status(b, "dormant");
    bank.db.run(
        "set neobank.ledger_guard = off; \
              update txn_processing.movements set description = 'mended' where amount = 7.25; \
              reset neobank.ledger_guard",
    );
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let scratch = Scratch::new(&format!("{}_dump", bank.name));
    Original { bank, a, teller, scratch }
}

/// Everything that can be compared, and then everything that must go on.
fn same_bank(original: &mut Original, mut restored: Bank) {
    let a = original.a;
    // Row 0 of the tenants is the install's own, made anew at the time of the restore.
    let tables = |bank: &mut Bank| {
        let mut lines = snapshot(&mut bank.db);
        lines.retain(|line| !line.starts_with("banking.tenants|"));
        lines
    };
    assert_eq!(tables(&mut original.bank), tables(&mut restored));
    for sql in [
        "select * from txn_processing.trial_balance()",
        "select * from txn_processing.daily_reconciliation(current_date)",
        "select * from txn_processing.ledger order by transaction_id, leg, entry_type",
        "select tenant_no, tenant_id, name, created_at from banking.tenants where tenant_no <> 0",
        "select last_value from banking.account_number_seq",
        "select last_value from banking.customer_number_seq",
    ] {
        assert_eq!(original.bank.db.lines(sql), restored.db.lines(sql), "{sql}");
    }
    audit(&mut restored.db);
    for (sql, code) in [
        ("update txn_processing.movements set amount = 1", "NB009"),
        ("insert into txn_processing.movements select (m).* from txn_processing.movements m limit 1", "NB009"),
        ("delete from banking.accounts", "NB010"),
        ("insert into banking.accounts select (a).* from banking.accounts a limit 1", "NB010"),
    ] {
        refused(&mut restored.db, sql, code);
    }
    let mut teller = restored.session_as(&original.teller);
    teller.run(&format!("select txn_processing.deposit('{a}', 2.50)"));
    let refusal = teller.fails(&format!("select txn_processing.adjust('{a}', 1, 'why')"));
    assert_eq!(refusal.code, "42501", "{refusal}");
    restored.account("5");
    restored.db.run("select banking.create_tenant('Branch Three')");
    audit(&mut restored.db);
}

fn dump(original: &Original, program: &Path, arguments: &[&str], file: &Path) {
    let mut command = server().tool(program, &original.bank.name);
    run_tool(command.args(arguments).arg("-f").arg(file));
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
