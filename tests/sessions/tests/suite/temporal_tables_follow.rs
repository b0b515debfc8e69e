//! Histories and what happens to their tables: with whose rights they follow, and whom that may not hinder.

use neobank_sessions::*;

/// A role that may keep histories, with a schema of its own.
fn owner(bank: &mut Bank, label: &str, schema: &str) -> (String, Client) {
    let role = bank.role(label);
    bank.db.run(&format!(
        "create schema {schema} authorization {role}; grant create on database {} to {role}; select temporal.grant_tables('{role}')",
        bank.name
    ));
    let db = bank.session_as(&role);
    (role, db)
}

/// Prune, apply_due and the event trigger wrote with the caller's rights, and fired triggers that the owner of the table
/// had put there: a superuser's call made the owner one.
#[test]
fn triggers_of_an_owner_do_not_get_a_superusers_rights() {
    let mut bank = Bank::new();
    let (role, mut db) = owner(&mut bank, "sly", "ev");
    db.run(
        "create table ev.t (id int primary key, v int); insert into ev.t values (1, 1); select temporal.enable('ev.t'); \
         create table ev.seen (who name); \
         create function ev.see() returns trigger language plpgsql as $$ \
         begin insert into ev.seen values (current_user); return null; end $$",
    );
    db.run("update ev.t set v = 2");
    for table in ["ev.t", "ev_history.t_current", "ev_history.t_past"] {
        db.run(&format!(
            "create trigger see after insert or update or delete on {table} for each row execute function ev.see()"
        ));
    }
    assert_eq!(bank.db.one("select rows_pruned from temporal.prune(now(), 'ev.t')"), "1");
    bank.db.run("alter table ev.t add column z int default 3");
    db.run("select temporal.update_portion('ev.t', '{\"id\": 1}', clock_timestamp() + interval '50 ms', 'infinity', '{\"v\": 9}')");
    bank.db.run("select pg_sleep(0.1)");
    assert_eq!(bank.db.one("select temporal.apply_due('ev.t')"), "1");
    assert_eq!(db.lines("select distinct who from ev.seen"), [role.as_str()]);
    bank.db.run(&format!("drop owned by {role} cascade"));
}

/// A type dropped with CASCADE took the views along, and from then on nobody in the database could alter a table.
#[test]
fn a_history_that_lost_its_views_hinders_nobody() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table a (id int primary key); create type en as enum ('x'); create table b (id int primary key, e en)",
    );
    bank.db.run("insert into b values (1, 'x'); select temporal.enable('b')");
    bank.db.run("drop type en cascade; alter table a add column n int");
    assert_eq!(bank.db.lines("select * from public_as_of.b"), ["1"]);
    bank.db.run("drop view public_as_of.b; grant select on b to public");
    assert_eq!(bank.db.lines("select * from public_as_of.b"), ["1"]);
    bank.db.run("drop view public_as_of.b; select temporal.disable('b', false)");
}

/// A role that was renamed left a history to be followed, which then was asked of whoever altered a table of his own.
#[test]
fn what_became_of_anothers_table_hinders_nobody() {
    let mut bank = Bank::new();
    let reader = bank.role("reads");
    let plain = bank.role("plain");
    bank.db.run(&format!(
        "create table t (id int primary key); select temporal.enable('t'); grant select on t to {reader}"
    ));
    bank.db.run(&format!("alter role {reader} rename to {reader}_2; create schema x authorization {plain}"));
    let mut db = bank.session_as(&plain);
    db.run("create table x.q (id int primary key); alter table x.q add column n int");
    db.run("grant select on x.q to public");
    bank.db.run(&format!("alter role {reader}_2 rename to {reader}; drop owned by {plain} cascade"));
}

/// The new owner was not let into the schemas of the history, and could neither write, read nor alter.
#[test]
fn a_new_owner_has_all_of_the_history() {
    let mut bank = Bank::new();
    let (first, mut db) = owner(&mut bank, "first", "s");
    db.run(
        "create table s.t (id int primary key, v int); insert into s.t values (1, 1); select temporal.enable('s.t')",
    );
    let second = bank.role("second");
    bank.db.run(&format!("grant usage, create on schema s to {second}"));
    let give = format!("alter table s.t owner to {second}");
    refused(&mut bank.db, &give, "NB333");
    bank.db.run(&format!("select temporal.grant_tables('{second}')"));
    bank.db.run(&give);
    let mut db = bank.session_as(&second);
    db.run("begin; update s.t set v = 2; update s.t set v = 3; delete from s.t; insert into s.t values (1, 4); commit");
    assert_eq!(db.lines("select v from s_as_of.t"), ["4"]);
    db.run("select temporal.update_portion('s.t', '{\"id\": 1}', '2020-01-01', 'infinity', '{\"v\": 5}')");
    db.run("alter table s.t add column more text; truncate s.t");
    assert_eq!(db.lines("select * from temporal.check_history('s.t')"), [""; 0]);
    bank.db.run(&format!("drop owned by {first}, {second} cascade"));
}

/// The instant was written into a function as the caller's session shows it: 2024-03-04 was read as of April.
#[test]
fn an_instant_pruned_up_to_is_the_same_in_every_session() {
    let mut bank = Bank::new();
    bank.db.run("create table p (id int primary key); select temporal.enable('p')");
    for style in ["SQL, DMY", "SQL, MDY", "German"] {
        bank.db.run(&format!("set datestyle = '{style}'; set timezone = 'Asia/Kolkata'"));
        bank.db.run("select temporal.prune(timestamptz '2024-03-04T00:00:00Z' + interval '1 s' * length(current_setting('datestyle')), 'p')");
        bank.db.run("reset datestyle; reset timezone; select * from public_as_of.p");
    }
    assert_eq!(
        bank.db.one(
            "select prosrc like '%' || to_char(pruned_before at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || '+00%' \
                     from pg_proc, temporal.tables where proname = 'p_instant'"
        ),
        "t"
    );
}

/// Each of these was a raw 42P07.
#[test]
fn a_history_has_names_that_are_free() {
    let mut bank = Bank::new();
    bank.db.run("create table de (id int primary key); select temporal.enable('de'), temporal.disable('de')");
    bank.db.run("select temporal.enable('de'); insert into de values (1); alter table de add column n int");
    assert_eq!(bank.db.one("select as_of_view from temporal.tables"), "public_as_of.de_2");
    assert_eq!(bank.db.lines("select * from public_as_of.de_2"), ["1|"]);
    bank.db.run("drop table de; create table de (id int primary key); select temporal.enable('de')");
    bank.db.run("alter table de rename to df; create table de (id int primary key); select temporal.enable('de')");
    bank.db.run("create table x_current (id int primary key); create table x (id int primary key)");
    bank.db.run(
        "select temporal.enable('x'), temporal.enable('x_current'); insert into x values (1); update x set id = 2",
    );
    let wide = "\u{6f22}".repeat(21);
    bank.db.run(&format!("create table \"{wide}\" (id int primary key); select temporal.enable('{wide}')"));
    bank.db.run("create table \"a%b\" (id int primary key, \"c%d\" int); select temporal.enable('\"a%b\"')");
    bank.db.run("create table \"{columns}\" (id int primary key); create table ok (id int primary key)");
    bank.db.run("select temporal.enable('\"{columns}\"'); insert into \"{columns}\" values (1)");
    bank.db.run("begin; insert into \"{columns}\" values (2); delete from \"{columns}\"; commit");
    assert_eq!(bank.db.lines("select * from public_as_of.\"{columns}\""), [""; 0]);
    assert_eq!(bank.db.lines("select * from temporal.check_history('\"{columns}\"')"), [""; 0]);
    refused(&mut bank.db, "select temporal.enable('ok', p_history_schema => '')", "NB021");
}

/// The server alters no table of which checks are pending, and the history's own write had made them so.
#[test]
fn tables_of_a_key_over_periods_can_be_altered() {
    let mut bank = Bank::new();
    bank.db.run("create table par (id int primary key); create table chi (id int primary key, p int); insert into par values (1)");
    bank.db.run("select temporal.enable('par'), temporal.enable('chi'), temporal.add_foreign_key('chi', '{p}', 'par')");
    bank.db.run("insert into chi values (1, 1); alter table chi add column n int default 5");
    bank.db.run("alter table par add column n int default 5");
    bank.db.run("begin; insert into chi values (2, 1); alter table chi add column m int default 6; commit");
    assert_eq!(bank.db.lines("select * from public_as_of.chi order by id"), ["1|1|5|6", "2|1|5|6"]);
}

/// What enable refuses could be had afterwards, and a key's new values mixed the histories of different rows.
#[test]
fn alterations_that_a_history_cannot_follow_are_refused() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table k (id int primary key, v int); insert into k values (1, 1), (2, 2); select temporal.enable('k')",
    );
    bank.db.run("create table root (id bigint, v int) partition by range (id); create table top (id int, v int)");
    for sql in [
        "alter table k alter id type bigint using id + 1",
        "alter table k alter id type bigint using 3 - id",
        "alter table k inherit top",
        "create table sub () inherits (k)",
    ] {
        refused(&mut bank.db, sql, "NB333");
    }
    bank.db.run("alter table k alter id type bigint; alter table k alter id set not null");
    refused(&mut bank.db, "alter table root attach partition k for values from (1) to (9)", "NB333");
    bank.db.run("alter table k add column n int generated always as identity");
    assert_eq!(bank.db.lines("select id, n from public_as_of.k order by id"), ["1|1", "2|2"]);
    assert_eq!(bank.db.lines("select * from temporal.check_history('k')"), [""; 0]);
}

/// The event trigger made the history's policies while the dump restored the table's; then the dump's own failed.
#[test]
fn a_dump_with_row_security_is_restored_in_one_transaction() {
    let (Some(dump), Some(restore)) = (bindir_tool("pg_dump"), bindir_tool("pg_restore")) else {
        return skipped("dump of a history with row security", "this server lacks pg_dump or pg_restore");
    };
    let mut bank = Bank::new();
    bank.db.run("create table t (id int primary key); insert into t values (1); select temporal.enable('t')");
    bank.db.run(
        "alter table t enable row level security; create policy p on t using (id > 0); grant select on t to public",
    );
    let scratch = Scratch::new(&format!("{}_policies", bank.name));
    let file = scratch.file("dump");
    run_tool(server().tool(&dump, &bank.name).args(["-Fc", "-f"]).arg(&file));
    let mut restored = Bank::empty_database();
    run_tool(server().tool(&restore, &restored.name).args(["--single-transaction", "-d", &restored.name]).arg(&file));
    let policies = "select polrelid::regclass, polname from pg_policy where polname = 'p' order by 1::text";
    assert_eq!(bank.db.lines(policies), restored.db.lines(policies));
    restored.db.run("alter table t add column n int; insert into t values (2, 2)");
    assert_eq!(restored.db.lines("select * from public_as_of.t order by id"), ["1|", "2|2"]);
}
