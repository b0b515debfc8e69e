//! A standby made and promoted in the middle of load, twice: first one that every commit waits for, which must have all
//! that was acknowledged; then, of that one, a standby that nobody waits for, which must have the ledger as it was at
//! some moment. Before that it answers what is read and refuses what would write. The primary logs every page it changes,
//! so the standby compares each page it makes by replay with the one that the operation made.

use crate::kills::{COMPARED, WORKERS, verify};
use neobank_crash::*;
use neobank_model::tables;
use neobank_sessions::*;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: [&str; 4] = [
    "set neobank.posting_path = 'direct'",
    "set neobank.posting_path = 'direct'; set synchronous_commit = remote_apply",
    "set neobank.posting_path = 'spi'",
    "set neobank.posting_path = 'auto'; set synchronous_commit = remote_apply",
];

const STANDBY: &str = "hot_standby_feedback = on\nmax_standby_streaming_delay = -1";

/// Everything that reads, over all accounts and transactions there are; `$` is an account, `@` a transaction, `!` an
/// aggregate.
const READINGS: [&str; 17] = [
    "select count(*), sum(running_balance) from banking.accounts a, txn_processing.statement(a.account_id, max_rows => 50)",
    "select sum(txn_processing.balance_as_of(account_id, now() - interval '1 day')) from banking.accounts",
    "select sum(debits), sum(credits) from txn_processing.trial_balance()",
    "select sum(debits), sum(credits) from txn_processing.trial_balance(now() - interval '1 day')",
    "select status, count(*) from txn_processing.daily_reconciliation() group by 1",
    "select * from txn_processing.transaction('@')",
    "select txn_processing.fx_rate_at('USD', 'EUR')",
    "select * from txn_processing.fee_for('transfer', '$', 10)",
    "select * from txn_processing.fx_gains('USD')",
    "select * from neobank.posting_path",
    "select status, transaction_type, requests from txn_processing.queue_status order by 1, 2",
    "select account_id, current_balance, available_balance from banking.account_balances order by 1",
    "select md5(string_agg(l::text, '' order by l::text)) from txn_processing.ledger l",
    "select md5(string_agg(t::text, '' order by t::text)) from banking.transactions t",
    "select e.aggregate_id, md5(string_agg(e::text, '' order by event_version)) from event_store.streams s, event_store.read_stream(s.aggregate_id, 1, 100000) e group by 1 order by 1",
    "select count(*) from event_store.read_category('Application')",
    "select event_store.get_aggregate_state('!', 1)",
];

/// One call of each function that writes.
const WRITINGS: [&str; 39] = [
    "txn_processing.transfer('$', '%', 1)",
    "txn_processing.deposit('$', 1)",
    "txn_processing.withdraw('$', 1)",
    "txn_processing.pay('$', 1)",
    "txn_processing.charge_fee('$', 1)",
    "txn_processing.credit_interest('$', 1)",
    "txn_processing.adjust('$', 1, 'why')",
    "txn_processing.refund('@')",
    "txn_processing.reverse('@', 'why')",
    "txn_processing.reverse_transaction('@', 'why')",
    "txn_processing.execute_transfer(null, null, '$', '%', 1, 'USD', null)",
    "txn_processing.execute_deposit(null, null, '$', 1, 'USD', null)",
    "txn_processing.execute_withdrawal(null, null, '$', 1, 'USD', null)",
    "txn_processing.execute_payment(null, null, '$', 1, 'USD', null)",
    "txn_processing.transfer('$', '%', 1, transaction_id => '@')",
    "txn_processing.transfer('$', '%', 1, effective_at => now() - interval '1 day')",
    "txn_processing.transfer_with_fee('$', '%', 1)",
    "txn_processing.transfer_fx('$', '&', 1)",
    "txn_processing.pay_bank('$', 1, 'YZ', '1')",
    "txn_processing.receive_from_bank('$', 1, 'YZ', '1')",
    "txn_processing.post_transfers(array['$']::uuid[], array['%']::uuid[], array[1])",
    "txn_processing.post_batch(array['deposit'], array[null]::uuid[], array['$']::uuid[], array[1])",
    "txn_processing.validate('deposit', null, '$', 1)",
    "txn_processing.enqueue('deposit', null, '$', 1)",
    "txn_processing.process_queue()",
    "txn_processing.create_payment_batch('[{\"from_account\": \"$\", \"to_account\": \"%\", \"amount\": 1}]', 'key')",
    "txn_processing.place_hold('$', 1)",
    "txn_processing.open_dispute('@', 'why')",
    "txn_processing.set_fx_rate('USD', 'EUR', 2)",
    "txn_processing.settle(current_date - 1, 'USD')",
    "txn_processing.set_hold_rule('checking', 5)",
    "banking.create_customer('A', 'B')",
    "banking.open_account('?')",
    "banking.set_account_status('$', 'frozen', 'why')",
    "banking.set_overdraft_limit('$', 1, 'why')",
    "banking.set_balance_mode('$', 'slotted')",
    "banking.create_tenant('another')",
    "event_store.append_event('Account', '!', 'T', '{}')",
    "event_store.append_events('Account', '!', '[{\"event_type\": \"T\", \"event_data\": {}}]')",
];

fn in_words_of(books: &Books, transaction: Uuid, call: &str) -> String {
    // Each mark stands in the call's own text only: the ids have none of them.
    let words = [
        ('$', books.accounts[1]),
        ('%', books.accounts[3]),
        ('&', books.euros[0]),
        ('?', books.customer),
        ('@', transaction),
        ('!', books.world.aggregates[0]),
    ];
    words.into_iter().fold(call.to_owned(), |call, (mark, id)| call.replace(mark, &id.to_string()))
}

/// While the clients go on: whatever reads answers, whatever writes is refused in one way.
fn is_a_hot_standby(primary: &Server, standby: &Server, books: &Books) {
    let newest = "select transaction_id from txn_processing.movements where transaction_type = 'transfer' limit 1";
    let transaction = primary.connect().id(newest);
    primary.wait_for(standby);
    let mut session = standby.connect();
    audit_in_passing(&mut session);
    for reading in READINGS {
        session.lines(&in_words_of(books, transaction, reading));
    }
    for path in ["direct", "spi", "auto"] {
        session.run(&format!("set neobank.posting_path = '{path}'"));
        for writing in WRITINGS {
            let call = in_words_of(books, transaction, &format!("select {writing}"));
            let refusal = session.fails(&call);
            assert_eq!(refusal.code, "25006", "on {path}: {refusal}\nfrom: {call}");
        }
    }
}

/// The two say the same. The primary's workers may still have something to do, so what they change meanwhile is asked again.
fn is_a_copy(primary: &Server, standby: &Server, books: &Books) {
    let (mut here, mut there) = (primary.connect(), standby.connect());
    let transaction = here.id("select transaction_id from txn_processing.movements limit 1");
    let mut same = |what: &str, ask: &dyn Fn(&mut Client) -> Vec<String>| {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let before = ask(&mut here);
            primary.wait_for(standby);
            let copied = ask(&mut there);
            if ask(&mut here) == before {
                assert_eq!(before, copied, "{what}");
                return;
            }
            assert!(Instant::now() < until, "the primary does not come to rest: {what}");
        }
    };
    for reading in READINGS {
        let call = in_words_of(books, transaction, reading);
        same(&call, &|session| session.lines(&call));
    }
    same("all tables", &snapshot);
    same("tables with a history", &|session| session.lines(tables::ALL));
}

fn waits_for(primary: &Server, state: &str) {
    let until = Instant::now() + Duration::from_secs(120);
    let seen = format!("select count(*) from pg_stat_replication where state = 'streaming' and sync_state = '{state}'");
    let mut session = primary.connect();
    while session.count(&seen) == 0 {
        assert!(Instant::now() < until, "no standby streams as {state}:\n{}", primary.log());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Of a server that nobody waited for, each client's acknowledged requests are there up to one moment: what is missing
/// comes after all that is there, and a request is there as a whole or not at all.
fn is_a_prefix(db: &mut Client, load: &Load, new: &Server) -> usize {
    let there = facts(db);
    let mut missing = 0;
    for journal in load.journals_by_client() {
        // What the new server has answered itself, at the very end, comes after what it lacks.
        let before = |entry: &&Entry| entry.promised().next().is_some() && entry.answered_by != new.folder();
        let answered = journal.iter().filter(before);
        let found: Vec<bool> = answered
            .map(|entry| {
                let facts = are_there(&there, entry.promised());
                assert!(facts.iter().all(|found| *found == facts[0]), "half of it is there: {entry:?}");
                facts[0]
            })
            .collect();
        let prefix = found.iter().take_while(|found| **found).count();
        assert!(found[prefix..].iter().all(|found| !found), "missing before what is there: {found:?}");
        missing += found.len() - prefix;
    }
    missing
}

/// The one that every commit waited for takes over in mid-load.
fn fail_over(mut primary: Server, standby: &Server, load: &Load, dice: &mut Dice) {
    load.pass(300, dice);
    primary.kill_postmaster();
    standby.promote();
    load.turn_to(standby.folder().to_owned());
}

#[test]
fn a_standby_promoted_in_mid_load_has_what_was_acknowledged() {
    let seed = seed();
    let turns = 1 + setting("KILLS", 6) / 25;
    let began = Instant::now();
    say(&format!("standby: {turns} turns of two promotions, SEED={seed}"));
    let mut dice = Dice(seed);
    let mut primary = Server::create("primary", &format!("{WORKERS}\n{COMPARED}"));
    let mut db = primary.connect();
    let books = Books::found(&mut db);
    let first = facts(&mut db);
    let mut load = Load::new(&primary, &books, seed, &CLIENTS);
    let mut missing = 0;
    for turn in 0..turns {
        // Made under load, then waited for by every commit.
        load.begin();
        load.pass(100, &mut dice);
        let mut standby = primary.standby(&format!("standby{turn}"), STANDBY);
        load.rest();
        primary.add_settings("synchronous_standby_names = 'standby'");
        drop(db);
        primary.shut_down();
        primary.start();
        waits_for(&primary, "sync");
        load.begin();
        load.pass(100, &mut dice);
        is_a_hot_standby(&primary, &standby, &books);
        load.rest();
        drained(&mut primary.connect());
        is_a_copy(&primary, &standby, &books);
        load.begin();
        fail_over(primary, &standby, &load, &mut dice);
        load.pass(60, &mut dice);
        load.rest();
        db = standby.connect();
        drained(&mut db);
        verify(&mut db, &first, &load, &standby.log(), seed);

        // And on to one that nobody waits for.
        load.begin();
        let next = standby.standby(&format!("next{turn}"), STANDBY);
        // On a busy machine it never catches up with clients that nobody holds back.
        load.rest();
        waits_for(&standby, "async");
        load.begin();
        load.pass(60, &mut dice);
        // What is sent from here on it gets no more, but for what waits in the socket.
        let receiver = next.connect().count("select pid from pg_stat_wal_receiver");
        assert!(next.signal(receiver, "-STOP"), "the receiver of the log is there");
        load.pass(200, &mut dice);
        load.finish_with(|| {
            standby.kill_postmaster();
            next.signal(receiver, "-CONT");
            next.promote();
            next.folder().to_owned()
        });
        db = next.connect();
        drained(&mut db);
        missing += is_a_prefix(&mut db, &load, &next);
        load.forget_what_is_missing(&facts(&mut db));
        verify(&mut db, &first, &load, &next.log(), seed);
        primary = next;
    }
    let Counts { answers, lost, lost_but_done, .. } = load.counts();
    figure(
        "standby",
        &format!(
            "{} promotions under load; {answers} requests answered, {lost} lost in a promotion, of which {lost_but_done} had \
             been carried out; of those that nobody waited for {missing} were missing, as a tail; {:.0} s, SEED={seed}",
            2 * turns,
            began.elapsed().as_secs_f64()
        ),
    );
}
