//! Who somebody is while a statement runs: roles that are taken on and off, plans and cursors that outlive them,
//! transactions that another one ends, functions that lend their owner's rights.

use crate::world::World;
use neobank_sessions::*;

/// A role beside the attacker's, of that level, in which the attacker is a member but does not inherit.
fn second_role(world: &mut World, level: &str) -> String {
    let role = world.bank.role(&format!("other_{level}"));
    let attacker = world.attacker.clone();
    world.bank.db.run(&format!("alter role {attacker} noinherit; grant {role} to {attacker}"));
    if level != "stranger" {
        world.bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
    }
    role
}

#[test]
fn a_plan_or_a_cursor_made_with_more_rights_does_not_carry_them_over() {
    let mut world = World::new("stranger");
    let teller = second_role(&mut world, "teller");
    let (a, b) = (world.a, world.b);
    let transfer = format!("select txn_processing.transfer('{a}', '{b}', 1)");
    let (session, attacker) = (&mut world.session, &world.attacker);
    assert_eq!(session.fails(&transfer).code, "42501", "the right is not inherited");
    session.run(&format!("set role {teller}"));
    session.run("prepare move as select txn_processing.transfer($1, $2, $3)");
    session.run("prepare look as select count(*) from banking.accounts");
    for _ in 0..7 {
        session.run(&format!("execute move('{a}', '{b}', 1)"));
        session.run("execute look");
    }
    session.run("reset role");
    let before = snapshot(&mut world.bank.db);
    assert_eq!(session.fails(&format!("execute move('{a}', '{b}', 1)")).code, "42501");
    assert_eq!(session.fails("execute look").code, "42501");
    // The other way round: what was planned before the right was taken away.
    session.run(&format!("set role {teller}"));
    world.bank.db.run(&format!("select neobank.revoke_usage('{teller}')"));
    assert_eq!(session.fails(&format!("execute move('{a}', '{b}', 1)")).code, "42501");
    assert_eq!(session.fails("execute look").code, "42501");
    session.run("reset role");
    assert!(before == snapshot(&mut world.bank.db));
    assert_eq!(session.one("select current_user"), *attacker);
    let by =
        "select string_agg(distinct created_by, ',') from txn_processing.movements where created_by <> current_user";
    assert_eq!(world.bank.db.one(by), teller, "each posting is the role's that was on");
}

#[test]
fn nobody_becomes_another_inside_or_around_a_call() {
    let mut world = World::new("teller").with_payload();
    let (a, b) = (world.a, world.b);
    let session = &mut world.session;
    for sql in [
        "set role postgres",
        "set session authorization postgres",
        "set local role pg_read_all_data",
        "select set_config('role', 'postgres', false)",
        "select set_config('session_authorization', 'postgres', false)",
        "set session_replication_role = replica",
        "alter role current_user superuser",
    ] {
        let code = session.fails(sql).code;
        assert!(["42501", "22023"].contains(&code.as_str()), "{code}: {sql}");
    }
    // Errors of every kind leave the caller as it was, and the guard on: inside and outside of a block that catches them.
    let (nowhere, long) = (Uuid::now_v7(), "x".repeat(2_000));
    for call in [
        format!("txn_processing.transfer('{a}', '{b}', 'NaN')"),
        format!("txn_processing.transfer('{a}', '{b}', 1e30)"),
        format!("txn_processing.transfer('{a}', '{nowhere}', 1)"),
        format!("txn_processing.transfer('{a}', '{a}', 1)"),
        format!("txn_processing.transfer('{a}', '{b}', 1000000)"),
        format!("txn_processing.transfer('{a}', '{b}', 1, 'EUR')"),
        format!("txn_processing.transfer('{a}', '{b}', 1, 'USD', '{long}')"),
        format!("txn_processing.transfer('{a}', null, 1)"),
        format!("txn_processing.transfer('{a}', '{b}', 1, metadata => '[]')"),
        format!("txn_processing.deposit('{a}', 1, effective_at => 'infinity')"),
        format!("txn_processing.refund('{nowhere}')"),
        format!("txn_processing.place_hold('{a}', 100000)"),
        format!("txn_processing.capture_hold('{nowhere}')"),
        format!("txn_processing.open_dispute('{nowhere}', 'why')"),
        format!("txn_processing.transfer_fx('{a}', '{b}', 1)"),
        format!("txn_processing.post_transfers(array['{a}']::uuid[], array['{b}', null]::uuid[], '{{1}}')"),
        "txn_processing.create_payment_batch('{}', 'k')".to_owned(),
        "banking.create_customer('', '')".to_owned(),
        format!("banking.open_account('{nowhere}')"),
    ] {
        assert!(session.try_lines(&format!("select {call}")).is_err(), "{call}");
        session.run(&format!("do $$ begin perform {call}; exception when others then perform evil.spy(); end $$"));
        assert_eq!(session.one("select current_user || ' ' || session_user"), format!("{0} {0}", world.attacker));
        assert_eq!(session.fails("update banking.accounts set current_balance = 1").code, "42501", "after {call}");
        assert_eq!(session.fails("set role postgres").code, "42501", "after {call}");
    }
    assert_eq!(world.escaped(), 0);
    assert!(world.ran() > 15);
    world.assert_the_payload_tells();
    audit(&mut world.bank.db);
}

#[test]
fn after_any_error_the_guard_stands_for_the_owner_too() {
    // While the engine writes, the guard's triggers let the session's writes through. An error must not leave that on.
    let mut world = World::new("operator");
    let (a, b) = (world.a, world.b);
    let customer = world.bank.db.id(&format!("select customer_id from banking.accounts where account_id = '{a}'"));
    let nowhere = Uuid::now_v7();
    let mut holder = world.bank.session_as(&world.attacker);
    let db = &mut world.bank.db;
    let tables = snapshot(db);
    for path in ["direct", "spi"] {
        db.run(&format!("set neobank.posting_path = '{path}'"));
        for call in [
            format!("txn_processing.transfer('{a}', '{b}', 1000000)"),
            format!(
                "txn_processing.transfer('{a}', '{b}', 1, transaction_id => '{nowhere}', effective_at => '1900-01-01')"
            ),
            format!("txn_processing.adjust('{a}', 1e29, 'why')"),
            format!("txn_processing.reverse('{nowhere}', 'why')"),
            format!("txn_processing.place_hold('{a}', 1e17)"),
            format!("banking.open_account('{customer}', 'checking', 'XXX')"),
            format!("banking.open_account('{customer}', 'checking', 'USD', 1e30)"),
            format!("banking.close_account('{a}')"),
            format!("banking.set_balance_mode('{a}', 'slotted')"),
            "txn_processing.accrue_interest('2999-01-01')".to_owned(),
            "txn_processing.settle('2999-01-01', 'USD')".to_owned(),
        ] {
            assert!(db.try_lines(&format!("select {call}")).is_err(), "{call}");
            db.run(&format!("do $$ begin perform {call}; exception when others then null; end $$"));
            assert_eq!(db.fails("update banking.accounts set current_balance = 1").code, "NB010", "after {call}");
            assert_eq!(db.fails("delete from txn_processing.movements").code, "NB009", "after {call}");
        }
        // One that is stopped in the middle: it waits for a lock that never comes.
        holder.run(&format!("begin; select txn_processing.pay('{a}', 1)"));
        db.run("set lock_timeout = '20ms'");
        assert_eq!(db.fails(&format!("select txn_processing.transfer('{a}', '{b}', 1)")).code, "55P03");
        db.run("reset lock_timeout; set statement_timeout = '20ms'");
        assert_eq!(db.fails(&format!("select txn_processing.transfer('{b}', '{a}', 1)")).code, "57014");
        db.run("reset statement_timeout");
        holder.run("rollback");
        assert_eq!(db.fails("update banking.accounts set current_balance = 1").code, "NB010");
        assert_eq!(db.fails("delete from txn_processing.movements").code, "NB009");
    }
    assert!(tables == snapshot(db));
}

#[test]
fn a_function_lends_its_owners_rights_and_no_others() {
    // An attacker's function that an operator calls, and a view of a teller's that a stranger reads.
    let mut world = World::new("stranger").with_payload();
    let (a, b) = (world.a, world.b);
    let operator = world.bank.role("victim");
    world.bank.db.run(&format!("select neobank.grant_usage('{operator}', 'operator')"));
    world.session.run(&format!(
        "create function evil.help() returns uuid language plpgsql security definer as \
           $$ begin return txn_processing.adjust('{b}', 100, 'gift'); end $$"
    ));
    let (before, mut victim) = (snapshot(&mut world.bank.db), world.bank.session_as(&operator));
    assert_eq!(victim.fails("select evil.help()").code, "42501", "it has the stranger's rights");

    let teller = world.bank.role("teller");
    let (name, attacker) = (world.bank.name.clone(), world.attacker.clone());
    world
        .bank
        .db
        .run(&format!("select neobank.grant_usage('{teller}', 'teller'); grant create on database {name} to {teller}"));
    let mut owner = world.bank.session_as(&teller);
    owner.run(&format!(
        "create schema shop; grant usage on schema shop to public; \
         create view shop.move as select txn_processing.transfer('{a}', '{b}', 1) as id; \
         create view shop.list as select * from txn_processing.statement('{a}'); \
         create view shop.guarded with (security_barrier) as select account_id from txn_processing.trial_balance(), banking.accounts; \
         create function shop.ask() returns uuid language sql as 'select id from shop.move'; \
         create table shop.notes (made uuid default txn_processing.pay('{a}', 1)); \
         grant insert, select on shop.notes to public; \
         grant select on shop.move, shop.list, shop.guarded to {attacker}; grant execute on function shop.ask() to {attacker}"
    ));
    for sql in [
        "select * from shop.move",
        "select shop.ask()",
        "select * from shop.list",
        "select * from shop.guarded",
        "insert into shop.notes default values",
        "explain select * from shop.move",
        "create materialized view evil.copy as select * from shop.move",
        "copy (select * from shop.move) to stdout",
    ] {
        let outcome = world.session.try_lines(sql);
        let refused = outcome.as_ref().is_err_and(|refusal| refusal.code == "42501" || sql.starts_with("copy"));
        assert!(refused || sql.starts_with("explain"), "{outcome:?}: {sql}");
    }
    assert!(before == snapshot(&mut world.bank.db));
    // The teller's own name stands for what the teller's own function moves.
    owner.run(&format!(
        "create function shop.pay() returns uuid language sql security definer as $$ select txn_processing.pay('{a}', 1) $$; \
         grant execute on function shop.pay() to {attacker}"
    ));
    let paid = world.session.id("select shop.pay()");
    let by = format!("select created_by from txn_processing.movements where transaction_id = '{paid}'");
    assert_eq!(world.bank.db.one(&by), teller);
    audit(&mut world.bank.db);
}

#[test]
fn a_prepared_transaction_is_ended_by_its_owner_alone() {
    let mut world = World::new("teller");
    if world.bank.db.count("select current_setting('max_prepared_transactions')::int") == 0 {
        return skipped("a prepared transaction of another", "max_prepared_transactions is 0");
    }
    let (a, b) = (world.a, world.b);
    let (gid, victim) = (world.bank.name.clone(), world.bank.role("victim"));
    world.bank.db.run(&format!("select neobank.grant_usage('{victim}', 'teller')"));
    let mut victim = world.bank.session_as(&victim);
    let before = world.bank.db.balance(a);
    victim.run(&format!("begin; select txn_processing.transfer('{a}', '{b}', 25); prepare transaction '{gid}'"));
    for sql in ["commit prepared", "rollback prepared"] {
        assert_eq!(world.session.fails(&format!("{sql} '{gid}'")).code, "42501");
    }
    assert_eq!(world.bank.db.balance(a), before);
    victim.run(&format!("commit prepared '{gid}'"));
    assert_eq!(world.bank.db.balance(a), before - dec("25"));
    audit(&mut world.bank.db);
}
