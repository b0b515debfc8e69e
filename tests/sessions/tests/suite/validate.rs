//! A dry run answers what the strict function would, and nothing of it stays.

use neobank_sessions::*;
use std::thread;

/// A call of a strict function, and the same for validate; both without what surrounds their arguments.
struct Pair {
    strict: String,
    dry: String,
}

fn pair(strict: &str, dry: &str) -> Pair {
    Pair { strict: strict.to_owned(), dry: dry.to_owned() }
}

struct Cast {
    rich: Uuid,
    poor: Uuid,
    spread: Uuid,
    euro: Uuid,
    frozen: Uuid,
    dormant: Uuid,
    limited: Uuid,
    held: Uuid,
    foreign: Uuid,
    cash: Uuid,
}

fn cast(bank: &mut Bank) -> Cast {
    let tenant = bank.db.id("select banking.create_tenant('Another')");
    let customer = bank.customer_of(&format!("'{tenant}'"));
    let foreign =
        bank.db.id(&format!("select banking.open_account('{customer}', opening_deposit => 50, tenant => '{tenant}')"));
    let cast = Cast {
        rich: bank.account("1000"),
        poor: bank.account_with("checking", "USD", "5", "5"),
        spread: bank.slotted("checking", "100", "0"),
        euro: bank.account_with("checking", "EUR", "100", "0"),
        frozen: bank.account("100"),
        dormant: bank.account("100"),
        limited: bank.account("100"),
        held: bank.account("100"),
        foreign,
        cash: bank.internal("cash", "USD"),
    };
    bank.grow(cast.spread, 3);
    bank.status(cast.frozen, "frozen");
    bank.status(cast.dormant, "dormant");
    bank.db.run(&format!("select banking.set_account_limit('{}', 'day', 20, 2, 'r')", cast.limited));
    bank.db.run(&format!("select txn_processing.place_hold('{}', 90)", cast.held));
    cast
}

/// What is set aside, captured and exchanged, likewise.
fn holds_and_exchanges(bank: &mut Bank, cast: &Cast, accounts: &[String], amounts: &[&str]) -> Vec<Pair> {
    bank.db.run("select txn_processing.set_fx_rate('EUR', 'USD', 1.1)");
    let (rich, euro) = (format!("'{}'", cast.rich), format!("'{}'", cast.euro));
    let mut pairs = Vec::new();
    for account in accounts {
        pairs.push(pair(&format!("place_hold({account}, 15)"), &format!("'hold', {account}, amount => 15")));
        pairs.push(pair(
            &format!("place_hold({rich}, 15, to_account => {account})"),
            &format!("'hold', {rich}, {account}, 15"),
        ));
        pairs.push(pair(&format!("transfer_fx({account}, {euro}, 15)"), &format!("'exchange', {account}, {euro}, 15")));
        pairs.push(pair(&format!("transfer_fx({euro}, {account}, 15)"), &format!("'exchange', {euro}, {account}, 15")));
    }
    for amount in amounts {
        pairs.push(pair(&format!("place_hold({rich}, {amount})"), &format!("'hold', {rich}, amount => {amount}")));
        pairs.push(pair(
            &format!("transfer_fx({rich}, {euro}, {amount})"),
            &format!("'exchange', {rich}, {euro}, {amount}"),
        ));
    }
    for currency in ["USD", "EUR", "GBP"] {
        pairs.push(pair(
            &format!("transfer_fx({rich}, {euro}, 1, from_currency => '{currency}')"),
            &format!("'exchange', {rich}, {euro}, 1, currency => '{currency}'"),
        ));
        pairs.push(pair(
            &format!("place_hold({rich}, 1, currency => '{currency}')"),
            &format!("'hold', {rich}, amount => 1, currency => '{currency}'"),
        ));
    }
    let open = bank.db.id(&format!("select txn_processing.place_hold({rich}, 20)"));
    let closed = bank.db.id(&format!("select txn_processing.place_hold({rich}, 20)"));
    bank.db.run(&format!("select txn_processing.release_hold('{closed}')"));
    let holds = [open, closed, Uuid::from_u128(2)].map(|hold| format!("'{hold}'"));
    for hold in holds.iter().map(String::as_str).chain(["null"]) {
        for (amount, to) in
            [("null", "null"), ("5", &euro), ("20.01", "null"), ("0", "null"), ("5", &rich), ("5.001", "null")]
        {
            pairs.push(pair(
                &format!("capture_hold({hold}, {amount}, {to})"),
                &format!("'capture', destination => {to}, amount => {amount}, original_transaction => {hold}"),
            ));
        }
    }
    pairs
}

/// Every type with every account and every kind of amount and text.
fn pairs(bank: &mut Bank, cast: &Cast) -> Vec<Pair> {
    let nobody = Uuid::from_u128(1);
    let accounts: Vec<String> = [
        cast.rich,
        cast.poor,
        cast.spread,
        cast.euro,
        cast.frozen,
        cast.dormant,
        cast.limited,
        cast.held,
        cast.foreign,
        cast.cash,
        nobody,
    ]
    .iter()
    .map(|id| format!("'{id}'"))
    .chain(["null".to_owned()])
    .collect();
    let rich = &accounts[0];
    let amounts = ["1", "15", "30", "0", "-1", "null", "'NaN'", "'infinity'", "0.001", "1e18", "1e19"];
    let tails = [
        String::new(),
        ", currency => 'EUR'".to_owned(),
        ", currency => 'usd'".to_owned(),
        format!(", reference => '{}'", "r".repeat(51)),
        format!(", description => '{}'", "d".repeat(1001)),
        ", metadata => '[]'".to_owned(),
        ", metadata => '{\"a\": 1}'".to_owned(),
        ", effective_at => now() + interval '1 day'".to_owned(),
        ", effective_at => '1970-01-01'".to_owned(),
        ", effective_at => now() - interval '1 day'".to_owned(),
    ];
    let mut pairs = Vec::new();
    for (function, kind, side) in [
        ("withdraw", "withdrawal", "source"),
        ("pay", "payment", "source"),
        ("charge_fee", "fee", "source"),
        ("deposit", "deposit", "destination"),
        ("credit_interest", "interest", "destination"),
    ] {
        for account in &accounts {
            pairs.push(pair(
                &format!("{function}({account}, 15)"),
                &format!("'{kind}', {side} => {account}, amount => 15"),
            ));
        }
        for amount in amounts {
            pairs.push(pair(
                &format!("{function}({rich}, {amount})"),
                &format!("'{kind}', {side} => {rich}, amount => {amount}"),
            ));
        }
        for tail in &tails {
            pairs.push(pair(
                &format!("{function}({rich}, 1{tail})"),
                &format!("'{kind}', {side} => {rich}, amount => 1{tail}"),
            ));
        }
    }
    for from in &accounts {
        for to in &accounts {
            pairs.push(pair(&format!("transfer({from}, {to}, 15)"), &format!("'transfer', {from}, {to}, 15")));
        }
        pairs.push(pair(&format!("transfer({from}, {rich}, 30)"), &format!("'transfer', {from}, {rich}, 30")));
        pairs.push(pair(
            &format!("adjust({from}, -15, 'r')"),
            &format!("'adjustment', {from}, amount => -15, description => 'r'"),
        ));
        pairs.push(pair(
            &format!("adjust({from}, 15, 'r')"),
            &format!("'adjustment', {from}, amount => 15, description => 'r'"),
        ));
    }
    for amount in amounts {
        pairs.push(pair(
            &format!("adjust({rich}, {amount}, 'r')"),
            &format!("'adjustment', {rich}, amount => {amount}, description => 'r'"),
        ));
    }
    let long = format!("'{}'", "r".repeat(1001));
    for reason in ["null", "' '", "''", long.as_str()] {
        pairs.push(pair(
            &format!("adjust({rich}, 1, {reason})"),
            &format!("'adjustment', {rich}, amount => 1, description => {reason}"),
        ));
    }
    let post = |bank: &mut Bank, call: String| bank.db.id(&format!("select txn_processing.{call}"));
    pairs.extend(holds_and_exchanges(bank, cast, &accounts, &amounts));
    let paid = post(bank, format!("pay({rich}, 10)"));
    let refunded = post(bank, format!("pay({rich}, 10)"));
    bank.db.run(&format!("select txn_processing.refund('{refunded}', 4)"));
    let reversed = post(bank, format!("deposit({rich}, 10)"));
    let reversal = post(bank, format!("reverse('{reversed}', 'r')"));
    let adjusted = post(bank, format!("adjust({rich}, 3, 'r')"));
    let spent = post(bank, format!("deposit('{}', 40)", cast.poor));
    bank.db.run(&format!("select txn_processing.withdraw('{}', 45)", cast.poor));
    let iced = post(bank, format!("transfer({rich}, '{}', 1)", cast.dormant));
    let originals = [paid, refunded, reversed, reversal, adjusted, spent, iced, nobody].map(|id| format!("'{id}'"));
    for original in originals.iter().map(String::as_str).chain(["null"]) {
        for amount in ["null", "6", "6.01", "0", "11", "'NaN'"] {
            pairs.push(pair(
                &format!("refund({original}, {amount})"),
                &format!("'refund', original_transaction => {original}, amount => {amount}"),
            ));
        }
        for reason in ["'r'", "null", "' '", long.as_str()] {
            pairs.push(pair(
                &format!("reverse({original}, {reason})"),
                &format!("'reversal', original_transaction => {original}, description => {reason}"),
            ));
        }
        for overdraft in ["true", "false"] {
            pairs.push(pair(
                &format!("reverse({original}, 'r', allow_overdraft => {overdraft})"),
                &format!(
                    "'reversal', original_transaction => {original}, description => 'r', allow_overdraft => {overdraft}"
                ),
            ));
        }
    }
    // Ids that were used: the same again, and something else.
    let used = Uuid::from_u128(77);
    bank.db.run(&format!("select txn_processing.withdraw({rich}, 900, transaction_id => '{used}')"));
    for amount in ["900", "901", "1"] {
        pairs.push(pair(
            &format!("withdraw({rich}, {amount}, transaction_id => '{used}')"),
            &format!("'withdrawal', {rich}, amount => {amount}, transaction_id => '{used}'"),
        ));
    }
    pairs
}

fn ok(outcome: Result<Vec<String>, Refusal>) -> String {
    match outcome {
        Ok(_) => "|||".to_owned(),
        Err(refusal) => [refusal.code, refusal.message, refusal.detail, refusal.hint].join("|"),
    }
}

#[test]
fn the_answer_is_that_of_the_strict_function_and_nothing_stays() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let cast = cast(&mut bank);
        let pairs = pairs(&mut bank, &cast);
        assert!(pairs.len() > 300);
        let before = snapshot(&mut bank.db);
        let mut codes = std::collections::BTreeSet::new();
        for Pair { strict, dry } in pairs {
            let columns = "sqlstate, message, detail, hint";
            let answer = bank.db.one(&format!("select {columns} from txn_processing.validate({dry})"));
            bank.db.run("begin");
            let raised = ok(bank.db.try_lines(&format!("select txn_processing.{strict}")));
            bank.db.run("rollback");
            // Arguments are named after the function they belong to; the code says what is wrong with either.
            let same = if raised.starts_with("22004") || raised.starts_with("NB021") {
                answer.split('|').next() == raised.split('|').next()
            } else {
                answer == raised
            };
            assert!(same, "{strict} raises {raised}\nvalidate({dry}) answers {answer}");
            let word = bank.db.one(&format!("select ok, code from txn_processing.validate({dry})"));
            assert_eq!(word == "t|ok", raised == "|||", "{word} for {raised}");
            codes.insert(answer.split('|').next().unwrap_or_default().to_owned());
        }
        assert_eq!(before, snapshot(&mut bank.db), "a dry run left something");
        let wanted = [
            "", "22004", "NB001", "NB002", "NB003", "NB004", "NB005", "NB006", "NB007", "NB008", "NB011", "NB012",
            "NB013", "NB021", "NB022", "NB024", "NB026", "NB050",
        ];
        assert_eq!(codes.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
        audit(&mut bank.db);
    }
}

#[test]
fn a_type_that_there_is_not_is_refused() {
    let mut bank = Bank::new();
    for (name, answer) in [
        ("null", "null_argument|22004"),
        ("'holding'", "argument_out_of_bounds|NB021"),
        ("''", "argument_out_of_bounds|NB021"),
    ] {
        assert_eq!(bank.db.one(&format!("select code, sqlstate from txn_processing.validate({name})")), answer);
    }
}

#[test]
fn who_may_not_post_is_told_so() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let (reader, teller) = (bank.role("reader"), bank.role("teller"));
    bank.db
        .run(&format!("select neobank.grant_usage('{reader}', 'reader'), neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&reader);
    let dry = |kind: &str| {
        format!(
            "select code, sqlstate from txn_processing.validate('{kind}', '{a}', '{a}', 1, description => 'r', original_transaction => '{a}')"
        )
    };
    refused_with_code_only(&mut session, &dry("deposit"), "42501");
    let mut session = bank.session_as(&teller);
    for kind in ["deposit", "withdrawal", "payment"] {
        assert_eq!(session.one(&dry(kind)), "ok|");
    }
    assert_eq!(session.one(&dry("transfer")), "same_account|NB006");
    assert_eq!(session.one(&dry("refund")), "not_reversible|NB008");
    for kind in ["fee", "interest", "adjustment", "reversal"] {
        assert_eq!(session.one(&dry(kind)), "permission_denied|42501", "{kind}");
    }
    audit(&mut bank.db);
}

#[test]
fn nothing_is_locked_afterwards_and_the_block_goes_on() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        bank.db.run(&format!("set neobank.posting_path = {path}"));
        let (a, spread) = (bank.account("100"), bank.slotted("checking", "100", "0"));
        let clearing = bank.internal("payments_clearing", "USD");
        bank.db.run("begin");
        for (from, to, amount) in [(a, spread, 1), (spread, a, 1), (a, spread, 1_000)] {
            bank.db.run(&format!("select * from txn_processing.validate('transfer', '{from}', '{to}', {amount})"));
        }
        bank.db.run(&format!("select * from txn_processing.validate('payment', '{a}', amount => 1)"));
        let left = "select count(*) from pg_locks where pid = pg_backend_pid() and \
                    (locktype in ('tuple', 'advisory') or mode in ('RowExclusiveLock', 'RowShareLock') and relation in \
                     ('banking.accounts'::regclass, 'banking.account_slots'::regclass, 'txn_processing.movements'::regclass))";
        assert_eq!(bank.db.count(left), 0, "{path}");
        let mut other = bank.session();
        other.run("set lock_timeout = '1s'");
        other.run(&format!(
            "select txn_processing.transfer('{a}', '{spread}', 2), txn_processing.adjust('{clearing}', 1, 'r')"
        ));
        bank.db.run(&format!("select txn_processing.withdraw('{a}', 98); commit"));
        assert_eq!(bank.db.balance(a), dec("0"));
        audit(&mut bank.db);
    }
}

#[test]
fn a_dry_run_waits_like_a_posting_and_raises_what_is_no_refusal() {
    for path in ["direct", "spi"] {
        let mut bank = Bank::new();
        let a = bank.account("100");
        let mut session = bank.session();
        session.run(&format!("set neobank.posting_path = {path}; set lock_timeout = '50ms'"));
        let dry = format!("select code from txn_processing.validate('withdrawal', '{a}', amount => 60)");
        bank.db.run(&format!("begin; select txn_processing.withdraw('{a}', 50)"));
        refused_with_code_only(&mut session, &dry, "55P03");
        bank.db.run("rollback");
        assert_eq!(session.one(&dry), "ok");
        session.run("begin read only");
        refused_with_code_only(&mut session, &dry, "25006");
        session.run("rollback; begin isolation level repeatable read; select count(*) from banking.accounts");
        bank.db.run(&format!("select txn_processing.withdraw('{a}', 1)"));
        refused_with_code_only(&mut session, &dry, "40001");
        session.run("rollback");
        audit(&mut bank.db);
    }
}

#[test]
fn dry_runs_beside_postings_disturb_nobody() {
    let _turn = crowd();
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.slotted("checking", "1000", "0"));
    let before = bank.db.count("select count(*) from txn_processing.movements");
    let mut trier = bank.session();
    let trying = thread::spawn(move || {
        for n in 0..150 {
            let (from, to) = if n % 2 == 0 { (a, b) } else { (b, a) };
            assert_eq!(
                trier.one(&format!("select code from txn_processing.validate('transfer', '{from}', '{to}', 1)")),
                "ok"
            );
        }
    });
    together(&bank, 4, move |n, db| {
        db.run(&format!("set neobank.posting_path = {}", ["auto", "spi"][n % 2]));
        for _ in 0..50 {
            let (from, to) = if n < 2 { (a, b) } else { (b, a) };
            db.run(&format!("select txn_processing.transfer('{from}', '{to}', 1)"));
        }
    });
    trying.join().expect("every dry run answers");
    assert_eq!(bank.db.count("select count(*) from txn_processing.movements"), before + 200);
    assert_eq!((bank.db.balance(a), bank.db.balance(b)), (dec("1000"), dec("1000")));
    audit(&mut bank.db);
}
