//! One test per fault of the SQL this extension replaces; each fails there.

use neobank_sessions::*;
use std::sync::{Arc, Barrier};
use std::thread;

#[test]
fn opposite_transfers_do_not_deadlock() {
    // "Lock accounts in consistent order", said the comment, and locked source,
    // then destination: A to B and B to A at once was a deadlock.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let b = bank.account("1000");
    let workers: Vec<_> = [(a, b), (b, a)]
        .into_iter()
        .map(|(from, to)| {
            let mut session = bank.session();
            thread::spawn(move || {
                for n in 1..=500 {
                    session.run(&format!("select txn_processing.transfer('{from}', '{to}', 1)"));
                    if n % 50 == 0 {
                        session.run(&format!(
                            "select txn_processing.execute_transfer(gen_random_uuid(), \
                             gen_random_uuid()::text::varchar(50), '{from}', '{to}', 1, 'USD', \
                             '{{}}')"
                        ));
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no deadlock, no other error");
    }
    assert_eq!(bank.db.balance(a), dec("1000"));
    assert_eq!(bank.db.balance(b), dec("1000"));
    audit(&mut bank.db);
}

#[test]
fn money_is_not_sent_to_oneself() {
    // From an account to itself, in a currency it does not have, the seed
    // answered success with two different balances.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let call =
        format!("select txn_processing.execute_transfer('{}', 'r', '{a}', '{a}', 10, 'EUR', '{{}}')", Uuid::now_v7());
    let before = snapshot(&mut bank.db);
    let answer = bank.db.json(&call);
    assert_eq!(answer["success"], false, "{answer}");
    assert_eq!(before, snapshot(&mut bank.db));
}

#[test]
fn two_sessions_reverse_the_same_transaction_once() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account("0");
    for round in 0..20 {
        let id = bank.db.id(&format!("select txn_processing.deposit('{a}', 5)"));
        let start = Arc::new(Barrier::new(2));
        let racers: Vec<_> = [
            format!("select txn_processing.reverse('{id}', 'one')"),
            format!("select txn_processing.reverse('{id}', 'two')"),
        ]
        .into_iter()
        .map(|sql| {
            let (mut session, start) = (bank.session(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                session.try_lines(&sql)
            })
        })
        .collect();
        let outcomes: Vec<_> = racers.into_iter().map(|racer| racer.join().expect("the racer ends")).collect();
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        for refusal in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(refusal.code, "NB008", "round {round}: {refusal}");
        }
        assert_eq!(bank.db.balance(a), dec("0"), "round {round}");
    }
    audit(&mut bank.db);
}

#[test]
fn a_reversal_adds_rows_and_changes_none() {
    // The seed set the original's rows to 'reversed', in a ledger that was to
    // be an audit trail.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let id = bank.db.id(&format!("select txn_processing.pay('{a}', 10)"));
    let digest = format!(
        "select md5(m::text), m.xmin, m.ctid from txn_processing.movements m \
         where transaction_id = '{id}'"
    );
    let before = bank.db.one(&digest);
    bank.db.run(&format!("select txn_processing.reverse('{id}', 'wrong bill')"));
    assert_eq!(bank.db.one(&digest), before);
}

#[test]
fn deposits_come_from_somewhere() {
    // The seed's deposits had one side: money appeared from nowhere.
    let mut bank = Bank::new();
    let a = bank.account("100");
    bank.db.run(&format!("select txn_processing.deposit('{a}', 11)"));
    let even = "select count(*), sum(debits) = sum(credits), trim_scale(sum(debits)) \
                from txn_processing.trial_balance() where debits + credits > 0";
    assert_eq!(bank.db.one(even), "2|t|111");
}

#[test]
fn reconciliation_cries_wolf_for_nobody() {
    // Opening balances without entries put every account off, a reversal put
    // its pair off by the amount, and a date in the past was compared with
    // today's balance.
    let mut bank = Bank::new();
    bank.db.run("set timezone = 'UTC'");
    let a = bank.account("100");
    let b = bank.account_with("savings", "USD", "0", "10");
    let loan = bank.account_with("loan", "EUR", "0", "1000");
    let euro = bank.account_with("checking", "EUR", "5", "0");
    bank.db.run(&format!("select txn_processing.transfer('{loan}', '{euro}', 500)"));
    let wrong = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 30)"));
    bank.db.run(&format!("select txn_processing.reverse('{wrong}', 'why')"));
    bank.db.run(&format!("select txn_processing.withdraw('{b}', 7)"));
    for days in [1, 3, 200] {
        bank.db.run(&format!(
            "select txn_processing.deposit('{a}', 8, \
             effective_at => now() - interval '{days} days')"
        ));
    }
    bank.status(b, "dormant");
    let open = "select count(*) from banking.accounts";
    let all = bank.db.count(open);
    for (day, expected) in [
        ("current_date", "124"),
        ("current_date - 1", "24"),
        ("current_date - 2", "16"),
        ("current_date - 100", "8"),
        ("current_date - 300", "0"),
        ("current_date + 1", "124"),
    ] {
        let verdict = format!(
            "select count(*), bool_and(status = 'Balanced'), bool_and(difference = 0), \
             bool_and(ledger_balance = account_balance) \
             from txn_processing.daily_reconciliation({day})"
        );
        assert_eq!(bank.db.one(&verdict), format!("{all}|t|t|t"), "{day}");
        let of_a = format!(
            "select ledger_balance from txn_processing.daily_reconciliation({day}) \
             where account_id = '{a}'"
        );
        assert_eq!(bank.db.money(&of_a), dec(expected), "{day}");
    }
}

#[test]
fn reconciliation_finds_the_cent_that_somebody_moved() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    bank.account("50");
    bank.db.run("set neobank.ledger_guard = off");
    bank.db.run(&format!(
        "update banking.accounts set current_balance = current_balance + 0.01 \
         where account_id = '{a}'"
    ));
    bank.db.run("reset neobank.ledger_guard");
    for day in ["current_date", "current_date - 1"] {
        let found = format!(
            "select account_id, trim_scale(abs(difference)) \
             from txn_processing.daily_reconciliation({day}) where status = 'Discrepancy'"
        );
        assert_eq!(bank.db.one(&found), format!("{a}|0.01"), "{day}");
    }
}

#[test]
fn two_sessions_with_the_same_version_cannot_both_win() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account("100");
    for round in 0..20 {
        let version = bank.db.count(&format!("select version from banking.accounts where account_id = '{a}'"));
        let start = Arc::new(Barrier::new(2));
        let racers: Vec<_> = [200 + round, 400 + round]
            .into_iter()
            .map(|balance| {
                let (mut session, start) = (bank.session(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    let line = session.one(&format!(
                        "select success, new_version, error_message from \
                         banking.update_account_optimistic('{a}', {balance}, {version})"
                    ));
                    (balance, line)
                })
            })
            .collect();
        let outcomes: Vec<_> = racers.into_iter().map(|racer| racer.join().expect("the racer ends")).collect();
        let winners: Vec<_> = outcomes.iter().filter(|(_, line)| line.starts_with("t|")).collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        assert_eq!(bank.db.balance(a), dec(&winners[0].0.to_string()), "round {round}");
        let next = version + 1;
        for (_, line) in outcomes.iter().filter(|(_, line)| line.starts_with('f')) {
            assert_eq!(line, &format!("f|{next}|Version mismatch - expected {version} but found {next}"));
        }
    }
    audit(&mut bank.db);
}
