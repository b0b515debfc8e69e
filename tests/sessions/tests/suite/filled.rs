//! A bank with something in every table that a dump must carry, and an upgrade keep.

use neobank_sessions::*;

pub struct Filled {
    /// With money, holds and a dispute.
    pub a: Uuid,
    /// Over three slots, one of them below zero, with a fourth left empty from an earlier time.
    pub slotted: Uuid,
    pub teller: String,
    /// A transfer's id, as its caller gave it.
    pub transfer: Uuid,
}

impl Filled {
    /// What a caller who did not get the answer sends again.
    pub fn retry(&self, bank: &mut Bank) -> String {
        bank.db.one(&format!(
            "select txn_processing.transfer('{0}', '{1}', 4.5, reference => 'R-1', transaction_id => '{2}')",
            self.a, self.slotted, self.transfer
        ))
    }
}

/// The bank with a tenant of that name, or with none.
pub fn fill(bank: &mut Bank, tenant: Option<&str>) -> Filled {
    bank.db.run("insert into banking.currencies (currency_code, exponent, name) values ('QQP', 1, 'Points')");
    bank.db.run(
        "insert into banking.account_types (account_type, account_class, normal_side, description) \
         values ('piggy_bank', 'liability', 'C', 'For children')",
    );
    let tenant = match tenant {
        None => "null".to_owned(),
        Some(name) => format!("'{}'", bank.db.id(&format!("select banking.create_tenant('{name}')"))),
    };
    let customer = bank.customer_of(&tenant);
    bank.db.run(&format!("select banking.open_account('{customer}', 'piggy_bank', 'QQP', 12.5, tenant => {tenant})"));
    let a = bank.account("1000");
    let b = bank.account("0");
    postings(bank, a, b);
    let slotted = slots(bank, a);
    let transfer = Uuid::now_v7();
    let filled = Filled { a, slotted, teller: bank.role("teller"), transfer };
    filled.retry(bank);
    payments(bank, a);
    exchange(bank, a);
    holds_and_limits(bank, a);
    statements(bank, a);
    rules(bank, a, b);
    queue(bank, a);
    pools(bank);
    events(bank, a);
    read_models(bank, a, b);
    sagas(bank);
    histories(bank, a, b);
    checks(bank);
    baselines(bank);
    toolkit(bank);
    bank.db.run(
        "set neobank.ledger_guard = off; \
              update txn_processing.movements set description = 'mended' where amount = 7.25; \
              reset neobank.ledger_guard",
    );
    bank.db.run(&format!("select neobank.grant_usage('{}', 'teller')", filled.teller));
    filled
}

fn postings(bank: &mut Bank, a: Uuid, b: Uuid) {
    for n in 1..=30 {
        bank.db.run(&format!(
            "select txn_processing.transfer('{a}', '{b}', {n}.25, \
             description => E'line\\nbreak \\t tab', metadata => '{{\"n\": {n}}}')"
        ));
    }
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    bank.db.run(&format!("select txn_processing.reverse('{payment}', 'why')"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 900, effective_at => now() - interval '9 days')"));
    bank.db.run("select txn_processing.set_dispute_policy('checking', true, 30)");
    let contested = bank.db.id(&format!("select txn_processing.pay('{a}', 3)"));
    bank.db.run(&format!("select txn_processing.open_dispute('{contested}', 'not mine')"));
}

fn slots(bank: &mut Bank, a: Uuid) -> Uuid {
    let slotted = bank.slotted("checking", "50", "20");
    bank.grow(slotted, 4);
    bank.mode(slotted, "exclusive");
    bank.mode(slotted, "slotted");
    bank.grow(slotted, 3);
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{slotted}', 5)"));
    bank.db.run(&format!("select txn_processing.charge_fee('{slotted}', 70)"));
    slotted
}

/// Accounts that changed, once or twice, and were corrected.
fn histories(bank: &mut Bank, a: Uuid, b: Uuid) {
    // An older release has none.
    if bank.db.count("select count(*) from pg_namespace where nspname = 'temporal'") == 0 {
        return;
    }
    for status in ["dormant", "frozen", "active"] {
        bank.status(b, status);
    }
    for account in [a, b] {
        bank.db.run(&format!(
            "select temporal.correct('{account}', now() - interval '2 hours', null, '{{\"account_number\": \"OLD\"}}', 'why')"
        ));
    }
    assert!(bank.db.count("select count(*) from temporal.account_periods") > 5);
}

fn payments(bank: &mut Bank, a: Uuid) {
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
}

fn exchange(bank: &mut Bank, a: Uuid) {
    let yen = bank.account_with("checking", "JPY", "0", "0");
    bank.db.run("select txn_processing.set_fx_rate('USD', 'JPY', 150.255)");
    for _ in 0..5 {
        bank.db.run(&format!("select txn_processing.transfer_fx('{a}', '{yen}', 1)"));
    }
    bank.db.run("select txn_processing.sweep_fx_residues()");
    bank.db.run(&format!("select txn_processing.transfer_fx('{a}', '{yen}', 1)"));
}

fn holds_and_limits(bank: &mut Bank, a: Uuid) {
    bank.db.run("select txn_processing.set_hold_rule('checking', 15)");
    let hold = bank.db.id(&format!("select txn_processing.place_hold('{a}', 20)"));
    bank.db.run(&format!("select txn_processing.capture_hold('{hold}', 8)"));
    bank.db.run(&format!("select txn_processing.place_hold('{a}', 5, expires_at => now() + interval '9 days')"));
    let spender = bank.account("60");
    bank.db.run(&format!("select banking.set_account_limit('{spender}', 'day', 50, 9, 'why')"));
    bank.db.run("select banking.set_type_limit('savings', 'USD', 'month', 500, null, 'why')");
    bank.db.run(&format!("select txn_processing.withdraw('{spender}', 11)"));
}

fn statements(bank: &mut Bank, a: Uuid) {
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
}

fn rules(bank: &mut Bank, a: Uuid, b: Uuid) {
    let frozen = bank.account("9");
    bank.db.run(&format!("select txn_processing.deposit('{frozen}', 900, effective_at => now() - interval '9 days')"));
    bank.db.run(
        "select txn_processing.set_interest_rule('checking', 'USD', 5, 'act/365', current_date - 20, \
             tier_from => '{100}', tier_percent => '{1}'), \
         txn_processing.set_fee_schedule('wire', 'transfer', 'USD', 'tiered', current_date, \
             tier_from => '{1}', tier_percent => '{1}'), \
         txn_processing.set_fee_schedule('book', 'periodic', 'USD', 'fixed', current_date - 40, fixed_amount => 30, \
             period => 'month', account_type => 'checking'), \
         txn_processing.accrue_interest(current_date - 3)",
    );
    // Its interest has nowhere to go.
    bank.status(frozen, "frozen");
    bank.db.run("select txn_processing.capitalise_interest(current_date - 3)");
    bank.db.run(&format!("select txn_processing.transfer_with_fee('{a}', '{b}', 20)"));
    bank.status(b, "dormant");
    bank.db.run("select txn_processing.charge_periodic_fees(current_date - 2)");
}

fn queue(bank: &mut Bank, a: Uuid) {
    bank.db.run(&format!(
        "select txn_processing.enqueue('withdrawal', '{a}', null, 999999, idempotency_key => 'much'); \
         select txn_processing.process_queue()"
    ));
    bank.db.run(&format!(
        "insert into txn_processing.transaction_queue (transaction_type, destination_account_id, \
         amount, request_data) values ('deposit', '{a}', 5, '{{}}')"
    ));
}

/// Samples of connections; none in a bank of before them.
fn pools(bank: &mut Bank) {
    if bank.db.one("select to_regclass('pooling.samples') is null") == "t" {
        return;
    }
    bank.db.run(
        "select pooling.capture_sample(); \
         insert into pooling.pool_stats (pool_name, max_wait_ms) values ('app', 3)",
    );
    // The session that samples is in no sample, and may be the only one.
    bank.db.run(
        "insert into pooling.samples select sampled_at, 'app', 'u', 'a', 1, 0, 1, 0, 0, 0, 0, 0, 0, 1.5, null \
         from pooling.load_samples limit 1",
    );
}

/// None in a bank of before the event store.
fn events(bank: &mut Bank, a: Uuid) {
    if bank.db.count("select count(*) from pg_namespace where nspname = 'event_store'") == 0 {
        return;
    }
    if bank.db.count("select count(*) from pg_proc where proname = 'define_reducer'") > 0 {
        bank.db.run(
            "select event_store.define_reducer('Account', 'Counted', '[{\"add\": [\"n\"], \"value\": 1.50}]'), \
             event_store.define_reducer(null, 'Counted', '[]')",
        );
    }
    for _ in 0..3 {
        bank.db.run(&format!(
            "select event_store.append_event('Account', '{a}', 'FundsDeposited', '{{\"amount\": 1.50}}', p_tags => '{{till}}')"
        ));
    }
    if bank.db.count("select count(*) from pg_proc where proname = 'apply_retention'") > 0 {
        buried(bank);
    }
    subscriptions(bank);
    if bank.db.count("select count(*) from pg_proc where proname = 'publish_ledger'") > 0 {
        bank.db.run("select event_store.publish_ledger(true)");
        bank.db.run(&format!("select txn_processing.deposit('{a}', 2)"));
    }
}

/// A stream of which nothing but a tombstone is left, before anybody needs its event.
fn buried(bank: &mut Bank) {
    bank.db.run(
        "select event_store.append_event('Old', neobank.uuid_v7(), 'T', '{\"x\": 1}'), event_store.set_retention('Old', '0')",
    );
    // What is not final in the reading order is not deleted.
    all_read(&mut bank.db);
    assert_eq!(bank.db.one("select events from event_store.apply_retention()"), "1");
}

/// One event handled, one parked, one that waits, and no consumer at work. None in a bank of before subscriptions.
fn subscriptions(bank: &mut Bank) {
    if bank.db.one("select to_regclass('event_store.subscriptions') is null") == "t" {
        return;
    }
    bank.db.run("select event_store.create_subscription('all', max_attempts => 1, lease_ms => 3600000)");
    all_read(&mut bank.db);
    let taken = crate::subscriptions::fetch(&mut bank.db, "all", 2, "c");
    let (token, first, second) = (taken[0].token, taken[0].event, taken[1].event);
    bank.db.run(&format!("select event_store.ack('all', {token}, array['{first}']::uuid[])"));
    bank.db.run(&format!("select event_store.nack('all', {token}, '{second}', 'why')"));
}

/// None in a bank of before them.
fn read_models(bank: &mut Bank, a: Uuid, b: Uuid) {
    if bank.db.count("select count(*) from pg_namespace where nspname = 'cqrs'") == 0 {
        return;
    }
    bank.status(b, "active");
    bank.db.run(&format!(
        "select count(*) from txn_processing.post_transfers(array_fill('{b}'::uuid, array[300]), \
         array_fill('{a}'::uuid, array[300]), array_fill(0.01, array[300]))"
    ));
    bank.status(b, "dormant");
    assert!(bank.db.count("select cqrs.refresh_activity()") > 0);
    // As functions of an application's would have left them, which a dump of data alone has not.
    bank.db.run(
        "select cqrs.set_risk_score(customer_id, 7) from banking.customers limit 1; \
         insert into cqrs.command_handlers values ('Tell', 'app', 'tell', 5, now(), 'postgres'); \
         insert into cqrs.commands (command_type, aggregate_type, payload) values ('Tell', 'Told', '{\"n\": 1.50}'); \
         insert into cqrs.command_events select event_id, command_id, global_position from event_store.events, cqrs.commands limit 1; \
         insert into cqrs.projections (name, mode, handler_schema, handler_name, target_schema, target_name, \
           aggregate_types, event_types, tags, created_by) \
         values ('told', 'async', 'app', 'project', 'app', 'told', '{Told}', '{}', '{}', 'postgres')",
    );
}

/// One that waits, with a signal that came early, and one that its client drives. None in a bank of before sagas.
fn sagas(bank: &mut Bank) {
    if bank.db.one("select to_regclass('saga.sagas') is null") == "t" {
        return;
    }
    bank.db.run(
        "select saga.define('waits', '[{\"name\": \"wait\", \"signal\": \"go\"}, {\"name\": \"done\", \"delay_ms\": 5}]'); \
         select saga.signal(saga.start('waits', '{\"n\": 1.50}', 'key'), 'early', '{\"n\": 2.50}'); \
         select saga.execute_step(saga.create_saga('manual', '{one,two}'), '{\"n\": 3.50}'); \
         insert into saga.compensations (saga_id, step_number) select saga_id, 1 from saga.sagas where saga_type = 'manual'",
    );
    // One that is gone, and its key.
    if bank.db.one("select to_regclass('saga.prunings') is null") == "t" {
        return;
    }
    bank.db.run(
        "select saga.define('paused', '[{\"name\": \"pause\", \"delay_ms\": 0}]'); \
         select saga.run(saga.start('paused', '{\"n\": 4.50}', 'key')); \
         select * from saga.prune(clock_timestamp(), saga_type => 'paused')",
    );
}

/// None in a bank of before them.
fn checks(bank: &mut Bank) {
    if bank.db.one("select to_regclass('troubleshoot.thresholds') is null") == "t" {
        return;
    }
    bank.db.run(
        "select troubleshoot.set_threshold('table_bloat', 40.5, null, 10), \
         troubleshoot.acknowledge(fingerprint, now() + interval '9 days', 'why') from troubleshoot.checks(array['restore_test'])",
    );
    bank.db.run("select troubleshoot.note_restore_test(now(), 'all of it')");
}

/// Samples, settings and an alert. None in a bank of before there were any.
fn baselines(bank: &mut Bank) {
    if bank.db.one("select to_regclass('troubleshoot.samples') is null") == "t" {
        return;
    }
    bank.db.run(
        "select troubleshoot.capture_baseline(); \
         insert into troubleshoot.baseline_settings values ('keep_days', 20); \
         insert into troubleshoot.alerts (metric, severity, raised_at, last_seen_at, value, median, deviation, detail) \
         values ('connections', 'warning', now(), now(), 90, 10, 4.5, 'many')",
    );
}

/// What operators and applications leave in the toolkit's tables. None in a bank of before it.
fn toolkit(bank: &mut Bank) {
    if bank.db.one("select to_regclass('concurrency.leases') is null") == "t" {
        return;
    }
    bank.db.run(
        "select concurrency.acquire_lease('end of day', 'host 1', 86400000), \
         concurrency.record_deadlock('Process 1 waits for ShareLock on transaction 2; blocked by process 3.'); \
         insert into troubleshoot.kill_exemptions values ('role', 'payroll', 'wages'); \
         insert into troubleshoot.kill_log (killed_at, killed_by, by_function, method, pid, backend_start) \
         values (now(), 'postgres', 'kill_long_queries', 'cancel', 7, now())",
    );
}

/// Tables that a dump carries and that have nothing in them.
pub fn empty_tables(bank: &mut Bank) -> Vec<String> {
    let counts = snapshot(&mut bank.db);
    let empty = counts.iter().filter_map(|line| line.split_once("|0|")).map(|(table, _)| table.to_owned());
    // What is made anew from the events, or is about the server, is in no dump.
    let empty =
        empty.filter(|table| !["event_store.snapshots", "concurrency.deadlock_collection"].contains(&table.as_str()));
    // What is made anew from the events is in no dump.
    let empty = empty.filter(|table| table != "event_store.snapshots");
    // They speak of tables of the application's, which a restore of data alone has not; `temporal_tables` dumps them.
    let of_others = ["temporal.tables", "temporal.table_columns", "temporal.period_foreign_keys"];
    let empty = empty.filter(move |table| !of_others.contains(&table.as_str()));
    empty.collect()
}
