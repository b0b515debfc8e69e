//! Tables with a history: whatever their columns hold, and are called, it is recorded and corrected as what it is.

use neobank_sessions::*;

/// A table that has a history since it was made.
fn enabled(definition: &str) -> Bank {
    let mut bank = Bank::new();
    bank.db.run(&format!("create table things ({definition})"));
    bank.db.run("select temporal.enable('things')");
    bank
}

fn sound(bank: &mut Bank) {
    assert_eq!(bank.db.lines("select * from temporal.check_history('things')"), [""; 0]);
}

fn things(bank: &mut Bank) -> Vec<String> {
    bank.db.lines("select * from things order by 1")
}

/// Statements of one transaction, after the first of which a row goes the long way.
fn at_once(bank: &mut Bank, statements: &str) {
    bank.db.run(&format!("begin; {statements}; commit"));
}

fn change(bank: &mut Bank, key: &str, changes: &str) -> String {
    bank.db.one(&format!("select temporal.update_portion('things', '{key}', now(), 'infinity', '{changes}')"))
}

fn delete(bank: &mut Bank, key: &str) -> String {
    bank.db.one(&format!("select temporal.delete_portion('things', '{key}', now(), 'infinity')"))
}

/// What had come due was held to be what the statement found where it contained that: an object with a key more, an array
/// with the same elements. Then the statement was taken, and the fact was lost.
#[test]
fn a_fact_that_contains_what_the_table_has_is_due_all_the_same() {
    let mut bank = enabled("id int primary key, limits jsonb, parts int[], amount numeric, note text");
    bank.db.run(
        r#"insert into things values (1, '{"eur": 100}', '{}', 1, ''), (2, '{}', '{1,2}', 1, ''), (3, '{}', '{}', 1, ''), (4, '[1]', '{}', 1, '')"#,
    );
    let facts = [
        r#"{"limits": {"eur": 100, "usd": 50}}"#,
        r#"{"parts": [2, 1, 7]}"#,
        r#"{"amount": 1.00}"#,
        r#"{"limits": [1, 2]}"#,
    ];
    for (id, fact) in (1..).zip(facts) {
        bank.db.run(&format!(
            "select temporal.update_portion('things', '{{\"id\": {id}}}', clock_timestamp() + interval '0.1 s', 'infinity', '{fact}')"
        ));
    }
    let due = "select now() > (select max(valid_from) from public_history.things)";
    while bank.db.one(due) == "f" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for id in 1..=4 {
        refused(&mut bank.db, &format!("update things set note = 'x' where id = {id}"), "NB327");
    }
    assert_eq!(bank.db.one("select temporal.apply_due('things')"), "4");
    bank.db.run("update things set note = 'x'");
    assert_eq!(
        things(&mut bank),
        [r#"1|{"eur": 100, "usd": 50}|{}|1|x"#, "2|{}|{2,1,7}|1|x", "3|{}|{}|1.00|x", "4|[1, 2]|{}|1|x"]
    );
    sound(&mut bank);
}

/// A key was cut to the length, or rounded to the scale, of its column, and another row was corrected.
#[test]
fn a_key_that_its_column_cannot_hold_is_no_other_key() {
    let mut bank = enabled("code varchar(5), rate numeric(8, 2), v int, note char(3), primary key (code, rate)");
    bank.db.run("insert into things values ('abcde', 1.23, 1)");
    for key in [r#"{"code": "abcdefgh", "rate": 1.23}"#, r#"{"code": "abcde", "rate": 1.2345}"#] {
        assert_eq!(change(&mut bank, key, r#"{"v": 2}"#), "0");
        assert_eq!(delete(&mut bank, key), "0");
    }
    assert_eq!(change(&mut bank, r#"{"code": "abcde", "rate": 1.230}"#, r#"{"v": 3}"#), "1");
    let insert = |values: &str| format!("select temporal.insert_portion('things', '{values}', now())");
    refused_with_code_only(&mut bank.db, &insert(r#"{"code": "abcdefgh", "rate": 1}"#), "22001");
    refused_with_code_only(&mut bank.db, &insert(r#"{"code": "b", "rate": 1, "note": "long"}"#), "22001");
    refused_with_code_only(&mut bank.db, &insert(r#"{"code": "b", "rate": 1234567.5}"#), "22003");
    // As a plain INSERT, which rounds.
    refused(&mut bank.db, &insert(r#"{"code": "abcde", "rate": 1.2345}"#), "NB325");
    assert_eq!(bank.db.one(&insert(r#"{"code": "b", "rate": 1.2345, "note": "no"}"#)), "1");
    assert_eq!(things(&mut bank), ["abcde|1.23|3|", "b|1.23||no "]);
    sound(&mut bank);
}

/// Columns `image`, `is_mine` and `is_there` made the statements of a history ambiguous (42702).
#[test]
fn columns_have_the_names_that_a_history_uses_itself() {
    let names = [
        "image",
        "is_mine",
        "is_there",
        "began",
        "me",
        "who",
        "tick",
        "left_over",
        "entry",
        "key",
        "old_row",
        "old_rows",
        "new_rows",
        "touched",
        "gone",
        "ended",
        "place",
        "instant",
        "present",
        "believed",
        "pieces",
        "valid_from",
        "known_to",
        "recorded_by",
        "a",
        "b",
        "c",
        "g",
        "k",
        "m",
        "n",
        "o",
        "p",
        "r",
        "s",
        "t",
        "x",
        "z",
        "p_key",
        "axis",
        "{part}",
        "{end}",
        "{c.key}",
        "%s",
        "%1$s",
        "$1",
        "a\"b",
        "d'e",
    ];
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\" int", name.replace('"', "\"\""))).collect();
    let mut bank = enabled(&format!(
        "id int primary key, {}, sum int generated always as (image + t) stored, check (image < 100)",
        quoted.join(", ")
    ));
    bank.db.run("insert into things (id, image, t) values (1, 1, 1), (2, 1, 1), (3, 1, 1)");
    at_once(&mut bank, "update things set image = 2; delete from things where id = 1");
    at_once(
        &mut bank,
        "insert into things (id, x) values (1, 5); update things set is_mine = 7, x = 4; delete from things where id = 1",
    );
    for name in names {
        let changes = format!("{{\"{}\": 9}}", name.replace('"', "\\\"").replace('\'', "''"));
        bank.db.run(&format!(
            "select temporal.update_portion('things', '{{\"id\": 2}}', now(), now() + interval '1 day', '{changes}')"
        ));
    }
    assert_eq!(bank.db.one("select count(*) from things where id = 2 and image = 9 and \"d'e\" = 9 and sum = 18"), "1");
    refused_with_code_only(
        &mut bank.db,
        "select temporal.update_portion('things', '{\"id\": 3}', now(), 'infinity', '{\"image\": 100}')",
        "23514",
    );
    assert_eq!(bank.db.one("select temporal.insert_portion('things', '{\"id\": 8, \"image\": 1}', now())"), "1");
    assert_eq!(bank.db.one("select temporal.apply_due('things')"), "0");
    assert_eq!(bank.db.lines("select id, sum from public_as_of.things order by id"), ["2|18", "3|3", "8|"]);
    sound(&mut bank);
    at_once(&mut bank, "update things set t = 0; truncate things");
    assert_eq!(bank.db.lines("select id from public_as_of.things"), [""; 0]);
    sound(&mut bank);
}

/// The key of a row went through JSON, in which not every type reads as what it was (22P02).
#[test]
fn keys_are_arrays_rows_and_json() {
    let mut bank = enabled("k int[] primary key, v int");
    at_once(
        &mut bank,
        "insert into things values ('{3}', 1), ('{4}', 1), ('[0:1]={1,2}', 1), ('{1,2}', 1); \
         delete from things where k = '{3}'; update things set v = 2; delete from things where k = '{1,2}'",
    );
    assert_eq!(change(&mut bank, r#"{"k": [4]}"#, r#"{"v": 3}"#), "1");
    assert_eq!(change(&mut bank, r#"{"k": [1, 2]}"#, r#"{"v": 4}"#), "0");
    assert_eq!(change(&mut bank, r#"{"k": "[0:1]={1,2}"}"#, r#"{"v": 5}"#), "1");
    assert_eq!(bank.db.one("select temporal.insert_portion('things', '{\"k\": [7, 8], \"v\": 6}', now())"), "1");
    assert_eq!(things(&mut bank), ["[0:1]={1,2}|5", "{4}|3", "{7,8}|6"]);
    sound(&mut bank);

    let mut bank = Bank::new();
    bank.db.run("create type place as (number int, name text)");
    bank.db.run("create table things (k place primary key, v int); select temporal.enable('things')");
    at_once(
        &mut bank,
        "insert into things values ((3, 'a'), 1), ((4, 'x,\"y'), 1); delete from things where (k).number = 3; update things set v = 2",
    );
    assert_eq!(change(&mut bank, r#"{"k": {"number": 4, "name": "x,\"y"}}"#, r#"{"v": 3}"#), "1");
    assert_eq!(bank.db.lines("select (k).name, v from things"), ["x,\"y|3"]);
    sound(&mut bank);

    let mut bank = Bank::new();
    bank.db.run("create domain document as jsonb; create table things (k document primary key, v int)");
    bank.db.run("select temporal.enable('things')");
    at_once(
        &mut bank,
        r#"insert into things values ('"s"', 1), ('"t"', 1), ('[1]', 1), ('7', 1); delete from things where k = '"s"'; update things set v = 2"#,
    );
    assert_eq!(change(&mut bank, r#"{"k": "t"}"#, r#"{"v": 3}"#), "1");
    assert_eq!(change(&mut bank, r#"{"k": [1]}"#, r#"{"v": 4}"#), "1");
    assert_eq!(bank.db.lines("select k, v from things order by v"), ["7|2", "\"t\"|3", "[1]|4"]);
    sound(&mut bank);
}

/// A portion made a row of nulls first, which a domain may refuse (23502), also of columns that it did not change.
#[test]
fn domains_that_refuse_null() {
    let mut bank = Bank::new();
    bank.db.run("create domain told as int not null");
    bank.db.run("create table things (id int primary key, a told, c int, g told generated always as (id + 1) stored)");
    bank.db.run("select temporal.enable('things'); insert into things values (1, 2, 3)");
    assert_eq!(change(&mut bank, r#"{"id": 1}"#, r#"{"c": 5}"#), "1");
    assert_eq!(bank.db.one("select temporal.insert_portion('things', '{\"id\": 2, \"a\": 7}', now())"), "1");
    refused_with_code_only(&mut bank.db, "select temporal.insert_portion('things', '{\"id\": 3}', now())", "23502");
    refused_with_code_only(
        &mut bank.db,
        "select temporal.update_portion('things', '{\"id\": 1}', now(), 'infinity', '{\"a\": null}')",
        "23502",
    );
    assert_eq!(things(&mut bank), ["1|2|5|2", "2|7||3"]);
    sound(&mut bank);
}

/// With few digits the key of a row was written as another one, and the row's end was not recorded.
#[test]
fn keys_are_read_back_whatever_the_session_has_set() {
    let mut bank = enabled("k float8, span interval, at timestamptz, v int, primary key (k, span, at)");
    bank.db.run("set extra_float_digits = -3; set intervalstyle = sql_standard; set datestyle = 'SQL, DMY'; set timezone = 'Asia/Kolkata'");
    let rows = "insert into things select n::float8 / 3, '1 mon -2 days 03:04:05', '2024-02-03 04:05:06.789', n from generate_series(1, 3) n";
    at_once(&mut bank, &format!("{rows}; delete from things where v = 1; update things set v = v + 1"));
    assert_eq!(bank.db.lines("select v from public_as_of.things order by v"), ["3", "4"]);
    bank.db.run("select temporal.update_portion('things', to_jsonb(t) - 'v', now() + interval '0.1 s', 'infinity', '{\"v\": 9}') \
                 from (select k::numeric::text, span, at, v from (select 2::float8 / 3 as one) o, things t where t.k = o.one) t");
    sound(&mut bank);
    // A row that is not in the table any more is named by the key that it has in the history.
    bank.db.run("set session_replication_role = replica; delete from things; reset session_replication_role");
    let lost = "select bool_and((key ->> 'k')::float8 in (2::float8 / 3, 1)), count(*), min(detail) from temporal.check_history('things')";
    assert_eq!(bank.db.one(lost), "t|2|only in the history");
}

/// A portion answered 1, its history said so, and a trigger or rule had kept the row as it was.
#[test]
fn a_table_that_does_not_take_the_row_refuses_the_portion() {
    let mut bank = enabled("id int primary key, v int");
    bank.db.run("insert into things values (1, 1)");
    bank.db.run("create function swallow() returns trigger language plpgsql as 'begin return null; end'");
    bank.db.run(
        "create trigger swallow before insert or update or delete on things for each row execute function swallow()",
    );
    let portions = [
        "select temporal.update_portion('things', '{\"id\": 1}', now(), 'infinity', '{\"v\": 2}')",
        "select temporal.delete_portion('things', '{\"id\": 1}', now(), 'infinity')",
        "select temporal.insert_portion('things', '{\"id\": 2, \"v\": 2}', now())",
    ];
    for portion in portions {
        refused(&mut bank.db, portion, "NB336");
    }
    sound(&mut bank);
    bank.db.run("drop trigger swallow on things");
    bank.db.run("create rule keep as on update to things do instead nothing");
    refused(&mut bank.db, portions[0], "NB336");
    bank.db.run("drop rule keep on things");
    // One that has the row otherwise is followed.
    bank.db.run(
        "create function raise_v() returns trigger language plpgsql as 'begin new.v := new.v + 1; return new; end'",
    );
    bank.db.run("create trigger raise_v before update on things for each row execute function raise_v()");
    assert_eq!(bank.db.one(portions[0]), "1");
    assert_eq!(bank.db.lines("select v from public_as_of.things"), ["3"]);
    sound(&mut bank);
}

/// The function that records has the names of the history's tables: they were not there any more (42P01).
#[test]
fn a_history_whose_schema_is_renamed_goes_on() {
    let mut bank = enabled("id int primary key, v int");
    bank.db.run("insert into things values (1, 1), (2, 2)");
    bank.db.run("alter schema public_history rename to kept_history");
    at_once(&mut bank, "update things set v = 3; delete from things where id = 1");
    bank.db.run("alter table kept_history.things_past rename to things_that_were");
    at_once(&mut bank, "update things set v = 4; truncate things");
    assert_eq!(bank.db.lines("select * from public_as_of.things"), [""; 0]);
    sound(&mut bank);
}
