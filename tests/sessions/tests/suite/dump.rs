//! A dump that is restored is the same bank: same balances, same postings,
//! same rights, and it goes on posting behind the same guards.

use neobank_sessions::*;
use std::path::Path;

struct Original {
    bank: Bank,
    a: Uuid,
    /// Over three slots, one of them below zero, with a fourth left empty from an earlier time.
    slotted: Uuid,
    teller: String,
    scratch: Scratch,
}

/// A bank with something in every table that a dump must carry.
fn original() -> Original {
    original_with("'Branch Two'")
}

/// The same with a tenant of that name, or with none.
fn original_with(tenant: &str) -> Original {
    let mut bank = Bank::new();
    bank.db.run("insert into banking.currencies (currency_code, exponent, name) values ('QQP', 1, 'Points')");
    bank.db.run(
        "insert into banking.account_types (account_type, account_class, normal_side, description) \
         values ('piggy_bank', 'liability', 'C', 'For children')",
    );
    let tenant = match tenant {
        "null" => tenant.to_owned(),
        name => format!("'{}'", bank.db.id(&format!("select banking.create_tenant({name})"))),
    };
    let customer = bank.customer_of(&tenant);
    bank.db.run(&format!("select banking.open_account('{customer}', 'piggy_bank', 'QQP', 12.5, tenant => {tenant})"));
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
    let slotted = bank.slotted("checking", "50", "20");
    bank.grow(slotted, 4);
    bank.mode(slotted, "exclusive");
    bank.mode(slotted, "slotted");
    bank.grow(slotted, 3);
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{slotted}', 5)"));
    bank.db.run(&format!("select txn_processing.charge_fee('{slotted}', 70)"));
    bank.db.run(&format!(
        "insert into txn_processing.transaction_queue (transaction_type, destination_account_id, \
         amount, request_data) values ('deposit', '{a}', 5, '{{}}')"
    ));
    let batch = bank.db.id(&format!(
        "select txn_processing.create_payment_batch( \
         '[{{\"from_account\": \"{a}\", \"counterparty_bank\": \"ST\", \"counterparty_account\": \"1\", \"amount\": 3}}, \
           {{\"from_account\": \"{a}\", \"counterparty_bank\": \"ST\", \"counterparty_account\": \"2\", \"amount\": 4}}]', 'k')"
    ));
    bank.db.run(&format!("select txn_processing.process_payment_batch('{batch}', 1)"));
    bank.db.run("select txn_processing.settle((now() at time zone 'UTC')::date - 1, 'USD')");
    bank.db.run(&format!(
        "select txn_processing.pay_bank('{a}', 6, 'YZ', '1', effective_at => now() - interval '2 days')"
    ));
    bank.db.run("select txn_processing.settle((now() at time zone 'UTC')::date, 'USD')");
    let yen = bank.account_with("checking", "JPY", "0", "0");
    bank.db.run("select txn_processing.set_fx_rate('USD', 'JPY', 150.255)");
    for _ in 0..5 {
        bank.db.run(&format!("select txn_processing.transfer_fx('{a}', '{yen}', 1)"));
    }
    bank.db.run("select txn_processing.sweep_fx_residues()");
    bank.db.run("select txn_processing.set_dispute_policy('checking', true, 30)");
    let contested = bank.db.id(&format!("select txn_processing.pay('{a}', 3)"));
    bank.db.run(&format!("select txn_processing.open_dispute('{contested}', 'not mine')"));
    bank.db
        .run("select txn_processing.set_reconciliation_rule('post', 1, amount_tolerance => 0.05, passes => '{date}')");
    let statement = bank.db.id(&format!(
        "select txn_processing.import_external_statement('post', 'S1', '{a}', null, 0, 990, format( \
         '[{{\"booked_on\": \"%1$s\", \"amount\": -10.04, \"line_ref\": \"\\t1\"}}, \
           {{\"booked_at\": \"%1$sT00:00:00Z\", \"amount\": 1000.04}}]', current_date)::jsonb, current_date - 1, current_date + 1)"
    ));
    bank.db.run(&format!("select txn_processing.match_external_statement('{statement}')"));
    bank.db.run("select txn_processing.unmatch(match_id, 'why') from txn_processing.reconciliation_matches limit 1");
    bank.db.run(&format!("select txn_processing.match_external_statement('{statement}')"));
    assert!(bank.db.count("select count(*) from txn_processing.reconciliation_match_lines where in_force") > 0);
    bank.db.run(
        "select txn_processing.set_interest_rule('checking', 'USD', 5, 'act/365', current_date - 20, \
             tier_from => '{100}', tier_percent => '{1}'), \
         txn_processing.set_fee_schedule('wire', 'transfer', 'USD', 'tiered', current_date, \
             tier_from => '{1}', tier_percent => '{1}'), \
         txn_processing.accrue_interest(current_date - 3), txn_processing.capitalise_interest(current_date - 3)",
    );
    bank.db.run(&format!("select txn_processing.transfer_with_fee('{a}', '{b}', 20)"));
    bank.status(b, "dormant");
    bank.db.run(
        "set neobank.ledger_guard = off; \
              update txn_processing.movements set description = 'mended' where amount = 7.25; \
              reset neobank.ledger_guard",
    );
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let scratch = Scratch::new(&format!("{}_dump", bank.name));
    Original { bank, a, slotted, teller, scratch }
}

/// Everything that can be compared, and then everything that must go on.
fn same_bank(original: &mut Original, mut restored: Bank) {
    let (a, slotted) = (original.a, original.slotted);
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
        "select * from banking.account_balances order by account_id",
        "select a.account_id, c.changed_at, txn_processing.balance_as_of(a.account_id, c.changed_at) \
         from banking.accounts a cross join banking.balance_mode_changes c order by 1, 2",
        "select * from txn_processing.fx_positions order by 1, 2",
        "select * from txn_processing.disputes",
        "select last_value from banking.account_number_seq",
        "select * from txn_processing.reconciliation_summary((select statement_id from txn_processing.external_statements))",
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
        ("update banking.account_slots set balance = balance + 1", "NB010"),
        ("insert into banking.account_slots select (s).* from banking.account_slots s limit 1", "NB010"),
        ("update txn_processing.external_lines set amount = amount + 1", "NB009"),
        ("delete from txn_processing.reconciliation_match_lines", "NB009"),
        ("insert into banking.balance_mode_changes select (c).* from banking.balance_mode_changes c limit 1", "NB009"),
    ] {
        refused(&mut restored.db, sql, code);
    }
    let mut teller = restored.session_as(&original.teller);
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
        restored.db.run(&format!("select txn_processing.{call}"));
        assert_eq!(restored.db.count(&format!("select count(*) from txn_processing.{table}")), 2);
    }
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
fn several_jobs_restore_the_same_bank_in_whatever_order() {
    // The largest tables come first then, and each in a transaction of its own: what a guard holds a row against may be
    // there already, or not yet. Here one job is at the customers while another loads the postings, then the log of
    // switches, and the accounts last.
    let Some(tools) = tools(&["pg_dump", "pg_restore"]) else {
        return;
    };
    let mut original = original_with("null");
    let (db, slotted) = (&mut original.bank.db, original.slotted);
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
