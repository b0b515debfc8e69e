//! Fees by rule: once per transaction and code, once per account and period, and never half of a transfer with its fee.

use neobank_sessions::*;

fn schedule(bank: &mut Bank, arguments: &str) {
    bank.db.run(&format!("select txn_processing.set_fee_schedule({arguments})"));
}

const SINCE: &str = "current_date - 400";

fn wire(bank: &mut Bank) {
    let bounds = "percent => 1, floor_amount => 2, cap_amount => 20";
    schedule(bank, &format!("'wire', 'transfer', 'USD', 'percentage', {SINCE}, {bounds}"));
}

/// Charged fees without a posting, and fee postings that nobody charged twice.
fn sound(bank: &mut Bank) {
    let astray = "select f.* from txn_processing.fees_charged f left join txn_processing.movements m \
                  on m.transaction_id = f.fee_transaction and m.leg = f.fee_leg and m.transaction_type = 'fee' \
                  and m.amount = f.amount and m.debit_account = f.account_id where m.leg is null";
    assert_eq!(bank.db.lines(astray), [""; 0]);
    let income: Uuid = bank.internal("fee_income", "USD");
    let charged = bank.db.money(
        "select coalesce(sum(amount), 0) from txn_processing.movements m where transaction_type = 'fee' \
         and not exists (select from txn_processing.movements r where r.reverses = m.transaction_id)",
    );
    assert_eq!(bank.db.balance(income), charged);
    audit(&mut bank.db);
}

#[test]
fn the_schedule_that_fits_best_is_the_one_that_holds() {
    let mut bank = Bank::new();
    let checking = bank.account("1000");
    let savings = bank.account_with("savings", "USD", "1000", "0");
    schedule(&mut bank, &format!("'wire', 'transfer', 'USD', 'fixed', {SINCE}, fixed_amount => 5"));
    schedule(&mut bank, &format!("'wire', 'transfer', 'USD', 'fixed', {SINCE}, 'savings', fixed_amount => 7"));
    schedule(&mut bank, "'wire', 'transfer', 'USD', 'fixed', current_date - 10, fixed_amount => 6");
    schedule(
        &mut bank,
        &format!(
            "'tax', 'transfer', 'USD', 'tiered', {SINCE}, percent => 1, tier_from => '{{100}}', tier_percent => '{{2}}', tier_fixed => '{{0.5}}', valid_to => current_date - 5"
        ),
    );
    schedule(&mut bank, &format!("'wire', 'transfer', 'EUR', 'fixed', {SINCE}, fixed_amount => 9"));
    let mut fees = |account: Uuid, kind: &str, days: i32| {
        bank.db.lines(&format!(
            "select fee_code, fee from txn_processing.fee_for('{kind}', '{account}', 150, now() - interval '{days} days')"
        ))
    };
    assert_eq!(fees(checking, "transfer", 0), ["wire|6.00"]);
    assert_eq!(fees(checking, "transfer", 7), ["tax|2.50", "wire|6.00"]);
    assert_eq!(fees(checking, "transfer", 20), ["tax|2.50", "wire|5.00"]);
    assert_eq!(fees(savings, "transfer", 0), ["wire|7.00"], "its own type goes before a later schedule for any");
    assert_eq!(fees(checking, "payment", 0), [""; 0]);
    assert_eq!(fees(checking, "transfer", 500), [""; 0]);
    // Of two for the same day the later one holds, and the same again adds nothing.
    schedule(&mut bank, "'wire', 'transfer', 'USD', 'fixed', current_date - 10, fixed_amount => 4");
    let before = snapshot(&mut bank.db);
    schedule(&mut bank, "'wire', 'transfer', 'USD', 'fixed', current_date - 10, fixed_amount => 4.00");
    assert_eq!(before, snapshot(&mut bank.db));
    let now = format!("select fee from txn_processing.fee_for('transfer', '{checking}', 150)");
    assert_eq!(bank.db.one(&now), "4.00");
}

#[test]
fn a_fee_on_a_transaction_is_charged_once() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    wire(&mut bank);
    schedule(&mut bank, &format!("'stamp', 'transfer', 'USD', 'fixed', {SINCE}, fixed_amount => 0.30"));
    schedule(&mut bank, &format!("'counter', 'deposit', 'USD', 'fixed', {SINCE}, fixed_amount => 1"));
    let transfer = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 500)"));
    let apply = format!("select charged_code, fee, fee_transaction from txn_processing.apply_fee('{transfer}')");
    // One code alone, then all, then by four sessions at once.
    let one = apply.replace(&format!("'{transfer}'"), &format!("'{transfer}', 'stamp'"));
    let stamp = bank.db.lines(&one);
    assert_eq!(stamp.len(), 1, "{stamp:?}");
    let answers = together(&bank, 4, {
        let apply = apply.clone();
        move |_, session| session.lines(&apply)
    });
    assert_eq!(answers[0].len(), 2, "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.contains(&stamp[0])), "{answers:?}");
    assert_eq!(bank.db.balance(a), dec("494.70"));
    // The credited customer pays for a deposit.
    let slip = bank.db.id(&format!("select txn_processing.deposit('{b}', 10)"));
    bank.db.run(&format!("select txn_processing.apply_fee('{slip}')"));
    assert_eq!(bank.db.balance(b), dec("509"));
    // A charge passes the limit, as charge_fee does.
    bank.db.run(&format!("select txn_processing.withdraw('{b}', 509)"));
    let small = bank.db.id(&format!("select txn_processing.deposit('{b}', 0.10)"));
    bank.db.run(&format!("select txn_processing.apply_fee('{small}')"));
    assert_eq!(bank.db.balance(b), dec("-0.90"));
    // What takes none says why; a retry after the reversal still answers what was charged.
    let fee = bank.db.id(&format!("select fee_transaction from txn_processing.apply_fee('{transfer}', 'stamp')"));
    let reversed = bank.db.id(&format!("select txn_processing.deposit('{b}', 5)"));
    let reversal = bank.db.id(&format!("select txn_processing.reverse('{reversed}', 'why')"));
    for id in [Uuid::nil(), fee, reversed, reversal] {
        refused(&mut bank.db, &format!("select txn_processing.apply_fee('{id}')"), "NB043");
    }
    refused(&mut bank.db, "select txn_processing.apply_fee(null)", "22004");
    refused(&mut bank.db, &format!("select txn_processing.apply_fee('{transfer}', ' ')"), "NB021");
    let income = bank.internal("fee_income", "USD");
    assert_eq!(bank.db.balance(income), dec("7.30"));
    bank.db.run(&format!("select txn_processing.deposit('{b}', 600)"));
    bank.db.run(&format!("select txn_processing.reverse('{transfer}', 'why')"));
    assert_eq!(bank.db.lines(&apply), answers[0]);
    // A frozen payer is not charged, and nothing of it is left.
    let last = bank.db.id(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
    bank.status(a, "frozen");
    refused(&mut bank.db, &format!("select txn_processing.apply_fee('{last}')"), "NB003");
    bank.status(a, "active");
    let before = snapshot(&mut bank.db);
    bank.db.run(&format!("begin; select txn_processing.apply_fee('{last}'); rollback"));
    assert_eq!(before, snapshot(&mut bank.db));
    sound(&mut bank);
}

#[test]
fn a_transfer_with_its_fee_is_one_transaction() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("103.50"), bank.account("0"));
    let send =
        |amount: &str, more: &str| format!("select txn_processing.transfer_with_fee('{a}', '{b}', {amount}{more})");
    // Nothing asked for, nothing charged.
    bank.db.run(&send("1.50", ""));
    assert_eq!(bank.db.balance(a), dec("102"));
    wire(&mut bank);
    // The funds would do for the transfer alone.
    let refusal = refused(&mut bank.db, &send("100.01", ""), "NB001");
    assert!(refusal.detail.contains("100.00 available"), "{refusal}");
    let id = Uuid::now_v7();
    let named = format!(", description => 'rent', transaction_id => '{id}'");
    assert_eq!(bank.db.id(&send("100", &named)), id);
    assert_eq!(bank.db.balance(a), dec("0"));
    let legs = format!("select leg, transaction_type, amount, description from txn_processing.transaction('{id}')");
    assert_eq!(bank.db.lines(&legs), ["1|transfer|100.00|rent", "2|fee|2.00|Fee wire"]);
    // A retry answers, though the fee would be another now; other content is a conflict.
    schedule(&mut bank, "'wire', 'transfer', 'USD', 'fixed', current_date - 1, fixed_amount => 9");
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&send("100", &named)), id);
    assert_eq!(before, snapshot(&mut bank.db));
    refused(&mut bank.db, &send("99", &named), "NB007");
    let plain = bank.db.id(&format!("select txn_processing.transfer('{b}', '{a}', 50)"));
    let reuse = format!(", transaction_id => '{plain}'");
    refused(&mut bank.db, &send("1", &reuse), "NB007");
    // It is charged already, and goes back whole.
    let again = format!("select charged_code, fee from txn_processing.apply_fee('{id}')");
    assert_eq!(bank.db.lines(&again), ["wire|2.00"]);
    bank.db.run(&format!("select txn_processing.reverse('{id}', 'why')"));
    assert_eq!(bank.db.balance(a), dec("152"));
    for (sql, code) in [
        (format!("select txn_processing.transfer_with_fee(null, '{b}', 1)"), "22004"),
        (format!("select txn_processing.transfer_with_fee('{a}', null, 1)"), "22004"),
        (format!("select txn_processing.transfer_with_fee('{a}', '{b}', null)"), "22004"),
        (send("0", ""), "NB005"),
        (send("1.001", ""), "NB005"),
        (send("1", ", 'EUR'"), "NB004"),
        (send("1", ", effective_at => now() + interval '1 day'"), "NB022"),
        (send("1", ", reference => repeat('x', 51)"), "NB021"),
        (format!("select txn_processing.transfer_with_fee('{a}', '{a}', 1)"), "NB006"),
        (format!("select txn_processing.transfer_with_fee('{}', '{b}', 1)", Uuid::nil()), "NB002"),
        (format!("select txn_processing.transfer_with_fee('{a}', '{}', 1)", Uuid::nil()), "NB002"),
        (format!("select txn_processing.transfer_with_fee('{a}', '{}', 1)", bank.internal("cash", "USD")), "NB024"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    let slotted = bank.slotted("checking", "100", "0");
    bank.db.run(&format!("select txn_processing.transfer_with_fee('{slotted}', '{b}', 91)"));
    refused(&mut bank.db, &format!("select txn_processing.transfer_with_fee('{slotted}', '{b}', 0.01)"), "NB001");
    let charged = "select count(*) from txn_processing.fees_charged";
    assert_eq!(bank.db.count(charged), 2);
    audit(&mut bank.db);
}

#[test]
fn the_same_transfer_from_many_sessions_is_posted_once() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    wire(&mut bank);
    for _ in 0..10 {
        let id = Uuid::now_v7();
        let answers = together(&bank, 4, move |_, session| {
            session.try_lines(&format!(
                "select txn_processing.transfer_with_fee('{a}', '{b}', 10, transaction_id => '{id}')"
            ))
        });
        for answer in answers {
            assert_eq!(answer.expect("the others wait, and answer the same"), [id.to_string()]);
        }
    }
    assert_eq!(bank.db.balance(a), dec("880"));
    sound(&mut bank);
}

/// Accounts that were open at yesterday's end.
fn grown(bank: &mut Bank, accounts: usize) -> Vec<Uuid> {
    let opened: Vec<Uuid> = (0..accounts).map(|_| bank.account("0")).collect();
    bank.db.run(
        "set neobank.ledger_guard = off; update banking.accounts set created_at = now() - interval '90 days'; \
         reset neobank.ledger_guard",
    );
    opened
}

#[test]
fn a_periodic_fee_is_charged_once_a_period_whoever_calls() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let accounts = grown(&mut bank, 9);
    for account in &accounts {
        bank.db.run(&format!(
            "select txn_processing.deposit('{account}', 1000, effective_at => now() - interval '70 days')"
        ));
    }
    schedule(
        &mut bank,
        &format!("'upkeep', 'periodic', 'USD', 'fixed', {SINCE}, fixed_amount => 3, period => 'month'"),
    );
    schedule(
        &mut bank,
        &format!("'custody', 'periodic', 'USD', 'percentage', {SINCE}, percent => 0.5, period => 'year'"),
    );
    bank.status(accounts[0], "frozen");
    let charge = |session: &mut Client, date: &str, chunk: usize| {
        let sql = format!("select posted, refused, done from txn_processing.charge_periodic_fees({date}, {chunk})");
        let mut posted = 0;
        loop {
            let line = session.one(&sql);
            let parts: Vec<&str> = line.split('|').collect();
            posted += parts[0].parse::<i64>().expect("a count");
            if parts[2] == "t" {
                return posted;
            }
        }
    };
    let month = "date_trunc('month', current_date)::date - 1";
    let posted = together(&bank, 3, move |n, session| charge(session, month, 1 + n));
    assert_eq!(posted.iter().sum::<i64>(), 16);
    assert_eq!(bank.db.balance(accounts[1]), dec("992"));
    let refusals = "select distinct account_id, sqlstate from txn_processing.run_refusals";
    assert_eq!(bank.db.lines(refusals), [format!("{}|NB003", accounts[0])]);
    // Another day of the same month charges what was refused, and nothing else; the month before is another period.
    bank.status(accounts[0], "active");
    assert_eq!(charge(&mut bank.db, "date_trunc('month', current_date)::date - 2", 4), 2);
    let earlier = "(date_trunc('month', current_date) - interval '1 month')::date - 1";
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    assert!(charge(&mut bank.db, earlier, 100) >= 9);
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    bank.db.run(&format!("call txn_processing.run_periodic_fees({earlier}, 2)"));
    bank.db.run(&format!("call txn_processing.run_periodic_fees({earlier}, 2)"));
    let each = "select count(*) from (select account_id, fee_code, period_start from txn_processing.fees_charged \
                where fee_code = 'upkeep' group by 1, 2, 3) x";
    assert_eq!(bank.db.count(each), 18);
    for (arguments, code) in [
        ("null", "22004"),
        ("current_date + 1", "NB040"),
        ("current_date - 1, 0", "NB021"),
        ("current_date - 1, null", "22004"),
    ] {
        refused(&mut bank.db, &format!("select txn_processing.charge_periodic_fees({arguments})"), code);
    }
    sound(&mut bank);
}

#[test]
fn schedules_out_of_bounds_are_refused() {
    let mut bank = Bank::new();
    let account = bank.account("10");
    let ok = "'wire', 'transfer', 'USD', 'percentage', current_date, percent => 1";
    for (arguments, code) in [
        (ok.replace("'wire'", "null"), "22004"),
        (ok.replace("'transfer'", "null"), "22004"),
        (ok.replace("'USD'", "null"), "22004"),
        (ok.replace("'percentage'", "null"), "22004"),
        (ok.replace("current_date", "null"), "22004"),
        (ok.replace("=> 1", "=> null"), "22004"),
        (format!("{ok}, fixed_amount => null"), "22004"),
        (ok.replace("'wire'", "' '"), "NB021"),
        (ok.replace("'wire'", "repeat('x', 51)"), "NB021"),
        (ok.replace("'transfer'", "'interest'"), "NB021"),
        (ok.replace("'percentage'", "'free'"), "NB021"),
        (ok.replace("=> 1", "=> 100.1"), "NB021"),
        (ok.replace("=> 1", "=> 'infinity'"), "NB021"),
        (ok.replace("=> 1", "=> 0"), "NB021"),
        (format!("{ok}, floor_amount => 5, cap_amount => 4"), "NB021"),
        (format!("{ok}, floor_amount => 0.001"), "NB021"),
        (ok.replace("'percentage'", "'fixed'").replace("=> 1", "=> 0") + ", floor_amount => 1", "NB021"),
        (ok.replace("'percentage'", "'fixed'").replace("=> 1", "=> 0") + ", cap_amount => 1", "NB021"),
        (format!("{ok}, tier_from => '{{1}}', tier_percent => '{{1}}'"), "NB021"),
        (format!("{ok}, period => 'month'"), "NB021"),
        (format!("{ok}, valid_to => current_date - 1"), "NB021"),
        (ok.replace("'transfer'", "'periodic'"), "NB021"),
        (ok.replace("'transfer'", "'periodic'") + ", period => 'week'", "NB021"),
        (ok.replace("'percentage'", "'tiered'") + ", tier_from => '{2}', tier_percent => '{1, 2}'", "NB021"),
        (ok.replace("'percentage'", "'tiered'") + ", tier_from => '{2,1}', tier_percent => '{1, 2}'", "NB021"),
        (
            ok.replace("'percentage'", "'tiered'")
                + ", tier_from => '{2}', tier_percent => '{1}', tier_fixed => '{null}'",
            "22004",
        ),
        (ok.replace("'USD'", "'XXZ'"), "NB016"),
        (format!("{ok}, account_type => 'cash'"), "NB017"),
        (format!("{ok}, tenant => '00000000-0000-0000-0000-000000000001'"), "NB015"),
    ] {
        refused(&mut bank.db, &format!("select txn_processing.set_fee_schedule({arguments})"), code);
    }
    for (arguments, code) in [
        (format!("null, '{account}', 1"), "22004"),
        ("'transfer', null, 1".to_owned(), "22004"),
        (format!("'transfer', '{account}', null"), "22004"),
        (format!("'transfer', '{account}', 1, null"), "22004"),
        (format!("'fee', '{account}', 1"), "NB021"),
        (format!("'transfer', '{account}', 0"), "NB005"),
        (format!("'transfer', '{}', 1", Uuid::nil()), "NB002"),
    ] {
        refused(&mut bank.db, &format!("select * from txn_processing.fee_for({arguments})"), code);
    }
}
