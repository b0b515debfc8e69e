//! Requests made by `enqueue`: what it keeps, what it refuses at once, and keys.

use neobank_sessions::*;
use std::thread;

fn enqueue(arguments: &str) -> String {
    format!("select txn_processing.enqueue({arguments})")
}

#[test]
fn a_request_is_kept_as_it_was_made() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("10"), bank.account("0"));
    let id = bank.db.id(&enqueue(&format!("'transfer', '{a}', '{b}', 2.5")));
    let row = bank.db.one(&format!(
        "select transaction_type, source_account_id = '{a}', destination_account_id = '{b}', amount, \
         currency_code is null, priority, idempotency_key is null, request_data, status, retry_count, max_retries, \
         requested_by = current_user, expires_at - now() between '59 minutes' and '61 minutes', \
         next_attempt_at <= clock_timestamp(), claim_token is null \
         from txn_processing.transaction_queue where request_id = '{id}'"
    ));
    assert_eq!(row, "transfer|t|t|2.5|t|5|t|{}|queued|0|3|t|t|t|t");
    let id = bank.db.id(&enqueue(&format!(
        "'deposit', destination => '{a}', amount => 7, currency => 'USD', idempotency_key => 'k', priority => 1, \
         request_data => '{{\"slip\": 9}}', max_retries => 0, expires_at => null"
    )));
    let row = bank.db.one(&format!(
        "select source_account_id is null, currency_code, priority, idempotency_key, request_data, max_retries, \
         expires_at is null from txn_processing.transaction_queue where request_id = '{id}'"
    ));
    assert_eq!(row, "t|USD|1|k|{\"slip\": 9}|0|t");
}

#[test]
fn one_key_is_one_request() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("10"), bank.account("0"));
    let base = |change: &str| {
        let mut arguments = vec![
            ("transaction_type", "'transfer'".to_owned()),
            ("source", format!("'{a}'")),
            ("destination", format!("'{b}'")),
            ("amount", "5".to_owned()),
            ("currency", "'USD'".to_owned()),
            ("idempotency_key", "'order 7'".to_owned()),
            ("request_data", "'{\"description\": \"Rent\"}'".to_owned()),
        ];
        for (name, value) in change.split(';').filter_map(|one| one.split_once('=')) {
            arguments.retain(|(known, _)| *known != name);
            arguments.push((name, value.to_owned()));
        }
        let named: Vec<String> = arguments.iter().map(|(name, value)| format!("{name} => {value}")).collect();
        enqueue(&named.join(", "))
    };
    let id = bank.db.id(&base(""));
    assert_eq!(bank.db.id(&base("")), id);
    // How it is to be carried out is not what it asks for.
    assert_eq!(bank.db.id(&base("amount=5.00;priority=1;max_retries=9;expires_at=null")), id);
    let accounts = format!("source='{b}';destination='{a}'");
    for change in [
        "amount=6",
        "currency=null",
        "request_data='{\"description\": \"Food\"}'",
        accounts.as_str(),
        &format!("transaction_type='withdrawal';source='{a}'"),
    ] {
        let refusal = refused(&mut bank.db, &base(change), "NB007");
        assert!(refusal.detail.contains(&id.to_string()), "{refusal}");
    }
    let teller = bank.role("teller");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&teller);
    refused_with_code_only(&mut session, &base(""), "NB007");
    bank.db.run("select * from txn_processing.process_queue()");
    assert_eq!(bank.db.id(&base("")), id, "also when it has been carried out");
    assert_eq!(bank.db.balance(b), dec("5"));
    let free = "idempotency_key=null";
    assert_ne!(bank.db.id(&base(free)), bank.db.id(&base(free)));
    assert_eq!(bank.db.count("select count(*) from txn_processing.transaction_queue"), 3);
    audit(&mut bank.db);
}

#[test]
fn one_key_in_two_sessions_at_once_is_one_request() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    for (end, same) in [("commit", true), ("rollback", false)] {
        let sql = enqueue(&format!("'withdrawal', '{a}', null, 1, idempotency_key => '{end}'"));
        let mut first = bank.session();
        first.run("begin");
        let id = first.id(&sql);
        let mut second = bank.session();
        let backend = Bank::backend_of(&mut second);
        let waiting = thread::spawn(move || second.id(&sql));
        bank.wait_until_blocked(backend);
        first.run(end);
        assert_eq!(waiting.join().expect("it answers") == id, same, "{end}");
    }
    assert_eq!(bank.db.count("select count(*) from txn_processing.transaction_queue"), 2);
}

#[test]
fn what_could_only_fail_later_is_refused_at_once() {
    let mut bank = Bank::new();
    let a = format!("'{}'", bank.account("10"));
    let long = "x".repeat(101);
    for (arguments, code) in [
        ("null, null, null, 1".to_owned(), "22004"),
        (format!("'tranfser', {a}, {a}, 1"), "NB021"),
        (format!("'withdrawal', {a}, null, null"), "22004"),
        (format!("'withdrawal', {a}, null, 0"), "NB005"),
        (format!("'withdrawal', {a}, null, -1"), "NB005"),
        (format!("'withdrawal', {a}, null, 'NaN'"), "NB005"),
        (format!("'withdrawal', {a}, null, 'Infinity'"), "NB005"),
        (format!("'withdrawal', {a}, null, 1e19"), "NB005"),
        (format!("'withdrawal', null, {a}, 1"), "22004"),
        (format!("'deposit', {a}, null, 1"), "22004"),
        (format!("'transfer', {a}, null, 1"), "22004"),
        (format!("'refund', null, {a}, 1"), "22004"),
        (format!("'refund', null, {a}, 1, request_data => '{{\"original_transaction_id\": 7}}'"), "NB021"),
        (format!("'reversal', null, null, 1, request_data => '{{\"original_transaction_id\": {}}}'", 7), "22004"),
        (format!("'adjustment', null, {a}, 1"), "22004"),
        (format!("'adjustment', null, {a}, 1, request_data => '{{\"reason\": \" \"}}'"), "NB021"),
        (format!("'adjustment', {a}, {a}, 1, request_data => '{{\"reason\": \"why\"}}'"), "NB021"),
        (format!("'withdrawal', {a}, null, 1, priority => 0"), "NB021"),
        (format!("'withdrawal', {a}, null, 1, priority => 11"), "NB021"),
        (format!("'withdrawal', {a}, null, 1, priority => null"), "22004"),
        (format!("'withdrawal', {a}, null, 1, max_retries => -1"), "NB021"),
        (format!("'withdrawal', {a}, null, 1, max_retries => 101"), "NB021"),
        (format!("'withdrawal', {a}, null, 1, max_retries => null"), "22004"),
        (format!("'withdrawal', {a}, null, 1, idempotency_key => ' '"), "NB021"),
        (format!("'withdrawal', {a}, null, 1, idempotency_key => '{long}'"), "NB021"),
        (format!("'withdrawal', {a}, null, 1, request_data => '[1]'"), "NB021"),
    ] {
        refused(&mut bank.db, &enqueue(&arguments), code);
    }
    bank.db.run(&format!("begin; {}; rollback", enqueue(&format!("'withdrawal', {a}, null, 1"))));
    assert_eq!(bank.db.count("select count(*) from txn_processing.transaction_queue"), 0);
}

#[test]
fn nobody_asks_for_what_is_not_theirs_to_post() {
    let mut bank = Bank::new();
    let a = bank.account("10");
    let teller = bank.role("teller");
    let nobody = bank.role("nobody");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut session = bank.session_as(&teller);
    refused_with_code_only(&mut session, &enqueue(&format!("'fee', '{a}', null, 1")), "42501");
    session.run(&enqueue(&format!("'payment', '{a}', null, 1")));
    refused_with_code_only(&mut session, "select * from txn_processing.process_queue()", "42501");
    let mut session = bank.session_as(&nobody);
    refused_with_code_only(&mut session, &enqueue(&format!("'payment', '{a}', null, 1")), "42501");
    // A right may be taken away while the request waits.
    bank.db.run(&format!("select neobank.revoke_usage('{teller}')"));
    assert_eq!(bank.db.one("select status, code from txn_processing.process_queue()"), "failed|permission_denied");
    let by = bank.db.one("select requested_by from txn_processing.transaction_queue");
    assert_eq!(by, teller);
    assert_eq!(bank.db.balance(a), dec("10"));
}
