//! The ledger's postings as events: each once, in the transaction that posts, whoever switches it on or off meanwhile.

use crate::events::audit_events;
use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const ON: &str = "select event_store.publish_ledger(true)";
const OFF: &str = "select event_store.publish_ledger(false)";

fn transfer(from: Uuid, to: Uuid, amount: &str, tail: &str) -> String {
    format!("select txn_processing.transfer('{from}', '{to}', {amount}{tail})")
}

fn published(db: &mut Client) -> i64 {
    db.count("select count(*) from event_store.events where aggregate_type = 'LedgerTransaction'")
}

/// What must hold while the ledger is published.
fn audit_publication(db: &mut Client) {
    for (rule, sql) in [
        ("events and ledger agree", "select * from event_store.check_ledger_events()"),
        (
            "the events rebuild the balances",
            "select b.account_id from banking.account_balances b \
             full join event_store.ledger_balances() e using (account_id) \
             where coalesce(e.balance, 0) is distinct from b.current_balance \
                or e.currency_code is distinct from b.currency_code and e.account_id is not null",
        ),
        (
            "no posting has two events",
            "select event_data ->> 'transaction_id' from event_store.events where aggregate_type = 'LedgerTransaction' \
             group by 1, event_data ->> 'leg' having count(*) > 1",
        ),
        (
            "what an event says is what the ledger has",
            "select e.event_id from event_store.events e left join txn_processing.movements m \
               on m.transaction_id = (e.event_data ->> 'transaction_id')::uuid and m.leg = (e.event_data ->> 'leg')::int \
             where e.aggregate_type = 'LedgerTransaction' and ( \
               e.created_at is distinct from m.created_at or e.created_by <> m.created_by \
               or e.event_type <> initcap(m.transaction_type::text) || 'Posted' \
               or e.aggregate_id <> event_store.ledger_stream(m.transaction_id) \
               or m.transaction_id <> event_store.ledger_stream(e.aggregate_id) \
               or e.tags <> array['account:' || m.debit_account, 'account:' || m.credit_account] \
               or e.event_data ->> 'reference' is distinct from m.reference \
               or e.event_data ->> 'description' is distinct from m.description \
               or e.event_data -> 'metadata' is distinct from m.metadata \
               or (e.event_data ->> 'reverses')::uuid is distinct from m.reverses \
               or (e.event_data ->> 'effective_at')::timestamptz is distinct from m.effective_at \
               or (e.event_data ->> 'debit_sequence')::bigint <> m.debit_sequence \
               or (e.event_data ->> 'credit_sequence')::bigint <> m.credit_sequence)",
        ),
        // A posting that went by unpublished would leave a gap.
        (
            "no sequence has a gap within a publication",
            "select publication, account from ( \
               select p.publication, s.account, s.sequence, \
                      lag(s.sequence) over (partition by p.publication, s.account, s.sequence >> 48 order by s.sequence) as before \
               from event_store.ledger_publications p join event_store.events e \
                 on e.aggregate_type = 'LedgerTransaction' and e.global_position > p.opened_position \
                and e.global_position < coalesce(p.closed_position, 9223372036854775807) \
               cross join lateral (values (e.event_data ->> 'debit_account', (e.event_data ->> 'debit_sequence')::bigint), \
                 (e.event_data ->> 'credit_account', (e.event_data ->> 'credit_sequence')::bigint)) s(account, sequence)) x \
             where sequence <> before + 1",
        ),
    ] {
        assert_eq!(db.lines(sql), Vec::<String>::new(), "{rule}");
    }
    audit_events(db);
}

#[test]
fn postings_of_every_kind_are_published_on_both_paths() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("500"));
    let slotted = bank.slotted("checking", "100", "20");
    bank.grow(slotted, 3);
    let yen = bank.account_with("checking", "JPY", "0", "0");
    bank.db.run("select txn_processing.set_fx_rate('USD', 'JPY', 150.255)");
    bank.db.run(
        "select txn_processing.set_fee_schedule('wire', 'transfer', 'USD', 'fixed', current_date, fixed_amount => 1)",
    );
    bank.db.run(ON);
    let before = bank.db.count("select count(*) from txn_processing.movements");
    for path in ["direct", "spi"] {
        let mut session = bank.session_on(path);
        let payment = session.id(&format!("select txn_processing.pay('{a}', 30)"));
        for sql in [
            format!("select txn_processing.deposit('{a}', 900.10, effective_at => now() - interval '9 days')"),
            format!("select txn_processing.withdraw('{a}', 5, metadata => '{{\"x\": null, \"y\": [1.50]}}')"),
            transfer(a, b, "25.50", &format!(", reference => 'R-{path}', description => E'line\\n\"quote\"'")),
            transfer(b, slotted, "7", ""),
            transfer(slotted, b, "3", ""),
            format!("select txn_processing.refund('{payment}', 10)"),
            format!("select txn_processing.charge_fee('{slotted}', 2)"),
            format!("select txn_processing.credit_interest('{b}', 0.01)"),
            format!("select txn_processing.adjust('{b}', -1, 'why')"),
            format!("select txn_processing.transfer_fx('{a}', '{yen}', 3)"),
            format!("select txn_processing.transfer_with_fee('{a}', '{b}', 4)"),
            format!("select txn_processing.capture_hold(txn_processing.place_hold('{a}', 20), 8)"),
            format!(
                "select txn_processing.execute_transfer('{}', 'E-{path}', '{a}', '{b}', 2, 'USD', '{{\"k\": 1}}')",
                Uuid::now_v7()
            ),
            format!(
                "select txn_processing.enqueue('withdrawal', '{a}', null, 6); select txn_processing.process_queue()"
            ),
        ] {
            session.run(&sql);
        }
        let reversed = session.id(&transfer(a, b, "11", ""));
        session.run(&format!("select txn_processing.reverse('{reversed}', 'why')"));
        // A chain that falls leaves no event, nor does what is refused beside others.
        session.run(&format!(
            "select * from txn_processing.post_transfers('{{{a},{a},{b},{a}}}', '{{{b},{b},{a},{b}}}', \
             '{{1,999999,2,3}}', linked => '{{true,false,false,false}}')"
        ));
        let id = Uuid::now_v7();
        for _ in 0..2 {
            session.run(&transfer(a, b, "1", &format!(", transaction_id => '{id}'")));
        }
        session.run(&format!(
            "begin; savepoint s; {}; rollback to s; {}; commit",
            transfer(a, b, "1", ""),
            transfer(a, b, "2", "")
        ));
        session.run(&format!("begin; {}; rollback", transfer(a, b, "1", "")));
        session.fails(&transfer(a, b, "999999", ""));
        session.run(&format!("select * from txn_processing.validate('transfer', '{a}', '{b}', 1)"));
    }
    let after = bank.db.count("select count(*) from txn_processing.movements");
    assert!(after - before > 40, "{before} to {after}");
    assert_eq!(published(&mut bank.db), after - before);
    audit_publication(&mut bank.db);
    audit(&mut bank.db);
    let found = format!("select count(*) from event_store.events where tags @> '{{account:{yen}}}'");
    assert_eq!(bank.db.count(&found), 3, "brought forward, and an exchange on each path");
    let publication =
        bank.db.one("select publication, state, opened_by = session_user, events from event_store.ledger_publication");
    assert_eq!(publication, format!("1|on|t|{}", after - before));
}

#[test]
fn off_means_no_events_and_on_again_begins_anew() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    assert_eq!(bank.db.one(OFF), "", "it never was on");
    bank.db.run(&transfer(a, b, "1", ""));
    assert_eq!(published(&mut bank.db), 0);
    assert_eq!(bank.db.lines("select * from event_store.ledger_balances()"), [""; 0]);
    refused(&mut bank.db, "select * from event_store.check_ledger_events()", "NB130");
    refused(&mut bank.db, "select event_store.ledger_published_since()", "NB130");
    let opened = bank.db.one(ON);
    assert_eq!(bank.db.one(ON), opened, "what is on is answered");
    assert_eq!(bank.db.one("select event_store.ledger_published_since()"), opened);
    bank.db.run(&transfer(a, b, "2", ""));
    audit_publication(&mut bank.db);
    let closed = bank.db.one(OFF);
    assert_eq!(bank.db.one(OFF), closed);
    bank.db.run(&transfer(a, b, "4", ""));
    let balance = |bank: &mut Bank, at: &str| {
        bank.db
            .one(&format!("select balance, postings from event_store.ledger_balances({at}) where account_id = '{b}'"))
    };
    assert_eq!(balance(&mut bank, "null"), "3.00|1", "as it was when it was switched off");
    bank.db.run(ON);
    bank.db.run(&transfer(a, b, "8", ""));
    assert_eq!(balance(&mut bank, "null"), "15.00|1");
    assert_eq!(balance(&mut bank, &opened), "1.00|0");
    assert_eq!(balance(&mut bank, &closed), "3.00|1");
    assert_eq!(bank.db.lines("select * from event_store.ledger_balances(1)"), [""; 0]);
    audit_publication(&mut bank.db);
    // An account that was opened since.
    let c = bank.account("0");
    audit_publication(&mut bank.db);
    bank.db.run(&transfer(a, c, "1", ""));
    audit_publication(&mut bank.db);
}

#[test]
fn a_switch_that_is_rolled_back_has_not_been() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    for path in ["direct", "spi"] {
        let mut session = bank.session_on(path);
        session.run(&transfer(a, b, "1", ""));
        session.run(&format!("begin; {ON}; {}", transfer(a, b, "1", "")));
        assert_eq!(published(&mut session), 1);
        session.run(&format!("rollback; {}", transfer(a, b, "1", "")));
        session.run(&format!(
            "begin; savepoint s; {ON}; {}; rollback to s; {}; commit",
            transfer(a, b, "1", ""),
            transfer(a, b, "1", "")
        ));
        assert_eq!(published(&mut bank.db), 0);
    }
    bank.db.run(ON);
    for path in ["direct", "spi"] {
        let mut session = bank.session_on(path);
        let before = published(&mut bank.db);
        session.run(&format!("begin; {OFF}; {}; rollback; {}", transfer(a, b, "1", ""), transfer(a, b, "1", "")));
        assert_eq!(published(&mut bank.db), before + 1);
    }
    audit_publication(&mut bank.db);
}

#[test]
fn a_switch_waits_for_postings_under_way_and_keeps_new_ones_waiting() {
    let mut bank = Bank::new();
    let [a, b, c, d] = [(); 4].map(|()| bank.account("1000"));
    for (path, level) in [
        ("direct", "read committed"),
        ("spi", "read committed"),
        ("spi", "repeatable read"),
        ("direct", "repeatable read"),
    ] {
        for (switch, is_on) in [(ON, 1), (OFF, 0)] {
            let of_late =
                format!("select count(*) from event_store.events where event_data ->> 'debit_account' = '{c}'");
            let (before, late_before) = (published(&mut bank.db), bank.db.count(&of_late));
            let (mut early, mut late, mut switcher) = (bank.session_on(path), bank.session_on(path), bank.session());
            early.run(&format!("begin isolation level {level}; {}", transfer(a, b, "1", "")));
            // Its snapshot is of before the switch.
            late.run(&format!("begin isolation level {level}; select count(*) from event_store.events"));
            let (switching, posting) = (Bank::backend_of(&mut switcher), Bank::backend_of(&mut late));
            let switcher = thread::spawn(move || switcher.run(switch));
            bank.wait_until_blocked(switching);
            let late = thread::spawn(move || late.run(&format!("{}; commit", transfer(c, d, "1", ""))));
            bank.wait_until_blocked(posting);
            early.run("commit");
            switcher.join().expect("it switches");
            late.join().expect("it posts");
            // Of the two, the one that posted while it was on.
            assert_eq!(published(&mut bank.db) - before, 1, "{path} {level} {switch}");
            assert_eq!(bank.db.count(&of_late) - late_before, is_on, "{path} {level} {switch}");
        }
        bank.db.run(ON);
        audit_publication(&mut bank.db);
        bank.db.run(OFF);
    }
}

/// Posts at random until it is told to stop; how many calls it made.
fn post_until(stop: &AtomicBool, session: &mut Client, accounts: &[Uuid], dice: &mut Dice) -> u32 {
    let mut calls = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut pick = || accounts[dice.below(accounts.len())];
        let (from, to, third) = (pick(), pick(), pick());
        let sql = match dice.below(7) {
            0 => format!(
                "select * from txn_processing.post_transfers('{{{from},{to},{from}}}', '{{{to},{third},{third}}}', \
                 '{{1,2,1}}', linked => '{{true,false,false}}')"
            ),
            1 => format!("select txn_processing.deposit('{from}', 5)"),
            2 => transfer(from, to, "1", &format!(", transaction_id => '{}'", Uuid::now_v7())),
            3 => format!("begin; {}; {}; commit", transfer(from, to, "1", ""), transfer(from, to, "1", "")),
            4 => format!(
                "begin; savepoint s; {}; rollback to s; {}; commit",
                transfer(from, to, "1", ""),
                transfer(from, to, "2", "")
            ),
            5 => format!("select txn_processing.reverse(txn_processing.pay('{from}', 2), 'why')"),
            _ => transfer(from, to, "1.50", ""),
        };
        if session.try_lines(&sql).is_err() {
            let _ = session.try_lines("rollback");
        }
        calls += 1;
    }
    calls
}

#[test]
fn nobody_posts_unpublished_while_it_is_switched() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let mut accounts: Vec<Uuid> = (0..5).map(|_| bank.account("1000")).collect();
    accounts.push(bank.slotted("checking", "1000", "0"));
    accounts.push(bank.slotted("checking", "1000", "0"));
    let stop = Arc::new(AtomicBool::new(false));
    let seed = seed();
    let workers: Vec<_> = (0..6)
        .map(|n| {
            let mut session = bank.session_on(["direct", "spi"][n % 2]);
            let (stop, accounts) = (Arc::clone(&stop), accounts.clone());
            let mut dice = Dice(seed.wrapping_add(n as u64));
            thread::spawn(move || post_until(&stop, &mut session, &accounts, &mut dice))
        })
        .collect();
    for round in 0..8 {
        if round % 2 == 0 {
            bank.db.run(ON);
        } else {
            bank.db.run("call event_store.run_ledger_publication(3)");
        }
        for _ in 0..15 {
            assert_eq!(bank.db.lines("select * from event_store.check_ledger_events()"), [""; 0], "SEED={seed}");
        }
        if round == 4 {
            bank.mode(accounts[0], "slotted");
            bank.mode(accounts[5], "exclusive");
        }
        // While the switch is not committed nobody posts: the events must say what the accounts hold.
        bank.db.run(&format!("begin; {OFF}"));
        let differences = "select b.account_id from banking.account_balances b \
             full join event_store.ledger_balances() e using (account_id) \
             where coalesce(e.balance, 0) is distinct from b.current_balance";
        assert_eq!(bank.db.lines(differences), [""; 0], "SEED={seed}");
        bank.db.run("commit");
    }
    bank.db.run(ON);
    stop.store(true, Ordering::Relaxed);
    let calls: u32 = workers.into_iter().map(|worker| worker.join().expect("no session fails")).sum();
    assert!(published(&mut bank.db) > 0 && calls > 0);
    audit_publication(&mut bank.db);
    audit(&mut bank.db);
}

#[test]
fn random_work_of_many_sessions_is_rebuilt_by_its_events() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let mut accounts: Vec<Uuid> = (0..4).map(|_| bank.account("500")).collect();
    accounts.push(bank.slotted("checking", "500", "100"));
    bank.db.run(ON);
    let seed = seed();
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let mut session = bank.session_on(["direct", "spi"][n % 2]);
            let (stop, accounts) = (Arc::clone(&stop), accounts.clone());
            let mut dice = Dice(seed.wrapping_mul(31).wrapping_add(n as u64));
            thread::spawn(move || post_until(&stop, &mut session, &accounts, &mut dice))
        })
        .collect();
    // The check is one statement, so it holds at any moment; the two figures of one snapshot agree as well.
    for _ in 0..20 {
        assert_eq!(bank.db.lines("select * from event_store.check_ledger_events()"), [""; 0], "SEED={seed}");
        bank.db.run("begin isolation level repeatable read");
        let sums = "select (select sum(balance) from event_store.ledger_balances()) = \
                    (select sum(current_balance) from banking.account_balances)";
        assert_eq!(bank.db.one(sums), "t");
        bank.db.run("commit");
    }
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().expect("no session fails");
    }
    audit_publication(&mut bank.db);
    audit(&mut bank.db);
}

#[test]
fn a_planted_corruption_is_found() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    bank.db.run(ON);
    for n in 1..=5 {
        bank.db.run(&transfer(a, b, &n.to_string(), ""));
    }
    let plant = |bank: &mut Bank, sql: &str| {
        bank.db.run(&format!("begin; set local neobank.ledger_guard = off; {sql}"));
        let found = bank.db.lines(
            "select account_id, by_events, by_ledger, wrong_events from event_store.check_ledger_events() order by 1",
        );
        bank.db.run("rollback");
        found
    };
    let events =
        "event_store.events where aggregate_type = 'LedgerTransaction' and (event_data ->> 'amount')::numeric = 3";
    let found = plant(&mut bank, &format!("delete from {events}"));
    assert_eq!(found, [format!("{a}|988.00|985.00|0"), format!("{b}|12.00|15.00|0")]);
    let update = |change: &str| {
        format!(
            "update event_store.events set event_data = event_data || '{change}' \
                 where aggregate_type = 'LedgerTransaction' and (event_data ->> 'amount')::numeric = 3"
        )
    };
    // Sums that agree by accident do not hide it.
    assert_eq!(plant(&mut bank, &update(r#"{"amount": 4}"#)).len(), 2);
    assert_eq!(plant(&mut bank, &update(r#"{"debit_change": -4}"#)).len(), 2);
    assert_eq!(plant(&mut bank, &update(r#"{"currency": "EUR"}"#)).len(), 4);
    let ledger = format!("update banking.accounts set current_balance = current_balance + 1 where account_id = '{a}'");
    assert_eq!(plant(&mut bank, &ledger), [format!("{a}|985.00|986.00|0")]);
    let brought = format!(
        "update event_store.events set event_data = event_data || '{{\"balance\": 7}}' \
         where event_type = 'BalanceBroughtForward' and tags = '{{account:{a}}}'"
    );
    assert_eq!(plant(&mut bank, &brought), [format!("{a}|-8.00|985.00|0")]);
    audit_publication(&mut bank.db);
}

#[test]
fn many_accounts_are_brought_forward_ahead() {
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..12).map(|_| bank.account("10")).collect();
    let all = bank.db.count("select count(*) from banking.accounts");
    assert_eq!(bank.db.one("select event_store.prepare_ledger_publication(5)"), "5");
    let progress = "select publication, state, accounts from event_store.ledger_publication";
    assert_eq!(bank.session().one(progress), "1|preparing|5");
    bank.db.run(&format!("begin; select event_store.prepare_ledger_publication({}); rollback", all));
    assert_eq!(bank.db.one(progress), "1|preparing|5");
    // Two at once take turns.
    let mut other = bank.session();
    let backend = Bank::backend_of(&mut other);
    bank.db.run("begin; select event_store.prepare_ledger_publication(3)");
    let waiting = thread::spawn(move || other.one("select event_store.prepare_ledger_publication(3)"));
    bank.wait_until_blocked(backend);
    // Postings do not wait for them, and are not published yet.
    bank.session().run(&transfer(accounts[0], accounts[11], "1", ""));
    assert_eq!(published(&mut bank.db), 0);
    bank.db.run("commit");
    assert_eq!(waiting.join().expect("it answers"), "3");
    let mut rest = 0;
    loop {
        match bank.db.count("select event_store.prepare_ledger_publication()") {
            0 => break,
            more => rest += more,
        }
    }
    assert_eq!(rest, all - 11);
    let late = bank.account("3");
    bank.db.run(&transfer(accounts[1], accounts[2], "2", ""));
    let changed = bank.db.count(
        "select count(*) from banking.account_balances a where not exists (select from event_store.events e \
         where e.event_type = 'BalanceBroughtForward' and (e.event_data ->> 'account_id')::uuid = a.account_id \
           and (e.event_data ->> 'balance')::numeric = a.current_balance)",
    );
    assert!((4..all).contains(&changed), "{changed}");
    bank.db.run(ON);
    assert_eq!(bank.db.one(progress), format!("1|on|{}", all + changed), "only what changed is written again");
    assert_eq!(bank.db.one("select event_store.prepare_ledger_publication()"), "0");
    bank.db.run(&transfer(late, accounts[0], "1", ""));
    audit_publication(&mut bank.db);
    bank.db.run(OFF);
    assert_eq!(bank.db.fails("begin; call event_store.run_ledger_publication(4)").code, "2D000");
    bank.db.run("rollback");
    bank.db.run("call event_store.run_ledger_publication(4)");
    assert_eq!(bank.db.lines(progress)[1], format!("2|on|{}", all + 1));
    audit_publication(&mut bank.db);
}

#[test]
fn a_stream_that_is_taken_stops_the_posting() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    bank.db.run(ON);
    let id = Uuid::now_v7();
    // A caller's aggregate may have the id of a transaction.
    let append = |stream: &str| format!("select event_store.append_event('Payment', {stream}, 'Asked', '{{}}')");
    bank.db.run(&append(&format!("'{id}'")));
    bank.db.run(&transfer(a, b, "1", &format!(", transaction_id => '{id}'")));
    audit_publication(&mut bank.db);
    let taken = Uuid::now_v7();
    bank.db.run(&append(&format!("event_store.ledger_stream('{taken}')")));
    for path in ["direct", "spi"] {
        let mut session = bank.session_on(path);
        refused(&mut session, &transfer(a, b, "1", &format!(", transaction_id => '{taken}'")), "NB131");
        let batch = format!(
            "select * from txn_processing.post_transfers('{{{a},{a}}}', '{{{b},{b}}}', '{{1,1}}', '{{{taken},null}}')"
        );
        refused(&mut session, &batch, "NB131");
    }
    audit_publication(&mut bank.db);
}

#[test]
fn who_may_not_and_what_is_null_changes_nothing() {
    let mut bank = Bank::new();
    let (a, b) = (bank.account("1000"), bank.account("0"));
    for (sql, code) in [
        ("select event_store.publish_ledger(null)", "22004"),
        ("select event_store.prepare_ledger_publication(null)", "22004"),
        ("select event_store.prepare_ledger_publication(0)", "NB021"),
        ("select event_store.prepare_ledger_publication(100001)", "NB021"),
        ("select event_store.ledger_stream(null)", "22004"),
    ] {
        refused(&mut bank.db, sql, code);
    }
    for level in ["reader", "teller", "operator"] {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        let mut session = bank.session_as(&role);
        if level == "operator" {
            session.run(ON);
            session.run("select * from event_store.check_ledger_events()");
            assert_eq!(session.one("select opened_by = session_user from event_store.ledger_publication"), "t");
            refused_with_code_only(&mut session, "delete from event_store.ledger_publications", "42501");
        } else {
            refused_with_code_only(&mut session, ON, "42501");
            refused_with_code_only(&mut session, "select event_store.prepare_ledger_publication()", "42501");
            session.run("select * from event_store.ledger_balances()");
            session.run("select * from event_store.ledger_publication");
        }
    }
    // The owner cannot write what is published past the functions either.
    refused(&mut bank.db, "update event_store.ledger_publications set state = 'off'", "NB009");
    refused(&mut bank.db, "delete from event_store.ledger_publications", "NB009");
    // A teller's posting is published without a right on events.
    let teller = bank.role("plain");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    bank.db.run(&format!("revoke all on event_store.events, event_store.streams from {teller}"));
    bank.session_as(&teller).run(&transfer(a, b, "1", ""));
    assert_eq!(bank.db.one(&format!("select created_by from event_store.events where aggregate_type = 'LedgerTransaction' and created_by = '{teller}'")), teller);
    audit_publication(&mut bank.db);
}

#[test]
fn serializable_postings_on_other_accounts_do_not_meet() {
    // An event that was made by reading its posting back from the ledger set every two of them at odds (40001).
    let mut bank = Bank::new();
    let accounts: Vec<Uuid> = (0..8).map(|_| bank.account("100")).collect();
    bank.db.run(ON);
    for path in ["direct", "spi"] {
        let mut sessions = [bank.session_on(path), bank.session_on(path)];
        for session in &mut sessions {
            session.run("begin isolation level serializable");
        }
        for pair in 0..4 {
            let (from, to) = (accounts[2 * pair], accounts[2 * pair + 1]);
            sessions[pair % 2].run(&transfer(from, to, "1", ""));
        }
        for session in &mut sessions {
            session.run("commit");
        }
    }
    assert_eq!(published(&mut bank.db), 8);
    audit_publication(&mut bank.db);
}

#[test]
fn one_id_brought_by_many_at_once_is_one_event() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100"), bank.account("0"));
    bank.db.run(ON);
    for round in 0..5 {
        let id = Uuid::now_v7();
        together(&bank, 4, move |n, session| {
            session.run(&format!("set neobank.posting_path = '{}'", ["direct", "spi"][n % 2]));
            session.run(&transfer(a, b, "1", &format!(", transaction_id => '{id}'")));
        });
        assert_eq!(published(&mut bank.db), round + 1);
    }
    audit_publication(&mut bank.db);
}

#[test]
fn who_posts_by_a_newer_state_than_his_snapshot_does_not_check_by_the_snapshot() {
    // His posting was not published any more, and the check missed its event.
    let mut bank = Bank::new();
    let a = bank.account("100");
    bank.db.run("select event_store.publish_ledger(true)");
    for level in ["repeatable read", "serializable"] {
        let mut old = bank.session();
        old.run(&format!("begin isolation level {level}"));
        old.run("select count(*) from banking.accounts");
        bank.db.run("select event_store.publish_ledger(false)");
        assert_eq!(old.lines("select * from event_store.check_ledger_events()"), [""; 0], "as it was then");
        old.run(&format!("select txn_processing.deposit('{a}', 5)"));
        assert_eq!(old.fails("select * from event_store.check_ledger_events()").code, "40001", "{level}");
        old.run("rollback");
        bank.db.run("select event_store.publish_ledger(true)");
    }
    assert_eq!(bank.db.lines("select * from event_store.check_ledger_events()"), [""; 0]);
}
