//! Everything that locks accounts and slots, at once and in every order: nobody deadlocks.

use neobank_sessions::*;

const SESSIONS: usize = 8;
const TURNS: usize = 60;

/// The accounts of the storm, ascending by id, of which every other is slotted at first.
fn accounts(bank: &mut Bank) -> Vec<Uuid> {
    let mut accounts: Vec<Uuid> = (0..6).map(|_| bank.account_with("checking", "USD", "1000", "100")).collect();
    accounts.sort();
    for (n, account) in accounts.clone().into_iter().enumerate() {
        if n % 2 == 0 {
            bank.mode(account, "slotted");
            bank.grow(account, 1 + n as i64);
        }
    }
    accounts
}

/// Runs the storm; what each session was refused with, other than by the codes that are to be expected.
fn storm(
    bank: &Bank,
    accounts: &[Uuid],
    expected: &'static [&'static str],
    call: fn(&mut Dice, Uuid, Uuid, &mut Client) -> String,
) -> Vec<String> {
    let ids = accounts.to_vec();
    let outcomes = together(bank, SESSIONS, move |n, session| {
        session.run(&format!("set neobank.posting_path = '{}'", ["auto", "spi"][n % 2]));
        let mut dice = Dice(n as u64 + 31);
        let (mut done, mut unexpected) = (0, Vec::new());
        for _ in 0..TURNS {
            let from = dice.below(ids.len());
            let to = (from + 1 + dice.below(ids.len() - 1)) % ids.len();
            let sql = call(&mut dice, ids[from], ids[to], session);
            match session.try_lines(&sql) {
                Ok(_) => done += 1,
                Err(refusal) => {
                    session.run("rollback");
                    if !expected.contains(&refusal.code.as_str()) {
                        unexpected.push(format!("{refusal}: {sql}"));
                    }
                }
            }
        }
        assert!(done > TURNS / 4, "session {n} did next to nothing");
        unexpected
    });
    outcomes.into_iter().flatten().collect()
}

fn posting(dice: &mut Dice, a: Uuid, b: Uuid) -> String {
    let amount = 1 + dice.below(30);
    let call = match dice.below(6) {
        0 => format!("deposit('{a}', {amount})"),
        1 => format!("withdraw('{a}', {amount})"),
        2 => format!("charge_fee('{a}', 0.10)"),
        _ => format!("transfer('{a}', '{b}', {amount})"),
    };
    format!("select txn_processing.{call}")
}

/// One thing at a time on a random pair, in both orders of their ids.
fn anything(dice: &mut Dice, a: Uuid, b: Uuid, session: &mut Client) -> String {
    let mode = ["exclusive", "slotted"][dice.below(2)];
    let status = ["active", "active", "dormant"][dice.below(3)];
    match dice.below(16) {
        0 | 1 => format!("select banking.set_balance_mode('{a}', '{mode}')"),
        2 | 3 => format!("select banking.set_account_status('{a}', '{status}', 'for the test')"),
        4 => format!("select banking.set_overdraft_limit('{a}', {}, 'for the test')", 50 + dice.below(100)),
        // Closed for good would leave nothing to do: most closings are given up.
        5 => format!("begin; select banking.close_account('{a}', '{b}'); rollback"),
        6 => {
            let fresh = session.id(&format!(
                "select banking.open_account(customer_id, opening_deposit => 5) from banking.accounts \
                 where account_id = '{a}'"
            ));
            session.run(&format!("select banking.set_balance_mode('{fresh}', '{mode}')"));
            format!("select banking.close_account('{fresh}', '{b}')")
        }
        7 => format!("begin; {}; select pg_sleep(0.001); commit", posting(dice, a, b)),
        _ => posting(dice, a, b),
    }
}

/// The same without what changes the mode.
fn anything_but_a_switch(dice: &mut Dice, a: Uuid, b: Uuid, session: &mut Client) -> String {
    loop {
        let sql = anything(dice, a, b, session);
        if !sql.contains("set_balance_mode") {
            return sql;
        }
    }
}

fn all_is_well(bank: &mut Bank, unexpected: &[String]) {
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    audit(&mut bank.db);
    let faults = "select count(*) from txn_processing.daily_reconciliation() where status <> 'Balanced'";
    assert_eq!(bank.db.count(faults), 0);
    let closed =
        "select count(*), sum(b.current_balance) from banking.account_balances b where account_status = 'closed'";
    let closed = bank.db.one(closed);
    assert!(closed.ends_with("|0.00"), "closed accounts hold {closed}");
}

#[test]
fn postings_statuses_limits_and_closings_do_not_deadlock() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts = accounts(&mut bank);
    let unexpected = storm(&bank, &accounts, &["NB001", "NB003"], anything_but_a_switch);
    all_is_well(&mut bank, &unexpected);
}

#[test]
fn switches_of_the_mode_among_them_do_not_deadlock_either() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts = accounts(&mut bank);
    // A posting that waited for a slot of an account which is exclusive by then is told to start anew.
    let unexpected = storm(&bank, &accounts, &["NB001", "NB003", "40001"], anything);
    all_is_well(&mut bank, &unexpected);
    let switched = bank.db.count("select count(*) from banking.balance_mode_changes");
    assert!(switched > 10, "{switched} switches");
}

#[test]
fn switches_of_the_banks_own_accounts_do_not_stop_the_bank() {
    // Every deposit meets on cash: what is switched there is met by all.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..6).map(|_| bank.account("1000")).collect();
    let cash = bank.internal("cash", "USD");
    let outcomes = together(&bank, 7, move |n, session| match n.checked_sub(1) {
        None => (0..30)
            .filter_map(|round| {
                let mode = ["exclusive", "slotted"][round % 2];
                session.try_lines(&format!("select banking.set_balance_mode('{cash}', '{mode}')")).err()
            })
            .collect::<Vec<_>>(),
        Some(n) => {
            session.run(&format!("set neobank.posting_path = '{}'", ["auto", "spi"][n % 2]));
            let mut dice = Dice(n as u64);
            (0..60)
                .filter_map(|_| {
                    let call = ["deposit", "withdraw"][dice.below(2)];
                    let sql = format!("select txn_processing.{call}('{}', 1)", accounts[n]);
                    let mut outcome = session.try_lines(&sql);
                    // Who waited across a switch starts anew, and does not have to do so for ever.
                    for _ in 0..20 {
                        match &outcome {
                            Err(refusal) if refusal.code == "40001" => outcome = session.try_lines(&sql),
                            _ => break,
                        }
                    }
                    outcome.err()
                })
                .collect()
        }
    });
    let unexpected: Vec<String> = outcomes.into_iter().flatten().map(|refusal| refusal.to_string()).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    assert_eq!(bank.db.count("select count(*) from banking.balance_mode_changes"), 30);
    assert_eq!(bank.db.count("select count(*) from txn_processing.movements where amount = 1"), 360);
    audit(&mut bank.db);
}

#[test]
fn two_transactions_that_each_give_and_then_take_lose_nothing() {
    // Each holds a slot and then wants all: no order of locks helps a transaction that has the last one first. If the
    // server has to end one of them, the other goes on and the one may start anew.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let account = bank.slotted("checking", "100", "0");
    bank.grow(account, 2);
    let ended: Vec<String> = together(&bank, 2, move |_, session| {
        let mut ended = Vec::new();
        for _ in 0..5 {
            let give = format!("begin; select txn_processing.deposit('{account}', 10); select pg_sleep(0.05)");
            session.run(&give);
            match session.try_lines(&format!("select txn_processing.withdraw('{account}', 15); commit")) {
                Ok(_) => ended.push("ok".to_owned()),
                Err(refusal) => {
                    session.run("rollback");
                    ended.push(refusal.code);
                }
            }
        }
        ended
    })
    .into_iter()
    .flatten()
    .collect();
    let done = ended.iter().filter(|end| *end == "ok").count();
    assert!(done > 0 && ended.iter().all(|end| ["ok", "40P01"].contains(&end.as_str())), "{ended:?}");
    assert_eq!(bank.db.balance(account), dec("100") - dec("5") * Decimal::from(done as i64));
    audit(&mut bank.db);
}
