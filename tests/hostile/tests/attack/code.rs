//! The attacker's code where somebody else's rights may come by: in what they call, in what hangs on their tables, in
//! types, casts, defaults, views. It must run with the attacker's rights or not at all.

use crate::world::World;
use neobank_sessions::*;

/// Calls of functions that answer rows, each with the payload beside it: between two rows no right of the owner's may
/// be left on.
fn set_returning(world: &World) -> Vec<String> {
    let (a, b) = (world.a, world.b);
    [
        format!("txn_processing.statement('{a}')"),
        format!("txn_processing.post_transfers(array['{a}', '{a}']::uuid[], array['{b}', '{b}']::uuid[], '{{1, 2}}')"),
        format!("txn_processing.post_batch('{{payment, payment}}', array['{a}', '{a}']::uuid[], '{{null, null}}', '{{1, 2}}')"),
        "txn_processing.process_queue()".to_owned(),
        "txn_processing.trial_balance()".to_owned(),
        "txn_processing.daily_reconciliation()".to_owned(),
        "neobank.posting_path_in_force()".to_owned(),
        format!("txn_processing.fee_for('transfer', '{a}', 10)"),
        format!("txn_processing.validate('transfer', '{a}', '{b}', 1)"),
        "txn_processing.settle((now() at time zone 'UTC')::date, 'USD')".to_owned(),
    ]
    .into()
}

#[test]
fn between_two_rows_of_an_answer_the_caller_is_the_caller() {
    let mut world = World::new("operator").with_payload();
    world.bank.db.run(
        "select txn_processing.set_fee_schedule('card', 'transfer', 'USD', 'fixed', current_date, fixed_amount => 1)",
    );
    for call in set_returning(&world) {
        let ran = world.ran();
        for sql in
            [format!("select {call}, evil.spy(random()::text)"), format!("select evil.spy(random()::text) from {call}")]
        {
            let outcome = world.session.try_lines(&sql);
            assert!(outcome.as_ref().err().is_none_or(|e| !e.code.starts_with("XX")), "{outcome:?}: {sql}");
            assert_eq!(world.session.one("select current_user"), world.attacker, "{sql}");
        }
        assert!(
            world.ran() > ran,
            "the payload beside {call} ran: {:?}",
            world.session.try_lines(&format!("select {call}"))
        );
        // A cursor that is left open, and closed by the end of its transaction.
        world.session.run("begin");
        world.session.run(&format!("declare c cursor for select {call}, evil.spy(random()::text)"));
        let _ = world.session.try_lines("fetch 1 from c");
        assert!(world.session.try_lines("select current_user").map_or(true, |who| who == [world.attacker.clone()]));
        world.session.run("rollback");
        assert_eq!(world.session.one("select current_user"), world.attacker);
        assert_eq!(world.escaped(), 0, "{call}");
    }
    world.assert_the_payload_tells();
    audit(&mut world.bank.db);
}

#[test]
fn types_and_casts_of_ones_own_are_ones_own_code() {
    // Domains with CHECKs, and a type with implicit casts to all that our functions take: they are converted before the
    // function is entered, and never again inside it.
    let mut world = World::new("operator").with_payload();
    let (a, b) = (world.a, world.b);
    world.session.run(
        "create domain evil.id as uuid check (evil.spy(value::text)); create domain evil.money as numeric check (evil.spy(value::text)); \
         create domain evil.words as text check (evil.spy(value)); create domain evil.tree as jsonb check (evil.spy(value::text)); \
         create type evil.box as (inside text); \
         create function evil.open_id(evil.box) returns uuid language plpgsql as \
           'begin perform evil.spy(); return $1.inside::uuid; end'; \
         create function evil.open_money(evil.box) returns numeric language plpgsql as \
           'begin perform evil.spy(); return $1.inside::numeric; end'; \
         create cast (evil.box as uuid) with function evil.open_id(evil.box) as implicit; \
         create cast (evil.box as numeric) with function evil.open_money(evil.box) as implicit",
    );
    let calls = [
        format!(
            "select txn_processing.transfer('{a}'::evil.id, '{b}'::evil.id, 1::evil.money, 'USD', 'd'::evil.words, \
             metadata => '{{\"k\": 1}}'::evil.tree)"
        ),
        format!("select txn_processing.transfer(row('{a}')::evil.box, row('{b}')::evil.box, row('1')::evil.box)"),
        format!(
            "select count(*) from txn_processing.post_transfers(array['{a}']::evil.id[], array['{b}']::evil.id[], array[1]::evil.money[])"
        ),
        format!(
            "select txn_processing.execute_transfer(gen_random_uuid()::evil.id, 'r', '{a}'::evil.id, '{b}', 1::evil.money, 'USD', '{{}}'::evil.tree)"
        ),
        format!(
            "select txn_processing.enqueue('transfer', '{a}'::evil.id, '{b}', 1::evil.money, request_data => '{{}}'::evil.tree)"
        ),
        format!(
            "insert into txn_processing.transaction_queue (transaction_type, source_account_id, destination_account_id, amount) \
                 values ('transfer', '{a}'::evil.id, row('{b}')::evil.box, 1::evil.money)"
        ),
        "select count(*) from txn_processing.process_queue()".to_owned(),
    ];
    for sql in calls {
        world.session.run(&sql);
        assert_eq!(world.escaped(), 0, "{sql}");
    }
    assert!(world.ran() > 10, "{}", world.ran());
    world.assert_the_payload_tells();
    audit(&mut world.bank.db);
}

/// Tables of an application, its owner the attacker, that refer to accounts and customers, with code on them wherever a
/// table takes code.
fn application(world: &mut World) {
    let attacker = &world.attacker;
    world.bank.db.run(&format!("grant references on banking.accounts, banking.customers to {attacker}"));
    world.session.run(
        "create table evil.cards ( \
           card int generated always as identity, account_id uuid references banking.accounts on delete cascade on update cascade, \
           customer_id uuid references banking.customers on delete cascade on update cascade deferrable initially deferred, \
           seen boolean default evil.spy(), shown boolean generated always as (account_id is not null and evil.spy(customer_id::text)) stored, \
           check (card > 0 and evil.spy(card::text))); \
         create index on evil.cards ((evil.spy(card::text))); create index on evil.cards (card) where evil.spy(card::text); \
         create trigger before before insert or update or delete on evil.cards for each row execute function evil.trigger(); \
         create trigger after after insert or update or delete on evil.cards for each row execute function evil.trigger(); \
         create constraint trigger late after insert or update or delete on evil.cards deferrable initially deferred \
           for each row execute function evil.trigger(); \
         create rule also as on insert to evil.cards do also select evil.spy(new.card::text); \
         alter table evil.cards enable row level security, force row level security; \
         create policy mine on evil.cards using (evil.spy(card::text)) with check (evil.spy(card::text))",
    );
    world
        .session
        .run("insert into evil.cards (account_id, customer_id) select account_id, customer_id from banking.accounts");
}

#[test]
fn code_on_an_applications_tables_never_runs_as_the_ledgers_owner() {
    // Foreign keys to our tables make the server run statements of its own, as the owner of one table or the other.
    for path in ["direct", "spi"] {
        let mut world = World::new("operator").with_payload();
        application(&mut world);
        let name = world.bank.name.clone();
        world.bank.db.run(&format!("alter database {name} set neobank.posting_path = '{path}'"));
        world.session = world.bank.session_as(&world.attacker);
        let (a, b) = (world.a, world.b);
        let customer = world.bank.db.id(&format!("select customer_id from banking.accounts where account_id = '{a}'"));
        let ran = world.ran();
        for sql in [
            // In one transaction with rows of the application's own, whose late triggers are still to come.
            format!(
                "begin; insert into evil.cards (account_id) values ('{a}'); \
                 select txn_processing.transfer('{a}', '{b}', 1); set constraints all immediate; commit"
            ),
            format!(
                "insert into evil.cards (account_id) select '{a}' from (select txn_processing.transfer('{a}', '{b}', 1)) t"
            ),
            format!("update evil.cards set account_id = '{b}' where txn_processing.pay('{a}', 1) is not null"),
            format!(
                "begin; insert into evil.cards (account_id) values ('{a}'); select txn_processing.process_queue(); commit"
            ),
            format!("update banking.customers set city = 'Rome' where customer_id = '{customer}'"),
            format!("select banking.set_account_status('{b}', 'dormant', 'why')"),
            format!("select banking.close_account('{b}', '{a}')"),
        ] {
            let outcome = world.session.try_lines(&sql);
            assert!(outcome.is_ok(), "{outcome:?}: {sql}");
            assert_eq!(world.escaped(), 0, "on the path {path}, by {sql}");
        }
        assert!(world.ran() > ran);
        world.assert_the_payload_tells();
        audit(&mut world.bank.db);
    }
}

#[test]
fn a_victims_call_among_the_attackers_objects_uses_none_of_them() {
    // An operator whose search_path begins with the attacker's schema, which the owner of a database can set for all.
    let mut world = World::new("teller").with_payload();
    let victim = world.bank.role("victim");
    world.bank.db.run(&format!("select neobank.grant_usage('{victim}', 'operator')"));
    world.session.run(
        "create function evil.now() returns timestamptz language plpgsql as 'begin perform evil.spy(); return pg_catalog.now(); end'; \
         create function evil.eq(uuid, uuid) returns boolean language plpgsql as 'begin perform evil.spy(); return true; end'; \
         create operator evil.= (leftarg = uuid, rightarg = uuid, function = evil.eq); \
         create function evil.more(int, int) returns boolean language plpgsql as 'begin perform evil.spy(); return true; end'; \
         create operator evil.> (leftarg = int, rightarg = int, function = evil.more); \
         create operator evil.= (leftarg = int, rightarg = int, function = evil.more); \
         create table evil.accounts (account_id uuid default null check (evil.spy())); \
         create view evil.movements as select evil.spy(); \
         create domain evil.uuid as pg_catalog.uuid check (evil.spy(value::text)); \
         create domain evil.numeric as pg_catalog.numeric check (evil.spy(value::text))",
    );
    let name = world.bank.name.clone();
    world.bank.db.run(&format!("alter database {name} set search_path = evil, pg_catalog"));
    let (a, b) = (world.a, world.b);
    let mut victim = world.bank.session_as(&victim);
    assert_eq!(victim.one("show search_path"), "evil, pg_catalog");
    let day = "'2020-01-31'";
    for sql in [
        format!("select txn_processing.transfer('{a}', '{b}', 1)"),
        "select count(*) from txn_processing.process_queue()".to_owned(),
        format!("select txn_processing.balance_as_of('{a}', pg_catalog.now())"),
        "select count(*) from txn_processing.daily_reconciliation()".to_owned(),
        format!(
            "select txn_processing.create_payment_batch('[{{\"from_account\": \"{a}\", \"to_account\": \"{b}\", \"amount\": 1}}]', 'k')"
        ),
        "do $$ declare b pg_catalog.uuid; begin select batch_id into b from txn_processing.payment_batches limit 1; \
         call txn_processing.run_payment_batch(b); end $$"
            .to_owned(),
        format!("call txn_processing.run_interest_accrual({day})"),
        format!("call txn_processing.run_interest_capitalisation({day})"),
        format!("call txn_processing.run_periodic_fees({day})"),
        "update banking.customers set city = 'Rome'".to_owned(),
        "update banking.customers set tenant_no = tenant_no".to_owned(),
    ] {
        let outcome = victim.try_lines(&sql);
        assert!(outcome.as_ref().err().is_none_or(|e| !e.code.starts_with("XX")), "{outcome:?}: {sql}");
        assert_eq!(world.escaped(), 0, "by {sql}");
    }
    victim.run("select now()");
    assert!(world.escaped() > 0, "the attacker's function is met where the victim's own statement names it");
    audit(&mut world.bank.db);
}
