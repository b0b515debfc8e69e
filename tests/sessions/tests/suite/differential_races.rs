//! Two sessions, step by step, by direct access and by SQL: who waits, who is refused and with what, and what stands
//! at the end must not depend on the way that the postings take.

use super::batches::{Item, PATHS, transfers_sql};
use neobank_sessions::*;
use std::thread;
use std::time::Duration;

/// One for each schedule of a pair, so that the bank's own accounts are its own as well.
const CURRENCIES: [&str; 9] = ["USD", "EUR", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK"];

/// What two sessions do; `{a}` to `{d}` have 10 each, `{m}` has 10 and is slotted, `{p}` was paid by `{a}`, `{id}` is
/// new.
const PAIRS: [(&str, &str); 24] = [
    ("transfer('{a}', '{b}', 8)", "transfer('{a}', '{b}', 8)"),
    ("transfer('{a}', '{b}', 8)", "transfer('{b}', '{a}', 8)"),
    ("transfer('{a}', '{c}', 8)", "transfer('{b}', '{c}', 8)"),
    ("transfer('{c}', '{a}', 8)", "transfer('{c}', '{b}', 8)"),
    ("transfer('{a}', '{b}', 8)", "transfer('{a}', '{c}', 8)"),
    ("transfer('{a}', '{b}', 8)", "transfer('{c}', '{d}', 8)"),
    ("transfer('{a}', '{b}', 8, transaction_id => '{id}')", "transfer('{a}', '{b}', 8, transaction_id => '{id}')"),
    ("transfer('{a}', '{b}', 8, transaction_id => '{id}')", "transfer('{a}', '{b}', 7, transaction_id => '{id}')"),
    ("transfer('{a}', '{b}', 8, transaction_id => '{id}')", "transfer('{c}', '{d}', 8, transaction_id => '{id}')"),
    ("deposit('{a}', 1)", "deposit('{b}', 1)"),
    ("withdraw('{a}', 8)", "pay('{a}', 8)"),
    ("transfer('{a}', '{m}', 8)", "transfer('{b}', '{m}', 8)"),
    ("transfer('{a}', '{m}', 8)", "transfer('{m}', '{b}', 18)"),
    ("transfer('{m}', '{a}', 8)", "transfer('{m}', '{b}', 8)"),
    ("transfer('{m}', '{a}', 8)", "transfer('{b}', '{m}', 8)"),
    ("refund('{p}', 1)", "refund('{p}', 1)"),
    ("refund('{p}', 1)", "reverse('{p}', 'why')"),
    ("reverse('{p}', 'why')", "refund('{p}')"),
    ("{batch}", "{batch}"),
    ("{batch}", "transfer('{d}', '{a}', 8)"),
    ("banking.set_account_status('{a}', 'frozen', 'why')", "transfer('{a}', '{b}', 8)"),
    ("banking.set_account_status('{m}', 'frozen', 'why')", "transfer('{a}', '{m}', 8)"),
    ("banking.set_balance_mode('{a}', 'slotted')", "transfer('{b}', '{a}', 8)"),
    ("banking.set_balance_mode('{m}', 'exclusive')", "transfer('{a}', '{m}', 8)"),
];

fn statement(call: &str, names: &[(&str, String)]) -> String {
    let call = names.iter().fold(call.to_owned(), |call, (name, id)| call.replace(name, id));
    match call.split_once('(') {
        Some((function, _)) if function.contains('.') || call.starts_with("select") => {
            if call.starts_with("select") {
                call
            } else {
                format!("select {call}")
            }
        }
        _ => format!("select txn_processing.{call}"),
    }
}

/// What a session tells of its statement: the code of a refusal, or that it was done.
fn told<T>(answer: &Result<T, Refusal>) -> String {
    answer.as_ref().map_or_else(|refusal| refusal.code.clone(), |_| "done".to_owned())
}

/// The second session takes its snapshot first. Then the first posts, and ends before or after the second posts too.
fn play(bank: &mut Bank, path: &str, pair: (&str, &str), level: &str, currency: &str, end: &str) -> String {
    let [a, b, c, d, m] = [(); 5].map(|()| bank.account_with("checking", currency, "10", "0"));
    bank.db.run(&format!("select banking.set_balance_mode('{m}', 'slotted')"));
    let paid = bank.db.id(&format!("select txn_processing.pay('{a}', 2)"));
    bank.db.run(&format!("select txn_processing.deposit('{a}', 2)"));
    let batch = [Item::transfer(a, b, "3"), Item::transfer(c, m, "4"), Item::transfer(b, a, "1")];
    let mut names: Vec<(&str, String)> = ["{a}", "{b}", "{c}", "{d}", "{m}", "{p}"]
        .into_iter()
        .zip([a, b, c, d, m, paid].map(|id| id.to_string()))
        .collect();
    names.push(("{id}", Uuid::now_v7().to_string()));
    names.push(("{batch}", transfers_sql(&batch, false)));
    let (mut first, mut second) = (bank.session_on(path), bank.session_on(path));
    let backend = Bank::backend_of(&mut second);
    second.run(&format!("begin isolation level {level}; select count(*) from banking.accounts"));
    first.run(&format!("begin isolation level {level}"));
    let one = told(&first.try_lines(&statement(pair.0, &names)));
    if end == "commit before" {
        first.run("commit");
    }
    let sql = statement(pair.1, &names);
    let posting = thread::spawn(move || {
        let answer = second.try_lines(&sql);
        (second, answer)
    });
    let blocked = format!("select cardinality(pg_blocking_pids({backend})) > 0");
    let mut waited = "went on";
    while !posting.is_finished() && waited == "went on" {
        if bank.db.one(&blocked) == "t" {
            waited = "waited";
        }
        thread::sleep(Duration::from_millis(2));
    }
    if end != "commit before" {
        first.run(end);
    }
    let (mut second, answer) = posting.join().expect("the second session ends");
    let two = told(&answer);
    let ended = if answer.is_ok() { told(&second.try_lines("commit")) } else { told(&second.try_lines("rollback")) };
    let balances = [a, b, c, d, m].map(|id| {
        bank.db.one(&format!(
            "select current_balance || ' ' || account_status || ' ' || balance_mode \
             from banking.account_balances where account_id = '{id}'"
        ))
    });
    format!("first {one}; second {waited}, {two}, {ended}; {balances:?}")
}

#[test]
fn two_sessions_fare_the_same_on_both_paths() {
    let _crowd = crowd();
    let mut differences = Vec::new();
    let (mut waited, mut repeated) = (0, 0);
    for pair in PAIRS {
        let mut banks = PATHS.map(|_| Bank::new());
        let levels = ["read committed", "repeatable read", "serializable"];
        let ends = ["commit", "rollback", "commit before"];
        let schedules = levels.iter().flat_map(|level| ends.map(|end| (level, end)));
        for ((level, end), currency) in schedules.zip(CURRENCIES) {
            let [direct, spi] = [0, 1].map(|at| play(&mut banks[at], PATHS[at], pair, level, currency, end));
            waited += usize::from(direct.contains("second waited"));
            repeated += usize::from(direct.contains("40001"));
            if direct != spi {
                differences.push(format!("{pair:?}, {level}, {end}:\n  direct: {direct}\n  spi:    {spi}"));
            }
            if *level == "read committed" {
                assert!(!direct.contains("40001") && !spi.contains("40001"), "{pair:?}, {end}: {direct}\n{spi}");
            }
        }
        banks.iter_mut().for_each(|bank| audit(&mut bank.db));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(waited > 60 && repeated > 30, "{waited} waited, {repeated} were told to repeat");
}

/// Each session looks at both accounts and takes from one: together they take more than both agreed to.
fn write_skew(path: &str, level: &str, look: &str) -> [String; 2] {
    let mut bank = Bank::new();
    let [a, b, c, d] = [(); 4].map(|()| bank.account("10"));
    let mut sessions = [bank.session_on(path), bank.session_on(path)];
    for session in &mut sessions {
        session.run(&format!("begin isolation level {level}"));
        let look = look.replace("{a}", &a.to_string()).replace("{b}", &b.to_string());
        assert_eq!(session.money(&look), dec("20"));
    }
    let mut told_so = [(a, c), (b, d)].into_iter().zip(&mut sessions).map(|((from, to), session)| {
        told(&session.try_lines(&format!("select txn_processing.transfer('{from}', '{to}', 8)")))
    });
    let posted = [told_so.next().expect("two"), told_so.next().expect("two")];
    let [mut one, mut two] = sessions;
    let ends = [told(&one.try_lines("commit")), told(&two.try_lines("commit"))];
    let took =
        bank.db.count(&format!("select count(*) from txn_processing.movements where debit_account in ('{a}', '{b}')"));
    audit(&mut bank.db);
    let end = |at: usize| format!("{}, {}, {took} took", posted[at], ends[at]);
    [end(0), end(1)]
}

#[test]
fn write_skew_is_seen_at_serializable_on_both_paths() {
    // By access methods, predicate locks and conflict checks are the caller's to get right.
    let sums = [
        "select sum(current_balance) from banking.accounts where account_id in ('{a}', '{b}')",
        "select sum(current_balance) from banking.account_balances where account_id in ('{a}', '{b}')",
        "select txn_processing.balance_as_of('{a}', 'infinity') + txn_processing.balance_as_of('{b}', 'infinity')",
        "select sum(case when credit_account in ('{a}', '{b}') then amount else -amount end) \
         from txn_processing.movements where '{a}' in (debit_account, credit_account) \
         or '{b}' in (debit_account, credit_account)",
    ];
    for path in PATHS {
        for look in sums {
            let both = write_skew(path, "repeatable read", look);
            assert!(both.iter().all(|end| end == "done, done, 2 took"), "{path}: {look}: {both:?}");
            let [one, two] = write_skew(path, "serializable", look);
            assert_eq!(one, "done, done, 1 took", "{path}: {look}");
            assert!(two.contains("40001"), "{path}: {look}: {two}");
        }
    }
}

#[test]
fn a_reader_at_serializable_is_told_when_it_saw_what_could_not_be() {
    // The anomaly of the report: a batch closes, a deposit of before it comes in after, and a reader in between sees
    // the day closed without it. One of the three must be told to repeat.
    for path in PATHS {
        let mut bank = Bank::new();
        let (a, b) = (bank.account("10"), bank.account("10"));
        bank.db.run("create table public.day (n int primary key); insert into public.day values (1)");
        let mut deposit = bank.session_on(path);
        deposit.run("begin isolation level serializable; select n from public.day");
        let mut close = bank.session_on(path);
        close.run("begin isolation level serializable; update public.day set n = 2; commit");
        let mut reader = bank.session_on(path);
        reader.run("begin isolation level serializable");
        reader.run("select n from public.day");
        reader.run(&format!("select current_balance from banking.accounts where account_id = '{b}'"));
        reader.run("commit");
        let posted = deposit.try_lines(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
        let ended = posted.and_then(|_| deposit.try_lines("commit"));
        assert_eq!(ended.expect_err("the reader saw it").code, "40001", "{path}");
        audit(&mut bank.db);
    }
}
