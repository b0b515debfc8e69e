//! The same of what is read from events, or made of them: the ledger's own, commands, projections, subscriptions.

use super::HOW;
use crate::{attempt, id};
use neobank_model::answer::Answer;
use neobank_model::cqrs::Command;
use neobank_model::events::{Append, Decision, compare_events, positions};
use neobank_model::op::Op;
use neobank_model::quiet::{come_to_rest, compare_readers, handed_out};
use neobank_model::replay::replay;
use neobank_model::state::{Circumstances, State};
use neobank_model::subscriptions::Consuming;
use neobank_model::world::World;
use neobank_sessions::*;

fn command(world: &World, n: u128, account: bool, queued: bool) -> Command {
    let aggregate = world.aggregates[0];
    let account = account.then(|| world.places[0].id);
    Command { id: id(n), account, aggregate, aggregate_type: "Account", cents: 150, expected: None, queued }
}

/// Of everything a little.
pub fn fill(bank: &mut Bank, world: &World) {
    let [a, b] = [world.places[0].id, world.places[1].id];
    bank.db.run("select event_store.publish_ledger(true)");
    for n in 60..64 {
        bank.db.run(&format!("select txn_processing.transfer('{a}', '{b}', 3, transaction_id => '{}')", id(n)));
    }
    bank.db.run(&format!(
        "select txn_processing.transfer_fx('{}', '{a}', 5, transaction_id => '{}')",
        world.places[6].id,
        id(64)
    ));
    for command in [command(world, 70, false, false), command(world, 71, true, false), command(world, 72, false, true)]
    {
        bank.db.run(&command.sql());
    }
    all_read(&mut bank.db);
    bank.db.run("select cqrs.run_projection('copied')");
    bank.db.run("select public.handle(1000, 'a')");
    // Of the first stream two are told of, the third is parked, and the later ones wait behind it; the rest is in flight.
    let fetched =
        bank.db.lines("select lease_token, event_id, aggregate_id from event_store.fetch('letters', 100, 'a')");
    let fetched: Vec<Vec<&str>> = fetched.iter().map(|line| line.split('|').collect()).collect();
    let first: Vec<&Vec<&str>> = fetched.iter().filter(|line| line[2] == world.aggregates[0].to_string()).collect();
    let token = first[0][0];
    bank.db.run(&format!("select public.tell({token}, array['{}', '{}']::uuid[])", first[0][1], first[1][1]));
    bank.db
        .run(&format!("select event_store.nack('letters', {token}, '{}', 'it will not', park => true)", first[2][1]));
    // The projection has not come by this one.
    bank.db.run(&crate::events::append(world, 1, 80, 1).sql());
}

/// What each damage is, and the rule that is to find it.
pub fn damages(world: &World) -> Vec<(String, &'static str)> {
    let leg = |n: u128| format!("event_data ->> 'transaction_id' = '{}'", id(n));
    let events = "update event_store.events set";
    let say = |change: &str| format!("{events} event_data = event_data || '{change}' where {}", leg(61));
    let commands = "update cqrs.commands set";
    let of = |n: u128| format!("where command_id = '{}'", id(n));
    let note = format!("delete from event_store.events where metadata ->> 'causation_id' = '{}'", id(70));
    let says = "says what its posting says";
    let effect = "has its effect once";
    let (recount, inline) = ("recount of the events up to", "recount of all events");
    let handled = "what a subscription has passed";
    let lost = "none is lost";
    let first = world.aggregates[0];
    vec![
        (say(r#"{"amount": 4}"#), says),
        (say(r#"{"reference": "another"}"#), says),
        (say(r#"{"debit_sequence": 1}"#), says),
        (format!("{events} event_type = 'FeePosted' where {}", leg(61)), says),
        (format!("{events} tags = '{{account:x}}' where {}", leg(61)), says),
        (format!("{events} created_at = created_at + interval '1 s' where {}", leg(61)), says),
        (format!("delete from txn_processing.movements where transaction_id = '{}'", id(61)), says),
        (
            format!(
                "insert into event_store.events (event_id, aggregate_id, global_position, created_at, event_version, \
                 aggregate_type, event_type, created_by, event_data, metadata, tags) \
                 select gen_random_uuid(), gen_random_uuid(), global_position + 1, created_at, event_version, \
                 aggregate_type, event_type, created_by, event_data, metadata, tags from event_store.events where {}",
                leg(61)
            ),
            says,
        ),
        (format!("delete from event_store.events where {} and event_data ->> 'leg' = '2'", leg(64)), "all of its legs"),
        (format!("delete from event_store.events where {}", leg(61)), "it has all"),
        (format!("delete from event_store.events where {}", leg(64)), "are the balances"),
        (say(r#"{"credit_change": 4}"#), "are the balances"),
        ("delete from event_store.events where event_type = 'BalanceBroughtForward'".to_owned(), "are the balances"),
        (note, effect),
        (format!("{commands} status = 'completed' {}", of(72)), effect),
        (format!("{commands} status = 'pending' {}", of(71)), effect),
        (format!("{events} metadata = '{{\"causation_id\": \"{}\"}}' where event_id = '{}'", id(70), id(20)), effect),
        ("delete from cqrs.command_events".to_owned(), "the events that it made"),
        (format!("update cqrs.command_events set command_id = '{}'", id(70)), "the events that it made"),
        (format!("{commands} attempts = 4 {}", of(70)), "as often as it may be"),
        (
            format!("{commands} status = 'failed', processed_at = now(), attempts = 1 {}", of(72)),
            "as often as it may be",
        ),
        ("delete from public.tallied".to_owned(), inline),
        ("update public.tallied set events = events + 1".to_owned(), inline),
        (format!("delete from event_store.events where event_id = '{}'", id(40)), inline),
        ("delete from public.copied where seq = 2".to_owned(), recount),
        ("update public.copied set event_data = '{}' where seq = 2".to_owned(), recount),
        ("update cqrs.projections set position = 1::bigint << 60 where name = 'copied'".to_owned(), recount),
        ("update cqrs.projections set position = 0 where name = 'copied'".to_owned(), recount),
        ("delete from public.handled where seq = 2".to_owned(), handled),
        (
            "insert into public.handled (event_id, aggregate_id, event_version, global_position) \
             values (gen_random_uuid(), gen_random_uuid(), 1, 1)"
                .to_owned(),
            handled,
        ),
        (
            "update event_store.subscription_partitions set position = 5 where subscription = 'inbox'".to_owned(),
            handled,
        ),
        (
            format!("update public.handled set event_version = 20 - event_version where aggregate_id = '{first}'"),
            "in their order",
        ),
        ("update public.told set event_version = 20 - event_version".to_owned(), "in their order"),
        ("delete from public.told".to_owned(), lost),
        ("delete from event_store.subscription_parked".to_owned(), lost),
        ("update event_store.subscription_streams set next_version = 900".to_owned(), lost),
        (
            "update event_store.subscription_partitions set position = 1::bigint << 55 where subscription = 'letters'"
                .to_owned(),
            lost,
        ),
        (
            "update event_store.subscription_leases set done = false, open_positions = acked_positions".to_owned(),
            "is over",
        ),
        (
            "insert into public.told (event_id, token, aggregate_id, event_version, global_position) \
             select event_id, 1, aggregate_id, event_version, global_position from event_store.subscription_parked"
                .to_owned(),
            "is over",
        ),
        (
            "insert into event_store.subscription_leases (subscription, lease_token, leased_until, taken_at, taken_in, consumer, \
             open_positions) \
             select subscription, lease_token + 9, leased_until, taken_at, taken_in, 'b', open_positions \
             from event_store.subscription_leases where subscription = 'letters'"
                .to_owned(),
            "in flight once",
        ),
    ]
}

fn told(answer: &str) -> Answer {
    Answer::Done(vec![answer.to_owned()])
}

fn refused(code: &str) -> Answer {
    Answer::Refused(code.to_owned())
}

/// Legs that went or came past the model, commands, and what is acknowledged.
#[test]
fn the_comparison_finds_what_readers_were_not_given() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    let mut run = |bank: &mut Bank, op: Op| {
        let answer = Answer::Done(bank.db.lines(&op.sql()));
        state.turn += 1;
        state.accept(&op, &answer, HOW).unwrap_or_else(|error| panic!("{op:?}: {error}"));
    };
    run(&mut bank, Op::Publish { on: true });
    run(&mut bank, Op::Submit(command(&world, 1, true, false)));
    run(&mut bank, Op::Submit(command(&world, 2, false, false)));
    run(&mut bank, Op::Submit(command(&world, 3, false, true)));
    all_read(&mut bank.db);
    run(&mut bank, Op::Consume(Consuming::Fetch { batch: 9, consumer: 0 }));
    let token = bank.db.one("select lease_token from event_store.subscription_leases").parse().expect("a token");
    run(&mut bank, Op::Consume(Consuming::Ack { token, events: None }));
    compare_events(&mut bank.db, &state).expect("nothing is wrong yet");
    compare_readers(&mut bank.db, &state).expect("nothing is wrong yet");
    for damage in [
        "delete from event_store.events where aggregate_type = 'LedgerTransaction'",
        "update event_store.events set event_type = 'FeePosted' where aggregate_type = 'LedgerTransaction'",
    ] {
        bank.db.run(&format!("begin; set local neobank.ledger_guard = off; {damage}"));
        compare_events(&mut bank.db, &state).expect_err(damage);
        bank.db.run("rollback");
    }
    for damage in [
        "delete from cqrs.commands where status = 'pending'",
        "update cqrs.commands set attempts = 2 where status = 'pending'",
        "update cqrs.commands set status = 'failed' where status = 'pending'",
        "delete from public.told",
    ] {
        bank.db.run(&format!("begin; {damage}"));
        compare_readers(&mut bank.db, &state).expect_err(damage);
        bank.db.run("rollback");
    }
    come_to_rest(&mut bank.db).expect("nothing is wrong");
    for damage in ["public.handled", "public.told", "public.copied"] {
        bank.db.run(&format!("begin; delete from {damage} where seq = 1"));
        handed_out(&mut bank.db).expect_err(damage);
        bank.db.run("rollback");
    }
}

/// A condition holds, or does not, by where events are.
#[test]
fn the_model_does_not_believe_every_decision() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    let first = crate::events::append(&world, 0, 20, 3);
    let decide = |n: u128, after: i64, tag: &str| {
        let append = Append { batch: true, ..crate::events::append(&world, 1, n, 1) };
        Op::Decide(Decision { append, after, event_types: None, tags: Some(vec![tag.to_owned()]), account: None })
    };
    state.accept(&Op::Append(first.clone()), &Answer::Done(bank.db.lines(&first.sql())), HOW).expect("so it is");
    let last = bank.db.count("select max(global_position) from event_store.events");
    state.recorded_positions = positions(&mut bank.db, i64::MAX);
    for (after, tag, met) in
        [(0, "till 3", true), (last - 1, "till 3", true), (last, "till 3", false), (0, "till 4", false)]
    {
        let op = decide(30, after, tag);
        let (right, wrong) = if met { (refused("NB110"), told("1")) } else { (told("1"), refused("NB110")) };
        let before = state.mark();
        state.accept(&op, &wrong, HOW).expect_err("it is the other way round");
        state.accept(&op, &right, HOW).expect("so it is");
        state.back_to(before);
    }
    state.accept(&decide(30, last, "till 3"), &told("1"), HOW).expect("nothing has come since");
    state.accept(&decide(30, last, "till 3"), &told("1"), HOW).expect("a retry, whatever has come since");
    state.accept(&decide(31, last, "till 3"), &told("2"), HOW).expect_err("the one before has come since");
    state.accept(&Op::CheckLedgerEvents, &refused("NB130"), HOW).expect("it is not published");
    state.accept(&Op::Publish { on: true }, &told("f"), HOW).expect("so it is");
    state.accept(&Op::CheckLedgerEvents, &refused("NB130"), HOW).expect_err("it is published");
    state.accept(&Op::CheckLedgerEvents, &Answer::Done(Vec::new()), HOW).expect("nothing is wrong");
    state.accept(&Op::CheckLedgerEvents, &told("x|1|2|0"), HOW).expect_err("nothing is wrong");
}

/// Nothing is handed out twice, before its turn, or to somebody who has lost it.
#[test]
fn the_model_does_not_believe_every_consumer() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    let append = crate::events::append(&world, 0, 20, 3);
    state.accept(&Op::Append(append.clone()), &Answer::Done(bank.db.lines(&append.sql())), HOW).expect("so it is");
    let stream = bank.db.lines(&Op::ReadStream { aggregate: world.aggregates[0], from: 1, at_most: 9 }.sql());
    let fetch = Op::Consume(Consuming::Fetch { batch: 9, consumer: 0 });
    let line = |token: i64, attempt: i32, version: usize| {
        format!("{token}|{attempt}|1000|{}|{}", world.aggregates[0], stream[version - 1])
    };
    let hands_out = |lines: &[String]| Answer::Done(lines.to_vec());
    let ack = |token, events: Option<&[u128]>| {
        let events = events.map(|events| events.iter().map(|n| id(*n)).collect());
        Op::Consume(Consuming::Ack { token, events })
    };
    let fails = |token, n, park| Op::Consume(Consuming::Fail { token, event: id(n), park });
    let late = Circumstances { answered_at: 2_000, ..HOW };
    state.accept(&fetch, &hands_out(&[line(1, 1, 2)]), HOW).expect_err("the first one comes first");
    state.accept(&fetch, &hands_out(&[line(1, 2, 1)]), HOW).expect_err("it has not failed");
    state.accept(&fetch, &hands_out(&[line(1, 1, 1).replace("1.50", "1.60")]), HOW).expect_err("other content");
    state.accept(&fetch, &hands_out(&[line(5, 1, 1), line(5, 1, 2)]), HOW).expect("so it is");
    state.accept(&fetch, &hands_out(&[line(6, 2, 1)]), HOW).expect_err("somebody has it");
    state.accept(&fetch, &hands_out(&[line(6, 1, 3)]), HOW).expect_err("somebody has the one before");
    state.accept(&ack(5, Some(&[21])), &told("1"), HOW).expect_err("the first one is open");
    state.accept(&ack(5, Some(&[21])), &refused("NB118"), HOW).expect("the first one is open");
    state.accept(&ack(5, Some(&[22])), &refused("NB117"), HOW).expect("it was not handed out");
    state.accept(&ack(5, Some(&[20])), &refused("NB116"), HOW).expect_err("its time is not over");
    state.accept(&ack(5, Some(&[20])), &told("1"), HOW).expect("so it is");
    state.accept(&ack(5, Some(&[20])), &told("1"), HOW).expect_err("it is acknowledged once");
    state.accept(&ack(5, Some(&[20])), &told("0"), HOW).expect("a retry");
    // Its time is over, and another one has the rest: the first one has lost it.
    let taken = |token: i64| format!("{token}|0|||||||||");
    state.accept(&fetch, &hands_out(&[line(7, 2, 2)]), late).expect_err("nobody took it away");
    state.accept(&fetch, &hands_out(&[taken(5), line(7, 2, 2)]), HOW).expect_err("its time is not over");
    state.accept(&fetch, &hands_out(&[taken(5), line(4, 2, 2)]), late).expect_err("a token of before");
    state.accept(&fetch, &hands_out(&[taken(5), line(7, 1, 2)]), late).expect_err("it has failed");
    state.accept(&fetch, &hands_out(&[taken(5), line(7, 2, 2)]), late).expect("the lease has run out");
    state.accept(&fetch, &hands_out(&[taken(5)]), late).expect_err("once");
    state.accept(&ack(5, None), &told("1"), late).expect_err("it has lost it");
    state.accept(&ack(5, None), &refused("NB116"), late).expect("it has lost it");
    // That was its second attempt, so it came alone; now it is parked, which nobody is told.
    state.accept(&fetch, &hands_out(&[taken(7)]), late).expect("the lease has run out");
    state.accept(&fetch, &hands_out(&[line(8, 3, 2), line(8, 1, 3)]), HOW).expect_err("it comes alone");
    state.accept(&fetch, &hands_out(&[line(8, 3, 2)]), HOW).expect("it comes alone");
    state.accept(&fetch, &hands_out(&[taken(8)]), late).expect("the lease has run out");
    state.accept(&fetch, &hands_out(&[line(9, 4, 2)]), HOW).expect_err("it is parked");
    let replay = Op::Consume(Consuming::Replay { event: id(21) });
    state.accept(&replay, &told("1"), HOW).expect("it is parked");
    state.accept(&replay, &told("1"), HOW).expect_err("it is replayed already");
    state.accept(&fetch, &hands_out(&[line(9, 1, 2)]), HOW).expect("it begins anew");
    state.accept(&fails(9, 21, true), &told("2026-01-01"), HOW).expect_err("it is parked");
    state.accept(&fails(9, 21, true), &told(""), HOW).expect("it is parked");
    state.accept(&fetch, &hands_out(&[line(10, 1, 3)]), HOW).expect_err("the one before is parked");
    let discard = Op::Consume(Consuming::Discard { event: id(21) });
    state.accept(&discard, &refused("NB119"), HOW).expect_err("it is parked");
    state.accept(&discard, &told("1"), HOW).expect("it is parked");
    state.accept(&fetch, &hands_out(&[line(10, 2, 2)]), HOW).expect_err("it was given up");
    state.accept(&fetch, &hands_out(&[line(10, 2, 3)]), HOW).expect_err("another one has failed");
    state.accept(&fetch, &hands_out(&[line(10, 1, 3)]), HOW).expect("its turn has come");
    state.accept(&Op::Consume(Consuming::Reset), &told("f"), HOW).expect("so it is");
    state.accept(&ack(10, None), &told("1"), HOW).expect_err("all of it was forgotten");
    state.accept(&fetch, &hands_out(&[line(11, 1, 1)]), HOW).expect("it begins anew");
}

/// Effects of commands, once each.
#[test]
fn the_model_does_not_believe_every_command() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    let (now, later) = (command(&world, 1, false, false), command(&world, 2, false, true));
    let submit = |command: &Command| Op::Submit(command.clone());
    state.accept(&submit(&now), &told("completed|1|0"), HOW).expect_err("it makes an event");
    state.accept(&submit(&now), &refused("NB101"), HOW).expect_err("it expects nothing");
    state.accept(&submit(&now), &told("completed|1|1"), HOW).expect("so it is");
    state.accept(&submit(&now), &told("completed|2|2"), HOW).expect_err("a retry does nothing");
    state.accept(&submit(&now), &told("completed|1|1"), HOW).expect("a retry");
    state
        .accept(&submit(&Command { cents: 151, ..now.clone() }), &told("completed|1|1"), HOW)
        .expect_err("another one");
    state.accept(&submit(&later), &told("completed|1|1"), HOW).expect_err("it is to wait");
    state.accept(&submit(&later), &told("pending|0|0"), HOW).expect("it waits");
    state.accept(&Op::ProcessCommand, &Answer::Done(Vec::new()), HOW).expect_err("there is one");
    let done = told(&format!("{}|completed|00000", id(2)));
    state.accept(&Op::ProcessCommand, &told(&format!("{}|failed|NB102", id(2))), HOW).expect_err("it is its type");
    state.accept(&Op::ProcessCommand, &done, HOW).expect("so it is");
    state.accept(&Op::ProcessCommand, &done, HOW).expect_err("once");
    let reading = Op::State { aggregate: world.aggregates[0], up_to: None };
    state.accept(&reading, &told(r#"{"balance": 3.00, "version": 2}"#), HOW).expect("twice 1.50");
    // Two of one id beside each other: one does it.
    let done = told("completed|1|1");
    let first = attempt(&submit(&now), done.clone(), 10, Some(20), 22);
    let second = attempt(&submit(&now), done, 12, Some(30), 32);
    let of_the_queue = Op::State { aggregate: world.aggregates[0], up_to: None };
    for (balance, holds) in
        [(r#"{"balance": 1.50, "version": 1}"#, true), (r#"{"balance": 3.00, "version": 2}"#, false)]
    {
        let reading = attempt(&of_the_queue, told(balance), 40, Some(41), 42);
        let replayed = replay(State::opened(&world), &[first.clone(), second.clone(), reading]);
        assert_eq!(replayed.is_ok(), holds, "{balance}");
    }
}
