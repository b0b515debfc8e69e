//! Where the parts of the event store meet: what one of them writes or takes away, the others must see.

use neobank_sessions::*;
use std::thread;

fn deposits(bank: &mut Bank, stream: Uuid, count: usize) {
    bank.db.run(&format!(
        "select event_store.append_events('Account', '{stream}', jsonb_agg(jsonb_build_object( \
             'event_type', 'FundsDeposited', 'event_data', jsonb_build_object('amount', 1.50)))) \
         from generate_series(1, {count})"
    ));
}

fn state(bank: &mut Bank, stream: Uuid) -> String {
    bank.db.one(&format!("select event_store.get_aggregate_state('{stream}')"))
}

#[test]
fn a_condition_on_an_account_waits_for_its_published_postings() {
    // Postings wrote their events without the locks of tags: a condition was looked at while one was under way.
    let mut bank = Bank::new();
    let (from, to) = (bank.account("100"), bank.account("0"));
    bank.db.run("select event_store.publish_ledger(true)");
    let read = all_read(&mut bank.db);
    let mut poster = bank.session();
    poster.run(&format!("begin; select txn_processing.transfer('{from}', '{to}', 10)"));
    let mut decider = bank.session();
    let backend = Bank::backend_of(&mut decider);
    let append = format!(
        "select event_store.append_events_if('Review', '{}', \
             '[{{\"event_type\": \"NothingMoved\", \"event_data\": {{}}}}]', {read}, tags => '{{account:{to}}}')",
        Uuid::now_v7()
    );
    let decided = thread::spawn(move || decider.try_lines(&append).expect_err("the posting is in the way").code);
    bank.wait_until_blocked(backend);
    poster.run("commit");
    assert_eq!(decided.join().expect("it answers"), "NB110");
}

#[test]
fn inline_projections_see_published_postings() {
    let mut bank = Bank::new();
    let (from, to) = (bank.account("100"), bank.account("0"));
    bank.db.run(
        "create table public.seen (event_id uuid primary key, kind text not null); \
         create function public.see(event event_store.events, target regclass) returns void language plpgsql as $$ \
         begin execute format('insert into %s values ($1, $2)', target) using event.event_id, event.event_type; end $$; \
         select cqrs.create_projection('seen', 'public.see', 'public.seen', \
                                       '{\"aggregate_types\": [\"LedgerTransaction\"]}', 'inline'); \
         select event_store.publish_ledger(true)",
    );
    bank.db.run(&format!("select txn_processing.transfer('{from}', '{to}', 10)"));
    let both = format!("array['{from}', '{to}']::uuid[], array['{to}', '{from}']::uuid[], array[1, 2]");
    bank.db.run(&format!("select count(*) from txn_processing.post_transfers({both})"));
    bank.db.run(&format!("begin; select txn_processing.transfer('{from}', '{to}', 5); rollback"));
    assert_eq!(
        bank.db.one("select count(*), min(kind), max(kind) from public.seen"),
        "3|TransferPosted|TransferPosted"
    );
    let missing = "select event_id from event_store.events where aggregate_type = 'LedgerTransaction' \
                   except select event_id from public.seen";
    assert_eq!(bank.db.lines(missing), Vec::<String>::new());
}

#[test]
fn inline_projections_see_what_is_brought_forward() {
    // It was written past them, so that balances kept from events began at nothing, and a rebuild came to others.
    let mut bank = Bank::new();
    let (from, to) = (bank.account("100"), bank.account("0"));
    bank.db.run(
        "create table public.balances (account_id uuid primary key, balance numeric not null); \
         create function public.balance(event event_store.events, target regclass) returns void language plpgsql as $$ \
         begin \
             if event.event_type = 'BalanceBroughtForward' then \
                 execute format('insert into %s values ($1, $2)', target) \
                 using (event.event_data ->> 'account_id')::uuid, (event.event_data ->> 'balance')::numeric; \
             elsif event.aggregate_type = 'LedgerTransaction' then \
                 execute format('update %s set balance = balance + case account_id when $1 then $3 else $4 end \
                                 where account_id in ($1, $2)', target) \
                 using (event.event_data ->> 'debit_account')::uuid, (event.event_data ->> 'credit_account')::uuid, \
                       (event.event_data ->> 'debit_change')::numeric, (event.event_data ->> 'credit_change')::numeric; \
             end if; \
         end $$; \
         select cqrs.create_projection('balances', 'public.balance', 'public.balances', '{}', 'inline'); \
         select event_store.prepare_ledger_publication(3); \
         select event_store.publish_ledger(true)",
    );
    bank.db.run(&format!("select txn_processing.transfer('{from}', '{to}', 10)"));
    let wrong = "select account_id from banking.account_balances b \
                 left join public.balances p using (account_id) where p.balance is distinct from b.current_balance";
    assert_eq!(bank.db.lines(wrong), [""; 0]);
}

#[test]
fn a_condition_waits_for_a_publication() {
    let mut bank = Bank::new();
    let account = bank.account("100");
    let read = all_read(&mut bank.db);
    for condition in [format!("tags => '{{account:{account}}}'"), "event_types => '{PublicationOpened}'".to_owned()] {
        let mut operator = bank.session();
        operator.run("begin; select event_store.publish_ledger(true)");
        let mut decider = bank.session();
        let backend = Bank::backend_of(&mut decider);
        let append = format!(
            "select event_store.append_events_if('Review', '{}', \
                 '[{{\"event_type\": \"NotPublished\", \"event_data\": {{}}}}]', {read}, {condition})",
            Uuid::now_v7()
        );
        let decided = thread::spawn(move || decider.try_lines(&append).expect_err("it is in the way").code);
        bank.wait_until_blocked(backend);
        operator.run("commit");
        assert_eq!(decided.join().expect("it answers"), "NB110");
        bank.db.run("select event_store.publish_ledger(false)");
    }
}

#[test]
fn lost_events_that_cancel_each_other_out_are_missed() {
    // Sums of what is left were all that was looked at.
    let mut bank = Bank::new();
    let (a, b) = (bank.account("100"), bank.account("0"));
    bank.db.run(&format!("select banking.set_balance_mode('{b}', 'slotted')"));
    bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 5)"));
    bank.db.run("select event_store.publish_ledger(true)");
    let there = bank.db.one(&format!("select txn_processing.transfer('{a}', '{b}', 3)"));
    let back = bank.db.one(&format!("select txn_processing.transfer('{b}', '{a}', 3)"));
    let check = "select account_id, by_events = by_ledger, wrong_events, missing_events \
                 from event_store.check_ledger_events() order by 1";
    assert_eq!(bank.db.lines(check), [""; 0]);
    let delete =
        format!("delete from event_store.events where event_data ->> 'transaction_id' in ('{there}', '{back}')");
    let plant = |bank: &mut Bank, damage: &str| {
        bank.db.run(&format!("begin; set local neobank.ledger_guard = off; {damage}"));
        let found = bank.db.lines(check);
        bank.db.run("rollback");
        found
    };
    assert_eq!(plant(&mut bank, &delete), [format!("{a}|t|0|2"), format!("{b}|t|0|2")]);
    // An account that was opened since has no figure to begin with.
    let opened = bank.account("7");
    let movement = format!("delete from event_store.events where tags @> '{{account:{opened}}}'");
    let found = plant(&mut bank, &movement);
    assert!(found.iter().any(|line| line.starts_with(&format!("{opened}|")) && line.ends_with("|0|1")), "{found:?}");
    bank.db.run(&format!("select txn_processing.transfer('{opened}', '{b}', 7)"));
    let found = plant(&mut bank, &movement);
    assert!(found.contains(&format!("{opened}||0|2")), "{found:?}");
}

#[test]
fn a_command_is_told_of_the_postings_that_it_made() {
    let mut bank = Bank::new();
    let (from, to) = (bank.account("100"), bank.account("0"));
    bank.db.run(
        "create function public.pay(command cqrs.commands) returns jsonb language sql as $$ \
             select pg_catalog.to_jsonb(txn_processing.transfer((command.payload ->> 'from')::uuid, \
                 (command.payload ->> 'to')::uuid, (command.payload ->> 'amount')::numeric)) $$; \
         select cqrs.register_handler('Pay', 'public.pay'); \
         select event_store.publish_ledger(true)",
    );
    let events = bank.db.one(&format!(
        "select jsonb_array_length(cqrs.submit_command('Pay', 'Account', \
             '{{\"from\": \"{from}\", \"to\": \"{to}\", \"amount\": 4}}') -> 'events')"
    ));
    assert_eq!(events, "1");
}

#[test]
fn deleted_events_do_not_live_on_in_snapshots() {
    // A snapshot between two deleted versions would be folded on from as if nothing were missing.
    for keep_state in [true, false] {
        let mut bank = Bank::new();
        let stream = Uuid::now_v7();
        deposits(&mut bank, stream, 600);
        deposits(&mut bank, stream, 600);
        let snapshots = format!("select count(*) from event_store.snapshots where aggregate_id = '{stream}'");
        assert!(bank.db.count(&snapshots) > 0, "appends have left some");
        all_read(&mut bank.db);
        bank.db.run(&format!("select event_store.set_retention('Account', '0', {keep_state})"));
        assert_eq!(bank.db.one("select * from event_store.apply_retention(1100)"), "1100|1|f");
        if keep_state {
            assert_eq!(state(&mut bank, stream), r#"{"balance": 1800.00, "version": 1200}"#);
            let before = format!("select event_store.get_aggregate_state('{stream}', 700)");
            refused(&mut bank.db, &before, "NB132");
        } else {
            assert_eq!(bank.db.count(&snapshots), 0, "what was deleted is not kept elsewhere");
            refused(&mut bank.db, &format!("select event_store.get_aggregate_state('{stream}')"), "NB132");
        }
        // The stream goes on, over the next snapshot too.
        deposits(&mut bank, stream, 600);
        if keep_state {
            assert_eq!(state(&mut bank, stream), r#"{"balance": 2700.00, "version": 1800}"#);
        } else {
            refused(&mut bank.db, &format!("select event_store.get_aggregate_state('{stream}')"), "NB132");
        }
    }
}

#[test]
fn what_a_subscriber_or_a_projection_has_not_seen_is_not_deleted() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    bank.db.run(
        "create table public.seen (position bigint); \
         create function public.see(event event_store.events, target regclass) returns void language plpgsql as $$ \
         begin execute format('insert into %s values ($1)', target) using event.global_position; end $$; \
         select event_store.create_subscription('mail', partitions => 1); \
         select cqrs.create_projection('seen', 'public.see', 'public.seen', '{}', 'async')",
    );
    deposits(&mut bank, stream, 10);
    all_read(&mut bank.db);
    bank.db.run("select event_store.set_retention('Account', '0')");
    let apply = "select events from event_store.apply_retention()";
    assert_eq!(bank.db.one(apply), "0", "neither has seen any");
    bank.db.run("select cqrs.run_projection('seen', 4)");
    assert_eq!(bank.db.one(apply), "0", "the subscriber has seen none");
    let token = "select min(lease_token) from event_store.fetch('mail', 10, 'a')";
    let token = bank.db.one(token);
    assert_eq!(bank.db.one(apply), "0", "a consumer has them in hand");
    assert_eq!(bank.db.one(&format!("select event_store.ack('mail', {token})")), "10");
    assert_eq!(bank.db.one(apply), "4", "the projection has seen four");
    bank.db.run("select cqrs.run_projection('seen', 100)");
    assert_eq!(bank.db.one(apply), "6");
    assert_eq!(bank.db.count("select count(*) from public.seen"), 10);
}

#[test]
fn a_retry_under_another_type_is_no_retry() {
    // It was acknowledged, and the caller believed in an aggregate of that type.
    let bank = Bank::new();
    let (stream, event) = (Uuid::now_v7(), Uuid::now_v7());
    for path in ["direct", "spi"] {
        let mut session = bank.session_on(path);
        let append = |of_type: &str| {
            format!("select event_store.append_event('{of_type}', '{stream}', 'T', '{{}}', null, null, '{event}')")
        };
        assert_eq!(session.id(&append("Account")), event);
        assert_eq!(session.fails(&append("Loan")).code, "NB102");
    }
}
