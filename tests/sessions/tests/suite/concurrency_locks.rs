//! Named locks and leases of applications: who has them, for how long, and that callers who want several in different
//! orders never deadlock.

use crate::blocking::{Busy, wait_until};
use neobank_sessions::*;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const A: &str = "'11111111-2222-3333-4444-555555555555'";
/// Its text begins with the same sixteen characters, which were all that the seed's key took.
const B: &str = "'11111111-2222-3333-4444-666666666666'";

fn yes(session: &mut Client, call: &str) -> bool {
    session.one(&format!("select concurrency.{call}")) == "t"
}

#[test]
fn a_customers_lock_is_waited_for_as_long_as_was_said() {
    let mut bank = Bank::new();
    let mut other = bank.session();
    bank.db.run("begin");
    assert!(yes(&mut bank.db, &format!("acquire_customer_lock({A})")));
    let begun = Instant::now();
    assert!(!yes(&mut other, &format!("acquire_customer_lock({A}, 300)")));
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert!(!yes(&mut other, &format!("acquire_customer_lock({A}, 0)")));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(yes(&mut other, &format!("acquire_customer_lock({B}, 0)")), "another customer");
    // By the holder, in the middle of its transaction.
    let waiter = Busy::run(bank.session(), &format!("select concurrency.acquire_customer_lock({A}, 60000)"));
    bank.db.run("savepoint s");
    wait_until(&mut other, &format!("select cardinality(pg_blocking_pids({})) = 1", waiter.pid));
    let held =
        format!("select name, user_name = current_user, waiters from concurrency.lock_holders('customer:' || {A})");
    assert_eq!(other.one(&held), format!("customer:{}|t|1", A.trim_matches('\'')));
    assert!(yes(&mut bank.db, &format!("release_customer_lock({A})")));
    assert_eq!(waiter.end().expect("it is free"), ["t"]);
    assert!(!yes(&mut bank.db, &format!("release_customer_lock({A})")), "it has it no more");
    // By the end of the transaction.
    assert!(yes(&mut bank.db, &format!("acquire_customer_lock({A})")));
    bank.db.run("rollback");
    assert!(yes(&mut other, &format!("acquire_customer_lock({A}, 0)")));
    assert_eq!(other.one(&format!("select count(*) from concurrency.lock_holders('customer:' || {A})")), "0");
}

#[test]
fn a_sessions_own_lock_timeout_still_holds() {
    let mut bank = Bank::new();
    let mut other = bank.session();
    other.run("set lock_timeout = '100ms'");
    bank.db.run("begin; select concurrency.acquire_lock('a')");
    let begun = Instant::now();
    assert!(!yes(&mut other, "acquire_lock('a', 60000)"));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(other.one("show lock_timeout"), "100ms");
    // A cancel is a cancel, and the session goes on.
    other.run("set lock_timeout = 0; set statement_timeout = '100ms'");
    assert_eq!(other.fails("select concurrency.acquire_lock('a', 60000)").code, "57014");
    other.run("set statement_timeout = 0");
    assert!(yes(&mut other, "acquire_lock('b', 0)"));
}

#[test]
fn a_lock_is_the_transactions_whatever_savepoint_it_was_taken_under() {
    let mut bank = Bank::new();
    let mut other = bank.session();
    bank.db.run("begin; savepoint s; select concurrency.acquire_lock('a'); rollback to s");
    assert!(!yes(&mut other, "acquire_lock('a', 0)"));
    bank.db.run("savepoint t");
    assert!(yes(&mut bank.db, "release_lock('a')"));
    bank.db.run("rollback to t");
    assert!(yes(&mut other, "acquire_lock('a', 0)"));
    // Twice taken, twice released.
    bank.db.run("select concurrency.acquire_lock('b'), concurrency.acquire_lock('b'), concurrency.release_lock('b')");
    assert!(!yes(&mut other, "acquire_lock('b', 0)"));
    bank.db.run("select concurrency.release_lock('b')");
    assert!(yes(&mut other, "acquire_lock('b', 0)"));
    bank.db.run("commit");
    // It stays with a transaction that is prepared.
    let gid = format!("{}_locks", bank.name);
    bank.db.run(&format!(
        "begin; select concurrency.acquire_lock('c'); create table made (); prepare transaction '{gid}'"
    ));
    assert!(!yes(&mut other, "acquire_lock('c', 0)"));
    assert_eq!(other.one("select scope from concurrency.lock_holders('c')"), "prepared transaction");
    bank.db.run(&format!("rollback prepared '{gid}'"));
    assert!(yes(&mut other, "acquire_lock('c', 0)"));
}

#[test]
fn a_sessions_lock_outlives_its_transactions() {
    let mut bank = Bank::new();
    let mut other = bank.session();
    bank.db.run("begin; select concurrency.acquire_lock('a', scope => 'session'); rollback");
    assert!(!yes(&mut other, "acquire_lock('a', 0)"));
    assert!(!yes(&mut bank.db, "release_lock('a')"), "it is none of a transaction");
    assert!(yes(&mut bank.db, "release_lock('a', 'session')"));
    assert!(yes(&mut other, "acquire_lock('a', 0)"));
    // All or nothing, of a session too, and also where the wait fails.
    other.run("select concurrency.acquire_lock('c', scope => 'session')");
    let all = "acquire_locks('{a,b,c,d}', 50, 'session')";
    assert!(!yes(&mut bank.db, all));
    bank.db.run("set statement_timeout = '150ms'");
    assert_eq!(bank.db.fails("select concurrency.acquire_locks('{a,b,c,d}', 60000, 'session')").code, "57014");
    bank.db.run("set statement_timeout = 0");
    let held = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    assert_eq!(bank.db.count(held), 0);
    other.run("select concurrency.release_lock('c', 'session')");
    assert!(yes(&mut bank.db, all));
    assert_eq!(bank.db.count(held), 4);
    assert_eq!(bank.db.one("select concurrency.release_locks('{a,b,c,d,e}', 'session')"), "4");
}

#[test]
fn the_applications_own_advisory_locks_are_others() {
    let mut bank = Bank::new();
    bank.db.run("begin; select pg_advisory_xact_lock(concurrency.lock_key('a'))");
    let mut other = bank.session();
    assert!(yes(&mut other, "acquire_lock('a', 0)"));
    // The key is 64 bits of the name's SHA-256, as any other program works it out.
    assert_eq!(bank.db.one("select lpad(to_hex(concurrency.lock_key('abc')), 16, '0')"), "ba7816bf8f01cfea",);
    let keys = "select count(distinct concurrency.lock_key('customer:' || n)) from generate_series(1, 100000) n";
    assert_eq!(bank.db.count(keys), 100_000);
}

#[test]
fn several_taken_in_any_order_never_deadlock() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    bank.db.run("create table taken (n int); insert into taken values (0)");
    let done = together(&bank, 6, |n, session| {
        let mut dice = Dice(n as u64 + 1);
        let mut had = 0;
        for _ in 0..30 {
            let names: Vec<String> = (0..4).map(|_| format!("\"lock {}\"", dice.below(6))).collect();
            session.run("begin");
            had += u32::from(yes(session, &format!("acquire_locks('{{{}}}', 60000)", names.join(","))));
            session.run("commit");
        }
        had
    });
    assert_eq!(done, [30; 6]);
    // In time or not at all, and then nothing is kept.
    bank.db.run("begin; select concurrency.acquire_lock('b')");
    let mut other = bank.session();
    other.run("begin");
    assert!(!yes(&mut other, "acquire_locks('{a,b,c}', 50)"));
    let mut third = bank.session();
    assert!(yes(&mut third, "acquire_locks('{a,c}', 0)"));
    // Who takes them one by one may deadlock: the server says so, and nobody waits for ever.
    bank.db.run("commit; begin; select concurrency.acquire_lock('b')");
    other.run("rollback; set deadlock_timeout = '50ms'; begin; select concurrency.acquire_lock('a')");
    let first = Busy::run(other, "select concurrency.acquire_lock('b', 60000)");
    wait_until(&mut third, &format!("select cardinality(pg_blocking_pids({})) = 1", first.pid));
    let second = bank.db.try_lines("select concurrency.acquire_lock('a', 60000)");
    let first = first.end();
    assert_eq!([&first, &second].iter().filter(|answer| answer.is_err()).count(), 1);
    assert_eq!(first.err().or(second.err()).expect("one of the two").code, "40P01");
}

#[test]
fn a_lease_is_one_holders_until_it_ends() {
    let mut bank = Bank::new();
    let mut other = bank.session();
    let token = bank.db.count("select concurrency.acquire_lease('batch', 'host 1', 60000)");
    assert_eq!(other.one("select concurrency.acquire_lease('batch', 'host 2')"), "");
    let begun = Instant::now();
    assert_eq!(other.one("select concurrency.acquire_lease('batch', 'host 2', timeout_ms => 200)"), "");
    assert!(begun.elapsed() >= Duration::from_millis(190));
    assert_eq!(
        other.one(
            "select scope, name, holder, token, expires_at > now() from concurrency.held_locks where scope = 'lease'"
        ),
        format!("lease|batch|host 1|{token}|t")
    );
    let longer = format!("select concurrency.extend_lease('batch', {token}, 120000) > now() + interval '90 s'");
    assert_eq!(bank.db.one(&longer), "t");
    // Never earlier than before.
    assert_eq!(bank.db.one(&longer.replace("120000", "1")), "t");
    for call in ["extend_lease('batch', {}, 5)", "hold_lease('batch', {})"] {
        let call = call.replace("{}", &(token + 1).to_string());
        refused(&mut bank.db, &format!("select concurrency.{call}"), "NB510");
    }
    assert!(!yes(&mut bank.db, &format!("release_lease('batch', {})", token + 1)));
    assert!(yes(&mut bank.db, &format!("release_lease('batch', {token})")));
    assert!(!yes(&mut bank.db, &format!("release_lease('batch', {token})")), "once more does no harm");
    let next = other.count("select concurrency.acquire_lease('batch', 'host 2', 100)");
    assert!(next > token);
    // It runs out by itself; then it is not its holder's any more, taken by somebody else or not.
    let taken = bank.db.count("select concurrency.acquire_lease('batch', 'host 1', 60000, 30000)");
    assert!(taken > next);
    refused(&mut other, &format!("select concurrency.extend_lease('batch', {next})"), "NB510");
    let short = bank.db.count("select concurrency.acquire_lease('short', 'host 1', 1)");
    wait_until(&mut bank.db, "select count(*) = 0 from concurrency.held_locks where name = 'short'");
    refused(&mut bank.db, &format!("select concurrency.extend_lease('short', {short})"), "NB510");
    // What is rolled back was never had.
    bank.db.run("begin; select concurrency.acquire_lease('undone', 'host 1'); rollback");
    assert!(!other.one("select concurrency.acquire_lease('undone', 'host 2')").is_empty());
}

#[test]
fn whoever_holds_a_lease_in_its_transaction_keeps_it_to_the_end() {
    let mut bank = Bank::new();
    let token = bank.db.count("select concurrency.acquire_lease('a', 'one', 300)");
    bank.db.run(&format!("begin; select concurrency.hold_lease('a', {token})"));
    let mut other = bank.session();
    wait_until(&mut other, "select count(*) = 0 from concurrency.held_locks where name = 'a'");
    // It has expired, and still nobody gets it.
    assert_eq!(other.one("select concurrency.acquire_lease('a', 'two', timeout_ms => 100)"), "");
    let waiter = Busy::run(bank.session(), "select concurrency.acquire_lease('a', 'two', 60000, 60000)");
    bank.wait_until_blocked(waiter.pid);
    bank.db.run("commit");
    let next: i64 = waiter.end().expect("it is free")[0].parse().expect("a token");
    assert!(next > token);
    refused(&mut bank.db, &format!("select concurrency.hold_lease('a', {token})"), "NB510");
}

#[test]
fn a_lease_taken_in_an_open_transaction_is_waited_for() {
    let mut bank = Bank::new();
    bank.db.run("begin; select concurrency.acquire_lease('a', 'one')");
    let mut other = bank.session();
    assert_eq!(other.one("select concurrency.acquire_lease('a', 'two', timeout_ms => 50)"), "");
    let waiter = Busy::run(bank.session(), "select concurrency.acquire_lease('a', 'two', 60000, 60000) is not null");
    bank.wait_until_blocked(waiter.pid);
    bank.db.run("rollback");
    assert_eq!(waiter.end().expect("it was not taken after all"), ["t"]);
}

static INSIDE: Mutex<u32> = Mutex::new(0);

#[test]
fn never_two_have_one_lease() {
    let _crowd = crowd();
    let bank = Bank::new();
    let tokens = together(&bank, 5, |n, session| {
        let mut tokens = Vec::new();
        while tokens.len() < 6 {
            let take = format!("select concurrency.acquire_lease('one', 'host {n}', 60000, 20000)");
            let token: i64 = session.one(&take).parse().expect("a token, in time");
            *INSIDE.lock().expect("nobody fails") += 1;
            assert_eq!(*INSIDE.lock().expect("nobody fails"), 1, "two have it");
            *INSIDE.lock().expect("nobody fails") -= 1;
            tokens.push(token);
            assert!(yes(session, &format!("release_lease('one', {token})")));
        }
        tokens
    });
    let mut all: Vec<i64> = tokens.iter().flatten().copied().collect();
    assert!(tokens.iter().all(|own| own.is_sorted()));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 30);
}

#[test]
fn several_leases_come_together_or_not_at_all() {
    let mut bank = Bank::new();
    let mut other = bank.session();
    let token = other.count("select concurrency.acquire_lease('b', 'two')");
    let all = "select string_agg(name, ' '), count(token) from concurrency.acquire_leases('{c,a,b,a}', 'one')";
    assert_eq!(bank.db.one(all), "|0");
    assert_eq!(bank.db.count("select count(*) from concurrency.held_locks"), 1);
    other.run(&format!("select concurrency.release_lease('b', {token})"));
    assert_eq!(bank.db.one(all), "a b c|3");
    assert_eq!(other.one(all), "|0");
    // Nobody deadlocks over them.
    let had = together(&bank, 4, |n, session| {
        let names = if n % 2 == 0 { "{x,y,z}" } else { "{z,y,x}" };
        let taken =
            session.lines(&format!("select name, token from concurrency.acquire_leases('{names}', 'n', 60000, 30000)"));
        for line in &taken {
            let (name, token) = line.split_once('|').expect("two columns");
            assert!(yes(session, &format!("release_lease('{name}', {token})")));
        }
        taken.len()
    });
    assert_eq!(had, [3; 4]);
}

#[test]
fn a_lease_is_its_roles_and_an_operator_may_break_it() {
    let mut bank = Bank::new();
    let roles = ["teller", "other", "operator", "reader"].map(|level| {
        let role = bank.role(level);
        let granted = if level == "other" { "teller" } else { level };
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{granted}')"));
        role
    });
    let [mut teller, mut other, mut operator, mut reader] = roles.map(|role| bank.session_as(&role));
    let token = teller.count("select concurrency.acquire_lease('a', 'me')");
    assert!(!yes(&mut other, &format!("release_lease('a', {token})")));
    assert_eq!(other.fails(&format!("select concurrency.extend_lease('a', {token})")).code, "NB510");
    for sql in [
        "select concurrency.break_lease('a')",
        "delete from concurrency.leases",
        "select * from concurrency.deadlock_log",
    ] {
        refused_with_code_only(&mut other, sql, "42501");
    }
    refused_with_code_only(&mut reader, "select concurrency.acquire_lock('a')", "42501");
    refused_with_code_only(&mut reader, "select concurrency.acquire_lease('a', 'x')", "42501");
    assert_eq!(reader.count("select count(*) from concurrency.held_locks where name = 'a'"), 1);
    assert!(yes(&mut operator, "break_lease('a')"));
    assert!(!yes(&mut operator, "break_lease('a')"));
    assert_eq!(teller.fails(&format!("select concurrency.hold_lease('a', {token})")).code, "NB510");
    assert!(other.count("select concurrency.acquire_lease('a', 'x')") > token);
}

#[test]
fn bad_arguments_lock_nothing() {
    let mut bank = Bank::new();
    for (call, code) in [
        ("acquire_customer_lock(null)", "22004"),
        ("acquire_customer_lock(gen_random_uuid(), null)", "22004"),
        ("acquire_customer_lock(gen_random_uuid(), -1)", "NB021"),
        ("release_customer_lock(null)", "22004"),
        ("acquire_lock(null)", "22004"),
        ("acquire_lock(' ')", "NB021"),
        ("acquire_lock(repeat('x', 101))", "NB021"),
        ("acquire_lock('a', 604800001)", "NB021"),
        ("acquire_lock('a', 0, 'world')", "NB021"),
        ("acquire_lock('a', 0, null)", "22004"),
        ("acquire_locks('{}')", "NB021"),
        ("acquire_locks('{a,null}')", "NB021"),
        ("acquire_locks(null)", "22004"),
        ("acquire_locks(array_fill('a'::text, array[1001]))", "NB021"),
        ("release_lock(null)", "22004"),
        ("release_locks(null)", "22004"),
        ("acquire_lease(null, 'x')", "22004"),
        ("acquire_lease('a', null)", "22004"),
        ("acquire_lease('a', '')", "NB021"),
        ("acquire_lease('a', 'x', 0)", "NB021"),
        ("acquire_lease('a', 'x', 1, -1)", "NB021"),
        ("acquire_leases('{a}', 'x', null)", "22004"),
        ("extend_lease('a', null)", "22004"),
        ("extend_lease('a', 1, 0)", "NB021"),
        ("release_lease(null, 1)", "22004"),
        ("hold_lease('a', null)", "22004"),
        ("break_lease(null)", "22004"),
    ] {
        refused(&mut bank.db, &format!("select concurrency.{call}"), code);
    }
    assert_eq!(bank.db.count("select count(*) from concurrency.leases"), 0);
    // Above READ COMMITTED a lease that somebody took since the snapshot is a conflict, not a wrong answer.
    let mut other = bank.session();
    bank.db.run("begin isolation level repeatable read; select 1");
    let token = other.count("select concurrency.acquire_lease('a', 'two')");
    assert_eq!(bank.db.one("select concurrency.acquire_lease('a', 'one')"), "");
    other.run(&format!("select concurrency.release_lease('a', {token})"));
    assert_eq!(bank.db.fails("select concurrency.acquire_lease('a', 'one')").code, "40001");
}
