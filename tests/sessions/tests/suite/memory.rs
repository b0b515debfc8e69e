//! A backend that serves for months must not grow with what it has served.

use neobank_sessions::*;

const BOUND_BYTES: i64 = 5 * 1024 * 1024;

fn memory(session: &mut Client) -> i64 {
    session.count("select sum(total_bytes) from pg_backend_memory_contexts")
}

#[test]
fn a_hundred_thousand_calls_leave_a_backend_as_it_was() {
    let mut bank = Bank::new();
    let a = bank.account("1000000");
    let b = bank.account("1000000");
    let nobody = Uuid::now_v7();
    bank.db.run("set synchronous_commit = off");
    let transfer = bank.db.prepare("select txn_processing.transfer($1, $2, $3::int8::numeric)").expect("it prepares");
    for _ in 0..500 {
        bank.db.query_one(&transfer, &[&a, &b, &1_i64]).expect("it posts");
    }
    let before = memory(&mut bank.db);
    for n in 0..10_000 {
        let (from, to) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        bank.db.query_one(&transfer, &[from, to, &1_i64]).expect("it posts");
        // Errors take another way through the code, and must give back as much.
        if n % 20 == 0 {
            bank.db.query_one(&transfer, &[&a, &nobody, &1_i64]).expect_err("there is no such account");
        }
    }
    for _ in 0..9 {
        bank.db.run(&format!(
            "do $do$ begin for n in 1..10000 loop \
             perform txn_processing.transfer('{a}', '{b}', 1); \
             if n % 100 = 0 then commit; end if; end loop; end $do$"
        ));
    }
    let growth = memory(&mut bank.db) - before;
    assert!(growth <= BOUND_BYTES, "100,000 transfers left {growth} bytes in the backend");
    let posted = "select count(*) from txn_processing.movements where transaction_type = 'transfer'";
    assert_eq!(bank.db.count(posted), 100_500);
}

#[test]
fn ten_thousand_calls_in_one_transaction_do_not_pile_up() {
    let mut bank = Bank::new();
    let a = bank.account("1000000");
    let b = bank.account("0");
    let many =
        |calls: u32| format!("select count(txn_processing.transfer('{a}', '{b}', 1)) from generate_series(1, {calls})");
    bank.db.run("begin");
    bank.db.run(&many(500));
    let before = memory(&mut bank.db);
    bank.db.run(&many(10_000));
    let growth = memory(&mut bank.db) - before;
    bank.db.run("commit");
    assert!(growth <= BOUND_BYTES, "10,000 transfers in one transaction took {growth} bytes");
}

#[test]
fn contract_and_reading_functions_do_not_grow_either() {
    let mut bank = Bank::new();
    let a = bank.account("1000000");
    let b = bank.account("0");
    let turn = |turns: u32| {
        format!(
            "do $do$ begin for n in 1..{turns} loop \
             perform txn_processing.execute_transfer(neobank.uuid_v7(), null, '{a}', '{b}', 1, \
             'USD', '{{\"a\": [1, 2, 3]}}'); \
             perform txn_processing.execute_withdrawal(neobank.uuid_v7(), null, '{b}', 1e15, \
             'USD', null); \
             perform * from txn_processing.statement('{a}', max_rows => 20); \
             perform txn_processing.balance_as_of('{a}', now()); \
             if n % 50 = 0 then commit; end if; end loop; end $do$"
        )
    };
    bank.db.run("set synchronous_commit = off");
    bank.db.run(&turn(200));
    let before = memory(&mut bank.db);
    bank.db.run(&turn(3_000));
    let growth = memory(&mut bank.db) - before;
    assert!(growth <= BOUND_BYTES, "12,000 calls left {growth} bytes in the backend");
}
