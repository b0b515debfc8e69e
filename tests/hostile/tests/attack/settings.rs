//! Settings: those of the extension in the hands of somebody who may not set them, and those of the server that
//! everybody may set, turned as far as they go.

use crate::world::World;
use neobank_sessions::*;

const SETTINGS: [(&str, &str); 5] = [
    ("neobank.max_backdate_days", "100000"),
    ("neobank.ledger_guard", "off"),
    ("neobank.fx_rate_tolerance_bp", "1000000"),
    ("neobank.posting_path", "spi"),
    ("neobank.queue_lock_timeout", "0"),
];

/// A session whose start carries the settings, as PGOPTIONS does.
fn session_with(world: &World, role: &str, options: &str) -> Client {
    let server = server();
    postgres::Config::new()
        .host_path(&server.socket_dir)
        .port(server.port)
        .user(role)
        .dbname(&world.bank.name)
        .options(options)
        .connect(postgres::NoTls)
        .expect("a setting that nobody knows yet is taken as it comes")
}

#[test]
fn no_setting_of_the_extension_is_carried_past_its_rights() {
    // A session that has not loaded the library knows none of its settings, and takes any value for them from anybody:
    // from the connection's options, from SET, from a function. The library must not take them over.
    let mut world = World::new("teller");
    let (name, attacker, a) = (world.bank.name.clone(), world.attacker.clone(), world.a);
    let long_ago = format!("txn_processing.deposit('{a}', 1, effective_at => now() - interval '400 days')");
    let half_a_year = format!("txn_processing.deposit('{a}', 1, effective_at => now() - interval '180 days')");
    world.bank.db.run(&format!("alter database {name} set neobank.max_backdate_days = 100"));
    let before = snapshot(&mut world.bank.db);
    let carried = |session: &mut Client, how: &str| {
        for call in [&long_ago, &half_a_year] {
            let refusal = session.fails(&format!("select {call}"));
            assert_eq!(refusal.code, "NB022", "{how}: {refusal}");
        }
        for (setting, value) in SETTINGS {
            assert_ne!(session.one(&format!("show {setting}")), value, "{setting} by {how}");
            for sql in [
                format!("set {setting} = '{value}'"),
                format!("set local {setting} = '{value}'"),
                format!("select set_config('{setting}', '{value}', false)"),
                format!("update pg_settings set setting = '{value}' where name = '{setting}'"),
            ] {
                assert_eq!(session.fails(&sql).code, "42501", "{sql}");
            }
        }
    };
    // Options stood in the place of what the superuser had set for the database, and the library, which may not take
    // them over, went on with its built-in value instead. Now such a session gets nothing done.
    for (setting, value) in SETTINGS {
        let mut session = session_with(&world, &attacker, &format!("-c {setting}={value}"));
        session.run(&format!("set {setting} = '{value}'"));
        for _ in 0..2 {
            let refusal = session.fails(&format!("select {half_a_year}"));
            assert_eq!((refusal.code.as_str(), refusal.hint.as_str()), ("42501", "Connect without it."), "{refusal}");
        }
    }
    let superuser = server().superuser;
    let mut session = session_with(&world, &superuser, "-c neobank.max_backdate_days=7");
    session.run("select neobank.uuid_v7()");
    assert_eq!(session.one("show neobank.max_backdate_days"), "7", "who may set it, may give it");

    let mut fresh = world.bank.session_as(&attacker);
    for (setting, value) in SETTINGS {
        let _ = fresh.try_lines(&format!("set {setting} = '{value}'"));
    }
    carried(&mut fresh, "set before the library was loaded");

    // A function that carries one, made where the library is not known and where it is.
    let late = format!(
        "create function public.late() returns uuid language plpgsql set neobank.max_backdate_days = 100000 \
         as $$ begin return {long_ago}; end $$"
    );
    let _ = world.bank.session_as(&attacker).try_lines(&late);
    let refusal = world.bank.session_as(&attacker).fails("select public.late()");
    assert!(["NB022", "42501", "42883"].contains(&refusal.code.as_str()), "{refusal}");

    // For all sessions to come, a superuser's among them: as a role, and as the owner of the database.
    world.bank.db.run(&format!("alter database {name} owner to {attacker}"));
    for (setting, value) in SETTINGS {
        for whose in
            [format!("database {name}"), format!("role {attacker}"), format!("role {attacker} in database {name}")]
        {
            let sql = format!("alter {whose} set {setting} = '{value}'");
            assert_eq!(world.bank.session_as(&attacker).fails(&sql).code, "42501", "{sql}");
        }
    }
    world.bank.db.run(&format!("alter database {name} owner to current_user"));
    assert!(before == snapshot(&mut world.bank.db));
    // What may set them does: the superuser, and so the deposit of long ago goes through.
    world.bank.db.run(&format!("set neobank.max_backdate_days = 100000; select {long_ago}"));
    audit(&mut world.bank.db);
}

/// What everybody may set, at values that change how SQL is read, planned and shown.
const TWISTED: &str = "set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard'; set timezone = 'Pacific/Kiritimati'; \
    set standard_conforming_strings = off; set backslash_quote = on; set escape_string_warning = off; \
    set transform_null_equals = on; set array_nulls = off; set extra_float_digits = -15; set bytea_output = 'escape'; \
    set quote_all_identifiers = on; set xmloption = document; set check_function_bodies = off; \
    set plan_cache_mode = force_custom_plan; set enable_indexscan = off; set enable_indexonlyscan = off; \
    set enable_nestloop = off; set enable_sort = off; set enable_material = off; set from_collapse_limit = 1; \
    set join_collapse_limit = 1; set geqo_threshold = 2; set constraint_exclusion = on; set work_mem = '64kB'; \
    set jit = on; set jit_above_cost = 0; set row_security = off; set default_transaction_deferrable = on; \
    set client_min_messages = error; set plpgsql.extra_errors = 'all'; set gin_fuzzy_search_limit = 1; \
    set synchronize_seqscans = off; set default_statistics_target = 1; set search_path = ''";

/// One of most things, each with an answer that names no id and no time of the day.
fn scenario(settings: &str) -> Vec<String> {
    let mut world = World::new("operator");
    let (a, b) = (world.a, world.b);
    let batch = format!(
        "select txn_processing.create_payment_batch(E'[{{\"from_account\": \"{a}\", \"to_account\": \"{b}\", \
         \"amount\": 1.50, \"description\": \"back\\\\\\\\slash\"}}]', 'key')"
    );
    // In a session with the usual settings first: the same batch has the same digest under any.
    let first = world.session.id(&batch);
    world.session = world.bank.session_as(&world.attacker);
    let session = &mut world.session;
    session.run(settings);
    assert_eq!(session.id(&batch), first);
    let mut answers = Vec::new();
    for sql in [
        format!("select banking.set_account_limit('{a}', 'day', 400, null, 'why') is null"),
        format!(
            "select txn_processing.execute_transfer(gen_random_uuid(), 'r', '{a}', '{b}', 12.30, 'USD', E'{{\"k\": \"\\\\u00e9\"}}') - 'transaction_id' - 'reference'"
        ),
        format!(
            "select txn_processing.execute_payment(gen_random_uuid(), null, '{a}', 100000, 'USD', null) ->> 'code'"
        ),
        format!("select txn_processing.deposit('{b}', 5, effective_at => '2026-01-31T23:30:00Z'::timestamptz) is null"),
        format!(
            "select txn_processing.balance_as_of('{b}', '2026-01-31T23:29:59Z'), txn_processing.balance_as_of('{b}', '2026-01-31T23:30:00Z')"
        ),
        format!("select count(*), sum(amount), max(running_balance) from txn_processing.statement('{a}')"),
        "select txn_processing.set_interest_rule('savings', 'USD', 1.5, 'act/365', '2026-01-01') is null".to_owned(),
        format!("select txn_processing.set_account_interest_rule('{a}', 2.5, '30/360', '2026-01-01') is null"),
        "select accounts, done from txn_processing.accrue_interest('2026-02-01')".to_owned(),
        "select txn_processing.set_fee_schedule('f', 'transfer', 'USD', 'percentage', '2026-01-01', percent => 1) is null"
            .to_owned(),
        format!("select fee_code, fee from txn_processing.fee_for('transfer', '{a}', 123.45)"),
        "select status, code from txn_processing.process_queue()".to_owned(),
        format!("select attempted, completed, failed, more from txn_processing.process_payment_batch('{first}')"),
        format!("select txn_processing.transfer('{a}', '{b}', 500)"),
        format!("select txn_processing.place_hold('{b}', 3, expires_at => now() + interval '1 day') is null"),
        "select currency_code, account_type, accounts, debits, credits from txn_processing.trial_balance()".to_owned(),
        "select day_amount, day_postings, month_amount from txn_processing.limit_usage".to_owned(),
        "select count(*) from txn_processing.settle((now() at time zone 'UTC')::date, 'USD')".to_owned(),
        "select count(*) from txn_processing.daily_reconciliation() where status <> 'Balanced'".to_owned(),
    ] {
        answers.push(match session.try_lines(&sql) {
            Ok(lines) => lines.join("\n"),
            Err(refusal) => format!("{}: {}", refusal.code, refusal.message),
        });
    }
    audit(&mut world.bank.db);
    answers
}

#[test]
fn what_everybody_may_set_changes_no_answer_and_no_figure() {
    // The statements inside are parsed in the caller's session, with its settings for reading SQL and dates.
    let (usual, twisted) = (scenario("select 1"), scenario(TWISTED));
    assert_eq!(usual, twisted);
    let errors: Vec<_> = usual.iter().filter(|answer| answer.contains(": ") && !answer.starts_with('{')).collect();
    assert_eq!(errors.len(), 1, "only the transfer past the day's limit is refused: {errors:#?}");
}
