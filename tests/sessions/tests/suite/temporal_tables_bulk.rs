//! Statements over many rows of a table with a history: what waits to be written together is not lost, doubled or mixed
//! up, whatever the keys are and in whatever order their rows are met.

use neobank_sessions::*;

fn sound(bank: &mut Bank) {
    let tables = bank.db.lines("select table_name::text from temporal.tables");
    for table in tables {
        let problems = bank.db.lines(&format!("select * from temporal.check_history('{table}')"));
        assert_eq!(problems, [""; 0], "{table}");
    }
}

/// As many rows as fit into a row of pages, and more than are written at once.
#[test]
fn many_rows_of_one_statement_are_recorded_each_once() {
    let mut bank = Bank::new();
    bank.db.run("create table many (a text, b uuid default gen_random_uuid(), n int, note text, primary key (b, a))");
    assert_eq!(bank.db.one("select temporal.enable('many')"), "0");
    bank.db.run("insert into many (a, n) select 'key ' || n % 7, n from generate_series(1, 9000) n");
    assert_eq!(bank.db.one("select count(*) from public_history.many_current"), "9000");
    sound(&mut bank);
    // Rows in another order than their keys', a third of them not changed by the statement that meets them.
    bank.db.run("update many set note = case when n % 3 > 0 then 'changed ' || n end");
    bank.db.run("update many set n = n + 1 where a = 'key 3'");
    assert_eq!(bank.db.one("select count(*) from public_history.many_past"), (6000 + 9000 / 7 + 1).to_string());
    let same = "select count(*) from (table many intersect table public_as_of.many) x";
    assert_eq!(bank.db.one(same), "9000");
    sound(&mut bank);
    bank.db.run("set enable_seqscan = off; set enable_bitmapscan = off");
    let by_key = "select count(p.n) from many m left join public_history.many_past p on p.b = m.b and p.a = m.a";
    assert_eq!(bank.db.one(by_key), (6000 + 9000 / 7 + 1).to_string(), "every row is in the index");
    bank.db.run("delete from many where n % 2 = 0");
    bank.db.run("insert into many (a, n) select 'new', n from generate_series(1, 300) n");
    sound(&mut bank);
}

#[test]
fn large_values_outlive_the_row_they_came_from() {
    let mut bank = Bank::new();
    bank.db.run("create table big (id int primary key, body text, n int)");
    bank.db.run("alter table big alter body set storage external");
    bank.db.run("select temporal.enable('big')");
    bank.db.run("insert into big select n, repeat(chr(64 + n % 26), 9000), 0 from generate_series(1, 600) n");
    bank.db.run("update big set n = 1");
    bank.db.run("update big set body = 'short ' || id where id % 2 = 0");
    bank.db.run("vacuum public_history.big_current");
    let kept = "select count(*) from public_history.big_past where body = repeat(chr(64 + id % 26), 9000)";
    assert_eq!(bank.db.one(kept), "900");
    sound(&mut bank);
}

#[test]
fn what_is_rolled_back_leaves_nothing_behind() {
    let mut bank = Bank::new();
    bank.db.run("create table t (id int primary key, n int)");
    bank.db.run("select temporal.enable('t')");
    bank.db.run("insert into t select n, 0 from generate_series(1, 600) n");
    bank.db.run("begin; savepoint s; update t set n = 1; insert into t select n, 0 from generate_series(601, 900) n; rollback to s");
    bank.db.run("update t set n = 2 where id <= 300; delete from t where id > 500; commit");
    refused_with_code_only(
        &mut bank.db,
        "update t set n = 7; insert into t select n, 0 from generate_series(499, 900) n",
        "23505",
    );
    assert_eq!(bank.db.one("select count(*), sum(n) from public_history.t_past"), "400|0");
    assert_eq!(bank.db.one("select count(*), sum(n) from public_as_of.t"), "500|600");
    sound(&mut bank);
}

/// A key that has had a row with a scheduled end, one that is scheduled, and one that others have changed since this
/// transaction began, among many that are simply new.
#[test]
fn rows_that_are_new_meet_what_is_known_of_their_keys() {
    let mut bank = Bank::new();
    bank.db.run("create table t (id int primary key, n int)");
    bank.db.run("select temporal.enable('t')");
    let mut old = bank.session();
    old.run("begin; select now()");
    bank.db.run("insert into t values (77, 1); delete from t where id = 77");
    bank.db.run("select temporal.insert_portion('t', '{\"id\": 300, \"n\": 5}', now() + interval '1 day')");
    bank.db.run(
        "select temporal.insert_portion('t', '{\"id\": 301, \"n\": 6}', now() + interval '1 day', now() + interval '2 days')",
    );
    old.run("insert into t select n, 0 from generate_series(1, 600) n");
    old.run("commit");
    assert_eq!(bank.db.one("select count(*) from public_as_of.t"), "600");
    let later = "select id, n from temporal.as_of(null::t, now() + interval '25 hours') where n > 0 order by id";
    assert_eq!(bank.db.lines(later), ["300|5", "301|6"]);
    sound(&mut bank);
    for level in ["repeatable read", "serializable"] {
        bank.db.run(&format!("begin isolation level {level}; delete from t where id > 550; commit"));
        bank.db.run(&format!(
            "begin isolation level {level}; insert into t select n, 3 from generate_series(551, 650) n; commit"
        ));
        sound(&mut bank);
        bank.db.run("delete from t where id > 600");
    }
}

/// A function that a statement calls may have taken away what the statement has just stored.
#[test]
fn a_row_that_its_own_statement_took_away_again_is_not_recorded() {
    let mut bank = Bank::new();
    bank.db.run("create table t (id int primary key, n int)");
    bank.db.run("select temporal.enable('t')");
    bank.db.run(
        "create function gone(k int) returns int language plpgsql as $$ begin \
           if k = 5 then delete from public.t where id = 3; update public.t set n = 9 where id = 4; end if; return 0; end $$",
    );
    bank.db.run("insert into t select n, gone(n) from generate_series(1, 6) n");
    assert_eq!(
        bank.db.lines("select id, n from public_as_of.t order by id"),
        bank.db.lines("select id, n from t order by id")
    );
    sound(&mut bank);
}

#[test]
fn inserts_go_on_where_an_index_of_the_history_was_made_anew() {
    let mut bank = Bank::new();
    bank.db.run("create table t (id int, code text not null, n int, primary key (id, code))");
    bank.db.run("select temporal.enable('t', '{code, id}')");
    bank.db.run("insert into t values (1, 'a', 1); reindex table public_history.t_past");
    bank.db.run("insert into t select n, 'b', 1 from generate_series(1, 300) n");
    let index = "select indexrelid::regclass from pg_index where indrelid = 'public_history.t_superseded'::regclass";
    let index = bank.db.one(index);
    bank.db.run(&format!("drop index {index}"));
    bank.db.run("insert into t select n, 'c', 1 from generate_series(1, 300) n");
    bank.db.run("update t set n = 2 where code <> 'b'; delete from t where code = 'c' and id > 100");
    sound(&mut bank);
}

#[test]
fn writers_of_the_same_many_rows_leave_one_history() {
    let _turn = crowd();
    let mut bank = Bank::new();
    bank.db.run("create table t (id int primary key, n int)");
    bank.db.run("select temporal.enable('t')");
    bank.db.run("insert into t select n, 0 from generate_series(1, 400) n");
    together(&bank, 4, |n, session| {
        let mut dice = Dice(n as u64 + 3);
        for _ in 0..12 {
            let from = 1 + dice.below(300);
            let range = format!("id between {from} and {}", from + 99);
            let sql = match dice.below(4) {
                0 => format!("delete from t where {range} and id % 3 = {}", dice.below(3)),
                1 => format!(
                    "insert into t select n, 1 from generate_series({from}, {from} + 99) n on conflict do nothing"
                ),
                2 => format!(
                    "insert into t select n, 2 from generate_series({from}, {from} + 99) n on conflict (id) do update set n = t.n + 1"
                ),
                _ => format!("update t set n = n + 1 where {range}"),
            };
            if let Err(refusal) = session.try_lines(&sql) {
                assert_eq!(refusal.code, "40P01", "{refusal}: {sql}");
            }
        }
    });
    sound(&mut bank);
}

/// The instants of a view are come to one after the other, the last ones when much has been read. A row that comes due in
/// between was in none of the parts.
#[test]
fn one_statement_sees_one_instant() {
    let mut bank = Bank::new();
    bank.db.run("create table t (id int primary key, n int)");
    bank.db.run("insert into t values (1, 0), (2, 0)");
    bank.db.run("select temporal.enable('t', p_valid_from => '2020-01-01')");
    bank.db.run("create table due as select now() + interval '0.7 seconds' as at");
    bank.db.run("select temporal.update_portion('t', '{\"id\": 2}', due.at, 'infinity', '{\"n\": 1}') from due");
    // The first row that is read waits until the other one has changed.
    let slow = "select count(*) from (select id, pg_sleep_until(due.at + interval '50 ms') from public_as_of.t, due) x";
    bank.db.run("set enable_hashjoin = off; set enable_mergejoin = off; set enable_material = off");
    assert_eq!(bank.db.one(slow), "2");
    bank.db.run("begin isolation level repeatable read; select now()");
    let same = "select count(distinct t.instant) from (select public_history.t_instant('as_of') as instant union all select now()) t";
    assert_eq!(bank.db.one(same), "1");
    bank.db.run("commit");
    // What a procedure writes after a commit of its own is not yet to come.
    bank.db.run(
        "do $$ begin commit; perform pg_sleep(0.01); commit; insert into public.t values (3, 0); \
                 if not exists (select from public_as_of.t where id = 3) then raise 'not seen'; end if; end $$",
    );
    assert_eq!(bank.db.one("select temporal.apply_due('t')"), "1");
    sound(&mut bank);
}

#[test]
fn a_table_that_cannot_have_a_history_is_refused_with_what_to_do() {
    let mut bank = Bank::new();
    bank.db.run("create table parted (id int primary key) partition by range (id)");
    bank.db.run("create table part partition of parted for values from (0) to (9)");
    bank.db.run("create table parent (id int primary key)");
    bank.db.run("create table child (primary key (id)) inherits (parent)");
    bank.db.run("create table forced (id int primary key)");
    bank.db.run("alter table forced enable row level security, force row level security");
    bank.db.run("create table taken (id int primary key, history_by text)");
    for (table, cause, cure) in [
        ("parted", "is partitioned", "one table"),
        ("part", "is a partition", "one table"),
        ("parent", "inherits", "one table"),
        ("child", "inherits", "one table"),
        ("forced", "forces row security", "NO FORCE"),
        ("taken", "begins with history_", "Rename"),
    ] {
        let refusal = refused(&mut bank.db, &format!("select temporal.enable('{table}')"), "NB321");
        assert!(refusal.detail.contains(cause) && refusal.hint.contains(cure), "{refusal}");
    }
    bank.db.run("alter table forced no force row level security");
    assert_eq!(bank.db.one("select temporal.enable('forced')"), "0");
}
