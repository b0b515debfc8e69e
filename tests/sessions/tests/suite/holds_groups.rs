//! Holds that belong together, retries of what was placed and captured, and what a rollback leaves of them.

use neobank_sessions::*;

fn hold(bank: &mut Bank, account: Uuid, arguments: &str) -> Uuid {
    bank.db.id(&format!("select txn_processing.place_hold('{account}', {arguments})"))
}

fn place(account: Uuid, arguments: &str) -> String {
    format!("select txn_processing.place_hold('{account}', {arguments})")
}

fn capture(hold: Uuid, arguments: &str) -> String {
    format!("select txn_processing.capture_hold('{hold}'{arguments})")
}

fn available(bank: &mut Bank, account: Uuid) -> Decimal {
    bank.db.money(&format!("select available_balance from banking.account_balances where account_id = '{account}'"))
}

fn states(bank: &mut Bank) -> String {
    bank.db.one("select coalesce(string_agg(state, ' ' order by placed_at), '') from txn_processing.account_holds")
}

#[test]
fn a_group_is_captured_whole_or_not_at_all() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let (a, b, shop) = (bank.account("100"), bank.account("100"), bank.account("0"));
        let euro = bank.account_with("checking", "EUR", "100", "0");
        let group = Uuid::from_u128(7);
        let of = format!("group_id => '{group}'");
        for (account, amount) in [(b, 10), (a, 20), (a, 30), (euro, 40)] {
            hold(&mut bank, account, &format!("{amount}, {of}"));
        }
        hold(&mut bank, a, "1");
        // One that cannot be captured leaves all of them as they were: a wrong currency, a frozen account.
        let all = format!("select txn_processing.capture_hold_group('{group}')");
        let to_shop = format!("select txn_processing.capture_hold_group('{group}', '{shop}')");
        refused(&mut bank.db, &to_shop, "NB004");
        bank.status(b, "frozen");
        refused(&mut bank.db, &all, "NB003");
        bank.status(b, "active");
        refused(&mut bank.db, &format!("select txn_processing.capture_hold_group('{group}', '{a}')"), "NB006");
        assert_eq!(states(&mut bank), "open open open open open");
        assert_eq!(bank.db.lines(&all).len(), 4);
        assert_eq!(states(&mut bank), "captured captured captured captured open");
        assert_eq!((bank.db.balance(a), available(&mut bank, a)), (dec("50"), dec("49")));
        let clearing = [bank.internal("payments_clearing", "USD"), bank.internal("payments_clearing", "EUR")];
        assert_eq!(clearing.map(|account| bank.db.balance(account)), [dec("60"), dec("40")]);
        refused(&mut bank.db, &all, "NB011");
        refused(&mut bank.db, &format!("select txn_processing.release_hold_group('{group}')"), "NB011");
        audit(&mut bank.db);
    }
}

/// Whether a group could be released depended on whether a job had marked those of its holds that had expired.
#[test]
fn an_expired_hold_is_no_part_of_its_group() {
    for marked in [false, true] {
        let mut bank = Bank::new();
        let a = bank.account("100");
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for group in [first, second] {
            hold(&mut bank, a, &format!("10, clock_timestamp() + interval '50 ms', group_id => '{group}'"));
            hold(&mut bank, a, &format!("20, group_id => '{group}'"));
        }
        bank.db.run("select pg_sleep(0.07)");
        if marked {
            assert_eq!(bank.db.count("select txn_processing.expire_holds()"), 2);
        }
        assert_eq!(bank.db.count(&format!("select txn_processing.release_hold_group('{first}', 'over')")), 1);
        assert_eq!(bank.db.lines(&format!("select txn_processing.capture_hold_group('{second}')")).len(), 1);
        assert_eq!(states(&mut bank), "expired released expired captured");
        assert_eq!((bank.db.balance(a), available(&mut bank, a)), (dec("80"), dec("80")));
        audit(&mut bank.db);
    }
}

#[test]
fn a_retry_of_a_hold_is_answered_whatever_became_of_it() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let (a, b) = (bank.account("100"), bank.account("100"));
        let id = Uuid::from_u128(9);
        let soon = bank.db.one("select clock_timestamp() + interval '80 ms'");
        let same =
            place(a, &format!("60.0, '{soon}', description => 'd', metadata => '{{\"a\": 1}}', hold_id => '{id}'"));
        assert_eq!(bank.db.id(&same), id);
        let before = snapshot(&mut bank.db);
        assert_eq!(bank.db.id(&same), id);
        assert_eq!(bank.db.id(&same.replace("60.0", "60").replace("'d'", "'d', currency => 'USD'")), id);
        assert_eq!(before, snapshot(&mut bank.db));
        for other in [
            same.replace("60.0", "61"),
            same.replace("'d'", "'e'"),
            same.replace("\"a\": 1", "\"a\": 2"),
            same.replace("'d'", "'d', to_account => '00000000-0000-0000-0000-000000000001'"),
            same.replace(&a.to_string(), &b.to_string()),
            place(a, &format!("60, hold_id => '{id}'")),
        ] {
            refused(&mut bank.db, &other, "NB007");
        }
        bank.db.run("select pg_sleep(0.1)");
        assert_eq!(bank.db.id(&same), id, "its time is over, and it was placed");
        for status in ["dormant", "frozen", "active"] {
            bank.status(a, status);
            assert_eq!(bank.db.id(&same), id, "the account is {status}");
        }
        bank.mode(a, "slotted");
        assert_eq!(bank.db.id(&same), id, "the account is slotted");
        audit(&mut bank.db);
    }
}

#[test]
fn a_retry_of_a_capture_is_answered_after_the_hold_is_closed() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let (a, shop) = (bank.account("100"), bank.account("0"));
        let (h, twin) = (hold(&mut bank, a, "40"), hold(&mut bank, a, "40"));
        let id = Uuid::from_u128(11);
        let tail = format!(", to_account => '{shop}', transaction_id => '{id}'");
        let part = capture(h, &format!(", 15, final => false{tail}"));
        assert_eq!(bank.db.id(&part), id);
        assert_eq!(bank.db.id(&part), id, "the hold is open");
        bank.db.run(&capture(h, ""));
        let before = snapshot(&mut bank.db);
        assert_eq!(bank.db.id(&part), id, "the hold is closed");
        assert_eq!(before, snapshot(&mut bank.db));
        refused(&mut bank.db, &part.replace(", 15,", ", 16,"), "NB007");
        // The same posting, but out of another hold or of none, is another transaction.
        refused(&mut bank.db, &part.replace(&h.to_string(), &twin.to_string()), "NB007");
        let plain = format!("select txn_processing.transfer('{a}', '{shop}', 15, transaction_id => '{id}')");
        refused(&mut bank.db, &plain, "NB007");
        let other = Uuid::from_u128(12);
        bank.db.run(&plain.replace(&id.to_string(), &other.to_string()));
        refused(
            &mut bank.db,
            &capture(twin, &tail.replace(&id.to_string(), &other.to_string()).replace(", to", ", 15, to")),
            "NB007",
        );
        let batch = format!(
            "select code from txn_processing.post_transfers(array['{a}']::uuid[], array['{shop}']::uuid[], \
             array[15], array['{id}']::uuid[])"
        );
        assert_eq!(bank.db.one(&batch), "id_conflict");
        audit(&mut bank.db);
    }
}

#[test]
fn what_is_rolled_back_holds_and_captures_nothing() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let a = bank.account("100");
        let h = hold(&mut bank, a, "50");
        let before = snapshot(&mut bank.db);
        bank.db.run("begin");
        bank.db.run(&capture(h, ", 10, final => false"));
        bank.db.run("savepoint s");
        bank.db.run(&capture(h, ", 20, final => false"));
        bank.db.run(&place(a, "50"));
        assert_eq!(available(&mut bank, a), dec("0"));
        bank.db.run("rollback to s");
        assert_eq!(available(&mut bank, a), dec("50"));
        bank.db.run(&format!("select txn_processing.release_hold('{h}')"));
        bank.db.fails(&capture(h, ""));
        bank.db.run("rollback to s");
        bank.db.run(&capture(h, ""));
        assert_eq!((bank.db.balance(a), available(&mut bank, a)), (dec("50"), dec("50")));
        bank.db.run("rollback");
        assert_eq!(before, snapshot(&mut bank.db));
        // A refusal inside a chain takes the capture before it back, too.
        bank.db.run("begin; savepoint s");
        bank.db.run(&capture(h, ""));
        bank.db.fails(&capture(h, ""));
        bank.db.run("rollback to s; commit");
        assert_eq!(before, snapshot(&mut bank.db));
        audit(&mut bank.db);
    }
}

#[test]
fn batches_and_reversals_keep_what_is_held() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let (a, b) = (bank.account("100"), bank.account("0"));
        let h = hold(&mut bank, a, &format!("70, to_account => '{b}'"));
        hold(&mut bank, a, "10, clock_timestamp() + interval '40 ms'");
        bank.db.run("select pg_sleep(0.06)");
        let batch = format!(
            "select string_agg(code, ' ' order by ordinal) from txn_processing.post_transfers(\
             array['{a}', '{a}', '{b}', '{a}']::uuid[], array['{b}', '{b}', '{a}', '{b}']::uuid[], array[20, 20, 15, 25])"
        );
        assert_eq!(bank.db.one(&batch), "ok insufficient_funds ok ok");
        assert_eq!((bank.db.balance(a), available(&mut bank, a)), (dec("70"), dec("0")));
        let captured = bank.db.id(&capture(h, ""));
        bank.db.run(&format!("select txn_processing.reverse('{captured}', 'goods came back')"));
        assert_eq!((bank.db.balance(a), available(&mut bank, a)), (dec("70"), dec("70")));
        refused(&mut bank.db, &capture(h, ""), "NB011");
        // A charge goes past what is held; then the hold is not covered.
        let h = hold(&mut bank, a, "70");
        bank.db.run(&format!("select txn_processing.charge_fee('{a}', 5)"));
        assert_eq!(available(&mut bank, a), dec("-5"));
        let short = refused(&mut bank.db, &capture(h, ""), "NB001");
        assert_eq!(short.detail, format!("Account {a} has 65.00 available, 70.00 was requested."));
        bank.db.run(&capture(h, ", 65"));
        assert_eq!((bank.db.balance(a), available(&mut bank, a)), (dec("0"), dec("0")));
        audit(&mut bank.db);
    }
}

#[test]
fn a_teller_holds_and_an_operator_expires() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let (reader, teller, operator) = (bank.role("reader"), bank.role("teller"), bank.role("operator"));
    for (role, level) in [(&reader, "reader"), (&teller, "teller"), (&operator, "operator")] {
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
    }
    let mut sessions = [bank.session_as(&reader), bank.session_as(&teller), bank.session_as(&operator)];
    let h = hold(&mut bank, a, "1");
    for call in [
        place(a, "1"),
        capture(h, ""),
        format!("select txn_processing.release_hold('{h}')"),
        format!("select txn_processing.capture_hold_group('{h}')"),
        format!("select txn_processing.release_hold_group('{h}')"),
    ] {
        refused_with_code_only(&mut sessions[0], &call, "42501");
    }
    let by = "select placed_by from txn_processing.holds order by placed_at desc limit 1";
    for session in &mut sessions[1..] {
        let h = session.id(&place(a, "1"));
        session.run(&capture(h, ""));
        let h = session.id(&place(a, "1"));
        session.run(&format!("select txn_processing.release_hold('{h}')"));
        refused_with_code_only(session, "update txn_processing.holds set amount = 0.01", "42501");
        refused_with_code_only(session, "delete from txn_processing.hold_captures", "42501");
    }
    assert_eq!(bank.db.one(by), operator);
    for call in ["expire_holds()", "set_hold_rule('checking', 5)"] {
        refused_with_code_only(&mut sessions[1], &format!("select txn_processing.{call}"), "42501");
        sessions[2].run(&format!("select txn_processing.{call}"));
    }
    audit(&mut bank.db);
}
