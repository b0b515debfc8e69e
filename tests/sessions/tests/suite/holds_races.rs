//! Holds and postings from many sessions at once on the same accounts.

use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

fn hold(db: &mut Client, account: Uuid, arguments: &str) -> Uuid {
    db.id(&format!("select txn_processing.place_hold('{account}', {arguments})"))
}

/// What a race may answer; anything else fails the test, a deadlock above all.
const REFUSED: [&str; 6] = ["NB001", "NB003", "NB011", "NB050", "NB051", "40001"];

fn attempt(db: &mut Client, sql: &str) -> Option<Vec<String>> {
    match db.try_lines(sql) {
        Ok(lines) => Some(lines),
        Err(refusal) if REFUSED.contains(&refusal.code.as_str()) => None,
        Err(refusal) => panic!("{refusal}\nfrom: {sql}"),
    }
}

/// A call for a group looks for its open holds, then waits for their accounts. One that somebody else closed meanwhile made
/// it refuse the whole group (NB011), though the others were open.
#[test]
fn a_group_of_which_one_hold_is_closed_meanwhile_is_still_a_group() {
    for (call, answered) in [("release_hold_group", "1"), ("capture_hold_group", "")] {
        for closes in ["release_hold", "capture_hold"] {
            let mut bank = Bank::new();
            let (a, b) = (bank.account("50"), bank.account("50"));
            let group = Uuid::from_u128(1);
            let first = hold(&mut bank.db, a, &format!("20, group_id => '{group}'"));
            hold(&mut bank.db, b, &format!("30, group_id => '{group}'"));
            let mut other = bank.session();
            let waits = Bank::backend_of(&mut other);
            bank.db.run(&format!("begin; select txn_processing.{closes}('{first}')"));
            let work = thread::spawn(move || other.lines(&format!("select txn_processing.{call}('{group}')")));
            let mut watcher = bank.session();
            std::mem::swap(&mut watcher, &mut bank.db);
            bank.wait_until_blocked(waits);
            watcher.run("commit");
            let lines = work.join().expect("the other hold is open");
            assert_eq!(lines.len(), 1, "{call} after {closes}");
            assert!(answered.is_empty() || lines[0] == answered, "{call} after {closes}: {lines:?}");
            let open = "select count(*) from txn_processing.holds where state = 'open'";
            assert_eq!(bank.db.one(open), "0", "{call} after {closes}");
            let again = format!("select txn_processing.{call}('{group}')");
            refused(&mut bank.db, &again, "NB011");
            audit(&mut bank.db);
        }
    }
}

/// One step of a storm on the accounts and their holds.
fn step(db: &mut Client, dice: &mut Dice, accounts: &[Uuid], groups: &[Uuid]) {
    let a = accounts[dice.below(accounts.len())];
    let b = accounts[dice.below(accounts.len())];
    let group = groups[dice.below(groups.len())];
    let cents = Decimal::new(1 + dice.below(2_000) as i64, 2);
    let open = format!(
        "(select hold_id from txn_processing.holds where account_id = '{a}' and state = 'open' order by random() limit 1)"
    );
    let call = match dice.below(14) {
        0 | 1 => format!("place_hold('{a}', {cents}, clock_timestamp() + interval '{} ms')", 1 + dice.below(40)),
        2 => format!("place_hold('{a}', {cents}, group_id => '{group}')"),
        3 => format!("place_hold('{a}', {cents}, to_account => '{b}')"),
        4 => format!("capture_hold(coalesce({open}, '{group}'))"),
        5 => format!("capture_hold(coalesce({open}, '{group}'), {cents}, '{b}', final => false)"),
        6 => format!("release_hold(coalesce({open}, '{group}'))"),
        7 => format!("capture_hold_group('{group}')"),
        8 => format!("release_hold_group('{group}')"),
        9 => "expire_holds()".to_owned(),
        10 => format!("withdraw('{a}', {cents})"),
        11 => format!("deposit('{a}', {cents})"),
        12 => {
            format!("post_transfers(array['{a}', '{b}']::uuid[], array['{b}', '{a}']::uuid[], array[{cents}, {cents}])")
        }
        _ => format!("transfer('{a}', '{b}', {cents})"),
    };
    // What names the account twice is refused on its own account.
    if let Err(refusal) = db.try_lines(&format!("select txn_processing.{call}")) {
        let brief = refusal.code == "NB021" && call.contains(" ms");
        let expected = brief
            || REFUSED.contains(&refusal.code.as_str())
            || (refusal.code == "NB006" && (a == b || call.contains("to_account") || call.starts_with("capture")));
        assert!(expected, "{refusal}\nfrom: {call}");
    }
}

fn storm(isolation: &'static str, paths: &'static [&'static str], seed: u64) {
    let _turn = crowd();
    let mut bank = Bank::new();
    let accounts = [
        bank.account("60"),
        bank.account("60"),
        bank.account_with("checking", "USD", "10", "50"),
        bank.account_with("loan", "USD", "0", "80"),
    ];
    let groups: Vec<Uuid> = (1..4).map(Uuid::from_u128).collect();
    let over = Arc::new(AtomicBool::new(false));
    // At every moment: nobody has more set aside than balance and limit bear, and the rows say what the holds say.
    let watcher = {
        let (mut db, over) = (bank.session(), Arc::clone(&over));
        thread::spawn(move || {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                audit_in_passing(&mut db);
                let past = "select account_id from banking.account_balances where slots = 0 and customer_id is not null and \
                            case normal_side when 'C' then available_balance + overdraft_limit else overdraft_limit - available_balance end < 0";
                assert_eq!(db.lines(past), [""; 0]);
                looks += 1;
            }
            looks
        })
    };
    together(&bank, 8, move |n, db| {
        db.run(&format!(
            "set default_transaction_isolation = '{isolation}'; set neobank.posting_path = {}",
            paths[n % paths.len()]
        ));
        let mut dice = Dice(seed + n as u64);
        (0..120).for_each(|_| step(db, &mut dice, &accounts, &groups));
    });
    over.store(true, Ordering::Relaxed);
    assert!(watcher.join().expect("the watcher saw nothing wrong") > 0);
    audit(&mut bank.db);
    // The last of them has expired by then.
    bank.db.run("select pg_sleep(0.1); select txn_processing.expire_holds()");
    for account in accounts {
        let live = "select a.available_balance = v.available_balance from banking.accounts a \
                    join banking.account_balances v using (account_id)";
        assert_eq!(bank.db.one(&format!("{live} where a.account_id = '{account}'")), "t");
    }
    assert!(bank.db.count("select count(*) from txn_processing.hold_captures") > 5);
    audit(&mut bank.db);
}

#[test]
fn a_storm_of_holds_and_postings_keeps_every_bound_and_never_deadlocks() {
    storm("read committed", &["auto", "spi"], 1);
}

#[test]
fn the_same_storm_at_repeatable_read() {
    storm("repeatable read", &["spi", "auto"], 2);
}

#[test]
fn the_same_storm_when_transactions_are_serializable() {
    storm("serializable", &["auto", "spi"], 3);
}

#[test]
fn a_hold_resolves_once_whoever_comes_first() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let a = bank.account("100");
    for round in 0..15 {
        let h = hold(&mut bank.db, a, "1");
        let answers = together(&bank, 6, move |n, db| {
            let call = if n % 2 == 0 { "capture" } else { "release" };
            db.run(&format!("set neobank.posting_path = {}", if n < 3 { "auto" } else { "spi" }));
            attempt(db, &format!("select txn_processing.{call}_hold('{h}')")).is_some()
        });
        assert_eq!(answers.iter().filter(|won| **won).count(), 1, "round {round}: {answers:?}");
    }
    audit(&mut bank.db);
}

#[test]
fn sessions_that_bring_one_hold_id_place_one_hold() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100"), bank.account("100"));
    for round in 1..15u128 {
        let id = Uuid::from_u128(round);
        let answers = together(&bank, 6, move |n, db| {
            let account = if n % 3 == 2 { b } else { a };
            let placed = db.try_lines(&format!("select txn_processing.place_hold('{account}', 1, hold_id => '{id}')"));
            (account, placed.map_err(|refusal| refusal.code))
        });
        let owner = bank.db.id(&format!("select account_id from txn_processing.holds where hold_id = '{id}'"));
        for (account, answer) in answers {
            assert_eq!(answer, if account == owner { Ok(vec![id.to_string()]) } else { Err("NB007".to_owned()) });
        }
    }
    audit(&mut bank.db);
}

/// A withdrawal that came while the money was held, and waited, finds it free: what counts is the moment it posts.
#[test]
fn a_hold_that_expires_while_a_posting_waits_counts_no_more() {
    for (path, batch) in [("direct", false), ("spi", false), ("direct", true), ("spi", true)] {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("100"), bank.account("0"));
        hold(&mut bank.db, a, "100, clock_timestamp() + interval '400 ms'");
        let mut holder = bank.session();
        holder.run(&format!("begin; select from banking.accounts where account_id = '{a}' for no key update"));
        let mut waiter = bank.session();
        waiter.run(&format!("set neobank.posting_path = {path}"));
        let backend = Bank::backend_of(&mut waiter);
        let call = if batch {
            format!("post_transfers(array['{a}']::uuid[], array['{b}']::uuid[], array[100], atomic => true)")
        } else {
            format!("transfer('{a}', '{b}', 100)")
        };
        let waiting = thread::spawn(move || waiter.try_lines(&format!("select txn_processing.{call}")));
        bank.wait_until_blocked(backend);
        thread::sleep(Duration::from_millis(500));
        holder.run("commit");
        waiting.join().expect("it answers").expect("nothing is held any more");
        assert_eq!(bank.db.balance(a), dec("0"));
        audit(&mut bank.db);
    }
}

/// The other way round: a capture that waited beyond its hold's time comes too late.
#[test]
fn a_capture_that_waits_past_the_time_of_its_hold_is_refused() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        let a = bank.account("100");
        let h = hold(&mut bank.db, a, "100, clock_timestamp() + interval '400 ms'");
        let mut holder = bank.session();
        holder.run(&format!("begin; select from banking.accounts where account_id = '{a}' for no key update"));
        let mut waiter = bank.session();
        waiter.run(&format!("set neobank.posting_path = {path}"));
        let backend = Bank::backend_of(&mut waiter);
        let waiting = thread::spawn(move || waiter.fails(&format!("select txn_processing.capture_hold('{h}')")).code);
        bank.wait_until_blocked(backend);
        thread::sleep(Duration::from_millis(500));
        holder.run("commit");
        assert_eq!(waiting.join().expect("it answers"), "NB011");
        audit(&mut bank.db);
    }
}

#[test]
fn a_snapshot_from_before_a_hold_is_no_way_around_it() {
    for isolation in ["repeatable read", "serializable"] {
        for path in ["direct", "spi"] {
            let mut bank = Bank::new();
            let a = bank.account("100");
            let h = hold(&mut bank.db, a, "10");
            let mut old = bank.session();
            old.run(&format!(
                "set neobank.posting_path = {path}; begin isolation level {isolation}; select 1 from banking.accounts"
            ));
            hold(&mut bank.db, a, "90");
            for call in [
                format!("withdraw('{a}', 90)"),
                format!("place_hold('{a}', 90)"),
                format!("capture_hold('{h}')"),
                format!("release_hold('{h}')"),
            ] {
                old.run("savepoint s");
                assert_eq!(old.fails(&format!("select txn_processing.{call}")).code, "40001", "{call}");
                old.run("rollback to s");
            }
            old.run("rollback");
            audit(&mut bank.db);
        }
    }
}
