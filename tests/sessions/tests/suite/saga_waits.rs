//! Steps that wait: for signals, which are not lost however early they come, for a time, and for other sagas.

use super::saga::*;
use neobank_sessions::*;

const WAIT: &str = "{\"name\": \"w\", \"signal\": \"go\", \"timeout_ms\": 60000}";

fn send(saga: Uuid, tail: &str) -> String {
    format!("select saga.signal('{saga}', 'go'{tail})")
}

fn times_out(bank: &mut Bank) {
    bank.db.run(
        "update saga.saga_steps set timeout_at = now() where status in ('waiting', 'running'); \
         update saga.sagas set due_at = now() where due_at is not null",
    );
}

#[test]
fn a_signal_is_not_lost_when_it_comes_early() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", ""), WAIT.into(), WAIT.replace("\"w\"", "\"v\""), step("b", "")]);
    let saga = start(&mut bank, "t");
    let id = Uuid::now_v7();
    let first = send(saga, &format!(", '{{\"n\": 1.50}}', '{id}'"));
    assert_eq!(bank.db.id(&first), id);
    assert_eq!(bank.db.id(&first), id);
    refused(&mut bank.db, &first.replace("1.50", "1.5"), "NB208");
    bank.db.run(&format!("select saga.signal('{saga}', 'other')"));
    assert_eq!(run(&mut bank, saga), "running");
    assert_eq!(state(&mut bank, saga), "running|signal|");
    assert_eq!(steps(&mut bank, saga), ["completed", "completed", "waiting", "pending"]);
    // Rolled back, it was not sent; committed, the saga is due at once.
    bank.db.run(&format!("begin; {}; rollback", send(saga, "")));
    assert_eq!(bank.db.lines("select * from saga.run_ready()"), [""; 0]);
    bank.db.run(&send(saga, ", '2'"));
    bank.db.run(&send(saga, ", '3'"));
    assert_eq!(bank.db.one("select status from saga.run_ready()"), "completed");
    let taken = "select name, payload, consumed_by from saga.signals order by signal_no";
    assert_eq!(bank.db.lines(taken), ["go|{\"n\": 1.50}|2", "other|{}|", "go|2|3", "go|3|"]);
    let outputs = "select output_data from saga.saga_steps where step_name in ('v', 'w') order by step_number";
    assert_eq!(bank.db.lines(outputs), ["{\"n\": 1.50}", "2"]);
    // A retry is told so even now; another one is refused.
    assert_eq!(bank.db.id(&first), id);
    for (sql, code) in [
        (send(saga, ""), "NB201"),
        (send(Uuid::now_v7(), ""), "NB200"),
        ("select saga.signal(null, 'go')".into(), "22004"),
        (format!("select saga.signal('{saga}', null)"), "22004"),
        (send(saga, ", null"), "22004"),
        (format!("select saga.signal('{saga}', ' ')"), "NB021"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    check_log(&mut bank);
}

#[test]
fn a_signal_that_is_there_counts_before_the_timeout() {
    let mut bank = with_functions();
    define(&mut bank, "t", &[step("a", ""), WAIT.into()]);
    let (kept, lost) = (start(&mut bank, "t"), start(&mut bank, "t"));
    bank.db.run("select * from saga.run_ready()");
    bank.db.run(&send(kept, ""));
    times_out(&mut bank);
    bank.db.run("select * from saga.run_ready()");
    assert_eq!((state(&mut bank, kept).as_str(), state(&mut bank, lost).as_str()), ("completed||", "failed||NB210"));
    assert_eq!(effects(&mut bank, lost), ["do_a", "undo_a"]);
    refused(&mut bank.db, &send(lost, ""), "NB201");
    // Whoever has the saga first decides; the other one hears of it.
    let saga = start(&mut bank, "t");
    bank.db.run("select * from saga.run_ready()");
    times_out(&mut bank);
    let mut other = bank.session();
    let backend = Bank::backend_of(&mut other);
    bank.db.run(&format!("begin; select saga.run('{saga}')"));
    let late = std::thread::spawn(move || other.fails(&send(saga, "")).code);
    bank.session().run("select 1");
    let mut watcher = bank.session();
    while watcher.one(&format!("select cardinality(pg_blocking_pids({backend})) > 0")) != "t" {
        std::thread::yield_now();
    }
    bank.db.run("commit");
    assert_eq!(late.join().expect("it is refused"), "NB201");
    assert_eq!(state(&mut bank, saga), "failed||NB210");
    check_log(&mut bank);
}

#[test]
fn a_step_may_signal_its_own_saga_and_others_of_its_batch() {
    let mut bank = with_functions();
    bank.db.run(
        "create function app.tell(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
         language plpgsql as $$ begin \
           perform saga.signal(saga_id, 'go'); \
           perform saga.signal((context ->> 'other')::uuid, 'go'); return '{}'; end $$",
    );
    define(&mut bank, "waits", &[WAIT.into()]);
    define(&mut bank, "tells", &["{\"name\": \"t\", \"action\": \"app.tell\"}".into(), WAIT.into()]);
    let waits = start(&mut bank, "waits");
    let tells = bank.db.id(&format!("select saga.start('tells', '{{\"other\": \"{waits}\"}}')"));
    // The one that waits has been looked at when the signal comes, and both rows are locked.
    assert_eq!(bank.db.lines("select status from saga.run_ready()"), ["running", "completed"]);
    assert_eq!(bank.db.lines("select status from saga.run_ready()"), ["completed"]);
    assert_eq!(state(&mut bank, tells), "completed||");
    // What would change a saga of the batch is refused.
    for call in ["saga.cancel(saga_id, 'x')", "saga.run(saga_id)", "count(*) from saga.run_ready()"] {
        bank.db.run(&format!(
            "create or replace function app.tell(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
             language plpgsql as $$ begin perform {call}; return '{{}}'; end $$"
        ));
        let saga = bank.db.id("select saga.start('tells')");
        run(&mut bank, saga);
        let code = format!("select error_code from saga.saga_steps where saga_id = '{saga}' and step_number = 1");
        assert_eq!(bank.db.one(&code), "NB206", "{call}");
    }
}

#[test]
fn a_delay_lasts_as_long_as_it_says() {
    let mut bank = with_functions();
    define(&mut bank, "t", &["{\"name\": \"d\", \"delay_ms\": 3600000}".into(), step("a", "")]);
    define(&mut bank, "none", &["{\"name\": \"d\", \"delay_ms\": 0}".into(), step("a", "")]);
    let saga = start(&mut bank, "t");
    assert_eq!(run(&mut bank, saga), "running");
    let due = "select waits_for, extract(epoch from due_at - started_at)::int between 3600 and 3700 from saga.sagas";
    assert_eq!(bank.db.one(due), "delay|t");
    bank.db.run("update saga.saga_steps set started_at = started_at - interval '1 hour' where step_number = 1");
    bank.db.run("update saga.sagas set due_at = now()");
    assert_eq!(bank.db.one("select status from saga.run_ready()"), "completed");
    let saga = start(&mut bank, "none");
    assert_eq!(run(&mut bank, saga), "completed");
    check_log(&mut bank);
}

const CHILD: &str = "{\"name\": \"k\", \"child\": \"kid\"}";

#[test]
fn a_parent_waits_for_its_child() {
    let mut bank = with_functions();
    define(&mut bank, "kid", &[step("b", "")]);
    define(&mut bank, "t", &[step("a", ""), CHILD.into(), step("c", "")]);
    let saga = start(&mut bank, "t");
    assert_eq!(bank.db.one("select status, waits_for from saga.run_ready()"), "running|child");
    let kid =
        bank.db.id(&format!("select saga_id from saga.sagas where parent_saga_id = '{saga}' and parent_step = 2"));
    let given = format!(
        "select context ->> 'x', context -> 'parent' ->> 'saga_id' = '{saga}', \
                         context -> 'parent' -> 'outputs' -> 'a' ->> 'of' from saga.sagas where saga_id = '{kid}'"
    );
    assert_eq!(bank.db.one(&given), "1.50|t|do_a");
    // Its end wakes the parent at once.
    assert_eq!(bank.db.lines("select status from saga.run_ready()"), ["completed"]);
    assert_eq!(bank.db.lines("select status from saga.run_ready()"), ["completed"]);
    let output = format!(
        "select outputs -> 'k' -> 'outputs' -> 'b' ->> 'of' from app.effects where saga = '{saga}' and what = 'do_c'"
    );
    assert_eq!(bank.db.one(&output), "do_b");
    // A child that fails fails the step.
    bank.db.run("insert into app.failing values ('do_b', 'NB001')");
    let saga = start(&mut bank, "t");
    for _ in 0..3 {
        bank.db.run("select * from saga.run_ready()");
    }
    assert_eq!(state(&mut bank, saga), "failed||NB214");
    assert_eq!(effects(&mut bank, saga), ["do_a", "undo_a"]);
    // And one that is of no type there is.
    define(&mut bank, "orphan", &[step("a", ""), CHILD.replace("kid", "nobody")]);
    let saga = start(&mut bank, "orphan");
    assert_eq!(run(&mut bank, saga), "failed");
    assert_eq!(state(&mut bank, saga), "failed||NB203");
    check_log(&mut bank);
}

#[test]
fn a_parent_that_fails_has_its_child_undone() {
    let mut bank = with_functions();
    define(&mut bank, "kid", &[step("b", "")]);
    define(&mut bank, "t", &[step("a", ""), CHILD.into(), step("c", "")]);
    bank.db.run("insert into app.failing values ('do_c', 'NB001')");
    let saga = start(&mut bank, "t");
    let due = "update saga.sagas set due_at = now() where due_at is not null";
    for _ in 0..6 {
        bank.db.run("select * from saga.run_ready()");
        bank.db.run(due);
    }
    assert_eq!(state(&mut bank, saga), "failed||NB001");
    let all = "select what from app.effects order by n";
    assert_eq!(bank.db.lines(all), ["do_a", "do_b", "undo_b", "undo_a"]);
    assert_eq!(bank.db.one("select status, error_code from saga.sagas where saga_type = 'kid'"), "failed|NB217");
    // Cancelled while the child is under way.
    define(&mut bank, "kid", &[step("b", ""), WAIT.into()]);
    let saga = start(&mut bank, "t");
    bank.db.run("select * from saga.run_ready()");
    bank.db.run("select * from saga.run_ready()");
    bank.db.run(&format!("select saga.cancel('{saga}', 'why')"));
    for _ in 0..4 {
        bank.db.run("select * from saga.run_ready()");
        bank.db.run(due);
    }
    assert_eq!(state(&mut bank, saga), "failed||NB212");
    assert_eq!(bank.db.lines(all)[4..], ["do_a", "do_b", "undo_b", "undo_a"]);
    // Past its point of no return it is not undone: the parent is parked.
    let no_return = step("b", ", \"point_of_no_return\": true").replace(", \"compensation\": \"app.undo_b\"", "");
    define(&mut bank, "kid", &[no_return]);
    let saga = start(&mut bank, "t");
    for _ in 0..4 {
        bank.db.run("select * from saga.run_ready()");
        bank.db.run(due);
    }
    assert_eq!(state(&mut bank, saga), "parked|person|NB001");
    assert_eq!(bank.db.one("select step_name, error_code from saga.parked_sagas"), "k|NB207");
    check_log(&mut bank);
}
