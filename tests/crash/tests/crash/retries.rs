//! A retry's answer is an acknowledgement like the first one, and must wait for the standbys that commits wait for. The
//! first call's commit may be missing there: the server crashed while it waited, came up, and shows what it has. A
//! transaction that only reads waits for nobody, so retries of `enqueue`, `create_payment_batch`,
//! `import_external_statement`, `open_dispute` and `settle`, which found the first result without locking anything, were
//! answered at once; with the primary lost after that and the standby promoted, what was acknowledged was gone.

use neobank_crash::*;
use neobank_sessions::*;
use std::thread;
use std::time::{Duration, Instant};

/// `{a}`, `{b}` and `{e}` are accounts, the last one in EUR, `{own}` is an id of the call's own; `{days}` is too short for
/// `{day}` when the call is sent again.
const CALLS: [&str; 20] = [
    "select txn_processing.transfer('{a}', '{b}', 1, transaction_id => '{first}')",
    "select txn_processing.withdraw('{a}', 1, transaction_id => '{second}')",
    "select txn_processing.withdraw('{a}', 1, transaction_id => '{third}')",
    "set neobank.posting_path = 'spi'; select txn_processing.pay('{a}', 1, transaction_id => '{own}')",
    "set neobank.max_backdate_days = {days}; select txn_processing.deposit('{a}', 1, effective_at => '{day}', transaction_id => '{own}')",
    "select txn_processing.execute_transfer('{own}', null, '{a}', '{b}', 1, 'USD', null)",
    "select * from txn_processing.post_transfers(array['{a}']::uuid[], array['{b}']::uuid[], array[1], array['{own}']::uuid[])",
    "select txn_processing.adjust('{a}', 1, 'why', transaction_id => '{own}')",
    "select txn_processing.refund('{first}', 0.5, transaction_id => '{own}')",
    "select txn_processing.reverse('{second}', 'why', reversal_transaction_id => '{own}')",
    "select txn_processing.transfer_fx('{a}', '{e}', 2, transaction_id => '{own}')",
    "select txn_processing.pay_bank('{a}', 1, 'YZ', '1', transaction_id => '{own}')",
    "select txn_processing.place_hold('{a}', 1, hold_id => '{own}')",
    "select txn_processing.enqueue('deposit', null, '{a}', 1, idempotency_key => '{own}')",
    "select txn_processing.create_payment_batch('[{\"from_account\": \"{a}\", \"to_account\": \"{b}\", \"amount\": 1}]', '{own}')",
    "select txn_processing.import_external_statement('bank', '{own}', '{a}', 'USD', 0, 1, '[{\"booked_on\": \"2026-01-05\", \"amount\": 1}]')",
    "select txn_processing.open_dispute('{third}', 'why', dispute_id => '{own}')",
    "select event_store.append_event('Account', '{a}', 'AccountOpened', '{}', 0, null, '{own}')",
    "select event_store.append_events('Account', '{b}', '[{\"event_id\": \"{own}\", \"event_type\": \"T\", \"event_data\": {}}]', 0)",
    "select * from txn_processing.settle((now() at time zone 'UTC')::date - 1, 'USD')",
];

/// Each call as it is sent first, and as it is sent again.
fn calls(books: &Books, day: &str) -> Vec<[String; 2]> {
    let given = ["{first}", "{second}", "{third}"].map(|name| (name, Uuid::new_v4()));
    CALLS
        .iter()
        .map(|call| {
            let accounts = [("{a}", books.accounts[1]), ("{b}", books.accounts[3]), ("{e}", books.euros[0])];
            let ids = accounts.into_iter().chain(given).chain([("{own}", Uuid::new_v4())]);
            let call = ids.fold(call.replace("{day}", day), |call, (name, id)| call.replace(name, &id.to_string()));
            ["366", "0"].map(|days| call.replace("{days}", days))
        })
        .collect()
}

/// Whether the call waits for a standby before it answers, and its answer once it is told to wait no more.
fn waits(server: &Server, db: &mut Client, call: &str) -> (bool, Vec<String>) {
    let mut session = server.connect();
    let backend = Bank::backend_of(&mut session);
    let text = call.to_owned();
    let answer = thread::spawn(move || session.try_lines(&text));
    let until = Instant::now() + Duration::from_secs(60);
    let waiting = format!("select count(*) from pg_stat_activity where pid = {backend} and wait_event = 'SyncRep'");
    let mut has_waited = false;
    while !has_waited && !answer.is_finished() {
        has_waited = db.count(&waiting) == 1;
        assert!(Instant::now() < until, "neither waits nor answers: {call}");
        thread::sleep(Duration::from_millis(5));
    }
    // It holds its locks as long as it waits.
    db.run(&format!("select pg_cancel_backend({backend}) from pg_stat_activity where pid = {backend}"));
    let answer = answer.join().expect("no session fails");
    (has_waited, answer.unwrap_or_else(|refusal| panic!("{refusal}\nfrom: {call}")))
}

#[test]
fn a_retry_is_answered_only_when_the_standbys_have_the_first_result() {
    let mut server = Server::create("retries", "");
    let mut db = server.connect();
    let books = Books::found(&mut db);
    db.run("select txn_processing.set_dispute_policy('checking', false, 30)");
    let day = db.one("select now() - interval '2 days'");
    let calls = calls(&books, &day);
    let first: Vec<Vec<String>> = calls.iter().map(|[call, _]| server.connect().lines(call)).collect();
    // The standby that commits wait for is away, and the server comes up from a crash.
    server.add_settings("synchronous_standby_names = 'away'");
    drop(db);
    server.stop_immediately();
    server.start();
    let mut db = server.connect();
    // From some moment on the server knows that commits wait.
    while !waits(&server, &mut db, "insert into public.receipts values (gen_random_uuid(), 'a sign')").0 {}
    let mut at_once = Vec::new();
    for ([_, call], first) in calls.into_iter().zip(first) {
        let (has_waited, answer) = waits(&server, &mut db, &call);
        assert_eq!(answer, first, "{call}");
        if !has_waited {
            at_once.push(call);
        }
    }
    assert_eq!(at_once, Vec::<String>::new(), "answered at once");
    audit(&mut db);
}
