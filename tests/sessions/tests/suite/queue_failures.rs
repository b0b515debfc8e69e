//! Requests that the server gets in the way of: put off and tried again, or failed alone, and nobody else with them.

use super::queue_process::{enqueue, state};
use neobank_sessions::*;
use std::thread;
use std::time::{Duration, Instant};

const PROCESS: &str =
    "select status, code, count(*) from txn_processing.process_queue(10000) group by 1, 2 order by 1, 2";
const DUE_NOW: &str = "update txn_processing.transaction_queue set next_attempt_at = now() where status = 'queued'";

/// A session that posts on the account and keeps it locked.
fn holder(bank: &Bank, account: Uuid) -> Client {
    let mut holder = bank.session();
    holder.run(&format!("begin; select txn_processing.deposit('{account}', 1)"));
    holder
}

#[test]
fn a_held_account_delays_its_own_requests_only() {
    let mut bank = Bank::new();
    let (held, free) = (bank.account("1000"), bank.account("1000"));
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(enqueue(&mut bank, &format!("'withdrawal', '{held}', null, 1")));
        enqueue(&mut bank, &format!("'withdrawal', '{free}', null, 1"));
        enqueue(&mut bank, &format!("'transfer', '{free}', '{held}', 1"));
    }
    let mut holder = holder(&bank, held);
    bank.db.run("set neobank.queue_lock_timeout = '200ms'");
    let begun = Instant::now();
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|200", "queued|lock_not_available|400"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "each waited by itself: {:?}", begun.elapsed());
    assert_eq!(state(&mut bank, ids[0]), "queued|1|lock_not_available|1 retry lock_not_available");
    let fields = "select distinct retry_count, next_attempt_at > clock_timestamp() - interval '30 seconds', \
                  next_attempt_at - a.ended_at between '-1 ms' and '1 second', processed_at is null, q.claim_token is null, \
                  a.sqlstate, q.error_message = a.message \
                  from txn_processing.transaction_queue q join txn_processing.transaction_queue_attempts a using (request_id) \
                  where status = 'queued'";
    assert_eq!(bank.db.lines(fields), ["1|t|t|t|t|55P03|t"]);
    bank.db.run(&DUE_NOW.replace("now()", "now() + interval '1 minute'"));
    assert_eq!(bank.db.lines(PROCESS), [""; 0], "nothing is due");
    holder.run("commit");
    bank.db.run(DUE_NOW);
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|400"]);
    assert_eq!(state(&mut bank, ids[0]), "completed|1||1 retry lock_not_available, 2 completed ok");
    audit(&mut bank.db);
}

#[test]
fn retries_end_and_their_delays_grow() {
    let mut bank = Bank::new();
    let held = bank.account("1000");
    let ids: Vec<Uuid> = [0, 1, 3]
        .iter()
        .map(|retries| enqueue(&mut bank, &format!("'withdrawal', '{held}', null, 1, max_retries => {retries}")))
        .collect();
    let mut holder = holder(&bank, held);
    bank.db.run("set neobank.queue_lock_timeout = '20ms'; set neobank.queue_retry_delay = '4s'");
    for left in [2, 1, 1, 0] {
        bank.db.run(PROCESS);
        let waiting = bank.db.lines(
            "select retry_count, next_attempt_at - (select max(a.ended_at) from txn_processing.transaction_queue_attempts a \
             where a.request_id = q.request_id) <= interval '4s' * 2 ^ (retry_count - 1) + interval '1 ms' \
             from txn_processing.transaction_queue q where status = 'queued'",
        );
        assert_eq!(waiting.len(), left, "{waiting:?}");
        assert!(waiting.iter().all(|line| line.ends_with("|t")), "{waiting:?}");
        bank.db.run(DUE_NOW);
    }
    let last = |attempts: i32| {
        let retries: String = (1..attempts).map(|n| format!("{n} retry lock_not_available, ")).collect();
        format!("failed|{attempts}|lock_not_available|{retries}{attempts} failed lock_not_available")
    };
    for (id, attempts) in ids.iter().zip([1, 2, 4]) {
        assert_eq!(state(&mut bank, *id), last(attempts));
    }
    holder.run("rollback");
    assert_eq!(bank.db.lines(PROCESS), [""; 0], "failed is final");
    assert_eq!(bank.db.balance(held), dec("1000"));
    audit(&mut bank.db);
}

#[test]
fn delays_are_spread() {
    let mut bank = Bank::new();
    let held = bank.account("1000");
    for _ in 0..200 {
        enqueue(&mut bank, &format!("'withdrawal', '{held}', null, 1"));
    }
    let mut holder = holder(&bank, held);
    bank.db.run("set neobank.queue_lock_timeout = '20ms'; set neobank.queue_retry_delay = '100s'");
    bank.db.run(PROCESS);
    let spread = "select count(*) filter (where next_attempt_at < now() + interval '50 s') between 60 and 140, \
                  count(distinct next_attempt_at) > 150, max(next_attempt_at) <= clock_timestamp() + interval '100 s' \
                  from txn_processing.transaction_queue";
    assert_eq!(bank.db.one(spread), "t|t|t");
    holder.run("rollback");
}

#[test]
fn a_held_slot_of_a_busy_account_delays_only_those_that_need_it() {
    let mut bank = Bank::new();
    let free = bank.account("1000");
    let busy = bank.slotted("checking", "1000", "0");
    bank.grow(busy, 2);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(enqueue(&mut bank, &format!("'withdrawal', '{busy}', null, 1")));
        enqueue(&mut bank, &format!("'transfer', '{free}', '{busy}', 1"));
    }
    let mut holder = holder(&bank, busy);
    bank.db.run("set neobank.queue_lock_timeout = '50ms'");
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|20", "queued|lock_not_available|20"]);
    holder.run("rollback");
    bank.db.run(DUE_NOW);
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|20"]);
    assert_eq!(state(&mut bank, ids[7]), "completed|1||1 retry lock_not_available, 2 completed ok");
    assert_eq!(bank.db.balance(busy), dec("1000"));
    audit(&mut bank.db);
}

#[test]
fn a_poisoned_request_fails_alone() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100000"), bank.account("0"));
    bank.db.run(
        "create function poison() returns trigger language plpgsql as $$ begin \
         if new.amount = 13 then raise exception 'unlucky' using errcode = 'P0013', detail = 'It is 13.'; end if; \
         if new.amount = 14 then raise serialization_failure; end if; \
         return new; end $$; \
         create trigger poison before insert on txn_processing.movements for each row execute function poison()",
    );
    let mut poisoned = Uuid::nil();
    for n in 0..100 {
        let amount = if n == 37 { 13 } else { 1 };
        let id = enqueue(&mut bank, &format!("'transfer', '{a}', '{b}', {amount}"));
        if n == 37 {
            poisoned = id;
        }
    }
    enqueue(&mut bank, &format!("'adjustment', null, '{b}', 13, request_data => '{{\"reason\": \"why\"}}'"));
    let again = enqueue(&mut bank, &format!("'deposit', null, '{b}', 14, max_retries => 1"));
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|99", "failed|server_error|2", "queued|serialization_failure|1"]);
    assert_eq!(state(&mut bank, poisoned), "failed|1|server_error|1 failed server_error");
    let why = bank.db.one(&format!(
        "select sqlstate, message, detail from txn_processing.transaction_queue_attempts where request_id = '{poisoned}'"
    ));
    assert_eq!(why, "P0013|unlucky|It is 13.");
    bank.db.run(DUE_NOW);
    assert_eq!(bank.db.lines(PROCESS), ["failed|serialization_failure|1"]);
    assert_eq!(
        state(&mut bank, again),
        "failed|2|serialization_failure|1 retry serialization_failure, 2 failed serialization_failure"
    );
    assert_eq!(bank.db.balance(b), dec("99"));
    // The session goes on as if nothing had been.
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
    audit(&mut bank.db);
}

#[test]
fn a_client_is_not_made_the_victim_of_a_deadlock() {
    // The first run of the call holds y when its adjustment wants x, which the client holds that comes to want y.
    let mut bank = Bank::new();
    let (x, y, z) = (bank.account("100"), bank.account("100"), bank.account("0"));
    enqueue(&mut bank, &format!("'transfer', '{y}', '{z}', 1"));
    let adjustment =
        enqueue(&mut bank, &format!("'adjustment', '{x}', null, 1, request_data => '{{\"reason\": \"why\"}}'"));
    let mut client = holder(&bank, x);
    let mut worker = bank.session();
    worker.run("set neobank.queue_lock_timeout = '30s'");
    let backend = Bank::backend_of(&mut worker);
    let working = thread::spawn(move || worker.lines(PROCESS));
    let blocked = format!("select cardinality(pg_blocking_pids({backend})) > 0");
    while bank.db.one(&blocked) != "t" && !working.is_finished() {}
    client.run(&format!("select txn_processing.withdraw('{y}', 1); commit"));
    assert_eq!(working.join().expect("it answers"), ["completed|ok|1", "queued|lock_not_available|1"]);
    bank.db.run(DUE_NOW);
    bank.db.run(PROCESS);
    assert_eq!(state(&mut bank, adjustment), "completed|1||1 retry lock_not_available, 2 completed ok");
    audit(&mut bank.db);
}

#[test]
fn a_cancel_undoes_the_call() {
    let mut bank = Bank::new();
    let (held, free) = (bank.account("1000"), bank.account("1000"));
    for _ in 0..10 {
        enqueue(&mut bank, &format!("'withdrawal', '{free}', null, 1"));
        enqueue(&mut bank, &format!("'withdrawal', '{held}', null, 1"));
    }
    let mut holder = holder(&bank, held);
    let before = snapshot(&mut bank.db);
    bank.db.run("set neobank.queue_lock_timeout = 0; set statement_timeout = '200ms'");
    for _ in 0..3 {
        refused_with_code_only(&mut bank.db, "select * from txn_processing.process_queue()", "57014");
    }
    bank.db.run("reset statement_timeout");
    assert_eq!(before, snapshot(&mut bank.db));
    holder.run("rollback");
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|20"]);
    audit(&mut bank.db);
}

#[test]
fn the_sessions_own_lock_timeout_is_kept() {
    let mut bank = Bank::new();
    let held = bank.account("1000");
    enqueue(&mut bank, &format!("'withdrawal', '{held}', null, 1"));
    let _holder = holder(&bank, held);
    bank.db.run("set lock_timeout = '50ms'; set neobank.queue_lock_timeout = '60s'");
    let begun = Instant::now();
    assert_eq!(bank.db.lines(PROCESS), ["queued|lock_not_available|1"]);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(bank.db.one("show lock_timeout"), "50ms");
    refused_with_code_only(&mut bank.db, &format!("select txn_processing.withdraw('{held}', 1)"), "55P03");
}

#[test]
fn a_trigger_that_takes_the_token_away_undoes_the_call() {
    // A claim that somebody else has taken over since must not be finished under the old token.
    let mut bank = Bank::new();
    let a = bank.account("10");
    let id = enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1"));
    bank.db.run(
        "create function takeover() returns trigger language plpgsql as $$ begin \
         update txn_processing.transaction_queue set claim_token = gen_random_uuid(); return null; end $$; \
         create trigger takeover after insert on txn_processing.movements for each row execute function takeover()",
    );
    refused(&mut bank.db, "select * from txn_processing.process_queue()", "NB030");
    refused(&mut bank.db, &format!("select txn_processing.process_transaction('{id}')"), "NB030");
    bank.db.run("drop trigger takeover on txn_processing.movements");
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|1"]);
    audit(&mut bank.db);
}

#[test]
fn a_setting_that_cannot_be_kept_fails_the_call_and_not_the_requests() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    enqueue(&mut bank, &format!("'withdrawal', '{a}', null, 1"));
    bank.db
        .run("create index by_reference on txn_processing.movements (reference); set neobank.posting_path = 'direct'");
    refused(&mut bank.db, "select * from txn_processing.process_queue()", "NB027");
    bank.db.run("reset neobank.posting_path");
    assert_eq!(bank.db.lines(PROCESS), ["completed|ok|1"]);
    audit(&mut bank.db);
}
