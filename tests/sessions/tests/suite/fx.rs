//! Exchanges between currencies: two legs over the bank's positions, rounded once, with nothing lost.

use neobank_sessions::*;
use std::thread;

pub fn set_rate(bank: &mut Bank, base: &str, quote: &str, rate: &str) {
    bank.db.run(&format!("select txn_processing.set_fx_rate('{base}', '{quote}', {rate})"));
}

pub fn exchange(from: Uuid, to: Uuid, rest: &str) -> String {
    format!("select txn_processing.transfer_fx('{from}', '{to}', {rest})")
}

/// What must hold of exchanges at any moment, from the tables alone.
pub fn audit_fx(bank: &mut Bank) {
    let rules = [
        (
            "an exchange is exact: what was posted and what was left are the product",
            "select transaction_id from txn_processing.fx_transfers \
             where base_amount * rate <> quote_amount + residue",
        ),
        (
            "its two legs are in the ledger",
            "select t.transaction_id from txn_processing.fx_transfers t where (select count(*) from \
             txn_processing.movements m where m.transaction_id = t.transaction_id \
             and m.reverses is not distinct from t.reverses and (m.leg, m.currency_code, m.amount) in \
             ((1, t.base, abs(t.base_amount)), (2, t.quote, abs(t.quote_amount)))) <> 2",
        ),
        (
            "residues are posted or waiting, none is lost",
            "select * from (select tenant_no, quote as currency, sum(residue) as residue \
             from txn_processing.fx_transfers group by 1, 2) t \
             full join (select tenant_no, currency_code as currency, sum(amount) as swept \
             from txn_processing.fx_sweeps group by 1, 2) s using (tenant_no, currency) \
             full join (select tenant_no, currency_code as currency, sum(residue) as waiting \
             from txn_processing.fx_residues group by 1, 2) w using (tenant_no, currency) \
             where coalesce(residue, 0) <> coalesce(swept, 0) + coalesce(waiting, 0)",
        ),
        (
            "what was swept is on the rounding account",
            "select r.currency_code from banking.account_balances r where r.account_type = 'fx_rounding' \
             and r.current_balance <> coalesce((select sum(s.amount) from txn_processing.fx_sweeps s \
             where s.tenant_no = r.tenant_no and s.currency_code = r.currency_code), 0)",
        ),
        (
            "a position is what came in, less what went out, less what rounding earned",
            "select p.currency_code from txn_processing.fx_positions p where p.net_position <> \
             coalesce((select sum(base_amount) from txn_processing.fx_transfers t \
                       where t.tenant_no = p.tenant_no and t.base = p.currency_code), 0) \
             - coalesce((select sum(quote_amount) from txn_processing.fx_transfers t \
                       where t.tenant_no = p.tenant_no and t.quote = p.currency_code), 0) - p.rounding",
        ),
    ];
    for (rule, query) in rules {
        assert_eq!(bank.db.lines(query), [""; 0], "{rule}");
    }
    audit(&mut bank.db);
}

/// 1,000 dollars, an empty account in yen, and a rate between them.
fn dollars_and_yen() -> (Bank, Uuid, Uuid) {
    let mut bank = Bank::new();
    let dollars = bank.account("1000");
    let yen = bank.account_with("checking", "JPY", "0", "0");
    set_rate(&mut bank, "USD", "JPY", "150.255");
    (bank, dollars, yen)
}

#[test]
fn an_exchange_is_two_legs_over_the_positions() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    let id = bank.db.id(&exchange(dollars, yen, "10.01, reference => 'R-1', metadata => '{\"a\": 1}'"));
    let (usd, jpy) = (bank.internal("fx_position", "USD"), bank.internal("fx_position", "JPY"));
    let legs = format!(
        "select leg, transaction_type, debit_account, credit_account, amount, currency_code, reference_number, \
         metadata, description from txn_processing.transaction('{id}')"
    );
    let told = "Exchange of 10.01 USD into 1504 JPY at 150.255";
    assert_eq!(
        bank.db.lines(&legs),
        [
            format!("1|transfer|{dollars}|{usd}|10.01|USD|R-1|{{\"a\": 1}}|{told}"),
            format!("2|transfer|{jpy}|{yen}|1504|JPY|R-1|{{\"a\": 1}}|{told}"),
        ]
    );
    assert_eq!((bank.db.balance(dollars), bank.db.balance(yen)), (dec("989.99"), dec("1504")));
    let kept = format!(
        "select base, quote, rate, stored_rate, asked_rate, base_amount, quote_amount, residue \
         from txn_processing.fx_transfers where transaction_id = '{id}'"
    );
    assert_eq!(bank.db.one(&kept), "USD|JPY|150.255|150.255||10.01|1504|0.05255");
    let positions = "select currency_code, net_position, rounding, remainder from txn_processing.fx_positions \
                     where net_position <> 0 order by 1";
    assert_eq!(bank.db.lines(positions), ["JPY|-1504|0|0.05255", "USD|10.01|0.00|0"]);
    audit_fx(&mut bank);
}

#[test]
fn the_rate_is_the_latest_that_is_valid() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    let mut at = |base: &str, quote: &str, when: &str| {
        bank.db.money(&format!("select txn_processing.fx_rate_at('{base}', '{quote}', {when})"))
    };
    assert_eq!(at("USD", "JPY", "null"), dec("150.255"));
    assert_eq!(at("JPY", "USD", "null"), dec("0.00665535256730"), "one over it, to twelve digits");
    assert_eq!(at("USD", "USD", "null"), dec("1"));
    bank.db.run(
        "select txn_processing.set_fx_rate('USD', 'JPY', 140, '2020-01-01'), \
                txn_processing.set_fx_rate('USD', 'JPY', 999, now() + interval '1 day'), \
                txn_processing.set_fx_rate('JPY', 'USD', 0.5, '2019-01-01')",
    );
    let mut at = |base: &str, quote: &str, when: &str| {
        bank.db.money(&format!("select txn_processing.fx_rate_at('{base}', '{quote}', {when})"))
    };
    assert_eq!(at("USD", "JPY", "null"), dec("150.255"), "neither what was nor what will be");
    assert_eq!(at("USD", "JPY", "'2020-01-01'"), dec("140"));
    assert_eq!(at("USD", "JPY", "now() + interval '2 days'"), dec("999"));
    assert_eq!(at("USD", "JPY", "'2019-06-01'"), dec("2"), "only the other way round was known then");
    assert_eq!(at("JPY", "USD", "null"), dec("0.5"), "its own rate comes first");
    bank.db.run("select txn_processing.set_fx_rate('USD', 'JPY', 141, '2020-01-01')");
    let corrected = "select txn_processing.fx_rate_at('USD', 'JPY', '2020-01-01')";
    assert_eq!(bank.db.money(corrected), dec("141"), "what is recorded later takes its place");
    let refusal = refused(&mut bank.db, "select txn_processing.fx_rate_at('USD', 'JPY', '2018-01-01')", "NB036");
    assert_eq!(refusal.detail, "There is no rate of USD in JPY, or of JPY in USD, valid then.");
    // A backdated exchange is made at the rate of its time.
    bank.db.run("select txn_processing.set_fx_rate('USD', 'JPY', 120, now() - interval '20 days')");
    bank.db.run("select txn_processing.set_fx_rate('USD', 'JPY', 130, now() - interval '10 days')");
    bank.db.run(&exchange(dollars, yen, "1, effective_at => now() - interval '15 days'"));
    assert_eq!(bank.db.balance(yen), dec("120"));
    audit_fx(&mut bank);
}

#[test]
fn what_cannot_be_exchanged_is_refused_and_leaves_nothing() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    let others = bank.account("5");
    let euros = bank.account_with("checking", "EUR", "5", "0");
    let nobody = Uuid::now_v7();
    let tenant = bank.db.id("select banking.create_tenant('Branch')");
    let customer = bank.customer_of(&format!("'{tenant}'"));
    let abroad =
        bank.db.id(&format!("select banking.open_account('{customer}', currency => 'JPY', tenant => '{tenant}')"));
    let internal = bank.internal("cash", "JPY");
    let cases = [
        (exchange(dollars, yen, "1000.01"), "NB001"),
        (exchange(nobody, yen, "1"), "NB002"),
        (exchange(dollars, nobody, "1"), "NB002"),
        (exchange(dollars, others, "1"), "NB004"),
        (exchange(dollars, yen, "1, from_currency => 'EUR'"), "NB004"),
        (exchange(dollars, yen, "1, to_currency => 'EUR'"), "NB004"),
        (exchange(dollars, yen, "1.001"), "NB005"),
        (exchange(dollars, yen, "0"), "NB005"),
        (exchange(dollars, yen, "-1"), "NB005"),
        (exchange(dollars, yen, "'NaN'"), "NB005"),
        (exchange(dollars, yen, "1e18"), "NB005"),
        (exchange(yen, dollars, "1e19"), "NB005"),
        (exchange(dollars, dollars, "1"), "NB006"),
        (exchange(dollars, abroad, "1"), "NB013"),
        (exchange(dollars, internal, "1"), "NB024"),
        (exchange(internal, dollars, "1"), "NB024"),
        (exchange(dollars, yen, "1, reference => repeat('x', 51)"), "NB021"),
        (exchange(dollars, yen, "1, metadata => '[]'"), "NB021"),
        (exchange(dollars, yen, "1, effective_at => now() + interval '1 hour'"), "NB022"),
        (exchange(dollars, euros, "1"), "NB036"),
        (exchange(dollars, euros, "1, 0.9"), "NB036"),
        (exchange(dollars, yen, "1, 165.2806"), "NB037"),
        (exchange(dollars, yen, "1, 135.2294"), "NB037"),
        (exchange(dollars, yen, "1, 0"), "NB038"),
        (exchange(dollars, yen, "1, -1"), "NB038"),
        (exchange(dollars, yen, "1, 'NaN'"), "NB038"),
        (exchange(dollars, yen, "1, 'infinity'"), "NB038"),
        (exchange(dollars, yen, "1, 1e13"), "NB038"),
        (exchange(dollars, yen, "1, 1e40"), "NB038"),
        (exchange(dollars, yen, "1, 150.1234567890123"), "NB038"),
        ("select txn_processing.set_fx_rate('USD', 'USD', 1)".into(), "NB021"),
        ("select txn_processing.set_fx_rate('USD', 'EUR', 1, 'infinity')".into(), "NB021"),
        ("select txn_processing.set_fx_rate('USD', 'XXQ', 1)".into(), "NB016"),
        ("select txn_processing.set_fx_rate('usd', 'EUR', 1)".into(), "NB016"),
        ("select txn_processing.set_fx_rate('USDX', 'EUR', 1)".into(), "NB016"),
        ("select txn_processing.set_fx_rate('USD', 'EUR', 0)".into(), "NB038"),
        ("select txn_processing.set_fx_rate('USD', 'EUR', 1.0000000000001)".into(), "NB038"),
        ("select txn_processing.set_fx_rate('USD', 'EUR', 1e-13)".into(), "NB038"),
        ("select txn_processing.fx_rate_at('XXQ', 'EUR')".into(), "NB016"),
        ("select txn_processing.fx_rate_at('EUR', 'USD')".into(), "NB036"),
        ("select txn_processing.sweep_fx_residues(0)".into(), "NB021"),
        ("select txn_processing.sweep_fx_residues(100001)".into(), "NB021"),
    ];
    for (sql, code) in &cases {
        refused(&mut bank.db, sql, code);
    }
    let nulls = [
        "transfer_fx(null, gen_random_uuid(), 1)",
        "transfer_fx(gen_random_uuid(), null, 1)",
        "transfer_fx(gen_random_uuid(), gen_random_uuid(), null)",
        "set_fx_rate(null, 'EUR', 1)",
        "set_fx_rate('USD', null, 1)",
        "set_fx_rate('USD', 'EUR', null)",
        "set_fx_rate('USD', 'EUR', 1, null)",
        "fx_rate_at(null, 'EUR')",
        "fx_rate_at('USD', null)",
        "sweep_fx_residues(null)",
    ];
    for call in nulls {
        refused(&mut bank.db, &format!("select txn_processing.{call}"), "22004");
    }
    let hint = refused(&mut bank.db, &exchange(dollars, others, "1"), "NB004").hint;
    assert!(hint.contains("txn_processing.transfer."), "{hint}");
    let hint = refused(&mut bank.db, &format!("select txn_processing.transfer('{dollars}', '{yen}', 1)"), "NB004").hint;
    assert!(hint.contains("transfer_fx"), "{hint}");
    for (account, status) in [(dollars, "dormant"), (yen, "frozen")] {
        bank.status(account, status);
        refused(&mut bank.db, &exchange(dollars, yen, "1"), "NB003");
        bank.status(account, "active");
    }
    // The smallest rate makes nothing of a small amount.
    set_rate(&mut bank, "USD", "EUR", "1e-12");
    refused(&mut bank.db, &exchange(dollars, euros, "100"), "NB005");
    audit_fx(&mut bank);
}

#[test]
fn a_rate_of_the_callers_is_taken_as_far_as_it_is_near() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    bank.db.run(&exchange(dollars, yen, "1, 165.28"));
    bank.db.run(&exchange(dollars, yen, "1, 135.23"));
    assert_eq!(bank.db.balance(yen), dec("300"));
    bank.db.run("set neobank.fx_rate_tolerance_bp = 0");
    refused(&mut bank.db, &exchange(dollars, yen, "1, 150.25"), "NB037");
    bank.db.run(&exchange(dollars, yen, "1, 150.255"));
    bank.db.run("reset neobank.fx_rate_tolerance_bp");
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    // Set before the library is loaded it is nobody's setting yet, and falls away once it is.
    let mut session = bank.session_as(&teller);
    session.run("set neobank.fx_rate_tolerance_bp = 100000");
    refused_with_code_only(&mut session, &exchange(dollars, yen, "1, 200"), "NB037");
    refused_with_code_only(&mut session, "set neobank.fx_rate_tolerance_bp = 100000", "42501");
    let kept = "select rate, stored_rate, asked_rate from txn_processing.fx_transfers order by recorded_at limit 1";
    assert_eq!(bank.db.one(kept), "165.28|150.255|165.28");
    audit_fx(&mut bank);
}

#[test]
fn a_retry_answers_the_first_result_though_the_rate_has_moved() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    let (first, second, plain) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let with = |id: Uuid, rest: &str| exchange(dollars, yen, &format!("{rest}, transaction_id => '{id}'"));
    bank.db.run(&with(first, "10"));
    bank.db.run(&with(second, "10, 151, description => 'agreed'"));
    set_rate(&mut bank, "USD", "JPY", "200");
    bank.status(dollars, "frozen");
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&with(first, "10.00")), first);
    assert_eq!(bank.db.id(&with(second, "10, 151.0, description => 'agreed'")), second);
    assert_eq!(before, snapshot(&mut bank.db));
    bank.status(dollars, "active");
    let others = bank.account_with("checking", "JPY", "0", "0");
    for sql in [
        with(first, "11"),
        with(first, "10, 150.255"),
        with(first, "10, description => 'other'"),
        with(first, "10, reference => 'other'"),
        with(second, "10, description => 'agreed'"),
        with(second, "10, 152, description => 'agreed'"),
        exchange(dollars, others, &format!("10, transaction_id => '{first}'")),
        exchange(yen, dollars, &format!("10, transaction_id => '{first}'")),
        format!("select txn_processing.deposit('{dollars}', 10, transaction_id => '{first}')"),
    ] {
        refused(&mut bank.db, &sql, "NB007");
    }
    bank.db.run(&format!("select txn_processing.deposit('{dollars}', 10, transaction_id => '{plain}')"));
    refused(&mut bank.db, &with(plain, "10"), "NB007");
    bank.db.run(&format!(
        "select txn_processing.reverse('{first}', 'why', reversal_transaction_id => '{}')",
        Uuid::from_u128(7)
    ));
    refused(&mut bank.db, &with(Uuid::from_u128(7), "10"), "NB007");
    assert_eq!(bank.db.id(&with(first, "10")), first, "a retry of what was reversed since");
    audit_fx(&mut bank);
}

#[test]
fn two_sessions_with_one_id_make_one_exchange() {
    for slotted in [false, true] {
        for commits in [true, false] {
            let (mut bank, dollars, yen) = dollars_and_yen();
            if slotted {
                bank.mode(dollars, "slotted");
                bank.mode(yen, "slotted");
            }
            let id = Uuid::now_v7();
            let sql = exchange(dollars, yen, &format!("10, transaction_id => '{id}'"));
            let mut holder = bank.session();
            holder.run("begin");
            holder.run(&sql);
            // The second session finds another rate, and must not make another exchange of it.
            set_rate(&mut bank, "USD", "JPY", "200");
            let mut waiter = bank.session();
            let backend = Bank::backend_of(&mut waiter);
            let again = sql.clone();
            let waiting = thread::spawn(move || waiter.id(&again));
            bank.wait_until_blocked(backend);
            holder.run(if commits { "commit" } else { "rollback" });
            assert_eq!(waiting.join().expect("it is answered"), id);
            let paid = if commits { "1503" } else { "2000" };
            assert_eq!(bank.db.balance(yen), dec(paid), "slotted: {slotted}, commits: {commits}");
            assert_eq!(bank.db.balance(dollars), dec("990"));
            audit_fx(&mut bank);
        }
    }
}

#[test]
fn what_is_rolled_back_was_never_there() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    set_rate(&mut bank, "USD", "JPY", "100.5");
    bank.db.run(&exchange(dollars, yen, "1"));
    bank.db.run("select txn_processing.sweep_fx_residues()");
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    audit_fx(&mut bank);
}

#[test]
fn a_reversal_gives_back_both_legs_and_the_residue() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    let id = bank.db.id(&exchange(dollars, yen, "10.01"));
    refused(&mut bank.db, &format!("select txn_processing.refund('{id}')"), "NB008");
    refused(&mut bank.db, &format!("select txn_processing.refund('{id}', 1)"), "NB008");
    bank.db.run("select txn_processing.sweep_fx_residues()");
    let reversal = Uuid::now_v7();
    let sql = format!("select txn_processing.reverse('{id}', 'why', reversal_transaction_id => '{reversal}')");
    bank.db.run(&sql);
    assert_eq!((bank.db.balance(dollars), bank.db.balance(yen)), (dec("1000"), dec("0")));
    let open = "select count(*) from txn_processing.fx_positions where net_position <> 0 or remainder <> 0";
    assert_eq!(bank.db.count(open), 0);
    // A retry finds its row, though the residue itself has been swept.
    bank.db.run("select txn_processing.sweep_fx_residues()");
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&sql), reversal);
    assert_eq!(before, snapshot(&mut bank.db));
    refused(&mut bank.db, &format!("select txn_processing.reverse('{id}', 'again')"), "NB008");
    refused(&mut bank.db, &format!("select txn_processing.reverse('{reversal}', 'back')"), "NB008");
    let status = format!("select distinct status from txn_processing.transaction('{id}')");
    assert_eq!(bank.db.one(&status), "reversed");
    // By the function for programs as well, and by two at once only once.
    let id = bank.db.id(&exchange(dollars, yen, "10.01"));
    let outcomes = together(&bank, 4, move |_, session| {
        session.json(&format!("select txn_processing.reverse_transaction('{id}', 'why', 'Bob')"))["success"] == true
    });
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    audit_fx(&mut bank);
}

#[test]
fn residues_are_posted_once_they_are_whole() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    // 1 dollar comes to 150.255 yen: 0.255 are left each time; at 150.8, 0.2 too much is paid.
    for _ in 0..5 {
        bank.db.run(&exchange(dollars, yen, "1"));
    }
    let sweep = "select tenant_no, currency_code, swept, remainder, transaction_id is not null \
                 from txn_processing.sweep_fx_residues()";
    assert_eq!(bank.db.lines(sweep), ["0|JPY|1|0.275|t"]);
    assert_eq!(bank.db.lines(sweep), ["0|JPY|0|0.275|f"], "less than a yen stays");
    let rounding = bank.internal("fx_rounding", "JPY");
    assert_eq!(bank.db.balance(rounding), dec("1"));
    for _ in 0..7 {
        bank.db.run(&exchange(dollars, yen, "1, 150.8"));
    }
    assert_eq!(bank.db.lines(sweep), ["0|JPY|-1|-0.125|t"]);
    assert_eq!(bank.db.balance(rounding), dec("0"));
    assert_eq!(bank.db.count("select count(*) from txn_processing.fx_residues"), 1);
    let positions = "select net_position, rounding, remainder from txn_processing.fx_positions \
                     where currency_code = 'JPY'";
    assert_eq!(bank.db.one(positions), "-1807|0|-0.125");
    audit_fx(&mut bank);
    // A sweep that is reversed waits to be posted again.
    let sweep_id = "select transaction_id from txn_processing.fx_sweeps order by recorded_at limit 1";
    let first = bank.db.id(sweep_id);
    bank.db.run(&format!("select txn_processing.reverse('{first}', 'why')"));
    assert_eq!(bank.db.one(positions), "-1806|-1|0.875");
    audit_fx(&mut bank);
    assert_eq!(bank.db.lines(sweep), ["0|JPY|0|0.875|f"]);
    // So many rows at a time.
    for _ in 0..3 {
        bank.db.run(&exchange(dollars, yen, "1"));
    }
    let one = "select swept, remainder from txn_processing.sweep_fx_residues(1)";
    assert_eq!(bank.db.lines(one).len(), 1);
    bank.db.run("select txn_processing.sweep_fx_residues()");
    audit_fx(&mut bank);
}

#[test]
fn gains_are_the_positions_at_the_rates_of_the_time() {
    let mut bank = Bank::new();
    let dollars = bank.account("1000");
    let euros = bank.account_with("checking", "EUR", "500", "0");
    let yen = bank.account_with("checking", "JPY", "0", "0");
    let rates = |bank: &mut Bank, eur: &str, jpy: &str| {
        set_rate(bank, "EUR", "USD", eur);
        set_rate(bank, "USD", "JPY", jpy);
    };
    rates(&mut bank, "1.25", "125");
    bank.db.run(&exchange(euros, dollars, "100"));
    bank.db.run(&exchange(dollars, yen, "25"));
    let gains = "select currency_code, net_position, rate, value from txn_processing.fx_gains('USD')";
    assert_eq!(bank.db.lines(gains), ["EUR|100.00|1.25|125.0000", "JPY|-3125|0.008|-25.000", "USD|-100.00|1|-100.00"]);
    let total = "select sum(value) from txn_processing.fx_gains('USD'";
    assert_eq!(bank.db.money(&format!("{total})")), dec("0"));
    let then = bank.db.one("select clock_timestamp()");
    rates(&mut bank, "1.5", "100");
    // Long in euros, which rose, and short in yen, which rose as well.
    assert_eq!(bank.db.money(&format!("{total})")), dec("18.75"), "150 - 31.25 - 100");
    assert_eq!(bank.db.money(&format!("{total}, '{then}')")), dec("0"));
    assert_eq!(bank.db.count("select count(*) from txn_processing.fx_gains('USD', '2001-01-01')"), 0);
    let francs = bank.account_with("checking", "CHF", "0", "0");
    set_rate(&mut bank, "EUR", "CHF", "1");
    bank.db.run(&exchange(euros, francs, "1"));
    refused(&mut bank.db, gains, "NB036");
    refused(&mut bank.db, "select txn_processing.fx_gains('XXQ')", "NB016");
    refused(&mut bank.db, "select txn_processing.fx_gains(null)", "22004");
    audit_fx(&mut bank);
}

#[test]
fn tellers_exchange_operators_set_rates_and_readers_look() {
    let (mut bank, dollars, yen) = dollars_and_yen();
    let [mut reader, mut teller, mut operator] = ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        bank.session_as(&role)
    });
    let set = "select txn_processing.set_fx_rate('USD', 'JPY', 151)";
    let sweep = "select txn_processing.sweep_fx_residues()";
    let deal = exchange(dollars, yen, "1");
    for sql in [set, sweep, &deal] {
        refused_with_code_only(&mut reader, sql, "42501");
    }
    for sql in [set, sweep] {
        refused_with_code_only(&mut teller, sql, "42501");
    }
    teller.run(&deal);
    for sql in [set, &deal, sweep] {
        operator.run(sql);
    }
    for sql in [
        "select * from txn_processing.fx_gains('USD')",
        "select * from txn_processing.fx_positions",
        "select txn_processing.fx_rate_at('USD', 'JPY')",
        "select * from txn_processing.fx_rates, txn_processing.fx_transfers, txn_processing.fx_residues, \
         txn_processing.fx_sweeps",
    ] {
        reader.run(sql);
        let table = "update txn_processing.fx_rates set rate = 1";
        refused_with_code_only(&mut operator, table, "42501");
    }
    let by = "select count(*) from txn_processing.fx_rates where set_by like '%operator'";
    assert_eq!(bank.db.count(by), 1);
    audit_fx(&mut bank);
}

#[test]
fn extremes_are_refused_or_exact() {
    let mut bank = Bank::new();
    let yen = bank.account_with("checking", "JPY", "1000000000000000000", "0");
    let pesos = bank.account_with("checking", "UYW", "1000000000000000000", "0");
    set_rate(&mut bank, "JPY", "UYW", "0.00000000000123456789012");
    bank.db.run("set neobank.fx_rate_tolerance_bp = 1000000");
    bank.db.run(&exchange(yen, pesos, "999999999999999999"));
    let kept = "select quote_amount, residue from txn_processing.fx_transfers";
    assert_eq!(bank.db.one(kept), "1234567.8901|0.00001999999876543210988");
    refused(&mut bank.db, &exchange(pesos, yen, "999999999999999999.9999"), "NB005");
    bank.db.run("select txn_processing.sweep_fx_residues()");
    audit_fx(&mut bank);
}

#[test]
fn many_exchanges_at_once_between_four_currencies() {
    // Currencies of 0, 2, 3 and 4 decimals; sweeps, reversals, retries and new rates go on among the exchanges.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let currencies = ["JPY", "USD", "KWD", "UYW"];
    let rates = ["1", "150.255", "490.123456789", "5.7"];
    for (n, one) in currencies.iter().enumerate() {
        for other in &currencies[..n] {
            let of = |code: &str| rates[currencies.iter().position(|c| *c == code).expect("one of them")];
            bank.db.run(&format!(
                "select txn_processing.set_fx_rate('{one}', '{other}', round({}::numeric / {}, 7))",
                of(one),
                of(other)
            ));
        }
    }
    let mut accounts = Vec::new();
    for currency in currencies {
        for kind in ["checking", "business"] {
            let account = bank.account_with(kind, currency, "5000", "0");
            if kind == "business" {
                bank.mode(account, "slotted");
            }
            accounts.push(account);
        }
    }
    let ids = accounts.clone();
    let tallies = together(&bank, 6, move |n, session| {
        if n % 2 == 1 {
            session.run("set neobank.posting_path = 'spi'");
        }
        let mut dice = Dice(n as u64 + 11);
        let (mut made, mut mine) = (0, Vec::new());
        for round in 0..60 {
            let from = dice.below(8);
            let to = (from / 2 * 2 + 2 + dice.below(6)) % 8;
            let amount = 1 + dice.below(900);
            let id = Uuid::now_v7();
            let sql = exchange(ids[from], ids[to], &format!("{amount}, transaction_id => '{id}'"));
            match session.try_lines(&sql) {
                Ok(_) => {
                    made += 1;
                    mine.push(id);
                }
                Err(refusal) => assert!(["NB001", "NB005"].contains(&refusal.code.as_str()), "{refusal}"),
            }
            match round % 10 {
                3 => session.run("select txn_processing.sweep_fx_residues(25)"),
                6 if !mine.is_empty() => {
                    let id = mine[dice.below(mine.len())];
                    let back = session.try_lines(&format!("select txn_processing.reverse('{id}', 'why')"));
                    assert!(back.as_ref().map_or_else(|refusal| refusal.code == "NB008", |_| true), "{back:?}");
                }
                _ => {}
            }
        }
        made
    });
    assert!(tallies.iter().sum::<i32>() > 100, "{tallies:?}");
    let uneven = "select c.currency_code from banking.account_balances c \
                  join banking.account_types t using (account_type) group by 1 \
                  having sum(case c.normal_side when 'D' then current_balance else -current_balance end) <> 0";
    assert_eq!(bank.db.lines(uneven), [""; 0]);
    audit_fx(&mut bank);
    bank.db.run("select txn_processing.sweep_fx_residues()");
    audit_fx(&mut bank);
    let left = "select currency_code from txn_processing.fx_positions p join banking.currencies c \
                using (currency_code) where abs(remainder) >= 10::numeric ^ -c.exponent";
    assert_eq!(bank.db.lines(left), [""; 0], "no whole unit is left");
}
