//! Many sessions at once: no deadlock, no lost cent, no limit passed.

use neobank_sessions::*;
use std::thread;

#[test]
fn jackhammer() {
    // Ten sessions hammer transfers both ways between five accounts: the test
    // that finds every hole in a lock order.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..5).map(|_| bank.account("200")).collect();
    let ids = accounts.clone();
    let tallies = together(&bank, 10, move |n, session| {
        let transfer = session
            .prepare("select txn_processing.transfer($1, $2, ($3::int8 / 100.0)::numeric(10, 2))")
            .expect("it prepares");
        let mut dice = Dice(n as u64 + 1);
        let (mut posted, mut refused) = (0, 0);
        for _ in 0..400 {
            let from = dice.below(ids.len());
            let to = (from + 1 + dice.below(ids.len() - 1)) % ids.len();
            let cents = 1 + dice.below(15_000) as i64;
            match session.query_one(&transfer, &[&ids[from], &ids[to], &cents]) {
                Ok(_) => posted += 1,
                Err(error) => {
                    let refusal = Refusal::from(error);
                    assert_eq!(refusal.code, "NB001", "{refusal}");
                    refused += 1;
                }
            }
        }
        (posted, refused)
    });
    let posted: i64 = tallies.iter().map(|tally| tally.0).sum();
    let refused: i64 = tallies.iter().map(|tally| tally.1).sum();
    assert_eq!(posted + refused, 4_000);
    assert!(posted > 0 && refused > 0, "{tallies:?}");
    let stored = "select count(*) from txn_processing.movements where transaction_type = 'transfer'";
    assert_eq!(bank.db.count(stored), posted);
    let sum = "select sum(current_balance) from banking.accounts where customer_id is not null";
    assert_eq!(bank.db.money(sum), dec("1000"));
    let overdrawn = "select count(*) from txn_processing.movements \
                     where debit_balance < 0 and transaction_type = 'transfer'";
    assert_eq!(bank.db.count(overdrawn), 0);
    audit(&mut bank.db);
}

#[test]
fn all_types_of_posting_at_once() {
    // Transfers lock two customers' accounts, everything else one and an
    // internal one: the order must hold across both kinds.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..3).map(|_| bank.account_with("checking", "USD", "1000", "1000000")).collect();
    let ids = accounts.clone();
    together(&bank, 8, move |n, session| {
        let mut dice = Dice(n as u64 + 77);
        let mut last = None;
        for _ in 0..150 {
            let from = dice.below(3);
            let (a, b) = (ids[from], ids[(from + 1 + dice.below(2)) % 3]);
            let call = match dice.below(9) {
                0 | 1 => format!("transfer('{a}', '{b}', 3)"),
                2 => format!("deposit('{a}', 3)"),
                3 => format!("withdraw('{a}', 3)"),
                4 => format!("pay('{a}', 3)"),
                5 => format!("charge_fee('{a}', 3)"),
                6 => format!("credit_interest('{a}', 3)"),
                7 => format!("adjust('{a}', -3, 'why')"),
                _ => match last.take() {
                    Some(id) => format!("reverse('{id}', 'why')"),
                    None => format!("deposit('{b}', 3)"),
                },
            };
            let id = session.id(&format!("select txn_processing.{call}"));
            if !call.starts_with("reverse") {
                last = Some(id);
            }
        }
    });
    audit(&mut bank.db);
    let faults = "select count(*) from txn_processing.daily_reconciliation() \
                  where status <> 'Balanced'";
    assert_eq!(bank.db.count(faults), 0);
}

#[test]
fn twenty_sessions_drain_an_account_to_its_limit_and_no_further() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account_with("checking", "USD", "100", "50");
    let b = bank.account("0");
    // 150 are there to be had, in tens: fifteen debits fit.
    let tallies = together(&bank, 20, move |n, session| {
        let mut won = 0;
        for turn in 0..3 {
            let call = match (n + turn) % 3 {
                0 => format!("withdraw('{a}', 10)"),
                1 => format!("pay('{a}', 10)"),
                _ => format!("transfer('{a}', '{b}', 10)"),
            };
            match session.try_lines(&format!("select txn_processing.{call}")) {
                Ok(_) => won += 1,
                Err(refusal) => assert_eq!(refusal.code, "NB001", "{refusal}"),
            }
        }
        won
    });
    assert_eq!(tallies.iter().sum::<i32>(), 15, "{tallies:?}");
    assert_eq!(bank.db.balance(a), dec("-50"));
    audit(&mut bank.db);
}

#[test]
fn concurrent_refunds_give_back_no_more_than_there_was() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account("100");
    let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 100)"));
    let tallies = together(&bank, 10, move |_, session| {
        let mut won = 0;
        for _ in 0..2 {
            match session.try_lines(&format!("select txn_processing.refund('{payment}', 15)")) {
                Ok(_) => won += 1,
                Err(refusal) => assert_eq!(refusal.code, "NB008", "{refusal}"),
            }
        }
        won
    });
    assert_eq!(tallies.iter().sum::<i32>(), 6, "{tallies:?}");
    assert_eq!(bank.db.balance(a), dec("90"));
    bank.db.run(&format!("select txn_processing.refund('{payment}')"));
    assert_eq!(bank.db.balance(a), dec("100"));
    audit(&mut bank.db);
}

#[test]
fn a_refund_and_a_reversal_of_one_payment_do_not_both_pass() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account("100");
    for round in 0..15 {
        let payment = bank.db.id(&format!("select txn_processing.pay('{a}', 100)"));
        let outcomes = together(&bank, 2, move |n, session| {
            let call = if n == 0 { format!("refund('{payment}')") } else { format!("reverse('{payment}', 'why')") };
            session.try_lines(&format!("select txn_processing.{call}"))
        });
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        assert_eq!(bank.db.balance(a), dec("100"), "round {round}");
    }
    audit(&mut bank.db);
}

#[test]
fn the_first_accounts_of_a_currency_make_one_set_of_internal_accounts() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let customer = bank.customer();
    for currency in ["SEK", "NOK", "DKK"] {
        let opened = together(&bank, 6, move |_, session| {
            session.id(&format!("select banking.open_account('{customer}', 'checking', '{currency}', 10)"))
        });
        assert_eq!(opened.len(), 6);
        let internal = format!(
            "select count(*) = count(distinct account_type), count(*) = \
             (select count(*) from banking.account_types where internal) \
             from banking.accounts where customer_id is null and currency_code = '{currency}'"
        );
        assert_eq!(bank.db.one(&internal), "t|t", "{currency}");
    }
    audit(&mut bank.db);
}

#[test]
fn closing_an_account_and_paying_into_it_at_once_loses_nothing() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let payer = bank.account("1000");
    let heir = bank.account("0");
    for round in 0..15 {
        let closing = bank.account("10");
        let outcomes = together(&bank, 2, move |n, session| {
            session.try_lines(&if n == 0 {
                format!("select banking.close_account('{closing}', '{heir}')")
            } else {
                format!("select txn_processing.transfer('{payer}', '{closing}', 1)")
            })
        });
        assert!(outcomes[0].is_ok(), "round {round}: {outcomes:?}");
        if let Err(refusal) = &outcomes[1] {
            assert_eq!(refusal.code, "NB003", "round {round}: {refusal}");
        }
        let left = format!(
            "select account_status, trim_scale(current_balance) from banking.accounts \
             where account_id = '{closing}'"
        );
        assert_eq!(bank.db.one(&left), "closed|0", "round {round}");
    }
    let sum = bank.db.balance(payer) + bank.db.balance(heir);
    assert_eq!(sum, dec("1150"));
    audit(&mut bank.db);
}

#[test]
fn a_serializable_caller_is_told_to_retry_not_given_a_stale_balance() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    for level in ["repeatable read", "serializable"] {
        let mut other = bank.session();
        other.run(&format!("begin isolation level {level}"));
        other.run("select count(*) from banking.accounts");
        bank.db.run(&format!("select txn_processing.deposit('{a}', 1)"));
        let refusal = other.fails(&format!("select txn_processing.deposit('{a}', 1)"));
        assert_eq!(refusal.code, "40001", "{level}: {refusal}");
        other.run("rollback");
    }
    audit(&mut bank.db);
}

#[test]
fn a_transfer_that_waited_for_a_freeze_is_refused() {
    // Whatever was read before the wait is old news after it.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let b = bank.account("0");
    for (change, code) in [
        (format!("select banking.set_account_status('{a}', 'frozen', 'court order')"), "NB003"),
        (format!("select txn_processing.withdraw('{a}', 95)"), "NB001"),
    ] {
        let mut holder = bank.session();
        let mut waiter = bank.session();
        let backend = Bank::backend_of(&mut waiter);
        holder.run("begin");
        holder.run(&change);
        let sql = format!("select txn_processing.transfer('{a}', '{b}', 10)");
        let waiting = thread::spawn(move || waiter.fails(&sql));
        bank.wait_until_blocked(backend);
        holder.run("commit");
        let refusal = waiting.join().expect("the waiter ends");
        assert_eq!(refusal.code, code, "{refusal}");
        bank.status(a, "active");
    }
    assert_eq!(bank.db.balance(b), dec("0"));
    audit(&mut bank.db);
}

#[test]
fn a_wait_that_is_cut_short_leaves_nothing_and_says_so() {
    // A timeout is no business refusal: the contract functions must raise it,
    // for an answer in JSON would be taken as final.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let mut holder = bank.session();
    holder.run("begin");
    holder.run(&format!("select txn_processing.deposit('{a}', 1)"));
    for (setting, code) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
        for call in [
            format!("withdraw('{a}', 1)"),
            format!("execute_withdrawal(gen_random_uuid(), 'r', '{a}', 1, 'USD', null)"),
        ] {
            let before = snapshot(&mut bank.db);
            bank.db.run(&format!("set {setting} = '100ms'"));
            let refusal = bank.db.fails(&format!("select txn_processing.{call}"));
            assert_eq!(refusal.code, code, "{refusal}: {call}");
            bank.db.run(&format!("reset {setting}"));
            assert_eq!(before, snapshot(&mut bank.db), "{call}");
        }
    }
    holder.run("rollback");
    bank.db.run(&format!("select txn_processing.withdraw('{a}', 1)"));
    audit(&mut bank.db);
}

#[test]
fn two_sessions_do_not_get_the_same_account_number() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let customer = bank.customer();
    for round in 0..10 {
        let outcomes = together(&bank, 3, move |_, session| {
            session.try_lines(&format!("select banking.open_account('{customer}', account_number => 'N{round}')"))
        });
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        for refusal in outcomes.into_iter().filter_map(Result::err) {
            assert_eq!(refusal.code, "NB020", "round {round}: {refusal}");
        }
    }
}
