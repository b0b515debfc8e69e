//! PREPARE TRANSACTION around every kind of posting: prepared work survives the server's death, holds what it holds until
//! it is decided, and is then there or gone as a whole.

use neobank_faults::operations::{Again, all};
use neobank_faults::{Operation, Stage, at_rest, check_storage, differences, effects, found_bank};
use neobank_sessions::*;
use std::thread;
use std::time::{Duration, Instant};

fn prepared(db: &mut Client) -> Vec<String> {
    db.lines("select gid from pg_prepared_xacts where database = current_database() order by prepared")
}

/// A cluster that may prepare transactions, and its bank.
fn cluster(name: &str) -> Option<(PrivateCluster, Client)> {
    let Some(cluster) = PrivateCluster::start(name, "max_prepared_transactions = 100\nautovacuum = off") else {
        skipped("prepared transactions", "the server's initdb or pg_ctl cannot be found");
        return None;
    };
    let mut db = found_bank(&cluster);
    Stage::set(&mut db);
    Some((cluster, db))
}

/// Prepares a call of the operation. False where the server refuses that, by a code of its own.
fn prepare(db: &mut Client, stage: Stage, operation: &Operation, gid: &str) -> bool {
    stage.prepare(db, operation);
    let before = snapshot(db);
    db.run(&format!("set neobank.posting_path = '{}'; begin", stage.path));
    db.run(&stage.text(operation.call));
    match db.try_lines(&format!("prepare transaction '{gid}'")) {
        Ok(_) => {
            assert_eq!(differences(&before, &snapshot(db)), [""; 0], "{} shows before it is decided", operation.name)
        }
        Err(refusal) => {
            // Nothing in the extension is of the session only; a refusal would be the server's.
            assert_eq!(refusal.code, "0A000", "{}: {refusal}", operation.name);
            assert_eq!(
                differences(&before, &snapshot(db)),
                [""; 0],
                "{} was refused and left something",
                operation.name
            );
            return false;
        }
    }
    true
}

/// The server dies while operations are prepared, one at a time since most of them meet in the bank's own accounts.
#[test]
fn what_is_prepared_survives_the_servers_death_and_is_all_or_nothing() {
    let begun = Instant::now();
    let Some((cluster, mut db)) = cluster("prepared") else { return };
    let rounds = setting("ROUNDS", 1) as usize;
    let (mut decided, mut crashes, mut refused) = (0, 0, 0);
    let seed = seed();
    let mut dice = Dice(seed);
    for stage in Stage::ALL {
        for operation in all().filter(|o| stage.accounts == "exclusive" || !o.only_exclusive) {
            if rounds == 1 && dice.below(12) > 0 {
                continue;
            }
            for end in ["rollback", "commit"] {
                if !prepare(&mut db, stage, operation, "one") {
                    refused += 1;
                    continue;
                }
                let before = snapshot(&mut db);
                // A crash takes half a second, so it meets a few.
                if dice.below(if rounds == 1 { 40 } else { 10 }) == 0 || crashes == 0 {
                    drop(db);
                    cluster.crash();
                    db = cluster.connect("bank");
                    db.run(&format!("set neobank.posting_path = '{}'", stage.path));
                    crashes += 1;
                }
                assert_eq!(prepared(&mut db), ["one"]);
                assert_eq!(differences(&before, &snapshot(&mut db)), [""; 0], "{} after a crash", operation.name);
                db.run(&format!("{end} prepared 'one'"));
                decided += 1;
                again(&mut db, stage, operation, end == "commit", &before);
            }
        }
    }
    at_rest(&mut db);
    check_storage(&mut db);
    assert_eq!(refused, 0, "everything that writes can be prepared");
    figure(
        "prepared transactions",
        &format!("{decided} decided, {crashes} crashes between, {} s, SEED={seed}", begun.elapsed().as_secs()),
    );
}

/// The same call after the decision: it posts where that was to roll back, and nothing else where it was to commit.
fn again(db: &mut Client, stage: Stage, operation: &Operation, committed: bool, before: &[String]) {
    let decided = snapshot(db);
    assert!(committed || decided == before, "{} was rolled back and left something", operation.name);
    match (db.try_lines(&stage.text(operation.call)), operation.again) {
        (Ok(_), Again::Nothing) if committed => {
            assert_eq!(effects(&decided, &snapshot(db)), [""; 0], "{} twice", operation.name);
        }
        (Ok(_), Again::Refused(_)) if committed => panic!("{} went through twice", operation.name),
        (Err(refusal), Again::Refused(codes)) if committed => {
            assert!(codes.contains(&refusal.code.as_str()), "{}: {refusal}", operation.name);
        }
        (Ok(_), _) => {}
        (Err(refusal), _) => panic!("{}: {refusal}", operation.name),
    }
}

#[test]
fn others_wait_for_what_is_prepared_or_time_out() {
    let Some((cluster, mut db)) = cluster("prepared_wait") else { return };
    let mut dice = Dice(3);
    for stage in Stage::ALL {
        for end in ["commit", "rollback"] {
            let id = Uuid::new_v4();
            let one = format!("select a from stage.{} where n = 1", stage.accounts);
            let other = format!("select b from stage.{} where n = 1", stage.accounts);
            let posting = format!("select txn_processing.transfer(({one}), ({other}), 1, transaction_id => '{id}')");
            let shown = format!("select count(*) from txn_processing.transaction('{id}')");
            db.run(&format!("set neobank.posting_path = '{}'; begin", stage.path));
            db.run(&posting);
            db.run("prepare transaction 'held'");
            // The retry of an id that is prepared neither posts nor answers before the decision.
            let before = snapshot(&mut db);
            for (setting, code) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
                db.run(&format!("set {setting} = '30ms'"));
                refused_with_code_only(&mut db, &posting, code);
                db.run(&format!("set {setting} = 0"));
            }
            assert_eq!((snapshot(&mut db), db.count(&shown)), (before, 0), "{stage:?}");
            let mut waiting = cluster.connect("bank");
            waiting.run(&format!("set neobank.posting_path = '{}'", stage.path));
            let backend = waiting.count("select pg_backend_pid()");
            let retry = posting.clone();
            let answer = thread::spawn(move || waiting.id(&retry));
            let until = Instant::now() + Duration::from_secs(60);
            // A prepared transaction is nobody's backend: the waiter is seen by its lock.
            while db.count(&format!("select count(*) from pg_locks where pid = {backend} and not granted")) == 0 {
                assert!(Instant::now() < until, "{stage:?}: the retry does not wait");
                thread::sleep(Duration::from_millis(5));
            }
            if dice.below(2) == 0 && end == "commit" {
                // Another account's posting does not wait, on whatever is prepared.
                db.run("select txn_processing.transfer(a, b, 1) from stage.exclusive where n = 2");
            }
            db.run(&format!("{end} prepared 'held'"));
            assert_eq!(answer.join().expect("it gets its answer"), id);
            assert_eq!(db.count(&shown), 1, "{stage:?} {end}");
        }
    }
    at_rest(&mut db);
}
