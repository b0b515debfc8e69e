//! `process_queue`: what it carries out, in which order, and that two of it carry nothing out twice.

use neobank_sessions::*;
use std::thread;

const PROCESS: &str =
    "select status, code, count(*) from txn_processing.process_queue(10000) group by 1, 2 order by 1, 2";

pub fn enqueue(bank: &mut Bank, arguments: &str) -> Uuid {
    bank.db.id(&format!("select txn_processing.enqueue({arguments})"))
}

/// Status, attempts that failed, code of the last one, and the outcomes of all.
pub fn state(bank: &mut Bank, id: Uuid) -> String {
    bank.db.one(&format!(
        "select status, retry_count, error_code, \
         (select string_agg(attempt || ' ' || outcome || ' ' || code, ', ' order by attempt) \
          from txn_processing.transaction_queue_attempts a where a.request_id = q.request_id) \
         from txn_processing.transaction_queue q where request_id = '{id}'"
    ))
}

#[test]
fn one_call_carries_out_all_nine_types() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 50)"));
    let slip = bank.db.id(&format!("select txn_processing.deposit('{a}', 7)"));
    let original = |id| format!("request_data => '{{\"original_transaction_id\": \"{id}\", \"reason\": \"why\"}}'");
    let cases = [
        ("transfer", format!("'{a}', '{b}', 100, request_data => '{{\"description\": \"Rent\"}}'"), "-100"),
        ("deposit", format!("null, '{a}', 10"), "10"),
        ("withdrawal", format!("'{a}', null, 5"), "-5"),
        ("payment", format!("'{a}', null, 2, 'USD', request_data => '{{\"bill\": 1}}'"), "-2"),
        ("refund", format!("null, null, 50, {}", original(payment)), "50"),
        ("fee", format!("'{a}', null, 1"), "-1"),
        ("reversal", format!("null, null, 7, {}", original(slip)), "-7"),
        ("interest", format!("null, '{a}', 1"), "1"),
        ("adjustment", format!("'{a}', null, 3, request_data => '{{\"reason\": \"counted\"}}'"), "-3"),
    ];
    let ids: Vec<Uuid> =
        cases.iter().map(|(kind, arguments, _)| enqueue(&mut bank, &format!("'{kind}', {arguments}"))).collect();
    let lines = bank
        .db
        .lines("select request_id, status, code, transaction_id is not null from txn_processing.process_queue()");
    let answers: Vec<String> = ids.iter().map(|id| format!("{id}|completed|ok|t")).collect();
    assert_eq!(lines, answers);
    let rows = bank.db.lines(
        "select q.request_id, q.status, t.transaction_type, q.processed_at is not null, q.claimed_by like current_user || ' [%]' \
         from txn_processing.transaction_queue q cross join lateral txn_processing.transaction(q.transaction_id) t \
         order by t.created_at, q.request_id",
    );
    let expected: Vec<String> =
        ids.iter().zip(&cases).map(|(id, (kind, ..))| format!("{id}|completed|{kind}|t|t")).collect();
    assert_eq!(rows, expected);
    let change = cases.iter().map(|(.., change)| dec(change)).sum::<Decimal>();
    assert_eq!(bank.db.balance(a), dec("957") + change);
    let described = "select description, metadata from txn_processing.movements where credit_account = ";
    assert_eq!(
        bank.db.lines(&format!("{described} '{b}'")),
        ["Rent|{\"description\": \"Rent\"}"],
        "the request's texts"
    );
    for id in ids {
        assert_eq!(state(&mut bank, id), "completed|0||1 completed ok");
    }
    audit(&mut bank.db);
}

#[test]
fn requests_are_taken_by_priority_and_then_by_age() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    // All in one transaction, so of one age by the clock; ids tell which came first.
    bank.db.run("begin");
    let mut ids = Vec::new();
    for priority in [5, 1, 10, 1, 5, 3] {
        ids.push((priority, enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1, priority => {priority}"))));
    }
    bank.db.run("commit");
    ids.sort_by_key(|(priority, _)| *priority);
    let order: Vec<String> = ids.iter().map(|(_, id)| id.to_string()).collect();
    let mut taken = bank.db.lines("select request_id from txn_processing.process_queue(2)");
    taken.extend(bank.db.lines("select request_id from txn_processing.process_queue(3)"));
    taken.extend(bank.db.lines("select request_id from txn_processing.process_queue()"));
    assert_eq!(taken, order);
    assert_eq!(bank.db.lines("select * from txn_processing.process_queue()"), [""; 0]);
    // Later ones may spend what earlier ones brought.
    let b = bank.account("0");
    enqueue(&mut bank, &format!("'withdrawal', '{b}', null, 5, priority => 9"));
    enqueue(&mut bank, &format!("'transfer', '{a}', '{b}', 5, priority => 8"));
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|2"]);
    audit(&mut bank.db);
}

#[test]
fn a_refusal_is_final_and_stops_nobody_else() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("10"), bank.account("0"));
    let poor = enqueue(&mut bank, &format!("'transfer', '{a}', '{b}', 11"));
    let lost = enqueue(&mut bank, &format!("'deposit', null, '{}', 1", Uuid::now_v7()));
    let rich = enqueue(&mut bank, &format!("'transfer', '{a}', '{b}', 10"));
    // What enqueue would have refused comes by a direct insert.
    bank.db.run(
        "insert into txn_processing.transaction_queue (transaction_type, amount) values ('refund', 1), ('transfer', 'NaN')",
    );
    assert_eq!(
        bank.db.lines(PROCESS),
        [
            "completed|ok|1",
            "failed|account_not_found|1",
            "failed|insufficient_funds|1",
            "failed|invalid_amount|1",
            "failed|null_argument|1"
        ]
    );
    assert_eq!(state(&mut bank, poor), "failed|1|insufficient_funds|1 failed insufficient_funds");
    assert_eq!(state(&mut bank, lost), "failed|1|account_not_found|1 failed account_not_found");
    assert_eq!(state(&mut bank, rich), "completed|0||1 completed ok");
    let why = bank.db.one(&format!(
        "select a.sqlstate, a.message, a.detail like '%has 10.00 available%', q.error_message \
         from txn_processing.transaction_queue_attempts a join txn_processing.transaction_queue q using (request_id) \
         where request_id = '{poor}'"
    ));
    assert_eq!(why, "NB001|Insufficient funds|t|Insufficient funds");
    assert_eq!(bank.db.lines(PROCESS), [""; 0]);
    audit(&mut bank.db);
}

#[test]
fn expired_requests_are_marked() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let late = enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1, expires_at => now() - interval '1 second'"));
    let ever = enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1, expires_at => null"));
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|1", "expired|request_expired|1"]);
    assert_eq!(state(&mut bank, late), "expired|0|request_expired|1 expired request_expired");
    assert_eq!(state(&mut bank, ever), "completed|0||1 completed ok");
    assert_eq!(bank.db.balance(a), dec("9"));
}

#[test]
fn arguments_and_levels_are_checked() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1"));
    for (argument, code) in [("null", "22004"), ("0", "NB021"), ("-1", "NB021"), ("10001", "NB021")] {
        refused(&mut bank.db, &format!("select * from txn_processing.process_queue({argument})"), code);
    }
    for level in ["repeatable read", "serializable"] {
        bank.db.run(&format!("begin isolation level {level}"));
        refused_with_code_only(&mut bank.db, "select * from txn_processing.process_queue()", "NB029");
        bank.db.run("rollback");
    }
    bank.db.run("begin");
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|1"]);
    let before = "select status, claim_token is null from txn_processing.transaction_queue";
    bank.db.run("rollback");
    assert_eq!(bank.db.one(before), "queued|t", "all of it is the caller's transaction");
    assert_eq!(bank.db.balance(a), dec("10"));
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|1"]);
    let shown = "select status, transaction_type, requests, ready, oldest_age > '0', next_attempt_at is null, \
                 last_processed_at is not null from txn_processing.queue_status";
    assert_eq!(bank.db.lines(shown), ["completed|withdrawal|1|0|t|t|t"]);
}

#[test]
fn callers_at_once_share_the_work_and_double_nothing() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..20).map(|_| bank.account("1000")).collect();
    for n in 0..1_500usize {
        let (from, to) = (accounts[n % 20], accounts[(n * 7 + 3) % 20]);
        let arguments = match n % 5 {
            0 => format!("'deposit', null, '{to}', 1"),
            1 => format!("'fee', '{from}', null, 1"),
            2 => format!("'adjustment', '{from}', null, 1, request_data => '{{\"reason\": \"why\"}}'"),
            _ if from == to => format!("'withdrawal', '{from}', null, 1"),
            _ => format!("'transfer', '{from}', '{to}', 1"),
        };
        // Those that meet another caller's locks are put off, as often as it takes.
        enqueue(&mut bank, &format!("{arguments}, max_retries => 100"));
    }
    let done: usize = together(&bank, 4, |n, session| {
        let size = [7, 50, 100, 300][n];
        let mut done = 0;
        // Those that another one's locks put off come due again.
        for _ in 0..2_000 {
            let lines = session.lines(&format!("select status from txn_processing.process_queue({size})"));
            done += lines.iter().filter(|status| *status == "completed").count();
            if lines.is_empty() {
                let left = "select count(*) from txn_processing.transaction_queue where status = 'queued'";
                if session.count(left) == 0 {
                    break;
                }
                thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        done
    })
    .into_iter()
    .sum();
    let failed =
        bank.db.lines("select status, error_code, count(*) from txn_processing.transaction_queue group by 1, 2");
    assert_eq!(failed, ["completed||1500"]);
    assert_eq!(done, 1_500);
    let doubled = "select count(*) from txn_processing.transaction_queue q \
                   where (select count(*) from txn_processing.movements m where m.transaction_id = q.transaction_id) <> 1";
    assert_eq!(bank.db.count(doubled), 0);
    let posted = "select count(*) from txn_processing.movements";
    assert_eq!(bank.db.count(posted), 1_500 + 20, "and the opening deposits");
    let attempts = "select count(*) from txn_processing.transaction_queue_attempts where outcome = 'completed'";
    assert_eq!(bank.db.count(attempts), 1_500);
    audit(&mut bank.db);
}

#[test]
fn what_another_session_is_carrying_out_is_left_out() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let ids: Vec<Uuid> = (0..3).map(|_| enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1"))).collect();
    let mut other = bank.session();
    other.run("begin; select * from txn_processing.process_queue(1)");
    let answer = bank.db.json(&format!("select txn_processing.process_transaction('{}')", ids[0]));
    assert_eq!(answer["code"], "request_not_found", "{answer}");
    bank.db.run("set lock_timeout = '100ms'");
    // The account is held, so the other two are put off.
    assert_eq!(bank.db.lines(PROCESS), ["queued|lock_not_available|2"]);
    other.run("rollback");
    bank.db.run("update txn_processing.transaction_queue set next_attempt_at = now()");
    let mut other = bank.session();
    other.run(&format!("begin; select txn_processing.process_transaction('{}')", ids[1]));
    let mut left = bank.db.lines("select request_id from txn_processing.process_queue()");
    left.sort();
    assert_eq!(left, [ids[0].to_string(), ids[2].to_string()]);
    other.run("commit");
    // The others may be due again: a delay is drawn from zero on.
    let again = bank.db.lines("select request_id from txn_processing.process_queue()");
    assert!(!again.contains(&ids[1].to_string()), "{again:?}");
    assert_eq!(state(&mut bank, ids[1]), "completed|1||1 retry lock_not_available, 2 completed ok");
}

#[test]
fn a_trigger_that_calls_the_queue_doubles_nothing() {
    // Its own locks would not have kept the transaction from taking the same requests again.
    let mut bank = Bank::new();
    let a = bank.account("100");
    bank.db.run(
        "create function nested() returns trigger language plpgsql as $$ begin \
         perform txn_processing.process_queue(5); \
         perform txn_processing.process_transaction(request_id) from txn_processing.transaction_queue; \
         return null; end $$; \
         create trigger nested after insert on txn_processing.movements for each row execute function nested()",
    );
    for _ in 0..6 {
        enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1"));
    }
    for _ in 0..4 {
        let _ = bank.db.try_lines("select * from txn_processing.process_queue(2)");
        bank.db.run("update txn_processing.transaction_queue set next_attempt_at = now() where status = 'queued'");
    }
    let completed = bank.db.count("select count(*) from txn_processing.transaction_queue where status = 'completed'");
    let posted = bank.db.count("select count(*) from txn_processing.movements where transaction_type = 'withdrawal'");
    assert_eq!(posted, completed);
    assert_eq!(bank.db.balance(a), dec("100") - Decimal::from(posted));
    audit(&mut bank.db);
}
