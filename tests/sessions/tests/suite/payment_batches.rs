//! Payment batches: handed in once, posted in chunks, retried item by item.

use neobank_sessions::*;
use std::thread;
use std::time::Duration;

fn transfer(from: Uuid, to: Uuid, amount: &str) -> String {
    format!("{{\"from_account\": \"{from}\", \"to_account\": \"{to}\", \"amount\": {amount}}}")
}

fn payment(from: Uuid, bank: &str, amount: &str) -> String {
    format!(
        "{{\"from_account\": \"{from}\", \"counterparty_bank\": \"{bank}\", \
         \"counterparty_account\": \"77\", \"amount\": {amount}}}"
    )
}

fn creation(items: &[String], key: &str) -> String {
    format!("select txn_processing.create_payment_batch('[{}]', '{key}')", items.join(", "))
}

fn process(batch: Uuid, chunk: i32) -> String {
    format!("select * from txn_processing.process_payment_batch('{batch}', {chunk})")
}

/// Items by status: pending, completed, failed, cancelled. The totals must add up at any time.
fn counts(session: &mut Client, batch: Uuid) -> String {
    let off = session.count(&format!(
        "select count(*) from txn_processing.payment_batches_status where batch_id = '{batch}' and ( \
         total_items <> pending_items + completed_items + failed_items + cancelled_items or \
         total_amount <> pending_amount + completed_amount + failed_amount + cancelled_amount)"
    ));
    assert_eq!(off, 0, "the totals do not add up");
    session.one(&format!(
        "select sum(pending_items), sum(completed_items), sum(failed_items), sum(cancelled_items) \
         from txn_processing.payment_batches_status where batch_id = '{batch}'"
    ))
}

fn item(session: &mut Client, batch: Uuid, no: i32, columns: &str) -> String {
    session.one(&format!(
        "select {columns} from txn_processing.payment_batch_items where batch_id = '{batch}' and item_no = {no}"
    ))
}

/// Every completed item is posted once as it says, and nothing else is.
fn posted_once(session: &mut Client, batch: Uuid) {
    let off = session.lines(&format!(
        "select i.item_no from txn_processing.payment_batch_items i \
         left join txn_processing.movements m on m.transaction_id = i.transaction_id \
         left join txn_processing.clearing_items c on c.transaction_id = i.transaction_id \
         where i.batch_id = '{batch}' and case i.status when 'completed' then \
           m.amount is distinct from i.amount or m.debit_account is distinct from i.from_account \
           or m.currency_code <> i.currency_code or m.reference is distinct from i.reference \
           or m.description is distinct from i.description or m.leg <> 1 \
           or c.counterparty_bank is distinct from i.counterparty_bank \
           or c.counterparty_account is distinct from i.counterparty_account \
         else m.transaction_id is not null or c.transaction_id is not null end"
    ));
    assert_eq!(off, [""; 0], "items that are not posted as they say");
}

#[test]
fn transfers_and_payments_of_a_batch_are_posted_in_chunks() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let euros = bank.account_with("checking", "EUR", "50", "0");
    let items = [
        transfer(a, b, "10")
            .replace('}', ", \"reference\": \"R-1\", \"description\": \"rent\", \"external_id\": \"e1\"}"),
        payment(a, "YZ", "\"20.5\""),
        payment(euros, "ST", "5.25").replace('}', ", \"currency\": \"EUR\", \"reference\": null}"),
        transfer(b, a, "4"),
        payment(a, "ST", "1"),
    ];
    let batch = bank.db.id(&creation(&items, "k"));
    assert_eq!(counts(&mut bank.db, batch), "5|0|0|0");
    assert_eq!(bank.db.count("select count(*) from txn_processing.movements"), 2, "nothing but the openings");
    assert_eq!(bank.db.one(&process(batch, 2)), "2|2|0|t");
    assert_eq!(counts(&mut bank.db, batch), "3|2|0|0");
    let totals = "select currency_code, status, total_items, total_amount, completed_amount \
                  from txn_processing.payment_batches_status order by 1";
    assert_eq!(bank.db.lines(totals), ["EUR|pending|1|5.25|0", "USD|processing|4|35.50|30.50"]);
    assert_eq!(bank.db.one(&process(batch, 1000)), "3|3|0|f");
    assert_eq!(bank.db.one(&process(batch, 1000)), "0|0|0|f", "a batch that is done is left alone");
    assert_eq!(counts(&mut bank.db, batch), "0|5|0|0");
    posted_once(&mut bank.db, batch);
    assert_eq!(bank.db.balance(a), dec("972.50"));
    assert_eq!(bank.db.balance(b), dec("6"));
    assert_eq!(bank.db.balance(euros), dec("44.75"));
    let named = "select metadata->>'counterparty_bank' from txn_processing.movements where metadata is not null \
                 order by 1";
    assert_eq!(bank.db.lines(named), ["ST", "ST", "YZ"]);
    audit(&mut bank.db);
}

#[test]
fn a_malformed_item_is_named_by_number_and_key() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let good = transfer(a, b, "1");
    let with = |more: &str| format!("{}, {more}}}", good.trim_end_matches('}'));
    let cases = [
        ("7".to_owned(), ""),
        ("[]".to_owned(), ""),
        ("null".to_owned(), ""),
        ("{}".to_owned(), "from_account"),
        (with("\"to_acount\": 1"), "to_acount"),
        (good.replace(&a.to_string(), "x"), "from_account"),
        (good.replace(&a.to_string(), &format!("{{{a}}}")), "from_account"),
        (good.replace(&b.to_string(), "1"), "to_account"),
        (with("\"counterparty_bank\": \"X\", \"counterparty_account\": \"1\""), "to_account"),
        (format!("{{\"from_account\": \"{a}\", \"amount\": 1}}"), "to_account"),
        (with("\"counterparty_account\": \"1\""), "counterparty_account"),
        (payment(a, "X", "1").replace("\"77\"", "null"), "counterparty_account"),
        (payment(a, "X", "1").replace("\"77\"", "\" \""), "counterparty_account"),
        (payment(a, " ", "1"), "counterparty_bank"),
        (payment(a, "unassigned", "1"), "counterparty_bank"),
        (payment(a, &"x".repeat(51), "1"), "counterparty_bank"),
        (transfer(a, b, "null"), "amount"),
        (transfer(a, b, "0"), "amount"),
        (transfer(a, b, "-1"), "amount"),
        (transfer(a, b, "\"ten\""), "amount"),
        (transfer(a, b, "\"NaN\""), "amount"),
        (transfer(a, b, "\"1e3\""), "amount"),
        (transfer(a, b, "true"), "amount"),
        (transfer(a, b, "{}"), "amount"),
        (transfer(a, b, "1e400"), "amount"),
        (transfer(a, b, "1000000000000000000.01"), "amount"),
        (transfer(a, b, "0.00001"), "amount"),
        (with("\"currency\": \"usd\""), "currency"),
        (with("\"currency\": 1"), "currency"),
        (with(&format!("\"reference\": \"{}\"", "r".repeat(51))), "reference"),
        (with(&format!("\"description\": \"{}\"", "d".repeat(1001))), "description"),
        (with(&format!("\"external_id\": \"{}\"", "e".repeat(101))), "external_id"),
    ];
    for (item, key) in cases {
        let refusal = refused(&mut bank.db, &creation(&[good.clone(), item.clone()], "k"), "NB033");
        let place = if key.is_empty() { "Item 2:".to_owned() } else { format!("Item 2, key \"{key}\":") };
        assert!(refusal.detail.starts_with(&place), "{item}: {refusal}");
    }
    let twice = with("\"external_id\": \"e\"");
    let refusal = refused(&mut bank.db, &creation(&[twice.clone(), good.clone(), twice], "k"), "NB033");
    assert!(refusal.detail.starts_with("Item 3, key \"external_id\":"), "{refusal}");
}

#[test]
fn what_is_no_batch_is_refused() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let good = transfer(a, b, "1");
    for (arguments, code) in [
        ("null, 'k'".to_owned(), "22004"),
        (format!("'[{good}]', null"), "22004"),
        ("'[]', 'k'".to_owned(), "NB021"),
        ("'{}', 'k'".to_owned(), "NB021"),
        ("'null', 'k'".to_owned(), "NB021"),
        (format!("'[{good}]', ' '"), "NB021"),
        (format!("'[{good}]', repeat('k', 101)"), "NB021"),
        (format!("'[{good}]', 'k', repeat('d', 1001)"), "NB021"),
        (format!("(select jsonb_agg('{good}'::jsonb) from generate_series(1, 100001)), 'k'"), "NB021"),
    ] {
        refused(&mut bank.db, &format!("select txn_processing.create_payment_batch({arguments})"), code);
    }
    let batch = bank.db.id(&creation(&[good], "k"));
    let nobody = Uuid::now_v7();
    for (sql, code) in [
        (process(nobody, 1), "NB034"),
        (process(batch, 0), "NB021"),
        (process(batch, -5), "NB021"),
        (process(batch, 10_001), "NB021"),
        ("select txn_processing.process_payment_batch(null)".to_owned(), "22004"),
        (format!("select txn_processing.process_payment_batch('{batch}', null)"), "22004"),
        (format!("select txn_processing.retry_payment_batch('{nobody}')"), "NB034"),
        ("select txn_processing.retry_payment_batch(null)".to_owned(), "22004"),
        (format!("select txn_processing.cancel_payment_batch('{nobody}')"), "NB034"),
        ("select txn_processing.cancel_payment_batch(null)".to_owned(), "22004"),
        (format!("call txn_processing.run_payment_batch('{nobody}')"), "NB034"),
        (format!("call txn_processing.run_payment_batch('{batch}', 0)"), "NB021"),
        ("call txn_processing.run_payment_batch(null)".to_owned(), "22004"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
}

#[test]
fn the_same_key_is_one_batch() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let items = [transfer(a, b, "10"), payment(a, "YZ", "2")];
    let batch = bank.db.id(&creation(&items, "k"));
    bank.db.run(&process(batch, 1));
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.id(&creation(&items, "k")), batch);
    // The same content, written otherwise.
    let same = [
        format!(
            "{{\"amount\": \"10.00\", \"to_account\": \"{}\", \"from_account\": \"{a}\"}}",
            b.to_string().to_uppercase()
        ),
        payment(a, "YZ", "2.0").replace('}', ", \"description\": null}"),
    ];
    assert_eq!(bank.db.id(&creation(&same, "k")), batch);
    assert_eq!(before, snapshot(&mut bank.db));
    let [first, second] = items.clone();
    for other in [
        vec![first.clone()],
        vec![second.clone(), first.clone()],
        vec![transfer(a, b, "11"), second.clone()],
        vec![first.clone(), payment(a, "ST", "2")],
        vec![first.clone(), second.replace('}', ", \"reference\": \"r\"}")],
    ] {
        refused(&mut bank.db, &creation(&other, "k"), "NB007");
    }
    let described = creation(&items, "k").replace("'k')", "'k', 'salaries')");
    refused(&mut bank.db, &described, "NB007");
    assert_ne!(bank.db.id(&creation(&items, "k2")), batch, "another key is another batch");
}

#[test]
fn two_sessions_with_one_key_hand_in_one_batch() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    let sql = creation(&[transfer(a, b, "10")], "k");
    let mut batches = together(&bank, 4, move |_, session| session.id(&sql));
    batches.dedup();
    assert_eq!(batches.len(), 1);
    assert_eq!(bank.db.count("select count(*) from txn_processing.payment_batch_items"), 1);
    // The second waits for the first, and hands in what the first took back.
    let mut other = bank.session();
    let sql = creation(&[transfer(a, b, "5")], "k9");
    other.run("begin");
    let taken_back = other.id(&sql);
    let mut waiting = bank.session();
    let backend = Bank::backend_of(&mut waiting);
    let second = thread::spawn(move || waiting.id(&sql));
    bank.wait_until_blocked(backend);
    other.run("rollback");
    let batch = second.join().expect("no session fails");
    assert_ne!(batch, taken_back);
    assert_eq!(counts(&mut bank.db, batch), "1|0|0|0");
}

#[test]
fn each_item_says_why_it_failed() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100"), bank.account("0"));
    let frozen = bank.account("0");
    bank.status(frozen, "frozen");
    let euros = bank.account_with("checking", "EUR", "50", "0");
    let yen = bank.account_with("checking", "JPY", "50", "0");
    let (cash, nobody) = (bank.internal("cash", "USD"), Uuid::now_v7());
    let cases = [
        (transfer(a, b, "100.01"), "insufficient_funds|NB001"),
        (transfer(nobody, b, "1"), "account_not_found|NB002"),
        (payment(nobody, "YZ", "1"), "account_not_found|NB002"),
        (transfer(a, nobody, "1"), "account_not_found|NB002"),
        (transfer(a, frozen, "1"), "account_not_active|NB003"),
        (transfer(a, euros, "1"), "currency_mismatch|NB004"),
        (payment(a, "YZ", "1").replace('}', ", \"currency\": \"EUR\"}"), "currency_mismatch|NB004"),
        (payment(yen, "YZ", "1.5"), "invalid_amount|NB005"),
        (transfer(a, a, "1"), "same_account|NB006"),
        (transfer(a, cash, "1"), "internal_account|NB024"),
        (payment(cash, "YZ", "1"), "internal_account|NB024"),
        (transfer(a, b, "100"), "|"),
    ];
    let items: Vec<String> = cases.iter().map(|(item, _)| item.clone()).collect();
    let batch = bank.db.id(&creation(&items, "k"));
    assert_eq!(bank.db.one(&process(batch, 100)), "12|1|11|f");
    assert_eq!(counts(&mut bank.db, batch), "0|1|11|0");
    for (no, (given, why)) in (1..).zip(&cases) {
        assert_eq!(item(&mut bank.db, batch, no, "error_code, error_sqlstate"), *why, "{given}");
        assert_eq!(item(&mut bank.db, batch, no, "attempts, last_attempt_at is not null"), "1|t");
    }
    let errors = "select count(*), bool_and(error_detail is not null and error_message is not null) \
                  from txn_processing.payment_batch_errors";
    assert_eq!(bank.db.one(errors), "11|t");
    let unknown = "select total_items from txn_processing.payment_batches_status where currency_code = 'XXX'";
    assert_eq!(bank.db.one(unknown), "2");
    posted_once(&mut bank.db, batch);
    audit(&mut bank.db);
}

#[test]
fn a_retry_takes_the_failed_items_only() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("10"), bank.account("0"));
    let items = [transfer(a, b, "10"), payment(a, "YZ", "7"), payment(a, "YZ", "100"), transfer(a, b, "0.5")];
    let batch = bank.db.id(&creation(&items, "k"));
    assert_eq!(bank.db.one(&process(batch, 3)), "3|1|2|t");
    assert_eq!(bank.db.one(&format!("select txn_processing.retry_payment_batch('{batch}')")), "2");
    bank.db.run(&format!("select txn_processing.deposit('{a}', 8)"));
    assert_eq!(bank.db.one(&process(batch, 100)), "3|2|1|f");
    assert_eq!(counts(&mut bank.db, batch), "0|3|1|0");
    let state = "status, attempts, error_code";
    assert_eq!(item(&mut bank.db, batch, 1, state), "completed|1|");
    assert_eq!(item(&mut bank.db, batch, 2, state), "completed|2|");
    assert_eq!(item(&mut bank.db, batch, 3, state), "failed|2|insufficient_funds");
    assert_eq!(item(&mut bank.db, batch, 4, state), "completed|1|");
    posted_once(&mut bank.db, batch);
    assert_eq!(bank.db.balance(a), dec("0.5"));
    bank.db.run(&format!("select txn_processing.retry_payment_batch('{batch}')"));
    bank.db.run(&process(batch, 100));
    assert_eq!(item(&mut bank.db, batch, 3, state), "failed|3|insufficient_funds");
    audit(&mut bank.db);
}

#[test]
fn what_is_rolled_back_is_pending_again() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100"), bank.account("0"));
    let items: Vec<String> = (1..=6).map(|n| transfer(a, b, &n.to_string())).collect();
    let batch = bank.db.id(&creation(&items, "k"));
    let before = snapshot(&mut bank.db);
    bank.db.run("begin");
    bank.db.run(&process(batch, 4));
    assert_eq!(counts(&mut bank.db, batch), "2|4|0|0");
    // Several chunks in one transaction go on where the last one stopped.
    bank.db.run(&process(batch, 4));
    assert_eq!(counts(&mut bank.db, batch), "0|6|0|0");
    bank.db.run("rollback");
    assert_eq!(before, snapshot(&mut bank.db));
    bank.db.run(&process(batch, 100));
    assert_eq!(counts(&mut bank.db, batch), "0|6|0|0");
    posted_once(&mut bank.db, batch);
    audit(&mut bank.db);
}

#[test]
fn a_session_leaves_alone_what_another_has_claimed() {
    let mut bank = Bank::new();
    let (a, b, c) = (bank.account("100"), bank.account("100"), bank.account("0"));
    let items = [transfer(a, c, "1"), transfer(a, c, "2"), transfer(b, a, "3"), payment(b, "YZ", "4")];
    let batch = bank.db.id(&creation(&items, "k"));
    let mut other = bank.session();
    other.run("begin");
    assert_eq!(other.one(&process(batch, 2)), "2|2|0|t");
    // Item 4 touches no account that the other session holds.
    bank.db.run("begin");
    bank.db.run("select from txn_processing.payment_batch_items where item_no = 3 for update");
    let mut third = bank.session();
    assert_eq!(third.one(&process(batch, 100)), "1|1|0|t");
    assert_eq!(third.one(&process(batch, 100)), "0|0|0|t", "the rest is claimed");
    third.run(&format!("call txn_processing.run_payment_batch('{batch}')"));
    bank.db.run("rollback");
    other.run("rollback");
    assert_eq!(counts(&mut bank.db, batch), "3|1|0|0");
    assert_eq!(third.one(&process(batch, 100)), "3|3|0|f");
    posted_once(&mut bank.db, batch);
    audit(&mut bank.db);
}

#[test]
fn several_sessions_process_one_batch() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..8).map(|_| bank.account("100000")).collect();
    let mut dice = Dice(7);
    let items: Vec<String> = (0..600)
        .map(|n| {
            let from = dice.below(8);
            if n % 3 == 0 {
                payment(accounts[from], ["YZ", "ST", "QR"][dice.below(3)], "1.25")
            } else {
                transfer(accounts[from], accounts[(from + 1 + dice.below(7)) % 8], "2.50")
            }
        })
        .collect();
    let batch = bank.db.id(&creation(&items, "k"));
    let completed: i64 = together(&bank, 4, move |n, session| {
        let mut completed = 0;
        loop {
            let line = session.one(&process(batch, 11 + n as i32));
            let figures: Vec<&str> = line.split('|').collect();
            completed += figures[1].parse::<i64>().expect("a number");
            if figures[3] == "f" {
                return completed;
            }
        }
    })
    .into_iter()
    .sum();
    assert_eq!(completed, 600);
    assert_eq!(counts(&mut bank.db, batch), "0|600|0|0");
    assert_eq!(bank.db.count("select max(attempts) from txn_processing.payment_batch_items"), 1);
    posted_once(&mut bank.db, batch);
    audit(&mut bank.db);
}

#[test]
fn a_lock_that_is_not_got_leaves_items_pending() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100"), bank.account("0"));
    let batch = bank.db.id(&creation(&[transfer(a, b, "1"), payment(b, "YZ", "0.5")], "k"));
    let mut holder = bank.session();
    holder.run("begin");
    holder.run(&format!("select txn_processing.deposit('{a}', 1)"));
    let mut worker = bank.session();
    worker.run("set lock_timeout = '50ms'");
    refused_with_code_only(&mut worker, &process(batch, 10), "55P03");
    assert_eq!(counts(&mut bank.db, batch), "2|0|0|0");
    // The procedure gives up after some repetitions, and does not if the lock comes free between them.
    refused_with_code_only(&mut worker, &format!("call txn_processing.run_payment_batch('{batch}')"), "55P03");
    assert_eq!(bank.db.one("select sum(attempts) from txn_processing.payment_batch_items"), "0");
    let run = thread::spawn(move || {
        worker.run(&format!("call txn_processing.run_payment_batch('{batch}')"));
    });
    thread::sleep(Duration::from_millis(120));
    holder.run("commit");
    run.join().expect("the procedure ends");
    assert_eq!(counts(&mut bank.db, batch), "0|2|0|0");
    audit(&mut bank.db);
}

#[test]
fn the_procedure_commits_each_chunk_for_others_to_see() {
    let mut bank = Bank::new();
    let (a, b, c) = (bank.account("100"), bank.account("100"), bank.account("0"));
    let items = [transfer(a, c, "1"), transfer(a, c, "2"), transfer(b, c, "3"), transfer(a, c, "4")];
    let batch = bank.db.id(&creation(&items, "k"));
    let call = format!("call txn_processing.run_payment_batch('{batch}', 2)");
    let mut holder = bank.session();
    holder.run("begin");
    holder.run(&format!("select txn_processing.deposit('{b}', 1)"));
    let mut worker = bank.session();
    worker.run("set search_path = public");
    let backend = Bank::backend_of(&mut worker);
    let sql = call.clone();
    let run = thread::spawn(move || {
        worker.run(&sql);
        worker.one("show search_path")
    });
    bank.wait_until_blocked(backend);
    // The first chunk stands while the second waits for an account.
    assert_eq!(counts(&mut bank.db, batch), "2|2|0|0");
    holder.run("commit");
    assert_eq!(run.join().expect("the procedure ends"), "public", "the caller's setting is back");
    assert_eq!(counts(&mut bank.db, batch), "0|4|0|0");
    bank.db.run("begin");
    refused_with_code_only(&mut bank.db, &call, "2D000");
    bank.db.run("rollback");
    bank.db.run("set default_transaction_isolation = 'repeatable read'");
    let again = bank.db.id(&creation(&items, "k2"));
    bank.db.run(&format!("call txn_processing.run_payment_batch('{again}', 1)"));
    assert_eq!(counts(&mut bank.db, again), "0|4|0|0");
    posted_once(&mut bank.db, again);
    audit(&mut bank.db);
}

#[test]
fn a_batch_is_posted_with_the_rights_of_who_handed_it_in() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100"), bank.account("0"));
    let [clerk, operator, reader] = ["clerk", "operator", "reader"].map(|label| bank.role(label));
    bank.db.run(&format!("select neobank.grant_usage('{clerk}', 'teller')"));
    bank.db.run(&format!("select neobank.grant_usage('{operator}', 'operator')"));
    bank.db.run(&format!("select neobank.grant_usage('{reader}', 'reader')"));
    let mut session = bank.session_as(&clerk);
    let batch = session.id(&creation(&[transfer(a, b, "1"), payment(a, "YZ", "2"), transfer(a, b, "3")], "k"));
    // A clerk hands in, an operator posts.
    for sql in [
        process(batch, 1),
        format!("call txn_processing.run_payment_batch('{batch}')"),
        format!("select txn_processing.retry_payment_batch('{batch}')"),
        format!("select txn_processing.cancel_payment_batch('{batch}')"),
    ] {
        refused_with_code_only(&mut session, &sql, "42501");
    }
    refused_with_code_only(&mut bank.session_as(&reader), &creation(&[transfer(a, b, "1")], "k9"), "42501");
    bank.db.run(&format!("revoke execute on function txn_processing.pay_bank from {clerk}"));
    let mut session = bank.session_as(&operator);
    assert_eq!(session.one(&process(batch, 10)), "3|2|1|f");
    let state = "status, error_code, error_sqlstate";
    assert_eq!(item(&mut session, batch, 2, state), "failed|permission_denied|42501");
    bank.db.run(&format!("select neobank.grant_usage('{clerk}', 'teller')"));
    bank.db.run(&format!("revoke execute on function txn_processing.transfer from {clerk}"));
    session.run(&format!("select txn_processing.retry_payment_batch('{batch}')"));
    session.run(&format!("call txn_processing.run_payment_batch('{batch}')"));
    assert_eq!(counts(&mut session, batch), "0|3|0|0");
    let by = format!(
        "select requested_by = '{clerk}', (select string_agg(distinct created_by, ',') = '{operator}' \
         from txn_processing.movements m join txn_processing.payment_batch_items i using (transaction_id)) \
         from txn_processing.payment_batches"
    );
    assert_eq!(bank.db.one(&by), "t|t");
    posted_once(&mut bank.db, batch);
    audit(&mut bank.db);
}

#[test]
fn what_is_pending_can_be_taken_back() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("10"), bank.account("0"));
    let items = [transfer(a, b, "1"), transfer(a, b, "100"), transfer(a, b, "2"), transfer(a, b, "3")];
    let batch = bank.db.id(&creation(&items, "k"));
    bank.db.run(&process(batch, 2));
    // Who is posting is waited for; what that session takes back is cancelled.
    let mut worker = bank.session();
    worker.run("begin");
    worker.run(&process(batch, 1));
    let mut canceller = bank.session();
    let backend = Bank::backend_of(&mut canceller);
    let cancelled =
        thread::spawn(move || canceller.count(&format!("select txn_processing.cancel_payment_batch('{batch}')")));
    bank.wait_until_blocked(backend);
    worker.run("rollback");
    assert_eq!(cancelled.join().expect("no session fails"), 2);
    assert_eq!(counts(&mut bank.db, batch), "0|1|1|2");
    assert_eq!(bank.db.one(&process(batch, 10)), "0|0|0|f");
    assert_eq!(bank.db.one(&format!("select txn_processing.cancel_payment_batch('{batch}')")), "0");
    assert_eq!(bank.db.one(&format!("select txn_processing.retry_payment_batch('{batch}')")), "1");
    assert_eq!(counts(&mut bank.db, batch), "1|1|0|2");
    posted_once(&mut bank.db, batch);
    assert_eq!(bank.db.balance(a), dec("9"));
}

#[test]
fn an_item_whose_id_was_used_for_something_else_fails() {
    let mut bank = Bank::new();
    let a = bank.account("100");
    let batch = bank.db.id(&creation(&[payment(a, "YZ", "5"), payment(a, "YZ", "6")], "k"));
    let id = item(&mut bank.db, batch, 1, "transaction_id");
    bank.db.run(&format!("select txn_processing.pay('{a}', 5, transaction_id => '{id}')"));
    assert_eq!(bank.db.one(&process(batch, 10)), "2|1|1|f");
    assert_eq!(item(&mut bank.db, batch, 1, "status, error_code"), "failed|id_conflict");
    assert_eq!(bank.db.balance(a), dec("89"));
    audit(&mut bank.db);
}
