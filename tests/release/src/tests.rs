use super::*;

fn made(frozen: &str, fresh: &str, by_hand: &str) -> Result<Vec<String>, Vec<String>> {
    upgrade(&Sources { frozen, fresh, by_hand, finish: "" })
}

#[test]
fn what_is_new_is_taken_over_in_its_order() {
    let fresh = "CREATE TABLE a (b int); REVOKE ALL ON a FROM PUBLIC; CREATE SCHEMA IF NOT EXISTS s; CREATE TABLE c (d int); \
                 COMMENT ON TABLE a IS 'new; text'; SELECT pg_catalog.pg_extension_config_dump('c', '')";
    let script = made("CREATE TABLE a (b int); COMMENT ON TABLE a IS 'old';", &format!("{fresh};"), "");
    let wanted = [
        "CREATE TABLE c (d int)",
        "COMMENT ON TABLE a IS 'new; text'",
        "SELECT pg_catalog.pg_extension_config_dump('c', '')",
    ];
    assert_eq!(script.expect("nothing changed but the comment"), wanted);
    let frozen = "CREATE TABLE a (b int); COMMENT ON TABLE a IS 'text'; REVOKE ALL ON a FROM PUBLIC;";
    assert_eq!(made(frozen, frozen, "").expect("nothing is new"), [""; 0]);
}

#[test]
fn a_function_of_the_same_arguments_is_replaced_and_one_of_others_needs_a_hand() {
    let frozen = "CREATE FUNCTION f(a int DEFAULT (1)) RETURNS int AS 'x'; CREATE VIEW v AS SELECT 1;";
    let script = made(
        frozen,
        "CREATE  FUNCTION f(a int /* i32 */ DEFAULT (1)) RETURNS int AS 'y'; CREATE VIEW v AS SELECT 2;",
        "",
    );
    let wanted = [
        "CREATE OR REPLACE  FUNCTION f(a int /* i32 */ DEFAULT (1)) RETURNS int AS 'y'",
        "CREATE OR REPLACE VIEW v AS SELECT 2",
    ];
    assert_eq!(script.expect("both can be replaced"), wanted);
    let other = "CREATE FUNCTION f(a int, b int) RETURNS int AS 'x'; CREATE VIEW v AS SELECT 1;";
    let faults = made(frozen, other, "").expect_err("f(int) would stay");
    assert_eq!(faults, ["vanished: CREATE FUNCTION f(a int DEFAULT (1))"]);
    let script = made(frozen, other, "-- @for CREATE FUNCTION f(a int DEFAULT\nDROP FUNCTION f(int);");
    let wanted = ["DROP FUNCTION f(int)", "CREATE FUNCTION f(a int, b int) RETURNS int AS 'x'"];
    assert_eq!(script.expect("it is dropped before the new one is made"), wanted);
}

#[test]
fn a_changed_table_or_seed_needs_a_hand() {
    let frozen = "CREATE TABLE a (b int); INSERT INTO a (b) VALUES (1);";
    let fresh = "CREATE TABLE a (b int, c int); INSERT INTO a (b) VALUES (1), (2);";
    let faults = made(frozen, fresh, "").expect_err("both changed");
    assert_eq!(faults, ["changed: CREATE TABLE a", "changed: INSERT INTO a"]);
    let by_hand = "-- @first\nSELECT 0;\n-- @for CREATE TABLE a\nALTER TABLE a ADD COLUMN c int;\n\
                   -- @for INSERT INTO a\nDELETE FROM a;\n-- @new\nSELECT 8;\n-- @last\nSELECT 9;";
    let wanted = [
        "SELECT 0",
        "ALTER TABLE a ADD COLUMN c int",
        "DELETE FROM a",
        "INSERT INTO a (b) VALUES (1), (2)",
        "SELECT 8",
        "SELECT 9",
    ];
    assert_eq!(made(frozen, fresh, by_hand).expect("both are covered"), wanted);
    let faults = made(frozen, frozen, by_hand).expect_err("nothing changed");
    assert_eq!(faults, ["covers nothing: CREATE TABLE a", "covers nothing: INSERT INTO a"]);
    let faults = made("CREATE TABLE b (c int);", "", "-- @for CREATE TABLE b\nDROP TABLE b;\n-- @new\n");
    assert_eq!(faults.expect_err("where would the DROP go?"), ["nothing is new of: CREATE TABLE b"]);
    assert_eq!(made(frozen, frozen, "-- @nonsense\n").expect_err("a slip"), ["no such section: -- @nonsense"]);
}

#[test]
fn what_vanished_without_a_successor_needs_a_hand() {
    let faults = made("CREATE INDEX i ON a (b); CREATE VIEW v AS SELECT 1;", "", "").expect_err("both are gone");
    assert_eq!(faults, ["vanished: CREATE INDEX i ON a (b)", "vanished: CREATE VIEW v"]);
}
