//! The same of tables with a history.

use crate::HOW;
use neobank_model::answer::Answer;
use neobank_model::op::Op;
use neobank_model::state::{Circumstances, State};
use neobank_model::tables::{At, Change, Given, Row, Step, Table, Tabled, Which, compare_tables};
use neobank_model::world::World;
use neobank_sessions::*;

/// Changes, corrections and a fact ahead of its time, for damages to be done to.
pub fn fill(bank: &mut Bank) {
    for statement in [
        "update public.limits set amount = 12 where account = 1",
        "update public.limits set amount = 13 where account = 1",
        "delete from public.limits where account = 2",
        "select temporal.update_portion('public.limits', '{\"account\": 1, \"kind\": 1}', '2002-01-01Z', '2003-01-01Z', '{\"amount\": 3}')",
        "update public.tariffs set amount = 11 where tariff = 1",
        "select temporal.insert_portion('public.tariffs', '{\"tariff\": 4, \"amount\": 4}', '2002-01-01Z', '2003-01-01Z')",
        "update public.offers set amount = 8 where customer = 2",
    ] {
        bank.db.run(statement);
    }
}

/// The constraints of the tables would refuse it.
fn loose(table: &str) -> String {
    format!(
        "do $$ declare c record; begin
           for c in select conrelid::regclass as t, conname from pg_constraint
                    where contype = 'c' and conrelid::regclass::text like 'public_history.{table}%' loop
             execute format('alter table %s drop constraint %I', c.t, c.conname);
           end loop; end $$;"
    )
}

pub fn damages(_: &World) -> Vec<(String, &'static str)> {
    let off = "set local neobank.history_guard = off; set local session_replication_role = replica;";
    let (overlap, empty, unknown) = ("overlap on both axes", "empty or inverted", "known no more, or later");
    let (present, covered, yet) = ("believes of the present", "a child is believed", "yet to come");
    let limits = loose("limits");
    [
        ("update public_history.limits_past set history_valid_to = history_valid_to + interval '1 microsecond' \
          where history_ended_live".to_owned(), overlap),
        ("update public_history.limits_current set history_valid_from = history_valid_from - interval '1 microsecond'".to_owned(), overlap),
        ("insert into public_history.limits_past select (c).* from (
            select jsonb_populate_record(p, jsonb_build_object('history_valid_from', '2002-06-01Z', 'history_valid_to', '2002-07-01Z')) as c
            from public_history.limits_past p where history_valid_from = '2002-01-01Z') x".to_owned(), overlap),
        ("update public_history.limits_superseded set history_known_to = history_known_to + interval '1 microsecond'".to_owned(), overlap),
        (format!("{limits} update public_history.limits_past set history_valid_to = history_valid_from where history_valid_to = '2002-01-01Z'"), empty),
        (format!("{limits} update public_history.limits_past set history_valid_from = history_valid_to + interval '1 s' where history_valid_to = '2002-01-01Z'"), empty),
        (format!("{limits} update public_history.limits_superseded set history_known_from = history_known_to"), unknown),
        (format!("{limits} update public_history.limits_superseded set history_known_from = history_known_to + interval '1 s'"), unknown),
        ("update public_history.limits_current set history_known_from = clock_timestamp() + interval '1 hour'".to_owned(), yet),
        ("update public_history.limits_superseded set history_known_to = clock_timestamp() + interval '1 hour'".to_owned(), yet),
        ("update public.limits set amount = 14".to_owned(), present),
        ("update public.limits set link = 14".to_owned(), present),
        ("delete from public.limits".to_owned(), present),
        ("insert into public.limits values (7, 7, 7, 7)".to_owned(), present),
        ("delete from public_history.offers_current".to_owned(), present),
        ("update public_history.tariffs_current set amount = amount + 1".to_owned(), present),
        ("update public_history.tariffs_current set history_valid_from = '2011-01-01' where tariff = 2".to_owned(), covered),
        ("delete from public_history.tariffs_past".to_owned(), covered),
        ("update public_history.offers_current set link = 4".to_owned(), covered),
        ("update public_history.offers_past set link = 9".to_owned(), covered),
        ("update public_history.offers_current set history_valid_from = '1999-01-01' where link = 1".to_owned(), covered),
    ]
    .into_iter()
    .map(|(damage, rule)| (format!("{off} {damage}"), rule))
    .collect()
}

/// What is done behind the model's back shows in the comparison: in the table, and in what was true or believed.
#[test]
fn the_comparison_finds_facts_that_the_model_does_not_know_of() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let state = State::opened(&world);
    compare_tables(&mut bank.db, &state, 20).expect("nothing was done yet");
    for change in [
        "update public.offers set amount = amount + 1 where customer = 1 and kind = 1",
        "delete from public.limits",
        "insert into public.tariffs values (4, 1)",
        "select temporal.update_portion('public.limits', '{\"account\": 1, \"kind\": 1}', '2003-01-01', '2004-01-01', '{\"link\": 1}')",
        "select temporal.delete_portion('public.tariffs', '{\"tariff\": 3}', '2101-01-01', 'infinity')",
        "set local neobank.history_guard = off; \
         update public_history.limits_current set history_known_from = history_known_from - interval '1 microsecond'",
        "set local neobank.history_guard = off; \
         update public_history.limits_current set history_valid_from = history_valid_from - interval '1 microsecond'",
    ] {
        bank.db.run("begin");
        bank.db.run(change);
        compare_tables(&mut bank.db, &state, 0).expect_err(change);
        bank.db.run("rollback");
    }
    bank.db.run("select temporal.prune('2003-01-01', 'public.limits')");
    compare_tables(&mut bank.db, &state, 20).expect_err("it was pruned");
}

/// Wrong answers of every sort are not accepted.
#[test]
fn the_model_does_not_believe_everything_of_tables() {
    let mut bank = Bank::new();
    let world = World::open(&mut bank.db);
    let began = world.recorded_since + 1_000_000;
    let how = Circumstances { begun_at: began, answered_at: began, ..HOW };
    let done = |lines: &[&str]| {
        let mut lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        lines.push(format!("times|{began}|{began}"));
        Answer::Done(lines)
    };
    let refused = |code: &str| Answer::Refused(code.to_owned());
    let op = |table, step| Op::Table(Tabled::Change(vec![(table, step)]));
    let row = |amount, link| Row { amount, link };
    let given = |key| Given { key, whole: true };
    let (one, year) = (given((1, 0)), At::Year);
    let update = |which, change| op(Table::Limits, Step::Update(which, change));
    let portion = |change| {
        let (from, to) = (year(2002), year(2003));
        op(Table::Tariffs, Step::UpdatePortion { given: one, from, to, change })
    };
    let gone = |from, to| op(Table::Tariffs, Step::DeletePortion { given: one, from, to });
    let ask = |valid, known| Op::Table(Tabled::Ask { table: Table::Limits, valid, known });
    let (first, second) = ("row|1|1|8|-", "row|2|2|9|4");
    for (op, right, wrong) in [
        (
            op(Table::Limits, Step::Insert(vec![((1, 1), row(1, None))])),
            refused("23505"),
            vec![done(&["row|1|1", "end"]), refused("23514")],
        ),
        (
            op(Table::Offers, Step::Insert(vec![((3, 1), row(1, Some(9)))])),
            refused("NB330"),
            vec![done(&["row|3|1", "end"])],
        ),
        (
            update(Which::One((1, 1)), Change::Amount(3)),
            done(&["row|1|1", "end"]),
            vec![done(&["end"]), done(&["row|2|2", "end"]), refused("NB327"), refused("23505")],
        ),
        (
            update(Which::From(9), Change::Add(1)),
            done(&["row|2|2", "end"]),
            vec![done(&["row|1|1", "row|2|2", "end"]), done(&["end"])],
        ),
        (portion(Change::Amount(5)), done(&["met|1"]), vec![done(&["met|0"]), refused("NB325"), refused("NB331")]),
        (portion(Change::Unknown), refused("NB326"), vec![done(&["met|1"]), refused("NB323")]),
        (portion(Change::Amount(-1)), refused("23514"), vec![done(&["met|1"])]),
        (gone(year(2002), year(2003)), refused("NB330"), vec![done(&["met|1"])]),
        (gone(year(2003), year(2002)), refused("NB324"), vec![done(&["met|0"]), refused("NB330")]),
        (
            ask(Some(year(2005)), At::Forever),
            done(&[first, second]),
            vec![done(&[first]), done(&[]), done(&[first, "row|2|2|9|3"]), refused("NB331")],
        ),
        (ask(Some(year(2000)), At::Forever), done(&[]), vec![done(&[first, second])]),
        (ask(None, At::Then(world.recorded_since - 1)), done(&[]), vec![done(&[first, second])]),
        (
            Op::Table(Tabled::Prune { table: Table::Limits, before: At::Ago(-1) }),
            refused("NB021"),
            vec![done(&["done|t"])],
        ),
        (Op::Table(Tabled::ApplyDue { table: Table::Limits }), done(&["met|0"]), vec![done(&["met|1"])]),
    ] {
        for wrong in wrong {
            let mut state = State::opened(&world);
            state.accept(&op, &wrong, how).expect_err(&format!("{op:?}: {wrong:?}"));
            compare_tables(&mut bank.db, &state, 0).expect("the model is as before");
        }
        let mut state = State::opened(&world);
        state.accept(&op, &right, how).unwrap_or_else(|error| panic!("{op:?}: {right:?}: {error}"));
    }
}
