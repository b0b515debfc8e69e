//! Payments to and from other banks, and their settlement.

use neobank_sessions::*;
use std::thread;

const TODAY: &str = "(now() at time zone 'UTC')::date";

fn settle(date: &str) -> String {
    format!(
        "select counterparty_bank, payments, outgoing, incoming, net, transaction_id is null \
         from txn_processing.settle({date}, 'USD')"
    )
}

fn pay(bank: &mut Bank, account: Uuid, amount: &str, to: &str, more: &str) -> Uuid {
    bank.db.id(&format!("select txn_processing.pay_bank('{account}', {amount}, '{to}', 'acc-1'{more})"))
}

fn holds(bank: &mut Bank, kind: &str) -> rust_decimal::Decimal {
    let account = bank.internal(kind, "USD");
    bank.db.balance(account)
}

/// The open items of every clearing account add up to what it holds, and a settled one has its posting.
fn clear(session: &mut Client) {
    let off = session.lines(
        "select s.settlement_id from txn_processing.settlements s \
         left join txn_processing.movements m on m.transaction_id = s.transaction_id \
         where coalesce(m.amount, 0) <> abs(s.net) or (s.payments, s.outgoing, s.incoming) <> ( \
           select count(*), coalesce(sum(amount) filter (where direction = 'outgoing'), 0), \
           coalesce(sum(amount) filter (where direction = 'incoming'), 0) \
           from txn_processing.clearing_items c where c.settlement_id = s.settlement_id \
           and c.counterparty_bank = s.counterparty_bank and c.tenant_no = s.tenant_no \
           and c.currency_code = s.currency_code)",
    );
    assert_eq!(off, [""; 0], "settlements that are not what their items add up to");
    audit(session);
}

#[test]
fn payments_between_banks_leave_items() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let clearing = bank.internal("payments_clearing", "USD");
    let paid = pay(&mut bank, a, "30", "ST", ", 'USD', 'rent', 'R-1', '{\"n\": 1}'");
    let got = bank.db.id(&format!("select txn_processing.receive_from_bank('{a}', 12.50, 'YZ', '9')"));
    assert_eq!(bank.db.balance(a), dec("82.50"));
    assert_eq!(bank.db.balance(clearing), dec("17.50"));
    let shown = |id: Uuid| {
        format!(
            "select transaction_type, debit_account = '{clearing}', amount, description, reference_number like 'R-1', \
             metadata from txn_processing.transaction('{id}')"
        )
    };
    assert_eq!(
        bank.db.one(&shown(paid)),
        "payment|f|30.00|rent|t|{\"n\": 1, \"counterparty_bank\": \"ST\", \"counterparty_account\": \"acc-1\"}"
    );
    assert_eq!(
        bank.db.one(&shown(got)),
        "deposit|t|12.50||f|{\"counterparty_bank\": \"YZ\", \"counterparty_account\": \"9\"}"
    );
    let items = "select direction, amount, counterparty_bank, counterparty_account, settlement_id is null \
                 from txn_processing.clearing_items order by amount";
    assert_eq!(bank.db.lines(items), ["incoming|12.50|YZ|9|t", "outgoing|30.00|ST|acc-1|t"]);
    audit(&mut bank.db);
}

#[test]
fn a_retry_to_another_counterparty_is_refused() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let id = Uuid::now_v7();
    let call = |function: &str, more: &str| {
        format!("select txn_processing.{function}('{a}', 10, {more}transaction_id => '{id}')")
    };
    let first = call("pay_bank", "'ST', '1', ");
    bank.db.run(&first);
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&first), id);
    assert_eq!(before, snapshot(&mut bank.db));
    for other in [
        call("pay_bank", "'YZ', '1', "),
        call("pay_bank", "'ST', '2', "),
        call("receive_from_bank", "'ST', '1', "),
        call("pay", ""),
        call("deposit", ""),
    ] {
        refused(&mut bank.db, &other, "NB007");
    }
    let plain = Uuid::now_v7();
    bank.db.run(&format!("select txn_processing.pay('{a}', 10, transaction_id => '{plain}')"));
    refused(
        &mut bank.db,
        &format!("select txn_processing.pay_bank('{a}', 10, 'ST', '1', transaction_id => '{plain}')"),
        "NB007",
    );
    let sql = format!("select txn_processing.pay_bank('{a}', 1, 'ST', '1', transaction_id => '{}')", Uuid::now_v7());
    together(&bank, 4, move |_, session| session.run(&sql));
    assert_eq!(bank.db.count("select count(*) from txn_processing.clearing_items"), 2);
    assert_eq!(bank.db.balance(a), dec("79"));
    clear(&mut bank.db);
}

#[test]
fn what_cannot_be_paid_is_refused() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let cash = bank.internal("cash", "USD");
    let nobody = Uuid::now_v7();
    for function in ["pay_bank", "receive_from_bank"] {
        for (arguments, code) in [
            ("null, 1, 'ST', '1'".to_owned(), "22004"),
            (format!("'{a}', null, 'ST', '1'"), "22004"),
            (format!("'{a}', 1, null, '1'"), "22004"),
            (format!("'{a}', 1, 'ST', null"), "22004"),
            (format!("'{a}', 1, ' ', '1'"), "NB021"),
            (format!("'{a}', 1, 'ST', ''"), "NB021"),
            (format!("'{a}', 1, 'unassigned', '1'"), "NB021"),
            (format!("'{a}', 1, repeat('x', 51), '1'"), "NB021"),
            (format!("'{a}', 1, 'ST', repeat('x', 51)"), "NB021"),
            (format!("'{a}', 1, 'ST', '1', metadata => '[]'"), "NB021"),
            (format!("'{a}', 0, 'ST', '1'"), "NB005"),
            (format!("'{a}', 'NaN', 'ST', '1'"), "NB005"),
            (format!("'{a}', 1.001, 'ST', '1'"), "NB005"),
            (format!("'{a}', 1, 'ST', '1', 'EUR'"), "NB004"),
            (format!("'{nobody}', 1, 'ST', '1'"), "NB002"),
            (format!("'{cash}', 1, 'ST', '1'"), "NB024"),
            (format!("'{a}', 1, 'ST', '1', effective_at => now() + interval '1 hour'"), "NB022"),
        ] {
            refused(&mut bank.db, &format!("select txn_processing.{function}({arguments})"), code);
        }
    }
    refused(&mut bank.db, &format!("select txn_processing.pay_bank('{a}', 100.01, 'ST', '1')"), "NB001");
    bank.db.run("begin");
    pay(&mut bank, a, "5", "ST", "");
    bank.db.run("rollback");
    assert_eq!(bank.db.count("select count(*) from txn_processing.clearing_items"), 0);
    let role = bank.role("nobody");
    bank.db.run(&format!("select neobank.grant_usage('{role}', 'reader')"));
    let mut session = bank.session_as(&role);
    for sql in [
        format!("select txn_processing.pay_bank('{a}', 1, 'ST', '1')"),
        format!("select txn_processing.receive_from_bank('{a}', 1, 'ST', '1')"),
        settle(TODAY),
    ] {
        refused_with_code_only(&mut session, &sql, "42501");
    }
}

#[test]
fn a_settlement_nets_each_counterparty_once() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("1000"));
    pay(&mut bank, a, "30", "ST", "");
    pay(&mut bank, b, "12.25", "ST", "");
    pay(&mut bank, a, "5", "YZ", "");
    bank.db.run(&format!("select txn_processing.receive_from_bank('{b}', 105, 'YZ', '1')"));
    pay(&mut bank, a, "8", "QR", "");
    bank.db.run(&format!("select txn_processing.receive_from_bank('{b}', 8, 'QR', '1')"));
    let report = ["QR|2|8.00|8.00|0.00|t", "ST|2|42.25|0.00|42.25|f", "YZ|2|5.00|105.00|-100.00|f"];
    assert_eq!(bank.db.lines(&settle(TODAY)), report);
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("0"));
    assert_eq!(holds(&mut bank, "nostro"), dec("57.75"));
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.lines(&settle(TODAY)), report, "the second call answers the first report");
    assert_eq!(before, snapshot(&mut bank.db));
    // What comes late goes with the next date.
    pay(&mut bank, a, "1", "ST", "");
    assert_eq!(bank.db.lines(&settle(TODAY)), report);
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("1"));
    let view = "select settlement_date = (now() at time zone 'UTC')::date, counterparty_bank, net, settled_by, \
                cut_off = (settlement_date + 1)::timestamp at time zone 'UTC' \
                from txn_processing.settlement_report order by 2";
    assert_eq!(bank.db.lines(view), ["t|QR|0.00|postgres|t", "t|ST|42.25|postgres|t", "t|YZ|-100.00|postgres|t"]);
    let described = "select description like 'Settlement of ____-__-__ with ST, 2 payments', transaction_type \
                     from txn_processing.settlements s, txn_processing.transaction(s.transaction_id) t \
                     where counterparty_bank = 'ST'";
    assert_eq!(bank.db.one(described), "t|adjustment");
    clear(&mut bank.db);
}

#[test]
fn each_date_takes_what_counts_from_before_its_end() {
    let mut bank = Bank::new();
    bank.db.run("set timezone = 'Pacific/Auckland'");
    let a = bank.account("1000");
    let day = |back: i32| format!("{TODAY} - {back}");
    let end_of = |back: i32| format!(", effective_at => ({} + 1)::timestamp at time zone 'UTC'", day(back));
    pay(&mut bank, a, "1", "ST", &format!("{} - interval '1 microsecond'", end_of(3)));
    pay(&mut bank, a, "2", "ST", &end_of(3));
    pay(&mut bank, a, "4", "ST", &format!("{} - interval '1 microsecond'", end_of(2)));
    pay(&mut bank, a, "8", "ST", "");
    assert_eq!(bank.db.lines(&settle(&day(4))), [""; 0]);
    assert_eq!(bank.db.lines(&settle(&day(3))), ["ST|1|1.00|0.00|1.00|f"]);
    // For a date that is settled already, so with the next one.
    pay(&mut bank, a, "16", "ST", &format!("{} - interval '1 microsecond'", end_of(3)));
    assert_eq!(bank.db.lines(&settle(&day(3))), ["ST|1|1.00|0.00|1.00|f"]);
    assert_eq!(bank.db.lines(&settle(&day(2))), ["ST|3|22.00|0.00|22.00|f"]);
    refused(&mut bank.db, &settle(&day(5)), "NB032");
    assert_eq!(bank.db.lines(&settle(&day(3))), ["ST|1|1.00|0.00|1.00|f"], "a settled date still answers");
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("8"));
    assert_eq!(bank.db.lines(&settle(TODAY)), ["ST|1|8.00|0.00|8.00|f"]);
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("0"));
    clear(&mut bank.db);
}

#[test]
fn what_cannot_be_settled_is_refused() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    pay(&mut bank, a, "5", "ST", "");
    for (arguments, code) in [
        ("null, 'USD'".to_owned(), "22004"),
        ("current_date, null".to_owned(), "22004"),
        (format!("{TODAY} + 1, 'USD'"), "NB032"),
        ("'infinity', 'USD'".to_owned(), "NB032"),
        ("'-infinity', 'USD'".to_owned(), "NB032"),
        ("'1899-12-31', 'USD'".to_owned(), "NB032"),
        ("'2020-01-01', 'QQQ'".to_owned(), "NB016"),
        (format!("'2020-01-01', 'USD', '{}'", Uuid::now_v7()), "NB015"),
    ] {
        refused(&mut bank.db, &format!("select * from txn_processing.settle({arguments})"), code);
    }
    // A currency in which nobody has an account has nothing to settle.
    assert_eq!(bank.db.lines("select * from txn_processing.settle('2020-01-01', 'CHF')"), [""; 0]);
    bank.db.run("begin");
    bank.db.run(&settle(TODAY));
    bank.db.run("rollback");
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("5"));
    assert_eq!(bank.db.lines(&settle(TODAY)), ["ST|1|5.00|0.00|5.00|f"]);
    clear(&mut bank.db);
}

#[test]
fn an_item_that_was_lost_stops_the_settlement() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    pay(&mut bank, a, "5", "ST", "");
    bank.db.run(&settle(&format!("{TODAY} - 1")));
    pay(&mut bank, a, "7", "ST", "");
    // The sweep finds what lost its item since the last settlement, and no more.
    bank.db.run("update txn_processing.clearing_items set amount = 4 where amount = 5");
    let refusal = refused(&mut bank.db, &settle(TODAY), "NB035");
    assert_eq!(refusal.detail, "The account holds 12.00, its open items add up to 11.00.");
    bank.db.run("update txn_processing.clearing_items set amount = 5.00 where amount = 4");
    assert_eq!(bank.db.lines(&settle(TODAY)), ["ST|2|12.00|0.00|12.00|f"]);
    clear(&mut bank.db);
}

#[test]
fn payments_that_name_no_bank_are_settled_as_unassigned() {
    let mut bank = Bank::new();
    let (a, clearing) = (bank.account("1000"), bank.internal("payments_clearing", "USD"));
    let plain = bank.db.id(&format!("select txn_processing.pay('{a}', 20)"));
    bank.db.run(&format!("select txn_processing.execute_payment(null, null, '{a}', 3, 'USD', null)"));
    bank.db.run(&format!(
        "select from txn_processing.post_batch('{{payment}}', array['{a}']::uuid[], '{{null}}', '{{4}}')"
    ));
    bank.db.run(&format!("select txn_processing.adjust('{clearing}', -1, 'found to be paid twice')"));
    bank.db.run(&format!("select txn_processing.refund('{plain}', 5)"));
    pay(&mut bank, a, "50", "ST", "");
    pay(&mut bank, a, "6", "ST", "");
    let yesterday = bank.db.id(&format!(
        "select txn_processing.pay('{a}', 7, effective_at => ({TODAY})::timestamp at time zone 'UTC' - interval '1 minute')"
    ));
    assert_eq!(bank.db.lines(&settle(&format!("{TODAY} - 1"))), ["unassigned|1|7.00|0.00|7.00|f"]);
    assert_eq!(bank.db.lines(&settle(TODAY)), ["ST|2|56.00|0.00|56.00|f", "unassigned|5|27.00|6.00|21.00|f"]);
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("0"));
    // Given back once settled, it is owed by the unnamed bank.
    bank.db.run(&format!("select txn_processing.reverse('{yesterday}', 'why')"));
    let open =
        "select counterparty_bank, direction, amount from txn_processing.clearing_items where settlement_id is null";
    assert_eq!(bank.db.lines(open), ["|incoming|7.00"]);
    clear(&mut bank.db);
}

#[test]
fn what_is_given_back_comes_from_the_same_bank() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    let day = |back: i32| format!("{TODAY} - {back}");
    let at = |back: i32| format!(", effective_at => ({})::timestamp at time zone 'UTC' + interval '1 hour'", day(back));
    // Before the settlement: nothing is left to settle.
    let first = pay(&mut bank, a, "10", "ST", &at(3));
    bank.db.run(&format!("select txn_processing.reverse('{first}', 'why'{})", at(3)));
    assert_eq!(bank.db.lines(&settle(&day(3))), ["ST|2|10.00|10.00|0.00|t"]);
    // After it: the bank owes it back.
    let second = pay(&mut bank, a, "20", "ST", &at(2));
    let third = pay(&mut bank, a, "40", "YZ", &at(2));
    assert_eq!(bank.db.lines(&settle(&day(2))), ["ST|1|20.00|0.00|20.00|f", "YZ|1|40.00|0.00|40.00|f"]);
    bank.db.run(&format!("select txn_processing.reverse('{second}', 'why'{})", at(1)));
    let part = bank.db.id(&format!("select txn_processing.refund('{third}', 15{})", at(1)));
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("-35"));
    assert_eq!(bank.db.lines(&settle(&day(1))), ["ST|1|0.00|20.00|-20.00|f", "YZ|1|0.00|15.00|-15.00|f"]);
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("0"));
    // A refund that is reversed goes out again, and what came in goes back.
    bank.db.run(&format!("select txn_processing.reverse('{part}', 'why')"));
    let got = bank.db.id(&format!("select txn_processing.receive_from_bank('{a}', 3, 'QR', '1')"));
    bank.db.run(&format!("select txn_processing.refund('{got}', 1)"));
    // A settlement that is reversed is to be settled again, with the same bank.
    let settled = bank.db.id(&format!(
        "select transaction_id from txn_processing.settlements where counterparty_bank = 'ST' \
         and settlement_date = {}",
        day(2)
    ));
    bank.db.run(&format!("select txn_processing.reverse('{settled}', 'sent back')"));
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("33"));
    assert_eq!(
        bank.db.lines(&settle(TODAY)),
        ["QR|2|1.00|3.00|-2.00|f", "ST|1|20.00|0.00|20.00|f", "YZ|1|15.00|0.00|15.00|f"]
    );
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("0"));
    clear(&mut bank.db);
}

#[test]
fn no_teller_undoes_a_settlement() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    pay(&mut bank, a, "5", "ST", "");
    bank.db.run(&settle(TODAY));
    let settled = bank.db.id("select transaction_id from txn_processing.settlements");
    refused(&mut bank.db, &format!("select txn_processing.refund('{settled}')"), "NB008");
}

#[test]
fn the_clearing_account_may_be_in_one_row_or_in_many() {
    let mut bank = Bank::new();
    let (a, clearing) = (bank.account("1000"), bank.internal("payments_clearing", "USD"));
    let plain = format!("select txn_processing.pay('{a}', 1)");
    let day = |back: i32| format!("{TODAY} - {back}");
    let at = |back: i32| format!(", effective_at => ({})::timestamp at time zone 'UTC' + interval '1 hour'", day(back));
    let pay_plain = |bank: &mut Bank, back: i32| {
        let sql = format!("{}{})", plain.trim_end_matches(')'), at(back));
        bank.db.run(&sql);
    };
    pay_plain(&mut bank, 4);
    bank.grow(clearing, 3);
    pay_plain(&mut bank, 4);
    let growing = "select count(*) from txn_processing.movements m where m.transaction_type = 'adjustment'";
    let to_grow = bank.db.count(growing);
    // The adjustments that made it grow count from now, and are even.
    assert_eq!(bank.db.lines(&settle(&day(4))), ["unassigned|2|2.00|0.00|2.00|f"]);
    bank.mode(clearing, "exclusive");
    pay_plain(&mut bank, 3);
    pay(&mut bank, a, "5", "ST", &at(3));
    assert_eq!(bank.db.lines(&settle(&day(3))), ["ST|1|5.00|0.00|5.00|f", "unassigned|1|1.00|0.00|1.00|f"]);
    pay_plain(&mut bank, 2);
    bank.mode(clearing, "slotted");
    pay_plain(&mut bank, 2);
    assert_eq!(bank.db.lines(&settle(&day(2))), ["unassigned|2|2.00|0.00|2.00|f"]);
    let last = bank.db.one(&settle(TODAY));
    assert!(last.starts_with(&format!("unassigned|{to_grow}|")) && last.ends_with("|0.00|t"), "{last}");
    assert_eq!(holds(&mut bank, "payments_clearing"), dec("0"));
    clear(&mut bank.db);
}

#[test]
fn sessions_that_settle_at_once_settle_once() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let a = bank.account("1000");
    for n in 1..=9 {
        pay(&mut bank, a, &n.to_string(), ["ST", "YZ", "QR"][n % 3], "");
    }
    let mut reports =
        together(&bank, 4, |_, session| session.lines(&format!("select * from txn_processing.settle({TODAY}, 'USD')")));
    reports.dedup();
    assert_eq!(reports.len(), 1, "all answer the same");
    assert_eq!(reports[0].len(), 3);
    assert_eq!(bank.db.count("select count(*) from txn_processing.movements where transaction_type = 'adjustment'"), 3);
    clear(&mut bank.db);
}

#[test]
fn one_that_waited_for_a_later_date_is_refused() {
    let mut bank = Bank::new();
    let a = bank.account("1000");
    pay(&mut bank, a, "1", "ST", "");
    let mut first = bank.session();
    first.run("begin");
    first.run(&settle(TODAY));
    let mut second = bank.session();
    let backend = Bank::backend_of(&mut second);
    let waiting = thread::spawn(move || second.fails(&settle(&format!("{TODAY} - 1"))).code);
    bank.wait_until_blocked(backend);
    first.run("commit");
    assert_eq!(waiting.join().expect("no session fails"), "NB032");
    clear(&mut bank.db);
}

#[test]
fn an_old_snapshot_settles_nothing_twice() {
    for amount in ["5", "0"] {
        let mut bank = Bank::new();
        let a = bank.account("1000");
        let mut old = bank.session();
        old.run("begin isolation level repeatable read");
        old.run("select count(*) from txn_processing.settlement_runs");
        if amount != "0" {
            pay(&mut bank, a, amount, "ST", "");
        }
        bank.db.run(&settle(TODAY));
        refused_with_code_only(&mut old, &settle(TODAY), "40001");
        old.run("rollback");
        clear(&mut bank.db);
    }
}

#[test]
fn a_repeated_reversal_with_an_old_snapshot_leaves_no_item() {
    // A settlement had found the payment meanwhile, and only the repetition saw that and added the reversal's item.
    let mut bank = Bank::new();
    let a = bank.account("100");
    let paid = bank.db.id(&format!("select txn_processing.pay('{a}', 5)"));
    let reverse = format!(
        "select txn_processing.reverse('{paid}', 'why', reversal_transaction_id => '018f0000-0000-7000-8000-0000000000aa')"
    );
    let mut other = bank.session();
    other.run("begin isolation level repeatable read");
    other.run("select count(*) from banking.accounts");
    bank.db.lines(&settle(&format!("{TODAY} - 1")));
    let first = other.one(&reverse);
    other.run("commit");
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.one(&reverse), first);
    assert_eq!(snapshot(&mut bank.db), before);
    bank.db.lines(&settle(TODAY));
    clear(&mut bank.db);
}

#[test]
fn payments_go_on_while_dates_are_settled() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..4).map(|_| bank.account("10000")).collect();
    together(&bank, 5, move |n, session| {
        let mut dice = Dice(n as u64 + 40);
        let Some(account) = accounts.get(n) else {
            for back in (0..30).rev() {
                session.run(&settle(&format!("{TODAY} - {back}")));
            }
            return;
        };
        for _ in 0..120 {
            let (to, amount) = (["ST", "YZ", "QR"][dice.below(3)], 1 + dice.below(9));
            let back = dice.below(30);
            let at = format!("effective_at => now() - {back} * interval '1 day'");
            match dice.below(4) {
                0 => session.run(&format!("select txn_processing.pay('{account}', {amount}, {at})")),
                1 => session
                    .run(&format!("select txn_processing.receive_from_bank('{account}', {amount}, '{to}', '1', {at})")),
                2 => {
                    let id = session
                        .id(&format!("select txn_processing.pay_bank('{account}', {amount}, '{to}', '1', {at})"));
                    session.run(&format!("select txn_processing.reverse('{id}', 'why')"));
                }
                _ => session.run(&format!("select txn_processing.pay_bank('{account}', {amount}, '{to}', '1', {at})")),
            }
        }
    });
    clear(&mut bank.db);
    // Today is settled; what came after it is open, and nothing else is.
    let open = bank.db.money(
        "select coalesce(sum(case direction when 'outgoing' then amount else -amount end), 0) \
         from txn_processing.clearing_items where settlement_id is null",
    );
    let unseen = bank.db.money(
        "select coalesce(sum(amount), 0) from txn_processing.movements m where transaction_type = 'payment' \
         and not exists (select from txn_processing.clearing_items c where c.transaction_id = m.transaction_id)",
    );
    assert_eq!(holds(&mut bank, "payments_clearing"), open + unseen);
}

#[test]
fn tenants_and_currencies_settle_apart() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let euros = bank.account_with("checking", "EUR", "50", "0");
    let tenant = bank.db.id("select banking.create_tenant('Branch')");
    let customer = bank.customer_of(&format!("'{tenant}'"));
    let other =
        bank.db.id(&format!("select banking.open_account('{customer}', 'checking', 'USD', 100, tenant => '{tenant}')"));
    pay(&mut bank, a, "1", "ST", "");
    pay(&mut bank, euros, "2", "ST", "");
    pay(&mut bank, other, "4", "ST", "");
    let of = |currency: &str, tenant: &str| {
        format!("select counterparty_bank, net from txn_processing.settle({TODAY}, '{currency}', {tenant})")
    };
    assert_eq!(bank.db.lines(&of("USD", "null")), ["ST|1.00"]);
    assert_eq!(bank.db.lines(&of("USD", &format!("'{tenant}'"))), ["ST|4.00"]);
    assert_eq!(bank.db.lines(&of("EUR", "null")), ["ST|2.00"]);
    let left = "select count(*) from banking.account_balances where account_type = 'payments_clearing' \
                and current_balance <> 0";
    assert_eq!(bank.db.count(left), 0);
    clear(&mut bank.db);
}
