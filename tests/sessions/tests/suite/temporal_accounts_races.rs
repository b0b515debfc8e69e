//! Corrections and changes of one account by several sessions, and the horizon below which no answer changes any more.

use crate::temporal_accounts::in_order;
use neobank_sessions::*;

const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

fn correct(account: Uuid, from: &str, to: &str, changes: &str) -> String {
    format!("select temporal.correct('{account}', {from}, {to}, '{changes}', 'found out')")
}

/// Both corrections count, one after the other, whatever the isolation level and whether the account had a history: the
/// second waits, and is applied to what the first left.
#[test]
fn two_corrections_at_once_both_count() {
    for level in LEVELS {
        for has_history in [false, true] {
            let mut bank = Bank::new();
            let account = bank.account("0");
            if has_history {
                bank.status(account, "frozen");
            }
            let (hour, now) = ("now() - interval '1 hour'", "now()");
            let (mut first, mut second) = (bank.session(), bank.session());
            for session in [&mut first, &mut second] {
                session.run(&format!("begin isolation level {level}; select count(*) from temporal.account_periods"));
            }
            first.run(&correct(account, hour, now, r#"{"overdraft_limit": 1}"#));
            let backend = Bank::backend_of(&mut second);
            let waiting = std::thread::spawn(move || {
                let done = second.try_lines(&correct(account, hour, now, r#"{"account_number": "N"}"#));
                let done = done.and_then(|_| second.try_lines("commit"));
                (second, done)
            });
            bank.wait_until_blocked(backend);
            first.run("commit");
            let (mut second, done) = waiting.join().expect("no session fails");
            if let Err(refusal) = done {
                // At SERIALIZABLE both had read what the other wrote.
                assert!(level == "serializable" && refusal.code == "40001", "{level}: {refusal}");
                second.run("rollback");
                second.run(&correct(account, hour, now, r#"{"account_number": "N"}"#));
            }
            let past = format!(
                "select trim_scale(overdraft_limit), account_number \
                 from temporal.get_account_as_of('{account}', now() - interval '30 minutes', 'infinity')"
            );
            assert_eq!(bank.db.one(&past), "1|N", "{level}");
            in_order(&mut bank);
        }
    }
}

#[test]
fn a_change_and_a_correction_wait_for_each_other() {
    for level in LEVELS {
        let mut bank = Bank::new();
        let account = bank.account("0");
        let mut first = bank.session();
        let mut second = bank.session();
        second.run(&format!("begin isolation level {level}; select count(*) from temporal.account_periods"));
        first.run(&format!("begin; select banking.set_account_status('{account}', 'frozen', 'why')"));
        let backend = Bank::backend_of(&mut second);
        let waiting = std::thread::spawn(move || {
            let done =
                second.try_lines(&correct(account, "now() - interval '1 hour'", "null", r#"{"overdraft_limit": 1}"#));
            done.and_then(|_| second.try_lines("commit"))
        });
        bank.wait_until_blocked(backend);
        first.run("commit");
        match waiting.join().expect("no session fails") {
            Ok(_) => assert_eq!(level, "read committed"),
            Err(refusal) => assert!(level != "read committed" && refusal.code == "40001", "{level}: {refusal}"),
        }
        in_order(&mut bank);
    }
}

#[test]
fn many_sessions_change_and_correct_a_few_accounts() {
    let mut bank = Bank::new();
    let accounts = [bank.account("100"), bank.account("100"), bank.slotted("checking", "100", "0")];
    together(&bank, 4, move |n, session| {
        let mut dice = Dice(n as u64 + 1);
        for _ in 0..15 {
            let account = accounts[dice.below(3)];
            let sql = match dice.below(4) {
                0 => format!(
                    "select banking.set_account_status('{account}', '{}', 'w')",
                    ["active", "frozen", "dormant"][dice.below(3)]
                ),
                1 => format!("select banking.set_overdraft_limit('{account}', {}, 'w')", dice.below(5)),
                2 => format!("select txn_processing.adjust('{account}', 1, 'w')"),
                _ => correct(
                    account,
                    &format!("clock_timestamp() - interval '{} ms'", 1 + dice.below(300)),
                    "null",
                    &format!(r#"{{"account_number": "N{}"}}"#, dice.below(3)),
                ),
            };
            if let Err(refusal) = session.try_lines(&sql) {
                // An adjustment may meet an account that is frozen.
                assert!(refusal.code == "NB003", "{refusal}\n{sql}");
            }
        }
    });
    in_order(&mut bank);
    audit(&mut bank.db);
}

fn horizon(bank: &mut Bank) -> String {
    format!("'{}'", bank.db.one("select temporal.safe_horizon()"))
}

/// What was asked up to the horizon must be answered the same for ever: a writer that is open keeps it back.
#[test]
fn the_horizon_stays_below_who_writes() {
    let mut bank = Bank::new();
    let account = bank.account("10");
    let asked = |bank: &mut Bank, at: &str| {
        bank.db.lines(&format!("select * from temporal.get_account_as_of('{account}', {at}, {at})"))
    };
    let mut reader = bank.session();
    reader.run("begin; select count(*) from banking.accounts");
    let before = format!("'{}'", bank.db.one("select clock_timestamp()"));
    assert_eq!(bank.db.one(&format!("select temporal.safe_horizon() >= {before}")), "t", "a reader keeps nothing back");
    let mut writer = bank.session();
    writer.run("begin; select 1");
    let began = format!("'{}'", writer.one("select now()"));
    assert_eq!(bank.db.one(&format!("select temporal.safe_horizon() >= {began}")), "t", "he has not written yet");
    writer.run(&format!("select txn_processing.deposit('{account}', 5)"));
    assert_eq!(bank.db.one(&format!("select temporal.safe_horizon() < {began}")), "t");
    let safe = horizon(&mut bank);
    let (answer, later) = (asked(&mut bank, &safe), asked(&mut bank, "clock_timestamp()"));
    writer.run("commit");
    assert_eq!(asked(&mut bank, &safe), answer);
    assert_ne!(asked(&mut bank, "clock_timestamp()"), later);
    assert_eq!(bank.db.one(&format!("select temporal.safe_horizon() >= {began}")), "t");
    // Its own writes count as well.
    writer.run("begin");
    writer.run(&format!("select txn_processing.deposit('{account}', 5)"));
    assert_eq!(writer.one("select temporal.safe_horizon() < now()"), "t");
    writer.run("rollback");
    reader.run("commit");
}

#[test]
fn the_horizon_stays_below_prepared_transactions() {
    let mut bank = Bank::new();
    if bank.db.count("select setting from pg_settings where name = 'max_prepared_transactions'") == 0 {
        return skipped("prepared transactions", "max_prepared_transactions is 0");
    }
    let account = bank.account("10");
    let name = bank.db.one("select current_database()");
    let mut writer = bank.session();
    writer.run("begin");
    let began = format!("'{}'", writer.one("select now()"));
    writer.run(&format!("select banking.set_account_status('{account}', 'frozen', 'why')"));
    writer.run(&format!("prepare transaction '{name}'"));
    drop(writer);
    assert_eq!(
        bank.db.one(&format!("select temporal.safe_horizon() = timestamptz {began} - interval '1 microsecond'")),
        "t"
    );
    bank.db.run(&format!("commit prepared '{name}'"));
    assert_eq!(bank.db.one(&format!("select temporal.safe_horizon() > {began}")), "t");
    // One that was prepared by a session without the extension does not say when it began.
    bank.db.run("create table public.t ()");
    let mut plain = bank.session();
    plain.run(&format!("begin; insert into public.t default values; prepare transaction '{name}'"));
    assert_eq!(bank.db.one("select temporal.safe_horizon() is null"), "t");
    bank.db.run(&format!("rollback prepared '{name}'"));
    in_order(&mut bank);
}
