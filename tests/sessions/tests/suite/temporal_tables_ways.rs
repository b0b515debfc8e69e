//! Tables with a history: what makes them quick, and that what is done to their history by hand is not passed over.

use neobank_sessions::*;

fn rates(rows: usize) -> Bank {
    let mut bank = Bank::new();
    bank.db.run("create table rates (id int primary key, name text, percent numeric)");
    bank.db.run(&format!("insert into rates select n, 'rate ' || n % 3, n from generate_series(1, {rows}) n"));
    let enabled = bank.db.one("select temporal.enable('rates', p_valid_from => '2020-01-01')");
    assert_eq!(enabled, rows.to_string());
    bank
}

#[test]
fn as_of_views_are_shared_by_parallel_workers() {
    let mut bank = rates(9999);
    bank.db.run("update rates set percent = percent + 1 where id < 4000");
    bank.db
        .run("analyze; set parallel_setup_cost = 0; set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0");
    bank.db.run("set max_parallel_workers_per_gather = 2; set neobank.as_of = '2021-05-05'");
    let report = "select name, count(*), sum(percent) from public_as_of.rates group by 1 order by 1";
    let plan = bank.db.lines(&format!("explain (costs off) {report}")).join("\n");
    assert!(plan.contains("Parallel Append"), "{plan}");
    assert_eq!(bank.db.lines(report), ["rate 0|3333|16668333", "rate 1|3333|16661667", "rate 2|3333|16665000"]);
}

#[test]
fn the_newest_version_is_replaced_within_its_page() {
    let mut bank = rates(9);
    bank.db.run("begin");
    bank.db.run("update rates set percent = 7 where id = 1");
    let replaced = "select pg_stat_get_xact_tuples_hot_updated('public_history.rates_current'::regclass)";
    assert_eq!(bank.db.one(replaced), "1");
    bank.db.run("commit");
    assert_eq!(bank.db.lines("select * from temporal.check_history('rates')"), [""; 0]);
}

#[test]
fn indexes_and_constraints_made_by_hand_hold() {
    let mut bank = rates(9);
    let by_index = "set enable_seqscan = off; set enable_bitmapscan = off";
    let found = "select count(*) from public_history.rates_past where name = 'rate 1' and percent > 0";
    bank.db.run("update rates set percent = percent + 1 where id = 1");
    bank.db.run("create index on public_history.rates_past (name)");
    bank.db.run("create index on public_history.rates_current (percent)");
    bank.db.run("update rates set percent = percent + 1 where id = 4");
    bank.db.run("delete from rates where id = 7");
    bank.db.run(by_index);
    assert_eq!(bank.db.one(found), "3");
    assert_eq!(bank.db.one("select id from public_history.rates_current where percent = 5 and id = 4"), "4");
    // What the library does not fill goes through the function in SQL.
    bank.db.run("create index on public_history.rates_past (percent) where name = 'rate 1'");
    bank.db.run("update rates set percent = percent + 1 where id = 4");
    assert_eq!(bank.db.one(found), "4");
    bank.db.run("alter table public_history.rates_past add check (percent <> 2)");
    refused_with_code_only(&mut bank.db, "update rates set percent = 0 where id = 2", "23514");
    bank.db.run("alter table public_history.rates_current alter name set not null");
    refused_with_code_only(&mut bank.db, "update rates set name = null where id = 3", "23502");
    bank.db.run("reset enable_seqscan; reset enable_bitmapscan");
    assert_eq!(bank.db.lines("select * from temporal.check_history('rates')"), [""; 0]);
}
