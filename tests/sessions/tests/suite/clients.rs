//! The clients of clients/ against real conflicts: serialization failures, deadlocks, lock timeouts, connections that
//! end before and after the commit. Whatever they went through, the books say that each posting was done once.

use crate::blocking::wait_until;
use neobank_sessions::*;
use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program that makes two clients collide, and what it printed of its retries and postings.
fn exercise(bank: &mut Bank, command: &mut Command) -> (BTreeMap<String, u32>, i64) {
    let server = server();
    let accounts: Vec<String> = (0..4).map(|_| bank.account("100").to_string()).collect();
    // Whoever waits longest looks for a deadlock soon, and gives up waiting for a lock soon after.
    let dsn = format!(
        "postgresql://{}@/{}?host={}&port={}&application_name=exercise&options=-c%20lock_timeout%3D1s%20-c%20deadlock_timeout%3D20ms",
        server.superuser,
        bank.name,
        server.socket_dir.replace('/', "%2F"),
        server.port
    );
    let before = bank.db.count("select count(*) from txn_processing.movements");
    let mut holder = bank.session();
    holder.run(&format!("begin; select from banking.accounts where account_id = '{}' for no key update", accounts[0]));
    let mut process = command
        .arg(dsn)
        .args(&accounts)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut retries = BTreeMap::new();
    let mut postings = None;
    for line in BufReader::new(process.stdout.take().expect("it is piped")).lines() {
        let line = line.expect("text");
        match line.split_once(' ') {
            Some(("retry", code)) => {
                *retries.entry(code.to_owned()).or_insert(0) += 1;
                if code == "55P03" {
                    holder.run("rollback");
                }
            }
            Some(("done", count)) => postings = Some(count.parse().expect("a number")),
            _ => panic!("what is {line:?}?"),
        }
    }
    let mut complaint = String::new();
    process.stderr.take().expect("it is piped").read_to_string(&mut complaint).expect("text");
    let ended = process.wait().expect("it was started");
    assert!(ended.success(), "{ended}\n{complaint}");
    let postings = postings.expect("it says so in the end");
    let after = bank.db.count("select count(*) from txn_processing.movements");
    assert_eq!(after - before, postings, "each posting once: {retries:?}");
    let ids = accounts.join("','");
    let sum = format!("select sum(current_balance) from banking.accounts where account_id in ('{ids}')");
    assert_eq!(bank.db.money(&sum), dec("400"));
    wait_until(
        &mut bank.db,
        "select count(*) = 0 from pg_stat_activity where application_name = 'exercise' and datname = current_database()",
    );
    audit(&mut bank.db);
    (retries, postings)
}

fn went_through_everything(what: &str, (retries, postings): (BTreeMap<String, u32>, i64)) {
    assert_eq!(postings, 12);
    for code in ["40001", "40P01", "55P03"] {
        assert!(retries.contains_key(code), "{what} did not meet {code}: {retries:?}");
    }
    // A session that was ended says so, or its connection is just gone.
    let lost = retries.get("57P01").unwrap_or(&0) + retries.get("lost").unwrap_or(&0);
    assert_eq!(lost, 2, "{what}: {retries:?}");
}

fn client(path: &str) -> PathBuf {
    repository_root().join("clients").join(path)
}

#[test]
fn the_python_client_repeats_what_is_to_be_repeated() {
    let python = Path::new("/usr/bin/python3");
    let psycopg = Command::new(python).args(["-c", "import psycopg"]).stderr(Stdio::null()).status();
    if !psycopg.is_ok_and(|status| status.success()) {
        skipped("the Python client", "psycopg is not installed");
        return;
    }
    let _crowd = crowd();
    let mut bank = Bank::new();
    let mut command = Command::new(python);
    command.arg("-B").arg(client("python/exercise.py"));
    let outcome = exercise(&mut bank, &mut command);
    went_through_everything("Python", outcome);
}

#[test]
fn the_nodejs_client_repeats_what_is_to_be_repeated() {
    let modules = env::var_os("NODE_PATH")
        .map_or_else(|| repository_root().join("target/tools/node/node_modules"), PathBuf::from);
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if !node.is_ok_and(|status| status.success()) || !modules.join("pg").is_dir() {
        skipped("the Node.js client", "node or its module pg is not installed");
        return;
    }
    let _crowd = crowd();
    let mut bank = Bank::new();
    let mut command = Command::new("node");
    command.arg(client("node/exercise.js")).env("NODE_PATH", modules);
    let outcome = exercise(&mut bank, &mut command);
    went_through_everything("Node.js", outcome);
}
