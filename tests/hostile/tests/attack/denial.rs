//! Getting in the way of others: locks that are held for ever, a queue full of rubbish, numbers used up.

use crate::world::World;
use neobank_sessions::*;

#[test]
fn nothing_of_the_bank_waits_for_a_lock_that_anybody_can_name() {
    // Whoever knows an advisory lock's key can take it. The extension uses none, whatever it does.
    let mut world = World::new("operator");
    let (a, b, id) = (world.a, world.b, Uuid::now_v7());
    let customer = world.bank.db.id(&format!("select customer_id from banking.accounts where account_id = '{a}'"));
    world.session.run("begin");
    for sql in [
        format!("select txn_processing.transfer('{a}', '{b}', 1, transaction_id => '{id}')"),
        format!("select txn_processing.transfer('{a}', '{b}', 1, transaction_id => '{id}')"),
        "select count(*) from txn_processing.process_queue()".to_owned(),
        format!("select banking.open_account('{customer}', 'savings', 'CHF', 1)"),
        format!("select banking.set_balance_mode('{b}', 'slotted')"),
        format!("select txn_processing.place_hold('{a}', 1)"),
        format!(
            "select txn_processing.create_payment_batch('[{{\"from_account\": \"{a}\", \"to_account\": \"{b}\", \"amount\": 1}}]', 'k')"
        ),
        "select count(*) from txn_processing.accrue_interest(current_date - 2)".to_owned(),
        "select count(*) from txn_processing.settle((now() at time zone 'UTC')::date, 'USD')".to_owned(),
    ] {
        world.session.run(&sql);
        let named = "select locktype, objid from pg_locks where locktype in ('advisory', 'userlock') \
                     and database = (select oid from pg_database where datname = current_database())";
        assert_eq!(world.bank.db.lines(named), [""; 0], "{sql}");
    }
    world.session.run("commit");
    audit(&mut world.bank.db);
}

#[test]
fn a_teller_who_keeps_accounts_locked_stops_these_accounts_only() {
    let mut world = World::new("teller");
    let (a, b) = (world.a, world.b);
    let (c, d) = (world.bank.account("100"), world.bank.account("100"));
    let waiting = world.bank.db.id(&format!("select txn_processing.enqueue('withdrawal', '{a}', null, 1)"));
    let going =
        world.bank.db.id(&format!("select txn_processing.enqueue('transfer', '{c}', '{d}', 1, priority => 10)"));
    // The accounts, and the only table that a teller may lock whole.
    world.session.run(&format!(
        "begin; select txn_processing.transfer('{a}', '{b}', 1); lock table banking.customers in access exclusive mode"
    ));
    let db = &mut world.bank.db;
    db.run("set lock_timeout = '10s'");
    db.run(&format!("select txn_processing.transfer('{c}', '{d}', 1); select txn_processing.deposit('{c}', 1)"));
    db.run("set neobank.queue_lock_timeout = '20ms'");
    db.run("select count(*) from txn_processing.process_queue()");
    let status = |db: &mut Client, id| {
        db.one(&format!("select status from txn_processing.transaction_queue where request_id = '{id}'"))
    };
    assert_eq!((status(db, waiting).as_str(), status(db, going).as_str()), ("queued", "completed"));
    db.run("set lock_timeout = '20ms'");
    for sql in [
        format!("select txn_processing.pay('{b}', 1)"),
        format!("select banking.set_account_status('{a}', 'frozen', 'why')"),
    ] {
        assert_eq!(db.fails(&sql).code, "55P03", "who waits no longer than so gets an answer: {sql}");
    }
    // What the owner of the database does about it.
    let backend = Bank::backend_of(&mut world.session);
    db.run(&format!("select pg_terminate_backend({backend}, 10000)"));
    db.run(&format!("reset lock_timeout; select txn_processing.pay('{b}', 1)"));
    audit(db);
}

#[test]
fn rubbish_in_the_queue_is_dealt_with_and_what_is_good_gets_through() {
    // A teller may insert rows as they like, past the checks of enqueue.
    let mut world = World::new("teller");
    let (a, b) = (world.a, world.b);
    let queue = "insert into txn_processing.transaction_queue (transaction_type, source_account_id, \
        destination_account_id, amount, currency_code, priority, request_data, max_retries, expires_at)";
    let kinds = "unnest(enum_range(null::txn_processing.txn_type)) k";
    for values in [
        format!("select k, '{a}', '{b}', 'NaN', 'USD', 1, '{{}}', 100, null from {kinds}"),
        format!("select k, '{a}', '{b}', 'Infinity', 'USD', 1, '[]', 100, null from {kinds}"),
        format!("select k, '{a}', '{b}', 1e1000, 'USD', 1, '\"text\"', 100, 'infinity' from {kinds}"),
        format!("select k, '{a}', '{b}', 1e-1000, null, 1, 'null', 100, '-infinity' from {kinds}"),
        format!("select k, '{a}', '{a}', -1, 'zzz', 1, '7', 100, null from {kinds}"),
        format!(
            "select k, null, null, 1, '', 1, '{{\"reason\": {{}}, \"original_transaction_id\": []}}', 0, null from {kinds}"
        ),
        format!(
            "select k, gen_random_uuid(), '{b}', 0.001, 'USD', 1, '{{\"reason\": \"\", \"original_transaction_id\": \"x\"}}', 0, null from {kinds}"
        ),
        format!(
            "select k, '{a}', null, 1, 'USD', 1, jsonb_build_object('description', repeat('x', 300000)), 0, null from {kinds}"
        ),
        format!(
            "select k, '{a}', '{b}', 1, 'USD', 1, (repeat('[', 500) || repeat(']', 500))::jsonb, 0, null from {kinds}"
        ),
    ] {
        world.session.run(&format!("{queue} {values}"));
    }
    for retries in [-1, 101, i32::MAX] {
        let sql = format!("{queue} values ('transfer', '{a}', '{b}', 1, 'USD', 1, '{{}}', {retries}, null)");
        assert_eq!(world.session.fails(&sql).code, "23514", "a request that is tried for ever");
    }
    let good =
        world.session.id(&format!("select txn_processing.enqueue('withdrawal', '{a}', null, 7, priority => 10)"));
    let before = world.bank.db.balance(a);
    let mut rounds = 0;
    while world.bank.db.count("select count(*) from txn_processing.process_queue(50)") > 0 {
        rounds += 1;
        assert!(rounds < 20, "every request has its end");
    }
    let left = "select transaction_type, error_code, error_message from txn_processing.transaction_queue where status = 'queued'";
    assert_eq!(world.bank.db.lines(left), [""; 0]);
    let posted = format!("select status from txn_processing.transaction_queue where request_id = '{good}'");
    assert_eq!(world.bank.db.one(&posted), "completed");
    let moved = world.bank.db.lines(
        "select transaction_type, amount, request_data::text from txn_processing.transaction_queue \
         where status = 'completed' order by 2, 1",
    );
    // The good one, and the transfer that was there before.
    assert_eq!(moved.len(), 2, "{moved:#?}");
    assert_eq!(world.bank.db.balance(a), before - dec("8"));
    audit(&mut world.bank.db);
}

#[test]
fn numbers_that_were_drawn_in_vain_are_only_gaps() {
    // A teller may draw customers' numbers as often as they like. Past ten digits they were cut off, and met those
    // that were given out long ago: no customer could be made any more.
    let mut world = World::new("teller");
    world.session.run("select nextval('banking.customer_number_seq') from generate_series(1, 1000)");
    assert_eq!(world.session.fails("select setval('banking.customer_number_seq', 1)").code, "42501");
    world.bank.db.run("select setval('banking.customer_number_seq', 9999999998)");
    let numbers: Vec<String> = (0..25)
        .map(|_| {
            let customer = world.bank.customer();
            world
                .bank
                .db
                .one(&format!("select customer_number from banking.customers where customer_id = '{customer}'"))
        })
        .collect();
    assert_eq!((numbers[0].as_str(), numbers[1].as_str()), ("C9999999999", "C10000000000"));
    world.session.run("insert into banking.customers (first_name, last_name) values ('A', 'B')");
}

#[test]
fn what_is_too_large_is_refused_before_anything_is_locked() {
    let mut world = World::new("teller");
    let (a, b) = (world.a, world.b);
    let mut holder = world.bank.session();
    holder.run(&format!("begin; select txn_processing.transfer('{a}', '{b}', 1)"));
    // A refusal that waited for the account would end in the timeout.
    world.session.run("set lock_timeout = '5s'");
    let before = snapshot(&mut world.bank.db);
    for (call, code) in [
        (format!("txn_processing.transfer('{a}', '{b}', 1, description => repeat('x', 10000000))"), "NB021"),
        (format!("txn_processing.transfer('{a}', '{b}', 1, reference => repeat('x', 10000000))"), "NB021"),
        (
            format!(
                "txn_processing.transfer('{a}', '{b}', 1, metadata => jsonb_build_object('k', repeat('x', 10000000)))"
            ),
            "NB021",
        ),
        (
            format!(
                "txn_processing.transfer('{a}', '{b}', 1, metadata => (repeat('{{\"k\":', 1000) || '1' || repeat('}}', 1000))::jsonb)"
            ),
            "NB021",
        ),
        (format!("txn_processing.transfer('{a}', '{b}', (repeat('9', 100000))::numeric)"), "NB005"),
        (
            format!(
                "txn_processing.post_transfers(array_fill('{a}'::uuid, '{{10001}}'), array_fill('{b}'::uuid, '{{10001}}'), array_fill(1::numeric, '{{10001}}'))"
            ),
            "NB021",
        ),
        (
            "txn_processing.create_payment_batch((select jsonb_agg('{}'::jsonb) from generate_series(1, 100001)), 'k')"
                .to_owned(),
            "NB021",
        ),
        ("banking.create_customer(repeat('x', 10000000), 'B')".to_owned(), "NB021"),
        (
            format!(
                "txn_processing.enqueue('transfer', '{a}', '{b}', 1, request_data => jsonb_build_object('k', repeat('x', 10000000)))"
            ),
            "NB021",
        ),
    ] {
        assert_eq!(world.session.fails(&format!("select {call}")).code, code, "{call}");
    }
    assert!(before == snapshot(&mut world.bank.db));
    holder.run("rollback");
    audit(&mut world.bank.db);
}
