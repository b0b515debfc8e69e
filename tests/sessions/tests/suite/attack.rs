//! A teller tries to have the extension run the teller's code with its owner's
//! rights: functions, operators and types under the names of pg_catalog's.

use neobank_sessions::*;

/// For every function and operator of pg_catalog over the types that the
/// ledger handles, one of the same name in `evil` that notes who runs it.
const TRAPS: &str = r#"
create schema evil;
create table evil.trace (who name, what text);
grant usage on schema evil to public;
grant insert on evil.trace to public;
do $do$
declare
    f record;
    kinds oid[] := array['uuid', 'numeric', 'text', 'varchar', 'bpchar', 'timestamptz', 'jsonb',
        'int2', 'int4', 'int8', 'date', 'bool', 'name', '"char"', 'interval']::regtype[]::oid[];
    body text := $body$ begin insert into evil.trace values (current_user, %L); return %s; end $body$;
begin
    for f in
        select p.oid, p.proname, p.prorettype::regtype as result, p.pronargs,
               (select string_agg(format_type(t, null), ', ' order by n)
                from unnest(p.proargtypes::oid[]) with ordinality x(t, n)) as arguments,
               (select string_agg('$' || n, ', ') from generate_series(1, p.pronargs) n) as values
        from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and not p.proretset
          and p.pronargs <= 3 and p.proargtypes::oid[] <@ kinds and p.prorettype = any (kinds)
          and p.proname !~ '^(pg_|lo_|binary_upgrade|nextval|setval|ts_|json)'
    loop
        execute format('create function evil.%I(%s) returns %s language plpgsql '
            'set search_path = pg_catalog as %L', f.proname, f.arguments, f.result,
            format(body, f.proname, format('pg_catalog.%I(%s)', f.proname, f.values)));
    end loop;
    for f in
        select o.oprname, format_type(o.oprleft, null) as l, format_type(o.oprright, null) as r,
               format_type(o.oprresult, null) as result, 'op_' || o.oid as proname
        from pg_operator o
        where o.oprnamespace = 'pg_catalog'::regnamespace and o.oprleft = any (kinds)
          and o.oprright = any (kinds) and o.oprresult = any (kinds)
    loop
        execute format('create function evil.%I(%s, %s) returns %s language plpgsql '
            'set search_path = pg_catalog as %L', f.proname, f.l, f.r, f.result,
            format(body, f.oprname, format('$1 operator(pg_catalog.%s) $2', f.oprname)));
        execute format('create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.%I)',
            f.oprname, f.l, f.r, f.proname);
    end loop;
end
$do$;
create function evil.spy(what text) returns boolean language plpgsql set search_path = pg_catalog
as $$ begin insert into evil.trace values (current_user, what); return true; end $$;
"#;

/// Types are looked up in pg_temp before pg_catalog unless it is named last.
const TEMPORARY_TYPES: &str = "
create domain pg_temp.uuid as pg_catalog.uuid check (evil.spy('uuid'));
create domain pg_temp.text as pg_catalog.text check (evil.spy('text'));
create domain pg_temp.jsonb as pg_catalog.jsonb check (evil.spy('jsonb'));
create domain pg_temp.timestamptz as pg_catalog.timestamptz check (evil.spy('timestamptz'));
create domain pg_temp.int8 as pg_catalog.int8 check (evil.spy('int8'));
create domain pg_temp.bpchar as pg_catalog.bpchar check (evil.spy('bpchar'));
create domain pg_temp.date as pg_catalog.date check (evil.spy('date'));
create domain pg_temp.name as pg_catalog.name check (evil.spy('name'));
create temp table accounts as select 1 as account_id;
create temp table movements as select 1 as transaction_id;
create temp table pg_class as select 1 as oid;
";

/// Every function that an operator may call.
fn calls(a: Uuid, b: Uuid, customer: Uuid) -> Vec<String> {
    let id = Uuid::now_v7();
    let mistake = Uuid::now_v7();
    let tail = "'USD', 'd', null, '{\"k\": 1}'";
    let t = "txn_processing";
    vec![
        format!("select {t}.transfer('{a}', '{b}', 10, {tail}, '{id}', now() - '1 day'::interval)"),
        format!("select {t}.deposit('{a}', 10, {tail})"),
        format!("select {t}.withdraw('{a}', 10, {tail})"),
        format!("select {t}.pay('{a}', 10, {tail}, '{mistake}')"),
        format!("select {t}.charge_fee('{a}', 10)"),
        format!("select {t}.credit_interest('{a}', 10)"),
        format!("select {t}.adjust('{a}', -10, 'why')"),
        format!("select {t}.refund('{mistake}', 1)"),
        format!("select {t}.reverse('{id}', 'why')"),
        format!("select {t}.execute_transfer('{}', 'x1', '{a}', '{b}', 1, 'USD', '{{}}')", Uuid::now_v7()),
        format!("select {t}.execute_deposit('{}', 'x2', '{a}', 1, 'USD', '{{}}')", Uuid::now_v7()),
        format!("select {t}.execute_payment('{}', 'x3', '{a}', 100000, 'USD', '{{}}')", Uuid::now_v7()),
        format!("select {t}.reverse_transaction('{}', 'why')", Uuid::now_v7()),
        format!(
            "insert into {t}.transaction_queue (transaction_type, destination_account_id, amount, \
             request_data) values ('adjustment', '{a}', 1, '{{\"reason\": \"why\"}}')"
        ),
        format!(
            "select {t}.enqueue('transfer', '{a}', '{b}', 1, 'USD', 'key', 5, '{{\"k\": 1}}', 3, now() + '1 day'::interval)"
        ),
        format!("select * from {t}.process_queue(1)"),
        format!("select {t}.process_transaction(request_id) from {t}.transaction_queue"),
        "select banking.create_customer('A', 'B', 'a@b.c', '1', '2000-01-01', city => 'Rome')".to_owned(),
        format!("select banking.open_account('{customer}', 'checking', 'CHF', 10)"),
        format!("select banking.set_account_status('{b}', 'dormant', 'why')"),
        format!("select banking.set_overdraft_limit('{b}', 10, 'why')"),
        format!("select * from banking.update_account_optimistic('{a}', 500, 1)"),
        format!("select * from {t}.statement('{a}', now() - '1 day'::interval, now(), 10, 100)"),
        format!("select {t}.balance_as_of('{a}', now())"),
        format!("select * from {t}.transaction('{id}')"),
        format!("select * from {t}.trial_balance(now())"),
        format!("select * from {t}.daily_reconciliation()"),
        format!("select * from {t}.ledger"),
        format!("select banking.close_account('{b}', '{a}')"),
        "select banking.create_tenant('Branch')".to_owned(),
    ]
}

fn attack(search_path: &str, temporary_types: bool) {
    let mut bank = Bank::new();
    let customer = bank.customer();
    let a = bank.account("1000");
    let b = bank.account("500");
    let attacker = bank.role("attacker");
    let name = bank.name.clone();
    bank.db.run(&format!(
        "grant create, temporary on database {name} to {attacker}; \
         select neobank.grant_usage('{attacker}', 'operator')"
    ));
    let mut session = bank.session_as(&attacker);
    session.run(TRAPS);
    if temporary_types {
        session.run(TEMPORARY_TYPES);
    }
    session.run(&format!("set search_path = {search_path}"));
    if search_path.starts_with("evil") {
        // The traps do work where the attacker's own statements meet them.
        session.run("select 1::pg_catalog.numeric + 1::pg_catalog.numeric, now()");
        let own = format!("select count(*) >= 2 from evil.trace where who = '{attacker}'");
        assert_eq!(bank.db.one(&own), "t");
    }
    for sql in calls(a, b, customer) {
        let before = snapshot(&mut bank.db);
        if let Err(refusal) = session.try_lines(&sql) {
            // A trap may break the attacker's own statement, never the ledger.
            assert!(!refusal.code.starts_with("XX"), "{refusal}: {sql}");
            assert_eq!(before, snapshot(&mut bank.db), "{sql}");
            assert!(!search_path.starts_with("pg_catalog"), "{refusal}: {sql}");
        }
        let caught = format!("select who, what, count(*) from evil.trace where who <> '{attacker}' group by 1, 2");
        assert_eq!(bank.db.lines(&caught), [""; 0], "with the owner's rights, by {sql}");
    }
    assert_eq!(
        session.one("select pg_catalog.current_setting('search_path')"),
        search_path,
        "a call must put the caller's path back"
    );
    audit(&mut bank.db);
    let posted = "select count(*) from txn_processing.movements";
    assert!(bank.db.count(posted) > 10);
}

#[test]
fn operators_and_functions_ahead_of_pg_catalog_do_not_run_as_the_owner() {
    attack("evil, pg_catalog", false);
}

#[test]
fn temporary_types_and_tables_do_not_run_as_the_owner() {
    attack("pg_catalog", true);
}

#[test]
fn temporary_objects_in_front_of_everything_do_not_either() {
    attack("evil, pg_temp, pg_catalog", true);
}
