//! The same of the event store.

use super::HOW;
use crate::{attempt, id};
use neobank_model::answer::Answer;
use neobank_model::crowd::Attempt;
use neobank_model::events::{Append, NewEvent, compare_events};
use neobank_model::op::Op;
use neobank_model::replay::replay;
use neobank_model::state::State;
use neobank_model::world::World;
use neobank_sessions::*;

/// So many deposits of 1.50 for that aggregate, with ids from that number on.
pub fn append(world: &World, aggregate: usize, from: u128, events: u128) -> Append {
    let event = |n| NewEvent {
        id: Some(id(from + n)),
        event_type: "FundsDeposited".to_owned(),
        data: r#"{"amount": 1.50}"#.to_owned(),
        metadata: None,
        tags: Some(vec!["till 3".to_owned(), "day 4".to_owned()]),
        stray: false,
    };
    let events: Vec<NewEvent> = (0..events).map(event).collect();
    let batch = events.len() > 1;
    Append { aggregate: world.aggregates[aggregate], aggregate_type: "Account", events, expected: None, batch }
}

/// The same for the event store.
pub fn damages(world: &World) -> Vec<(String, &'static str)> {
    let events = "update event_store.events set";
    let streams = "update event_store.streams set";
    let of = |n: u128| format!("where event_id = '{}'", id(n));
    let first = world.aggregates[0];
    let no_key = |column: &str, key: &str| {
        format!(
            "alter table event_store.events drop constraint events_{key}; {events} {column} = (select {column} from event_store.events {})",
            of(30)
        )
    };
    let versions = "versions of a stream";
    vec![
        (format!("delete from event_store.events {}", of(21)), versions),
        (format!("delete from event_store.events {}", of(40)), versions),
        (format!("{events} event_version = 7 {}", of(40)), versions),
        (format!("{events} event_version = 0 {}", of(20)), versions),
        (
            format!(
                "alter table event_store.events drop constraint events_aggregate_id_event_version_key; \
                 {events} event_version = 2 {}",
                of(22)
            ),
            versions,
        ),
        (format!("{streams} version = 99 where aggregate_id = '{first}'"), versions),
        (format!("delete from event_store.streams where aggregate_id = '{first}'"), versions),
        ("delete from event_store.events where aggregate_type = 'Account'".to_owned(), versions),
        (format!("{streams} last_position = last_position + 1"), "position of its last event"),
        (format!("{events} global_position = global_position + 1 {}", of(80)), "position of its last event"),
        (format!("{streams} last_at = last_at + interval '1 us'"), "position of its last event"),
        (format!("{events} aggregate_type = 'Order' {}", of(21)), "type of its stream"),
        (format!("{} {}", no_key("event_id", "pkey"), of(20)), "stand for one event"),
        (format!("{} {}", no_key("global_position", "global_position_key"), of(40)), "stand for one event"),
        (format!("{events} global_position = global_position - (1 << 19) {}", of(22)), "ascend with the versions"),
        (format!("{events} created_at = created_at - interval '1 s' {}", of(40)), "ascend with the versions"),
        (format!("{events} global_position = global_position + (1::bigint << 50) {}", of(30)), "was given"),
        (format!("{events} global_position = 5 {}", of(30)), "was given"),
        (format!("{events} event_data = '[]' {}", of(30)), "has what events have"),
        (format!("{events} metadata = '1' {}", of(30)), "has what events have"),
        (format!("{events} event_type = ' ' {}", of(30)), "has what events have"),
        (format!("{events} tags = '{{}}' {}", of(30)), "has what events have"),
        (format!("{events} tags = '{{a,a}}' {}", of(30)), "has what events have"),
        (format!("{events} tags = '{{a,null}}' {}", of(30)), "has what events have"),
    ]
}

/// An event that changed, went or came behind the model's back shows in the comparison, whatever the rules say of it.
#[test]
fn the_comparison_finds_events_that_the_model_does_not_know_of() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    for append in [append(&world, 0, 20, 3), append(&world, 1, 30, 1)] {
        state.turn += 1;
        let answer = Answer::Done(bank.db.lines(&append.sql()));
        state.accept(&Op::Append(append), &answer, HOW).expect("as predicted");
    }
    compare_events(&mut bank.db, &state).expect("nothing is wrong yet");
    let of = |n: u128| format!("where event_id = '{}'", id(n));
    let events = "update event_store.events set";
    for damage in [
        append(&world, 0, 50, 1).sql(),
        append(&world, 3, 60, 2).sql(),
        format!("{events} event_data = '{{\"amount\": 1.5}}' {}", of(20)),
        format!("{events} metadata = '{{\"a\": 1}}' {}", of(21)),
        format!("{events} tags = null {}", of(21)),
        format!("{events} event_type = 'FundsWithdrawn' {}", of(22)),
        format!("{events} created_by = 'somebody' {}", of(22)),
        format!("{events} event_id = '{}' {}", id(99), of(22)),
        format!("{events} event_data = event_data || '{{\"b\": 1}}' where aggregate_id = '{}'", world.aggregates[1]),
        format!(
            "{events} global_position = (select global_position + 7 from event_store.events {}) {}",
            of(22),
            of(30)
        ),
        format!("delete from event_store.events {}", of(30)),
        "update event_store.streams set version = 4".to_owned(),
    ] {
        bank.db.run("begin; set local neobank.ledger_guard = off");
        bank.db.run(&damage);
        compare_events(&mut bank.db, &state).expect_err(&damage);
        bank.db.run("rollback");
    }
    compare_events(&mut bank.db, &state).expect("all of it was rolled back");
}

/// Wrong answers about events are not accepted.
#[test]
fn the_model_does_not_believe_everything_of_events() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    let told = |answer: &str| Answer::Done(vec![answer.to_owned()]);
    let refused = |code: &str| Answer::Refused(code.to_owned());
    let (three, of_one) = (append(&world, 0, 20, 3), append(&world, 0, 30, 1));
    let op = |append: &Append| Op::Append(append.clone());
    state.accept(&op(&three), &told("2"), HOW).expect_err("three are three");
    state.accept(&op(&three), &refused("NB101"), HOW).expect_err("any version will do");
    state.accept(&op(&three), &told("3"), HOW).expect("so it is");
    state.accept(&op(&of_one), &told(&id(31).to_string()), HOW).expect_err("another id");
    state.accept(&op(&of_one), &told(&id(30).to_string()), HOW).expect("so it is");
    // A retry answers as before, whatever the version is by now; other content is refused, and other places.
    state.accept(&op(&three), &told("4"), HOW).expect_err("a retry appends nothing");
    state.accept(&op(&three), &told("3"), HOW).expect("a retry");
    let some = Append { events: three.events[..2].to_vec(), ..three.clone() };
    state.accept(&op(&some), &told("2"), HOW).expect("the first two of them");
    let mut other = three.clone();
    other.events[1].data = r#"{"amount": 1.5}"#.to_owned();
    let elsewhere = Append { aggregate: world.aggregates[1], ..three.clone() };
    let mut turned = three.clone();
    turned.events.reverse();
    for wrong in [&other, &elsewhere, &turned] {
        state.accept(&op(wrong), &told("3"), HOW).expect_err("it is no retry");
        state.accept(&op(wrong), &refused("NB103"), HOW).expect("it is no retry");
    }
    let late = Append { expected: Some(3), ..append(&world, 0, 40, 1) };
    state.accept(&op(&late), &told(&id(40).to_string()), HOW).expect_err("it is at version 4");
    state.accept(&op(&late), &refused("NB101"), HOW).expect("it is at version 4");
    let reading = |up_to| Op::State { aggregate: world.aggregates[0], up_to };
    state.accept(&reading(None), &told(r#"{"balance": 6.00, "version": 4}"#), HOW).expect("so it is");
    state.accept(&reading(Some(2)), &told(r#"{"balance": 3.00, "version": 2}"#), HOW).expect("so it is");
    for wrong in [r#"{"balance": 6.0, "version": 4}"#, r#"{"balance": 4.50, "version": 4}"#, "{}"] {
        state.accept(&reading(None), &told(wrong), HOW).expect_err("it is 6.00 at version 4");
    }
}

/// Readings hold nothing: each is of a moment between its question and its answer, whatever its transaction does later.
#[test]
fn the_replay_does_not_believe_every_reading() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let one = Op::Append(append(&world, 0, 1, 1));
    let state = Op::State { aggregate: world.aggregates[0], up_to: None };
    let appended = attempt(&one, Answer::Done(vec![id(1).to_string()]), 10, Some(20), 22);
    let (empty, after) = ("{}", r#"{"balance": 1.50, "version": 1}"#);
    let replayed = |attempts: &[Attempt]| replay(State::opened(&world), attempts).map(|all| all.explained);
    let come_about = |told: &str, asked_at, answered_at| {
        let reading =
            attempt(&state, Answer::Done(vec![told.to_owned()]), asked_at, Some(answered_at - 1), answered_at);
        replayed(&[appended.clone(), reading])
    };
    assert_eq!(come_about(empty, 15, 30), Ok(1), "it may have read before the commit and committed after it");
    assert_eq!(come_about(after, 15, 30), Ok(1));
    assert_eq!(come_about(after, 25, 30), Ok(1));
    come_about(empty, 25, 30).expect_err("the event had been acknowledged when it was asked");
    come_about(after, 12, 18).expect_err("the event was not there when it was answered");
    let other = append(&world, 1, 1, 1);
    let taken = attempt(&Op::Append(other.clone()), Answer::Refused("NB103".to_owned()), 12, None, 30);
    replayed(&[appended.clone(), taken]).expect("the id was taken meanwhile");
    let early = attempt(&Op::Append(other.clone()), Answer::Refused("NB103".to_owned()), 12, None, 18);
    replayed(&[appended.clone(), early]).expect_err("nobody had taken the id");
    let twice = attempt(&Op::Append(other), Answer::Done(vec![id(1).to_string()]), 12, Some(25), 30);
    replayed(&[appended, twice]).expect_err("one id is one event");
}
