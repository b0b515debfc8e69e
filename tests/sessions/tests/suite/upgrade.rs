//! From one release to the next: what `ALTER EXTENSION neobank UPDATE` leaves is what CREATE EXTENSION makes, with every
//! row and every right as it was.

use crate::differential_world::check_indexes;
use crate::filled::*;
use neobank_release::{Sources, script, statements, upgrade};
use neobank_sessions::*;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The version that the control file names.
fn current(bank: &mut Bank) -> String {
    bank.db.one("select default_version from pg_available_extensions where name = 'neobank'")
}

/// Released versions whose install scripts are kept, oldest first; never the one that is being made.
fn releases(bank: &mut Bank) -> Vec<String> {
    let current = current(bank);
    let folder = repository_root().join("sql/releases");
    let names = fs::read_dir(&folder).expect("it is part of the sources").map(|file| {
        let name = file.expect("the folder can be read").file_name().into_string().expect("in ASCII");
        name.trim_start_matches("neobank--").trim_end_matches(".sql").to_owned()
    });
    let mut versions: Vec<String> = names.filter(|version| *version != current).collect();
    versions.sort_by_key(|version| version.split('.').map(|n| n.parse::<u32>().expect("a number")).collect::<Vec<_>>());
    versions
}

/// A database with that release in it, run by the library of today.
fn released(version: &str) -> Bank {
    let mut bank = Bank::empty_database();
    bank.db.run(&format!("create extension neobank version '{version}'"));
    bank
}

/// The tables of a release with their columns, without the list of rights, which the upgrade writes anew.
fn columns(bank: &mut Bank) -> Vec<String> {
    bank.db.lines(
        "select c.oid::regclass, string_agg(quote_ident(attname), ', ' order by attnum) \
         from pg_class c join pg_attribute on attrelid = c.oid and attnum > 0 and not attisdropped \
         where c.relnamespace in ('banking'::regnamespace, 'txn_processing'::regnamespace, 'neobank'::regnamespace) \
         and c.relkind = 'r' and c.oid <> 'neobank.access_rights'::regclass group by c.oid order by 1",
    )
}

/// Digests of the rows in these columns. The bank's own tenant is as old as its installation.
fn rows(bank: &mut Bank, columns: &[String]) -> Vec<String> {
    let digest = |line: &String| {
        let (table, columns) = line.split_once('|').expect("a table and its columns");
        let kept = if table == "banking.tenants" { "where tenant_no <> 0" } else { "" };
        bank.db.one(&format!(
            "select '{table}', count(*), md5(string_agg(t::text, e'\\n' order by t::text)) \
             from (select {columns} from {table} {kept}) t"
        ))
    };
    columns.iter().map(digest).collect()
}

const UPDATE: &str = "alter extension neobank update";

#[test]
fn an_upgraded_extension_is_the_installed_one() {
    let mut fresh = Bank::new();
    let releases = releases(&mut fresh);
    assert!(!releases.is_empty());
    for release in releases {
        let mut bank = released(&release);
        bank.db.run(UPDATE);
        let told = difference(&catalog(&mut fresh.db), &catalog(&mut bank.db));
        assert!(told.is_empty(), "upgraded from {release}, against an installation:\n{}", told.join("\n"));
        // What the installation itself put into the tables.
        let columns = columns(&mut fresh);
        assert_eq!(rows(&mut fresh, &columns), rows(&mut bank, &columns), "upgraded from {release}");
    }
}

#[test]
fn an_upgrade_leaves_rows_and_rights_and_life_goes_on() {
    let mut fresh = Bank::new();
    for release in releases(&mut fresh) {
        // Everything that a bank does is done by the library of today on the tables of then: so it is between the
        // installation of new files and the upgrade of each database.
        let mut bank = released(&release);
        let filled = fill(&mut bank, Some("Branch Two"));
        audit(&mut bank.db);
        let columns = columns(&mut bank);
        restored_by_dump(&mut bank, &filled, &columns);
        let before = rows(&mut bank, &columns);
        let rights = |bank: &mut Bank| {
            let mut lines = catalog(&mut bank.db);
            lines.retain(|line| line.starts_with("rights on ") && line.contains(&filled.teller));
            lines
        };
        let held = rights(&mut bank);
        assert!(held.len() > 20, "{held:#?}");
        // A session that has used the tables before goes on, too.
        let mut teller = bank.session_as(&filled.teller);
        let deposit = format!("select txn_processing.deposit('{}', 2.50)", filled.a);
        let opened = bank.db.balance(filled.a);
        teller.run(&format!("begin; {deposit}; rollback"));
        bank.db.run(UPDATE);
        assert_eq!(before, rows(&mut bank, &columns), "the upgrade from {release} changed rows");
        assert_eq!(held, rights(&mut bank), "the upgrade from {release} changed what users had granted");
        let initial = catalog(&mut bank.db).into_iter().filter(|line| line.starts_with("initial rights "));
        let astray: Vec<String> = initial.filter(|line| line.contains(&filled.teller)).collect();
        assert_eq!(astray, [""; 0], "a dump would leave these grants out");
        teller.run(&deposit);
        assert_eq!(bank.db.balance(filled.a), opened + dec("2.50"));
        assert_eq!(filled.retry(&mut bank), filled.transfer.to_string(), "a retry is known");
        bank.account("5");
        refused(&mut bank.db, "update txn_processing.movements set amount = 1", "NB009");
        refused(&mut bank.db, "drop extension neobank", "NB052");
        audit(&mut bank.db);
        check_indexes(&mut bank);
        restored_by_dump(&mut bank, &filled, &columns);
    }
}

/// What is dumped here is restored where only the version of today is.
fn restored_by_dump(bank: &mut Bank, filled: &Filled, columns: &[String]) {
    let (Some(dump), Some(restore)) = (bindir_tool("pg_dump"), bindir_tool("pg_restore")) else {
        return skipped("dumps of earlier releases", "this server lacks pg_dump or pg_restore");
    };
    let scratch = Scratch::new(&format!("{}_upgrade", bank.name));
    let file = scratch.file("bank.dump");
    run_tool(server().tool(&dump, &bank.name).arg("-Fc").arg("-f").arg(&file));
    let mut restored = Bank::empty_database();
    run_tool(server().tool(&restore, &restored.name).arg("--exit-on-error").arg(&file));
    assert_eq!(rows(bank, columns), rows(&mut restored, columns));
    audit(&mut restored.db);
    restored.session_as(&filled.teller).run(&format!("select txn_processing.deposit('{}', 1)", filled.a));
}

#[test]
fn there_is_no_way_back_and_none_to_the_unknown() {
    let mut bank = Bank::new();
    let before = snapshot(&mut bank.db);
    for version in releases(&mut bank).iter().map(String::as_str).chain(["9.9.9"]) {
        let refusal = bank.db.fails(&format!("{UPDATE} to '{version}'"));
        assert_eq!(refusal.code, "22023", "{refusal}");
    }
    assert_eq!(before, snapshot(&mut bank.db));
}

#[test]
fn the_upgrade_script_is_what_the_sources_make() {
    // The install script of today is the one that is installed. Its order may vary, as pgrx has it.
    let mut bank = Bank::new();
    let to = current(&mut bank);
    let Some(from) = releases(&mut bank).pop() else { panic!("there is no release") };
    if repository_root().join(format!("sql/releases/neobank--{to}.sql")).exists() {
        return;
    }
    let Some(pg_config) = server().pg_config else {
        return skipped("the upgrade script", "NEOBANK_PG_CONFIG is not given");
    };
    let shared = run_tool(Command::new(pg_config).arg("--sharedir"));
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let source = |path: String| read(repository_root().join("sql").join(path));
    let made = upgrade(&Sources {
        frozen: &source(format!("releases/neobank--{from}.sql")),
        fresh: &read(PathBuf::from(shared.trim()).join(format!("extension/neobank--{to}.sql"))),
        by_hand: &source(format!("upgrade/{from}--{to}.sql")),
        finish: &source("upgrade/finish.sql".to_owned()),
    });
    let made = made.unwrap_or_else(|faults| panic!("sql/upgrade/{from}--{to}.sql must cover\n{}", faults.join("\n")));
    let sorted = |text: &str| {
        let mut found: Vec<String> = statements(text).into_iter().map(|statement| statement.normal).collect();
        found.sort();
        found
    };
    let committed = source(format!("neobank--{from}--{to}.sql"));
    assert_eq!(
        sorted(&script(&from, &to, &made)),
        sorted(&committed),
        "run scripts/upgrade-script and commit what it made"
    );
}
