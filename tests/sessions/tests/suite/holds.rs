//! Holds in one session: what they set aside, how each of them ends, and every refusal with its figures.

use neobank_sessions::*;

/// The same in a bank of its own by direct access and by SQL.
fn by_both_paths(test: fn(&mut Bank)) {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        test(&mut bank);
        audit(&mut bank.db);
    }
}

fn hold(bank: &mut Bank, account: Uuid, arguments: &str) -> Uuid {
    bank.db.id(&format!("select txn_processing.place_hold('{account}', {arguments})"))
}

fn capture(hold: Uuid, arguments: &str) -> String {
    format!("select txn_processing.capture_hold('{hold}'{arguments})")
}

fn release(hold: Uuid) -> String {
    format!("select txn_processing.release_hold('{hold}')")
}

/// Exact at this moment, as the view shows it.
fn available(bank: &mut Bank, account: Uuid) -> Decimal {
    bank.db.money(&format!("select available_balance from banking.account_balances where account_id = '{account}'"))
}

fn stored(bank: &mut Bank, account: Uuid) -> Decimal {
    bank.db.money(&format!("select available_balance from banking.accounts where account_id = '{account}'"))
}

fn state(bank: &mut Bank, hold: Uuid) -> String {
    let columns = "state, amount, captured, remaining, closed_at is not null";
    bank.db.one(&format!("select {columns} from txn_processing.account_holds where hold_id = '{hold}'"))
}

/// A hold whose time is over, which no job has marked.
fn expired(bank: &mut Bank, account: Uuid, amount: &str) -> Uuid {
    let hold = hold(bank, account, &format!("{amount}, clock_timestamp() + interval '60 ms'"));
    bank.db.run("select pg_sleep(0.08)");
    assert!(state(bank, hold).starts_with("expired|"));
    hold
}

#[test]
fn a_hold_sets_aside_and_is_captured_in_parts() {
    by_both_paths(|bank| {
        let (a, shop) = (bank.account("100"), bank.account("0"));
        let h = hold(bank, a, &format!("60, to_account => '{shop}', reference => 'T1', metadata => '{{\"k\": 1}}'"));
        assert_eq!((bank.db.balance(a), available(bank, a), stored(bank, a)), (dec("100"), dec("40"), dec("40")));
        let short = refused(&mut bank.db, &format!("select txn_processing.withdraw('{a}', 40.01)"), "NB001");
        assert_eq!(short.detail, format!("Account {a} has 40.00 available, 40.01 was requested."));
        bank.db.run(&capture(h, ", 25, final => false"));
        assert_eq!(state(bank, h), "open|60.00|25.00|35.00|f");
        assert_eq!((bank.db.balance(a), available(bank, a), bank.db.balance(shop)), (dec("75"), dec("40"), dec("25")));
        bank.db.run(&capture(h, ", 5.5"));
        assert_eq!(state(bank, h), "captured|60.00|30.50|0|t");
        assert_eq!((available(bank, a), stored(bank, a)), (dec("69.50"), dec("69.50")));
        let linked = "select m.transaction_type, m.amount, c.amount from txn_processing.hold_captures c \
                      join txn_processing.movements m using (transaction_id) order by m.transaction_id";
        assert_eq!(bank.db.lines(linked), ["transfer|25.00|25.00", "transfer|5.50|5.50"]);
        for call in [capture(h, ""), capture(h, ", 1"), release(h)] {
            let closed = refused(&mut bank.db, &call, "NB011");
            assert_eq!(closed.detail, format!("Hold {h} is captured."));
        }
    });
}

#[test]
fn a_hold_without_a_destination_is_paid_and_one_released_is_free() {
    by_both_paths(|bank| {
        let a = bank.account("100");
        let (h, gone) = (hold(bank, a, "60"), hold(bank, a, "40"));
        assert_eq!(available(bank, a), dec("0"));
        refused(&mut bank.db, &format!("select txn_processing.place_hold('{a}', 0.01)"), "NB001");
        bank.db.run(&format!("select txn_processing.release_hold('{gone}', 'went home')"));
        assert_eq!((state(bank, gone).as_str(), available(bank, a)), ("released|40.00|0|0|t", dec("40")));
        bank.db.run(&capture(h, ""));
        let clearing = bank.internal("payments_clearing", "USD");
        assert_eq!((available(bank, a), bank.db.balance(clearing)), (dec("40"), dec("60")));
        assert_eq!(bank.db.one("select transaction_type from txn_processing.movements where amount = 60"), "payment");
    });
}

#[test]
fn the_overdraft_limit_counts_and_a_loan_is_held_the_other_way() {
    by_both_paths(|bank| {
        let a = bank.account_with("checking", "USD", "10", "20");
        refused(&mut bank.db, &format!("select txn_processing.place_hold('{a}', 30.01)"), "NB001");
        let h = hold(bank, a, "30");
        assert_eq!(available(bank, a), dec("-20"));
        bank.db.run(&capture(h, ""));
        assert_eq!((bank.db.balance(a), available(bank, a)), (dec("-20"), dec("-20")));
        let loan = bank.account_with("loan", "USD", "0", "100");
        let h = hold(bank, loan, "70");
        assert_eq!(
            (bank.db.balance(loan), available(bank, loan), stored(bank, loan)),
            (dec("0"), dec("70"), dec("70"))
        );
        let short = refused(&mut bank.db, &format!("select txn_processing.withdraw('{loan}', 31)"), "NB001");
        assert_eq!(short.detail, format!("Account {loan} has 30.00 available, 31.00 was requested."));
        bank.db.run(&format!("select txn_processing.withdraw('{loan}', 30)"));
        bank.db.run(&capture(h, ", 50"));
        assert_eq!((bank.db.balance(loan), available(bank, loan)), (dec("80"), dec("80")));
    });
}

#[test]
fn an_expired_hold_counts_no_more_though_nobody_marked_it() {
    by_both_paths(|bank| {
        let (a, b) = (bank.account("100"), bank.account("100"));
        let h = expired(bank, a, "80");
        assert_eq!((available(bank, a), stored(bank, a)), (dec("100"), dec("20")));
        for call in [capture(h, ""), release(h)] {
            assert_eq!(refused(&mut bank.db, &call, "NB011").detail, format!("Hold {h} is expired."));
        }
        // A posting that touches the account brings its row up to date; a batch does too.
        bank.db.run(&format!("select txn_processing.withdraw('{a}', 90)"));
        assert_eq!(stored(bank, a), dec("10"));
        expired(bank, b, "100");
        let batch = "select code from txn_processing.post_transfers";
        assert_eq!(bank.db.one(&format!("{batch}(array['{b}']::uuid[], array['{a}']::uuid[], array[99])")), "ok");
        assert_eq!(stored(bank, b), dec("1"));
        expired(bank, a, "5");
        hold(bank, a, "109");
        assert_eq!((available(bank, a), stored(bank, a)), (dec("0"), dec("0")));
        assert_eq!(bank.db.count("select txn_processing.expire_holds()"), 3);
        assert_eq!(bank.db.count("select txn_processing.expire_holds()"), 0);
        assert_eq!(state(bank, h), "expired|80.00|0|0|t");
        let at = format!("select closed_at = expires_at from txn_processing.holds where hold_id = '{h}'");
        assert_eq!(bank.db.one(&at), "t");
    });
}

#[test]
fn expire_holds_brings_the_stored_column_up_to_date() {
    let mut bank = Bank::new();
    let (a, loan) = (bank.account("100"), bank.account_with("loan", "USD", "0", "50"));
    expired(&mut bank, a, "30");
    expired(&mut bank, loan, "30");
    let open = hold(&mut bank, a, "10, clock_timestamp() + interval '1 hour'");
    assert_eq!(bank.db.count("select txn_processing.expire_holds(1)"), 1);
    assert_eq!(bank.db.count("select txn_processing.expire_holds(1)"), 1);
    assert_eq!((stored(&mut bank, a), stored(&mut bank, loan)), (dec("90"), dec("0")));
    assert!(state(&mut bank, open).starts_with("open|"));
    for bad in ["0", "-1", "100001"] {
        refused(&mut bank.db, &format!("select txn_processing.expire_holds({bad})"), "NB021");
    }
    refused(&mut bank.db, "select txn_processing.expire_holds(null)", "22004");
    audit(&mut bank.db);
}

#[test]
fn more_than_the_hold_goes_as_far_as_its_type_allows_and_funds_reach() {
    by_both_paths(|bank| {
        let (a, shop) = (bank.account("112"), bank.account("0"));
        let to = format!(", to_account => '{shop}'");
        let h = hold(bank, a, "100");
        let past = refused(&mut bank.db, &capture(h, &format!(", 100.01{to}")), "NB050");
        assert_eq!(past.detail, format!("Hold {h} may be captured by 100.00 more, 100.01 was requested."));
        bank.db.run("select txn_processing.set_hold_rule('checking', 15)");
        let short = refused(&mut bank.db, &capture(h, &format!(", 113{to}")), "NB001");
        assert_eq!(short.detail, format!("Account {a} has 112.00 available, 113.00 was requested."));
        bank.db.run(&capture(h, &format!(", 100, final => false{to}")));
        assert_eq!(state(bank, h), "open|100.00|100.00|0.00|f");
        assert_eq!(
            refused(&mut bank.db, &capture(h, ""), "NB011").detail,
            format!("Hold {h} has nothing left, so give an amount.")
        );
        let past = refused(&mut bank.db, &capture(h, ", 15.01"), "NB050");
        assert_eq!(past.detail, format!("Hold {h} may be captured by 15.00 more, 15.01 was requested."));
        bank.db.run(&capture(h, &format!(", 12{to}")));
        assert_eq!((state(bank, h).as_str(), available(bank, a)), ("captured|100.00|112.00|0|t", dec("0")));
        // The figures are amounts of the currency: 10.01 and 15 % of it are 11.5115.
        bank.db.run(&format!("select txn_processing.deposit('{a}', 20)"));
        let odd = hold(bank, a, "10.01");
        let past = refused(&mut bank.db, &capture(odd, ", 11.52"), "NB050");
        assert_eq!(past.detail, format!("Hold {odd} may be captured by 11.51 more, 11.52 was requested."));
        bank.db.run(&capture(odd, ", 11.51"));
        bank.db.run("select txn_processing.set_hold_rule('checking', 0)");
        let plain = hold(bank, a, "1");
        refused(&mut bank.db, &capture(plain, ", 1.01"), "NB050");
    });
}

#[test]
fn places_are_refused_with_their_codes() {
    by_both_paths(|bank| {
        let (a, spread, nobody) = (bank.account("10"), bank.slotted("checking", "10", "0"), Uuid::from_u128(1));
        let cash = bank.internal("cash", "USD");
        let long = "x".repeat(51);
        for (arguments, code) in [
            ("null, 1".to_owned(), "22004"),
            (format!("'{a}', null"), "22004"),
            (format!("'{nobody}', 1"), "NB002"),
            (format!("'{cash}', 1"), "NB024"),
            (format!("'{spread}', 1"), "NB026"),
            (format!("'{a}', 0"), "NB005"),
            (format!("'{a}', -1"), "NB005"),
            (format!("'{a}', 'NaN'"), "NB005"),
            (format!("'{a}', 'infinity'"), "NB005"),
            (format!("'{a}', 0.001"), "NB005"),
            (format!("'{a}', 1, currency => 'EUR'"), "NB004"),
            (format!("'{a}', 1, clock_timestamp()"), "NB021"),
            (format!("'{a}', 1, '-infinity'"), "NB021"),
            (format!("'{a}', 1, to_account => '{a}'"), "NB006"),
            (format!("'{a}', 1, reference => '{long}'"), "NB021"),
            (format!("'{a}', 1, metadata => '[]'"), "NB021"),
            (format!("'{a}', 10.01"), "NB001"),
        ] {
            refused(&mut bank.db, &format!("select txn_processing.place_hold({arguments})"), code);
        }
        for (status, code) in [("dormant", "NB003"), ("frozen", "NB003")] {
            bank.status(a, status);
            refused(&mut bank.db, &format!("select txn_processing.place_hold('{a}', 1)"), code);
        }
        for (arguments, code) in [
            ("null, 5", "22004"),
            ("'checking', null", "22004"),
            ("'checking', -0.1", "NB021"),
            ("'checking', 1000.1", "NB021"),
            ("'nothing', 5", "NB017"),
            ("'cash', 5", "NB017"),
            ("'checking', 'NaN'", "NB005"),
        ] {
            refused(&mut bank.db, &format!("select txn_processing.set_hold_rule({arguments})"), code);
        }
    });
}

#[test]
fn captures_and_releases_are_refused_with_their_codes() {
    by_both_paths(|bank| {
        let (a, other) = (bank.account("100"), bank.account("0"));
        let (euro, frozen, closed) =
            (bank.account_with("checking", "EUR", "0", "0"), bank.account("0"), bank.account("0"));
        bank.status(frozen, "frozen");
        bank.status(closed, "closed");
        let (cash, nobody) = (bank.internal("cash", "USD"), Uuid::from_u128(1));
        let h = hold(bank, a, "50");
        for (arguments, code) in [
            (", 0".to_owned(), "NB005"),
            (", -1".to_owned(), "NB005"),
            (", 'NaN'".to_owned(), "NB005"),
            (", 0.001".to_owned(), "NB005"),
            (", 50.01".to_owned(), "NB050"),
            (", final => null".to_owned(), "22004"),
            (format!(", to_account => '{a}'"), "NB006"),
            (format!(", to_account => '{euro}'"), "NB004"),
            (format!(", to_account => '{frozen}'"), "NB003"),
            (format!(", to_account => '{closed}'"), "NB003"),
            (format!(", to_account => '{nobody}'"), "NB002"),
            (format!(", to_account => '{cash}'"), "NB024"),
            (format!(", reference => '{}'", "x".repeat(51)), "NB021"),
        ] {
            refused(&mut bank.db, &capture(h, &arguments), code);
        }
        for name in ["capture_hold", "release_hold", "capture_hold_group", "release_hold_group"] {
            refused(&mut bank.db, &format!("select txn_processing.{name}(null)"), "22004");
            refused(&mut bank.db, &format!("select txn_processing.{name}('{nobody}')"), "NB011");
        }
        refused(&mut bank.db, &format!("select txn_processing.release_hold('{h}', ' ')"), "NB021");
        for status in ["frozen", "dormant"] {
            bank.status(a, status);
            refused(&mut bank.db, &capture(h, ""), "NB003");
        }
        // What is frozen or asleep may still be given back.
        bank.db.run(&release(h));
        bank.status(a, "active");
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{other}', 100)"));
    });
}

/// A hold that was captured whole, but not finally, is open for more. It sets nothing aside, and so its account could be
/// closed, or slotted and then captured from.
#[test]
fn a_hold_that_is_open_for_more_keeps_its_account_as_well() {
    by_both_paths(|bank| {
        let a = bank.account("10");
        let held = hold(bank, a, "10");
        bank.db.run(&capture(held, ", final => false"));
        assert!(state(bank, held).starts_with("open|"), "it was not captured finally");
        refused(&mut bank.db, &format!("select banking.close_account('{a}')"), "NB051");
        refused(&mut bank.db, &format!("select banking.set_balance_mode('{a}', 'slotted')"), "NB026");
        bank.db.run(&release(held));
        bank.mode(a, "slotted");
        bank.mode(a, "exclusive");
        bank.db.run(&format!("select banking.close_account('{a}')"));
    });
}

#[test]
fn an_account_with_open_holds_is_neither_closed_nor_spread() {
    by_both_paths(|bank| {
        let (a, other) = (bank.account("100"), bank.account("0"));
        let h = hold(bank, a, "30");
        let close = format!("select banking.close_account('{a}', '{other}')");
        let open = refused(&mut bank.db, &close, "NB051");
        assert_eq!(open.detail, format!("Holds set 30.00 aside on account {a}."));
        refused(&mut bank.db, &format!("select banking.set_balance_mode('{a}', 'slotted')"), "NB026");
        bank.db.run(&release(h));
        let late = expired(bank, a, "30");
        bank.mode(a, "slotted");
        // A hold that is over is over, whatever became of its account.
        assert_eq!(refused(&mut bank.db, &release(late), "NB011").detail, format!("Hold {late} is expired."));
        refused(&mut bank.db, &capture(late, ""), "NB011");
        assert_eq!(bank.db.count("select txn_processing.expire_holds()"), 1);
        bank.mode(a, "exclusive");
        assert_eq!((available(bank, a), stored(bank, a)), (dec("100"), dec("100")));
        expired(bank, a, "30");
        bank.db.run(&close);
        assert_eq!((bank.db.balance(other), stored(bank, a)), (dec("100"), dec("0")));
    });
}
