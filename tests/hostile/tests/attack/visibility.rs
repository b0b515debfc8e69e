//! What somebody learns who may not look: from errors, plans, statistics, other sessions, row security.

use crate::world::World;
use neobank_sessions::*;

/// A figure and names that stand nowhere else, to be looked for in everything that is answered.
fn with_a_secret(world: &mut World) -> (Uuid, Vec<String>) {
    let customer = world
        .bank
        .db
        .id("select banking.create_customer('Hieronymus', 'Zwiebelfisch', 'hz@example.org', city => 'Quakenbrueck')");
    let account = world.bank.db.id(&format!("select banking.open_account('{customer}', opening_deposit => 774411.77)"));
    world
        .bank
        .db
        .run(&format!("select txn_processing.pay('{account}', 313.13, description => 'Briefmarkensammlung'); analyze"));
    let number =
        world.bank.db.one(&format!("select account_number from banking.accounts where account_id = '{account}'"));
    let secrets = ["Hieronymus", "Zwiebelfisch", "Quakenbrueck", "774411", "774098", "313.13", "Briefmarken"];
    (account, secrets.map(str::to_owned).into_iter().chain([number]).collect())
}

/// Everything that came back, rows and refusals alike.
fn told(session: &mut Client, sql: &str) -> String {
    match session.try_lines(sql) {
        Ok(lines) => lines.join("\n"),
        Err(refusal) => format!("{refusal}"),
    }
}

#[test]
fn a_stranger_learns_nothing() {
    let mut world = World::new("stranger").with_payload();
    let (account, secrets) = with_a_secret(&mut world);
    // A function that costs nothing and tells what it sees, which the planner would like to ask first.
    world.session.run(
        "create function evil.peek(text) returns boolean language plpgsql cost 0.0000001 as \
         $$ begin raise notice '%', $1; raise exception 'seen: %', $1; end $$",
    );
    let mut other = world.bank.session();
    other.run(&format!("begin; select txn_processing.pay('{account}', 313.13)"));
    for sql in [
        format!("select txn_processing.balance_as_of('{account}')"),
        format!("select txn_processing.transfer('{account}', '{account}', 999999999)"),
        "select * from banking.accounts where evil.peek(account_number)".to_owned(),
        "select * from banking.account_balances where evil.peek(current_balance::text)".to_owned(),
        "select * from txn_processing.ledger where evil.peek(description)".to_owned(),
        "explain analyze select * from banking.customers".to_owned(),
        "explain (verbose) select * from banking.customers where last_name = 'Zwiebelfisch'".to_owned(),
        "select histogram_bounds, most_common_vals from pg_stats where schemaname in ('banking', 'txn_processing')"
            .to_owned(),
        "select * from pg_statistic".to_owned(),
        "select query from pg_stat_activity where usename <> current_user".to_owned(),
        "select * from pg_prepared_statements".to_owned(),
        "select query_to_xml('select * from banking.customers', true, true, '')".to_owned(),
        "select table_to_xml('banking.customers', true, true, '')".to_owned(),
        "select schema_to_xml('banking', true, true, '')".to_owned(),
        "copy banking.customers to stdout".to_owned(),
        "select last_value from banking.customer_number_seq".to_owned(),
        "select currval('banking.customer_number_seq')".to_owned(),
        "table neobank.guard_log".to_owned(),
        "select pg_get_viewdef('banking.account_balances'::regclass)".to_owned(),
        "select has_table_privilege('banking.accounts', 'select')".to_owned(),
    ] {
        let answer = told(&mut world.session, &sql);
        for secret in &secrets {
            // What the statement itself says comes back in its own error or plan.
            assert!(sql.contains(secret.as_str()) || !answer.contains(secret), "{secret} in {answer}\nfrom: {sql}");
        }
    }
    assert_eq!(world.escaped(), 0);
    // The words are there for who may look.
    let seen = told(&mut world.bank.db, "select * from banking.customers");
    assert!(seen.contains("Zwiebelfisch"));
}

#[test]
fn who_may_only_call_learns_no_more_than_the_call_is_about() {
    // A role with EXECUTE on single functions and no right to read: refusals name what the caller named, and the
    // available balance of the account to be debited, as the documentation says; nothing of the other side.
    let mut world = World::new("stranger");
    let (account, secrets) = with_a_secret(&mut world);
    let (attacker, a) = (world.attacker.clone(), world.a);
    world.bank.db.run(&format!(
        "grant usage on schema txn_processing, banking to {attacker}; \
         grant execute on function txn_processing.transfer, txn_processing.execute_transfer, txn_processing.deposit, \
           txn_processing.refund, txn_processing.enqueue, banking.open_account, txn_processing.post_transfers to {attacker}"
    ));
    let customer =
        world.bank.db.id(&format!("select customer_id from banking.accounts where account_id = '{account}'"));
    let paid = world
        .bank
        .db
        .id(&format!("select transaction_id from txn_processing.movements where debit_account = '{account}'"));
    let before = snapshot(&mut world.bank.db);
    for sql in [
        format!("select txn_processing.transfer('{a}', '{account}', 1000000)"),
        format!("select txn_processing.transfer('{a}', '{account}', 1, 'EUR')"),
        format!(
            "select txn_processing.execute_transfer(gen_random_uuid(), 'r', '{a}', '{account}', 1000000, 'USD', null)"
        ),
        format!("select txn_processing.transfer('{a}', '{account}', 1, transaction_id => '{paid}')"),
        format!("select txn_processing.deposit('{account}', 1, transaction_id => '{paid}')"),
        format!("select txn_processing.refund('{paid}', 100000)"),
        format!(
            "select code from txn_processing.post_transfers(array['{a}']::uuid[], array['{account}']::uuid[], '{{1000000}}')"
        ),
        format!("select banking.open_account('{customer}', 'no such type')"),
        format!("select banking.open_account('{customer}', account_number => 'x', tenant => '{customer}')"),
        "select * from txn_processing.movements".to_owned(),
        format!("select txn_processing.transaction('{paid}')"),
    ] {
        let answer = told(&mut world.session, &sql);
        // A refund names what is left of the transaction that it gives back: the caller has its id.
        let known = |secret: &str| secret == "313.13" && sql.contains("refund");
        for secret in secrets.iter().filter(|secret| !known(secret)) {
            assert!(!answer.contains(secret.as_str()), "{secret} in {answer}\nfrom: {sql}");
        }
    }
    assert!(before == snapshot(&mut world.bank.db));
}

#[test]
fn row_security_on_the_tables_holds_for_readers_and_stops_no_posting() {
    // An owner who keeps readers apart by policies: what reads the tables as the reader is bound by them. The functions
    // act as the owner, who is not; a posting goes through SQL then.
    let mut world = World::new("reader").with_payload();
    let (account, secrets) = with_a_secret(&mut world);
    let (a, b, attacker) = (world.a, world.b, world.attacker.clone());
    world.bank.db.run(&format!(
        "alter table banking.accounts enable row level security; alter table banking.customers enable row level security; \
         alter table txn_processing.movements enable row level security; \
         create policy mine on banking.accounts for select to {attacker} using (account_id = '{a}'); \
         create policy mine on txn_processing.movements for select to {attacker} using ('{a}' in (debit_account, credit_account))"
    ));
    world.session.run(
        "create function evil.peek(text) returns boolean language plpgsql cost 0.0000001 as \
         $$ begin if $1 not like '%1000%' then perform evil.spy($1); end if; raise notice '%', $1; return true; end $$; \
         create function evil.same(text, text) returns boolean language plpgsql cost 0.0000001 as \
         $$ begin raise exception 'seen: %', $1; end $$; \
         create operator evil.=== (leftarg = text, rightarg = text, function = evil.same)",
    );
    for sql in [
        format!("select * from banking.accounts where evil.peek(account_number || current_balance::text) and account_id = '{account}'"),
        format!("select * from banking.accounts where account_number operator(evil.===) 'x' and account_id = '{account}'"),
        "select * from banking.customers where evil.peek(last_name)".to_owned(),
        "select * from txn_processing.movements where evil.peek(description)".to_owned(),
        "set row_security = off".to_owned(),
        "select * from banking.customers".to_owned(),
        "select * from banking.accounts".to_owned(),
        "reset row_security".to_owned(),
        "explain analyze select * from banking.accounts where evil.peek(account_number)".to_owned(),
        "select most_common_vals, histogram_bounds from pg_stats where tablename in ('customers', 'accounts', 'movements')".to_owned(),
    ] {
        let answer = told(&mut world.session, &sql);
        for secret in &secrets {
            assert!(!answer.contains(secret.as_str()), "{secret} in {answer}\nfrom: {sql}");
        }
    }
    assert_eq!(world.session.count("select count(*) from banking.accounts"), 1);
    world.bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
    assert_eq!(world.bank.db.one("select path from neobank.posting_path"), "spi");
    audit(&mut world.bank.db);
}
