//! The same of sagas.

use super::HOW;
use crate::id;
use neobank_model::answer::Answer;
use neobank_model::op::Op;
use neobank_model::quiet::compare_readers;
use neobank_model::sagas::{Context, Ends, Sagaing, bring_to_rest, ends};
use neobank_model::state::State;
use neobank_model::world::World;
use neobank_sessions::*;

fn context(world: &World, luck: &'static str, undoing: &'static str) -> Context {
    let [a, b] = [world.places[0].id, world.places[1].id];
    Context { deposit: (a, dec("30"), "never"), transfer: (a, b, dec("20"), luck), undoing }
}

fn start(saga_type: &'static str, key: u128, context: Context) -> Op {
    Op::Saga(Sagaing::Start { saga_type, key: Some(id(key)), context, deadline: false })
}

/// Sagas under way and at every end: completed, undone, parked, settled; with a child, a worker, a signal.
pub fn fill(bank: &mut Bank, world: &World) {
    let mut begin = |saga_type, key, luck, undoing| {
        let saga = bank.db.id(&start(saga_type, key, context(world, luck, undoing)).sql());
        bank.db.run("select * from saga.run_ready()");
        saga
    };
    begin("plain", 100, "never", "never");
    begin("plain", 101, "for good", "never");
    let by_hand = begin("plain", 102, "for good", "always");
    begin("plain", 103, "for good", "always");
    let signalled = begin("signalled", 104, "for good", "never");
    let parent = begin("parent", 105, "for good", "never");
    bank.db.run("select pg_sleep(0.002) is null; select * from saga.run_ready()");
    bank.db.run(&format!("select saga.resolve('{by_hand}', 'failed', 'refunded')"));
    for figure in [7, 8] {
        bank.db.run(&Op::Saga(Sagaing::Signal { saga: signalled, id: id(110 + figure), figure: figure as u32 }).sql());
    }
    bank.db.run("select * from saga.run_ready()");
    // The child's step is done outside, and undone there when its parent's last one fails.
    for _ in 0..3 {
        bank.db.run("select public.saga_complete(step_id, lease_token) from saga.claim_step('w')");
        bank.db.run("select * from saga.run_ready(); select * from saga.run_ready()");
        bank.db.run(&format!("select public.saga_jump(saga_id) from saga.sagas where saga_id = '{parent}'"));
        bank.db.run("select * from saga.run_ready(); select * from saga.run_ready()");
    }
    // One waits for a worker, one for its client.
    let waits = bank.db.id(&start("outside", 106, context(world, "never", "never")).sql());
    bank.db.run(&format!("select saga.run('{waits}')"));
    let clients = bank.db.id("select saga.create_saga('by hand', array['one', 'two'])");
    bank.db.run(&format!("select saga.execute_step('{clients}')"));
}

/// What each damage is, and the rule that is to find it.
pub fn damages() -> Vec<(String, &'static str)> {
    let of = |key: u128| format!("saga_id = (select saga_id from saga.sagas where idempotency_key = '{}')", id(key));
    let (done, undone, parked, signalled, parent) = (of(100), of(101), of(103), of(104), of(105));
    let waits = of(106);
    let step = |saga: &str, number: i32| format!("{saga} and step_number = {number}");
    let effects = "public.saga_effects";
    let posting = |saga: &str| format!("(select step_id from saga.saga_steps where {})", step(saga, 1));
    let once = "is there once";
    let its = "if and only if it was completed";
    let back = "given back once";
    let log = "has no gap";
    let last = "as their last lines say";
    let order = "undone in reverse";
    let ended = "completed, or undone, or settled";
    let open = "waits for somebody";
    let token = "under the token";
    let most = "more often than it may be";
    let signal = "taken once, the oldest first";
    let child = "stands and falls";
    let movements = "txn_processing.movements";
    let again = "saga_id, effect_id, kind, reverses, body";
    vec![
        (format!("insert into {effects} ({again}) select {again} from {effects} where {done} limit 1"), once),
        (format!("delete from {movements} where transaction_id = {}", posting(&done)), once),
        (format!("update {movements} set amount = amount + 1 where transaction_id = {}", posting(&done)), once),
        (format!("update {effects} set kind = 'deposit' where kind = 'transfer'"), once),
        (format!("delete from {effects} where effect_id = {}", posting(&done)), its),
        (format!("delete from {effects} where {undone} and kind = 'reversal'"), its),
        (format!("update saga.saga_steps set status = 'failed' where {}", step(&done, 1)), its),
        (format!("update saga.compensations set status = 'failed' where {undone}"), its),
        (format!("update {effects} set saga_id = gen_random_uuid() where {done}"), its),
        (format!("delete from {movements} where reverses = {}", posting(&undone)), back),
        (format!("update {movements} set reverses = {} where reverses = {}", posting(&done), posting(&undone)), back),
        (format!("delete from saga.compensations where {undone}"), back),
        (format!("delete from saga.transitions where {done} and transition_no = 3"), log),
        (format!("delete from saga.transitions where {done} and transition_no = 1"), log),
        (format!("update saga.sagas set transitions = transitions + 1 where {done}"), log),
        (
            format!(
                "update saga.transitions set from_state = 'waiting' where {done} and from_state = 'running' and subject = 'step'"
            ),
            log,
        ),
        (
            format!(
                "alter table saga.transitions drop constraint transitions_check; \
                 update saga.transitions set from_state = to_state where {done} and transition_no = 4"
            ),
            log,
        ),
        (format!("delete from saga.sagas where {waits}"), log),
        (format!("update saga.sagas set status = 'failed' where {done}"), last),
        (format!("update saga.saga_steps set status = 'completed' where {}", step(&undone, 1)), last),
        (format!("update saga.compensations set status = 'waiting' where {parked}"), last),
        (format!("update saga.saga_steps set status = 'completed' where {}", step(&waits, 3)), last),
        (
            format!("update saga.transitions set step_number = 4 - step_number where {signalled} and subject = 'step'"),
            order,
        ),
        (
            format!(
                "update saga.transitions set step_number = case step_number when 1 then 2 else 1 end \
                 where {parent} and to_state = 'compensated'"
            ),
            order,
        ),
        (
            format!(
                "insert into saga.transitions (saga_id, transition_no, recorded_at, step_number, subject, from_state, to_state, actor) \
                 select saga_id, transitions + 1, now(), 2, 'step', 'failed', 'running', 'x' from saga.sagas where {undone}"
            ),
            order,
        ),
        (format!("update saga.sagas set current_step = 1 where {done}"), order),
        (format!("update saga.saga_steps set status = 'completed' where {}", step(&undone, 1)), ended),
        (format!("update saga.saga_steps set status = 'failed' where {}", step(&done, 3)), ended),
        (format!("update saga.saga_steps set status = 'waiting' where {}", step(&undone, 2)), ended),
        (format!("update saga.sagas set waits_for = 'runner' where {done}"), ended),
        (format!("update saga.sagas set error_code = null where {undone}"), ended),
        (format!("update saga.sagas set past_return = true where {undone}"), ended),
        (format!("update saga.sagas set waits_for = null where {waits}"), open),
        (format!("update saga.sagas set parked_reason = null where {parked}"), open),
        (format!("update saga.sagas set work_type = null, due_at = null where {waits}"), open),
        (format!("update saga.sagas set waits_for = 'runner' where {waits} and due_at is null or {parked}"), open),
        ("update saga.saga_steps set lease_token = lease_token + 1 where status = 'compensated'".to_owned(), token),
        ("update saga.compensations set lease_token = lease_token + 1".to_owned(), token),
        ("delete from public.saga_answers where kind = 'action'".to_owned(), token),
        (
            "insert into public.saga_answers select step_id, 77, 'action' from public.saga_answers limit 1".to_owned(),
            token,
        ),
        (format!("update saga.saga_steps set attempts = 3 where {done}"), most),
        (format!("update saga.compensations set attempts = 3 where {parked}"), most),
        ("update saga.signals set consumed_by = 2".to_owned(), signal),
        ("update saga.signals set consumed_by = case when consumed_by is null then 2 end".to_owned(), signal),
        ("update saga.signals set consumed_by = 3 where consumed_by is not null".to_owned(), signal),
        ("update saga.signals set payload = '{}'".to_owned(), signal),
        ("delete from saga.signals".to_owned(), signal),
        ("update saga.sagas set parent_step = 1 where parent_saga_id is not null".to_owned(), child),
        ("update saga.sagas set status = 'running' where parent_saga_id is not null".to_owned(), child),
        (format!("delete from saga.saga_steps where {}", step(&parent, 2)), child),
    ]
}

/// A posting past the record of effects, the state of a saga, and one that is gone.
#[test]
fn the_model_does_not_believe_every_saga() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let mut state = State::opened(&world);
    let told = |lines: &[&str]| Answer::Done(lines.iter().map(|line| line.to_string()).collect());
    let refused = |code: &str| Answer::Refused(code.to_owned());
    let op = start("plain", 1, context(&world, "never", "never"));
    let saga = bank.db.id(&op.sql());
    let its = saga.to_string();
    state.accept(&op, &refused("NB204"), HOW).expect_err("the key is new");
    state.accept(&op, &told(&[&its]), HOW).expect("so it is");
    state.accept(&op, &told(&[&id(3).to_string()]), HOW).expect_err("a retry answers the same");
    state.accept(&op, &told(&[&its]), HOW).expect("a retry");
    let other = start("plain", 1, context(&world, "always", "never"));
    state.accept(&other, &told(&[&its]), HOW).expect_err("another context");
    state.accept(&other, &refused("NB204"), HOW).expect("another context");
    let signal = |figure| Op::Saga(Sagaing::Signal { saga, id: id(4), figure });
    state.accept(&signal(1), &refused("NB201"), HOW).expect_err("it has not ended");
    state.accept(&signal(1), &told(&[&id(4).to_string()]), HOW).expect("so it is");
    state.accept(&signal(2), &told(&[&id(4).to_string()]), HOW).expect_err("another payload");
    let run = Op::Saga(Sagaing::RunReady { at_most: 1 });
    let (a, b, ended) = (world.places[0].id, world.places[1].id, format!("saga|{its}|completed"));
    let deposit = |amount: &str| format!("effect|deposit|{}|-|{a}|{amount}", id(5));
    let transfer = |n: u128, amount: &str| format!("effect|transfer|{}|{a}|{b}|{amount}", id(n));
    state.accept(&run, &told(&[&ended, &deposit("30"), &transfer(6, "5000")]), HOW).expect_err("so much is not there");
    state.accept(&run, &told(&[&ended, &deposit("30"), &transfer(6, "530")]), HOW).expect("so it is");
    let back = format!("effect|reversal|{}|{}", id(7), id(6));
    let again = format!("effect|reversal|{}|{}", id(8), id(6));
    let before = state.mark();
    state.accept(&run, &told(&[&back, &again]), HOW).expect_err("it is given back once");
    state.accept(&run, &told(&[&back]), HOW).expect("so it is");
    state.back_to(before);
    state.accept(&run, &told(&[&format!("saga|{its}|running")]), HOW).expect_err("it has ended");
    state.accept(&run, &told(&[&format!("saga|{its}|failed")]), HOW).expect_err("it is completed");
    let cancel = Op::Saga(Sagaing::Cancel { saga });
    state.accept(&cancel, &told(&["compensating"]), HOW).expect_err("it is completed");
    state.accept(&cancel, &refused("NB201"), HOW).expect("it is completed");
    compare_readers(&mut bank.db, &state).expect_err("nobody has run it");
    bank.db.run("select * from saga.run_ready()");
    bank.db.run("select pg_sleep(0.002) is null; select * from saga.run_ready()");
    compare_readers(&mut bank.db, &state).expect("it is completed");
    bank.db.run("begin; delete from saga.sagas");
    compare_readers(&mut bank.db, &state).expect_err("it is gone");
    bank.db.run("rollback");
}

/// Whatever sagas wait for, they come to their end.
#[test]
fn sagas_come_to_rest() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    fill(&mut bank, &world);
    bring_to_rest(&mut bank.db).expect("nothing is wrong");
    let Ends { completed, undone, by_hand, parked, .. } = ends(&mut bank.db);
    assert_eq!(completed + undone + by_hand, bank.db.count("select count(*) from saga.sagas") as u64);
    assert_eq!((completed, undone, by_hand, parked), (3, 4, 2, 2));
}
