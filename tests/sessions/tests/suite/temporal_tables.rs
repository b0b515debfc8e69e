//! Tables with a history: what is recorded, corrected, read, refused, followed, kept by a dump and left by a drop.

use neobank_sessions::*;

/// A table of prices, enabled as of 2020.
fn prices() -> Bank {
    let mut bank = Bank::new();
    bank.db.run(
        "create table prices (id int primary key, name text not null, price numeric check (price >= 0), \
         doubled numeric generated always as (price * 2) stored)",
    );
    bank.db.run("insert into prices values (1, 'bread', 2), (2, 'milk', 1)");
    assert_eq!(bank.db.one("select temporal.enable('prices', p_valid_from => '2020-01-01')"), "2");
    bank
}

fn sound(bank: &mut Bank) {
    let tables = bank.db.lines("select table_name::text from temporal.tables");
    for table in tables {
        let problems = bank.db.lines(&format!("select * from temporal.check_history('{table}')"));
        assert_eq!(problems, [""; 0], "{table}");
    }
}

fn beliefs(bank: &mut Bank, id: i32) -> Vec<String> {
    bank.db.lines(&format!(
        "select name, price, doubled, valid_from::date, case valid_to when 'infinity' then 'open' else valid_to::date::text end \
         from public_history.prices where id = {id} and known_to = 'infinity' order by valid_from"
    ))
}

fn update(portion: &str, changes: &str) -> String {
    format!("select temporal.update_portion('prices', '{{\"id\": 1}}', {portion}, '{changes}')")
}

#[test]
fn statements_are_recorded_with_who_and_when() {
    let mut bank = prices();
    bank.db.run("update prices set price = 3 where id = 1");
    bank.db.run("delete from prices where id = 2");
    bank.db.run("insert into prices values (3, 'salt', 1)");
    let rows = "select id, price, valid_to = 'infinity', known_to = 'infinity', recorded_by = current_user, \
                closed_by is null, transaction_id is not null from public_history.prices order by id, price, valid_from";
    assert_eq!(
        bank.db.lines(rows),
        ["1|2|f|t|t|f|t", "1|2|t|f|t|f|t", "1|3|t|t|t|t|t", "2|1|f|t|t|f|t", "2|1|t|f|t|f|t", "3|1|t|t|t|t|t"]
    );
    // Before the change was known, the price of today was believed to be the old one.
    let before = bank.db.one("select min(known_to) - interval '1 microsecond' from public_history.prices where id = 1");
    let asked = format!("select price from temporal.as_of(null::prices, now(), '{before}') where id = 1");
    assert_eq!(bank.db.one(&asked), "2");
    assert_eq!(bank.db.one("select price from temporal.as_of(null::prices, '2021-01-01') where id = 1"), "2");
    assert_eq!(bank.db.lines("select id from temporal.as_of(null::prices, '2019-01-01')"), [""; 0]);
    sound(&mut bank);
}

#[test]
fn who_is_the_role_that_ran_the_statement() {
    let mut bank = prices();
    let clerk = bank.role("clerk");
    bank.db.run(&format!("grant select, update on prices to {clerk}"));
    let mut session = bank.session_as(&clerk);
    session.run("update prices set price = 5 where id = 1");
    bank.db.run(&format!("set role {clerk}; update prices set price = 6 where id = 1; reset role"));
    let who = format!("select count(*) from public_history.prices where recorded_by = '{clerk}'");
    assert_eq!(bank.db.one(&who), "3");
    sound(&mut bank);
}

#[test]
fn one_transaction_is_one_step_whatever_it_does() {
    let mut bank = prices();
    bank.db.run("begin; update prices set price = 3 where id = 1; update prices set price = 4 where id = 1; commit");
    bank.db.run("begin; insert into prices values (5, 'x', 1); delete from prices where id = 5; commit");
    bank.db.run("begin; delete from prices where id = 2; insert into prices values (2, 'milk', 9); commit");
    bank.db.run("begin; savepoint s; update prices set price = 77 where id = 1; rollback to s; commit");
    bank.db.run("update prices set price = price where id = 1");
    bank.db.run("update prices set id = case id when 1 then 2 else 1 end + 10");
    let counts = "select id, count(*) from public_history.prices group by id order by id";
    assert_eq!(bank.db.lines(counts), ["1|4", "2|4", "11|1", "12|1"]);
    assert_eq!(
        bank.db.lines("select id, name, price from public_as_of.prices order by id"),
        ["11|milk|9", "12|bread|4"]
    );
    sound(&mut bank);
}

#[test]
fn a_trigger_that_changes_the_row_again_is_no_way_to_a_wrong_history() {
    let mut bank = prices();
    bank.db.run(
        "create function again() returns trigger language plpgsql as $$ begin \
           if new.price = 3 then update public.prices set price = 4 where id = new.id; \
           elsif new.price = 8 then update public.prices set price = old.price where id = new.id; end if; \
           return null; end $$; \
         create trigger again after insert or update on prices for each row execute function again()",
    );
    bank.db.run("update prices set price = 3 where id = 1");
    bank.db.run("update prices set price = 8 where id = 1");
    bank.db.run("insert into prices values (3, 'salt', 3)");
    assert_eq!(bank.db.lines("select id, price from public_as_of.prices order by id"), ["1|4", "2|1", "3|4"]);
    sound(&mut bank);
}

#[test]
fn portions_split_what_is_true_and_what_was_believed_stays() {
    let mut bank = prices();
    assert_eq!(bank.db.one(&update("'2021-01-01', '2022-01-01'", r#"{"price": 5}"#)), "1");
    assert_eq!(
        beliefs(&mut bank, 1),
        ["bread|2|4|2020-01-01|2021-01-01", "bread|5|10|2021-01-01|2022-01-01", "bread|2|4|2022-01-01|open"]
    );
    assert_eq!(bank.db.one("select price from prices where id = 1"), "2", "the present is not in that time");
    assert_eq!(bank.db.one(&update("'2021-06-01', 'infinity'", r#"{"price": 7, "name": "loaf"}"#)), "2");
    assert_eq!(bank.db.one("select name, price, doubled from prices where id = 1"), "loaf|7|14");
    let delete = "select temporal.delete_portion('prices', '{\"id\": 1}', '2021-03-01', 'infinity')";
    assert_eq!(bank.db.one(delete), "3");
    assert_eq!(beliefs(&mut bank, 1), ["bread|2|4|2020-01-01|2021-01-01", "bread|5|10|2021-01-01|2021-03-01"]);
    assert_eq!(bank.db.lines("select * from prices where id = 1"), [""; 0]);
    let insert =
        "select temporal.insert_portion('prices', '{\"id\": 1, \"name\": \"new\", \"price\": 1}', '2023-01-01')";
    assert_eq!(bank.db.one(insert), "1");
    assert_eq!(bank.db.one("select name, doubled from prices where id = 1"), "new|2");
    assert_eq!(bank.db.one(&update("'1990-01-01', '1991-01-01'", r#"{"price": 5}"#)), "0");
    let first = bank
        .db
        .one("select known_from from public_history.prices where id = 1 and valid_to = 'infinity' order by 1 limit 1");
    let asked = format!("select name, price from temporal.as_of(null::prices, '2021-04-01', '{first}') where id = 1");
    assert_eq!(bank.db.one(&asked), "bread|2");
    sound(&mut bank);
}

#[test]
fn facts_yet_to_come_are_applied_when_they_are_due() {
    let mut bank = prices();
    bank.db.run(&update("now() + interval '0.6 seconds', 'infinity'", r#"{"price": 9}"#));
    bank.db.run("select temporal.delete_portion('prices', '{\"id\": 2}', now() + interval '0.6 seconds', 'infinity')");
    bank.db.run("select temporal.insert_portion('prices', '{\"id\": 7, \"name\": \"tea\", \"price\": 4}', now() + interval '0.6 seconds')");
    // Before they come due a statement changes the present and leaves what is scheduled.
    bank.db.run("update prices set name = 'rye' where id = 1");
    assert_eq!(
        bank.db.one("select name, price from temporal.as_of(null::prices, now() + interval '1 day') where id = 1"),
        "bread|9"
    );
    let due = "select now() > (select max(valid_from) from public_history.prices where id = 7)";
    while bank.db.one(due) == "f" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(bank.db.lines("select id, price from public_as_of.prices order by id"), ["1|9", "7|4"]);
    refused(&mut bank.db, "update prices set name = 'stale' where id = 1", "NB327");
    assert_eq!(bank.db.one("select temporal.apply_due('prices')"), "3");
    assert_eq!(bank.db.one("select temporal.apply_due()"), "0");
    assert_eq!(bank.db.lines("select id, name, price from prices order by id"), ["1|bread|9", "7|tea|4"]);
    bank.db.run("update prices set name = 'fresh' where id = 1");
    sound(&mut bank);
}

#[test]
fn whole_reports_are_rerun_in_the_past_by_settings() {
    let mut bank = prices();
    bank.db.run("create table shops (id int primary key, price_id int)");
    bank.db.run("insert into shops values (1, 1)");
    bank.db.run("select temporal.enable('shops', p_valid_from => '-infinity')");
    let known = bank.db.one("select clock_timestamp()");
    bank.db.run(&update("'2021-01-01', '2022-01-01'", r#"{"price": 5}"#));
    bank.db.run("insert into shops values (2, 2)");
    let report = "select s.id, p.price from shops s join prices p on p.id = s.price_id order by 1";
    assert_eq!(bank.db.lines(report), ["1|2", "2|1"]);
    bank.db.run("set search_path = public_as_of, public");
    assert_eq!(bank.db.lines(report), ["1|2", "2|1"]);
    bank.db.run("set neobank.as_of = '2021-05-05'");
    assert_eq!(bank.db.lines(report), ["1|5"]);
    bank.db.run(&format!("set neobank.known_at = '{known}'"));
    assert_eq!(bank.db.lines(report), ["1|2"]);
    bank.db.run("reset neobank.as_of; reset neobank.known_at; set search_path = public");
    assert_eq!(bank.db.lines(report), ["1|2", "2|1"]);
    let refusal = bank.db.fails("begin; set local neobank.as_of = 'yesterweek'; select * from public_as_of.prices");
    assert_eq!(refusal.code, "22007", "{refusal}");
    bank.db.run("rollback");
}

#[test]
fn refusals_name_the_cause_and_change_nothing() {
    let mut bank = prices();
    bank.db.run("create table plain (id int primary key, v int)");
    bank.db.run("create table keyless (id int)");
    bank.db.run("create table parted (id int primary key) partition by range (id)");
    bank.db.run("create unlogged table quick (id int primary key)");
    bank.db.run("create table taken (id int primary key, history_by text)");
    let object = r#"{"id": 1}"#;
    let cases = [
        ("select temporal.enable('prices')", "NB322"),
        ("select temporal.enable('keyless')", "NB321"),
        ("select temporal.enable('plain', '{v}')", "NB321"),
        ("select temporal.enable('parted')", "NB321"),
        ("select temporal.enable('quick')", "NB321"),
        ("select temporal.enable('taken')", "NB321"),
        ("select temporal.enable('banking.customers')", "NB321"),
        ("select temporal.enable('pg_class')", "NB321"),
        ("select temporal.enable('plain', p_valid_from => now() + interval '1 hour')", "NB324"),
        ("select temporal.enable(null)", "22004"),
        ("select temporal.enable('plain', p_valid_from => null)", "22004"),
        ("select temporal.disable('plain')", "NB320"),
        ("select temporal.disable('prices', null)", "22004"),
        ("select * from temporal.as_of(null::plain)", "NB320"),
        ("select * from temporal.as_of(1)", "NB320"),
        ("select * from temporal.as_of(null::prices, now(), null)", "22004"),
        ("select * from temporal.check_history('plain')", "NB320"),
        ("select * from temporal.prune(null)", "22004"),
        ("select * from temporal.prune(now() + interval '1 day')", "NB021"),
        ("select * from temporal.prune(now(), null, 0)", "NB021"),
        ("select temporal.apply_due('plain')", "NB320"),
        ("select temporal.follow('plain')", "NB320"),
        ("select temporal.add_foreign_key('plain', '{v}', 'prices')", "NB320"),
        ("select temporal.add_foreign_key('prices', '{name}', 'prices')", "NB332"),
        ("select temporal.add_foreign_key('prices', null, 'prices')", "22004"),
        ("select temporal.drop_foreign_key('none')", "NB335"),
        ("select temporal.grant_tables(null)", "22004"),
        ("insert into public_history.prices_past select * from public_history.prices_past", "NB328"),
        ("update public_history.prices_current set price = 0", "NB328"),
        ("delete from public_history.prices_superseded", "NB328"),
        ("truncate public_history.prices_current", "NB328"),
        ("alter table prices force row level security", "NB333"),
        ("alter table prices drop column id", "NB333"),
        ("alter table prices add column history_x int", "NB333"),
    ];
    for (sql, code) in cases {
        refused(&mut bank.db, sql, code);
    }
    let portion = "'2021-01-01', '2022-01-01'";
    let cases = [
        (format!("('plain', '{object}', {portion}, '{{\"v\": 1}}')"), "NB320"),
        (format!("(null, '{object}', {portion}, '{{\"price\": 1}}')"), "22004"),
        (format!("('prices', null, {portion}, '{{\"price\": 1}}')"), "22004"),
        (format!("('prices', '{object}', null, now(), '{{\"price\": 1}}')"), "22004"),
        (format!("('prices', '{object}', now(), null, '{{\"price\": 1}}')"), "22004"),
        (format!("('prices', '{object}', {portion}, null)"), "22004"),
        (format!("('prices', '[1]', {portion}, '{{\"price\": 1}}')"), "NB323"),
        (format!("('prices', '{{}}', {portion}, '{{\"price\": 1}}')"), "NB323"),
        (format!("('prices', '{{\"id\": null}}', {portion}, '{{\"price\": 1}}')"), "NB323"),
        (format!("('prices', '{{\"id\": 1, \"name\": 2}}', {portion}, '{{\"price\": 1}}')"), "NB323"),
        (format!("('prices', '{object}', '2021-01-01', '2021-01-01', '{{\"price\": 1}}')"), "NB324"),
        (format!("('prices', '{object}', '2022-01-01', '2021-01-01', '{{\"price\": 1}}')"), "NB324"),
        (format!("('prices', '{object}', {portion}, '{{}}')"), "NB326"),
        (format!("('prices', '{object}', {portion}, '[]')"), "NB326"),
        (format!("('prices', '{object}', {portion}, '{{\"id\": 2}}')"), "NB326"),
        (format!("('prices', '{object}', {portion}, '{{\"doubled\": 2}}')"), "NB326"),
        (format!("('prices', '{object}', {portion}, '{{\"nothing\": 2}}')"), "NB326"),
    ];
    for (arguments, code) in cases {
        refused(&mut bank.db, &format!("select temporal.update_portion{arguments}"), code);
    }
    refused(
        &mut bank.db,
        &format!("select temporal.insert_portion('prices', '{{\"id\": 1, \"name\": \"b\"}}', {portion})"),
        "NB325",
    );
    for (changes, code) in
        [(r#"{"price": -1}"#, "23514"), (r#"{"name": null}"#, "23502"), (r#"{"price": "x"}"#, "22P02")]
    {
        refused_with_code_only(&mut bank.db, &update(portion, changes), code);
    }
    assert_eq!(bank.db.one("select count(*) from public_history.prices"), "2");
    sound(&mut bank);
}

#[test]
fn alterations_of_the_table_are_followed() {
    let mut bank = prices();
    bank.db.run("update prices set price = 3 where id = 1");
    bank.db.run("alter table prices add column note text default 'none'");
    sound(&mut bank);
    bank.db.run("alter table prices rename column name to price_of; alter table prices rename column note to name");
    bank.db.run("update prices set name = 'a note' where id = 1");
    assert_eq!(
        bank.db.lines("select price_of, price, name from public_history.prices where id = 1 and known_to = 'infinity' order by valid_from"),
        ["bread|2|", "bread|3|none", "bread|3|a note"]
    );
    bank.db.run("alter table prices drop column doubled");
    bank.db.run("alter table prices drop column name");
    bank.db.run("alter table prices add column name int");
    bank.db.run("update prices set name = 4 where id = 1");
    assert_eq!(
        bank.db.one("select count(*) from public_history.prices_past where name_dropped_5 is not null"),
        "1",
        "nothing is lost"
    );
    bank.db.run("alter table prices alter column price type bigint using price * 100");
    bank.db.run("update prices set price = price + 1");
    bank.db.run("alter table prices rename to fares; create schema s; alter table fares set schema s");
    bank.db.run("update s.fares set price_of = 'x' where id = 2; delete from s.fares where id = 1; insert into s.fares values (3, 'new', 1)");
    bank.db.run("alter table s.fares rename column id to no");
    bank.db.run("update s.fares set price = 5 where no = 3");
    assert_eq!(bank.db.lines("select no, price_of, price from public_as_of.fares order by no"), ["2|x|101", "3|new|5"]);
    assert_eq!(bank.db.one("select price_of from temporal.as_of(null::s.fares, '2021-01-01') where no = 1"), "bread");
    bank.db.run("select temporal.update_portion('s.fares', '{\"no\": 3}', now() - interval '1 day', 'infinity', '{\"price\": 8}')");
    sound(&mut bank);
    // A table that is dropped is forgotten, what was recorded of it is not.
    bank.db.run("drop table s.fares");
    assert_eq!(bank.db.one("select count(*) from temporal.tables"), "0");
    assert!(bank.db.count("select count(*) from public_history.fares") > 5);
}

#[test]
fn truncate_ends_every_row_and_a_pruned_time_is_not_answered() {
    let mut bank = prices();
    bank.db.run("update prices set price = 3");
    bank.db.run("truncate prices");
    assert_eq!(bank.db.lines("select * from public_as_of.prices"), [""; 0]);
    assert_eq!(bank.db.one("select count(*) from temporal.as_of(null::prices, '2021-01-01')"), "2");
    sound(&mut bank);
    let before = bank.db.one("select clock_timestamp()");
    bank.db.run("insert into prices values (9, 'tea', 1)");
    assert_eq!(
        bank.db.lines(&format!("select rows_pruned, is_done from temporal.prune('{before}', 'prices', 3)")),
        ["3|f"]
    );
    assert_eq!(
        bank.db.lines(&format!("select rows_pruned, is_done from temporal.prune('{before}', p_max_rows => 3)")),
        ["1|t"]
    );
    refused(&mut bank.db, "select * from temporal.as_of(null::prices, '2021-01-01')", "NB331");
    refused(&mut bank.db, "select * from temporal.as_of(null::prices, now(), '2021-01-01')", "NB331");
    refused(
        &mut bank.db,
        "select temporal.insert_portion('prices', '{\"id\": 1, \"name\": \"b\"}', '2021-01-01', '2022-01-01')",
        "NB331",
    );
    bank.db.run("set neobank.as_of = '2021-01-01'");
    refused(&mut bank.db, "select * from public_as_of.prices", "NB331");
    bank.db.run("reset neobank.as_of");
    assert_eq!(bank.db.one("select id from public_as_of.prices"), "9");
    sound(&mut bank);
}

#[test]
fn rights_on_the_table_decide() {
    let mut bank = prices();
    let [clerk, reader, stranger] = ["clerk", "reader", "stranger"].map(|label| bank.role(label));
    bank.db.run(&format!("grant select, update on prices to {clerk}; grant select (id, price) on prices to {reader}"));
    for role in [&clerk, &reader, &stranger] {
        bank.db.run(&format!("select temporal.grant_tables('{role}')"));
    }
    let [mut clerk_db, mut reader_db, mut stranger_db] = [&clerk, &reader, &stranger].map(|role| bank.session_as(role));
    assert_eq!(clerk_db.one(&update("'2021-01-01', '2022-01-01'", r#"{"price": 5}"#)), "1");
    let delete = "select temporal.delete_portion('prices', '{\"id\": 1}', '2021-01-01', '2022-01-01')";
    let insert = "select temporal.insert_portion('prices', '{\"id\": 3, \"name\": \"x\"}', '2021-01-01')";
    for sql in [delete, insert, "select temporal.disable('prices')", "delete from public_history.prices_past"] {
        refused_with_code_only(&mut clerk_db, sql, "42501");
    }
    for sql in [
        &update("'2021-01-01', '2022-01-01'", r#"{"price": 6}"#),
        "select * from public_as_of.prices",
        "select * from temporal.as_of(null::prices)",
    ] {
        refused_with_code_only(&mut reader_db, sql, "42501");
        refused_with_code_only(&mut stranger_db, sql, "42501");
    }
    refused_with_code_only(&mut stranger_db, "select temporal.enable('prices')", "42501");
    refused_with_code_only(
        &mut stranger_db,
        "select temporal.change_portion('prices', 'update', '{\"id\": 1}', '2021-01-01', '2022-01-01', '{\"price\": 6}', 'me')",
        "42501",
    );
    assert_eq!(clerk_db.one("select count(*) from public_history.prices where recorded_by = current_user"), "3");
    // A view asks for all of its columns, the tables behind it only for those that are named.
    assert_eq!(reader_db.one("select price from public_history.prices_current where id = 2"), "1");
    refused_with_code_only(&mut reader_db, "select name from public_history.prices_current", "42501");
    // Rights that come and go later.
    bank.db.run(&format!("revoke select on prices from {clerk}; grant select on prices to {stranger}"));
    refused_with_code_only(&mut clerk_db, "select * from public_as_of.prices", "42501");
    assert_eq!(stranger_db.one("select count(*) from public_as_of.prices"), "2");
    // Row security.
    bank.db.run(
        "alter table prices enable row level security; create policy cheap on prices for select using (price < 2)",
    );
    assert_eq!(stranger_db.lines("select id from public_as_of.prices"), ["2"]);
    assert_eq!(stranger_db.lines("select id from temporal.as_of(null::prices)"), ["2"]);
    refused_with_code_only(&mut clerk_db, &update("'2021-01-01', '2022-01-01'", r#"{"price": 6}"#), "42501");
    sound(&mut bank);
}

#[test]
fn an_owner_without_any_other_right_keeps_a_history_of_his_table() {
    let mut bank = Bank::new();
    let owner = bank.role("owner");
    bank.db.run(&format!("create schema app authorization {owner}; grant create on database {} to {owner}", bank.name));
    let mut db = bank.session_as(&owner);
    db.run("create table app.\"Odd \"\"Name\" (\"Key 1\" int, \"who\" text, \"a$b\" json, v xml, primary key (who, \"Key 1\"))");
    refused_with_code_only(&mut db, "select temporal.enable('app.\"Odd \"\"Name\"')", "42501");
    bank.db.run(&format!("select temporal.grant_tables('{owner}')"));
    db.run("select temporal.enable('app.\"Odd \"\"Name\"')");
    db.run("insert into app.\"Odd \"\"Name\" values (1, 'me', '{\"x\":  1}', '<a/>'), (2, 'me', null, null)");
    db.run("update app.\"Odd \"\"Name\" set \"a$b\" = '{\"x\": 2}' where \"Key 1\" = 1");
    db.run("select temporal.update_portion('app.\"Odd \"\"Name\"', '{\"Key 1\": 1, \"who\": \"me\"}', '2020-01-01', 'infinity', '{\"v\": \"<b/>\"}')");
    assert_eq!(
        db.lines("select \"a$b\", v from app_as_of.\"Odd \"\"Name\" order by \"Key 1\""),
        ["{\"x\": 2}|<b/>", "|"]
    );
    assert_eq!(db.lines("select * from temporal.check_history('app.\"Odd \"\"Name\"')"), [""; 0]);
    db.run("alter table app.\"Odd \"\"Name\" add column more int");
    db.run("select temporal.disable('app.\"Odd \"\"Name\"', false)");
    assert_eq!(bank.db.one("select count(*) from pg_class where relnamespace = 'app_history'::regnamespace"), "0");
    bank.db.run(&format!("drop owned by {owner} cascade"));
}

#[test]
fn keys_over_periods_hold() {
    let mut bank = prices();
    bank.db.run("create table sales (id int primary key, price_id int)");
    bank.db.run(
        "select temporal.enable('sales'), temporal.add_foreign_key('sales', '{price_id}', 'prices', 'sales_price')",
    );
    bank.db.run("insert into sales values (1, 1), (2, null)");
    refused(&mut bank.db, "insert into sales values (3, 99)", "NB330");
    refused(&mut bank.db, "delete from prices where id = 1", "NB330");
    let gap =
        "select temporal.delete_portion('prices', '{\"id\": 1}', now() + interval '1 day', now() + interval '2 days')";
    refused(&mut bank.db, gap, "NB330");
    refused(&mut bank.db, "begin isolation level repeatable read; update prices set price = 8; commit", "NB334");
    bank.db.run("rollback");
    // The parent's time may be of several rows, and the order within a transaction is free.
    bank.db.run(&update("now() + interval '1 day', now() + interval '2 days'", r#"{"price": 5}"#));
    bank.db.run("begin; insert into sales values (4, 4); insert into prices values (4, 'eggs', 3); commit");
    bank.db.run("begin; delete from prices where id = 4; delete from sales where id = 4; commit");
    refused(
        &mut bank.db,
        "select temporal.insert_portion('sales', '{\"id\": 5, \"price_id\": 1}', '2019-01-01', '2021-01-01')",
        "NB330",
    );
    bank.db.run("select temporal.insert_portion('sales', '{\"id\": 5, \"price_id\": 1}', '2020-01-01', '2021-01-01')");
    refused(&mut bank.db, "select temporal.disable('prices')", "NB332");
    refused(&mut bank.db, "alter table sales drop column price_id", "NB333");
    bank.db.run("alter table sales rename column price_id to of_price");
    refused(&mut bank.db, "update sales set of_price = 99 where id = 1", "NB330");
    sound(&mut bank);
    bank.db.run("select temporal.drop_foreign_key('sales_price'); delete from prices; select temporal.disable('prices'), temporal.disable('sales', false)");
    assert!(bank.db.count("select count(*) from public_history.prices") > 3);
    bank.db.run("insert into prices values (1, 'a', 1)");
}

#[test]
fn the_extension_may_be_dropped_and_the_past_stays_readable() {
    let mut bank = prices();
    bank.db.run("update prices set price = 3 where id = 1");
    bank.db.run("drop extension neobank");
    bank.db.run("update prices set price = 4 where id = 1; insert into prices values (8, 'x', 1); truncate prices");
    bank.db.run("set neobank.as_of = '2021-01-01'");
    assert_eq!(bank.db.lines("select id, price from public_as_of.prices order by id"), ["1|2", "2|1"]);
    assert_eq!(bank.db.one("select count(*) from public_history.prices"), "4");
}

#[test]
fn a_dump_carries_the_history_and_it_goes_on() {
    let (Some(dump), Some(psql)) = (bindir_tool("pg_dump"), bindir_tool("psql")) else {
        return skipped("dump of a history", "this server lacks pg_dump or psql");
    };
    let mut bank = prices();
    bank.db.run("create table sales (id int primary key, price_id int)");
    bank.db.run("alter table prices drop column doubled; alter table prices add column more text");
    bank.db.run(
        "select temporal.enable('sales'), temporal.add_foreign_key('sales', '{price_id}', 'prices', 'sales_price')",
    );
    bank.db.run("insert into sales values (1, 1); update prices set more = 'm' where id = 1");
    bank.db.run(&update("'2021-01-01', '2022-01-01'", r#"{"price": 5}"#));
    let scratch = Scratch::new(&format!("{}_history", bank.name));
    let file = scratch.file("dump.sql");
    run_tool(server().tool(&dump, &bank.name).arg("-f").arg(&file));
    let mut restored = Bank::empty_database();
    run_tool(server().tool(&psql, &restored.name).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file));
    let rows = "select * from public_history.prices order by id, known_from, valid_from";
    assert_eq!(bank.db.lines(rows), restored.db.lines(rows));
    restored.db.run("update prices set price = 10 where id = 2");
    restored.db.run("alter table prices rename column more to less");
    restored.db.run("insert into prices values (7, 'seven', 7, 'l')");
    restored.db.run(&update("'2021-06-01', '2023-01-01'", r#"{"less": "x"}"#));
    refused(&mut restored.db, "delete from prices where id = 1", "NB330");
    refused(&mut restored.db, "delete from public_history.prices_past", "NB328");
    assert_eq!(restored.db.one("select less from temporal.as_of(null::prices, '2021-07-01') where id = 1"), "x");
    sound(&mut restored);
}
