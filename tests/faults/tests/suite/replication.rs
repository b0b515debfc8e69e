//! The ledger replicated by the server's logical replication, as docs/operations.md says: to a second database under
//! load; then the second one writes, the first follows it without a copy and a third one with one. All end with the same
//! rows, sums and balances, and nobody but the apply worker gets past the guards.
//!
//! Two things were in the way. `banking.account_limits` had no replica identity: once it was published, no limit could be
//! taken away or replaced. And each table is copied at a moment of its own: entries of backdated postings that come
//! before their postings would be taken for forged ones, and refused.

use neobank_faults::{Stage, at_rest, check_log, check_storage, differences};
use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The procedure's own statements: the test runs what the page says.
fn documented(name: &str) -> String {
    let page = std::fs::read_to_string(repository_root().join("docs/operations.md")).expect("the page is there");
    let begin = format!("-- {name}\n");
    let from = page.find(&begin).unwrap_or_else(|| panic!("docs/operations.md lost {name:?}")) + begin.len();
    let block = &page[from..];
    block[..block.find("```").expect("the block ends")].to_owned()
}

struct Replica {
    cluster: PrivateCluster,
}

impl Replica {
    fn database(&self, name: &str) -> Client {
        self.cluster.connect("postgres").run(&format!("create database {name}"));
        let mut db = self.cluster.connect(name);
        db.run("create extension neobank");
        db
    }

    /// `to` follows `from`. Both are databases of one server, where CREATE SUBSCRIPTION cannot make the slot itself.
    fn follow(&self, from: &str, to: &str, copy: bool) {
        let mut publisher = self.cluster.connect(from);
        if publisher.count("select count(*) from pg_publication") == 0 {
            publisher.run(&documented("on the publisher"));
        }
        publisher.run(&format!("select pg_create_logical_replication_slot('{to}', 'pgoutput')"));
        let mut subscriber = self.cluster.connect(to);
        if copy {
            subscriber.run(&documented("on the subscriber, before it subscribes"));
        }
        subscriber.run(&format!(
            "create subscription neobank connection 'host={} port=5432 user=postgres dbname={from}' publication neobank \
             with (create_slot = false, slot_name = '{to}', copy_data = {copy})",
            self.cluster.folder().display()
        ));
    }

    /// Waits until all that `from` has committed by now is in `to`.
    fn caught_up(&self, from: &mut Client, to: &str) {
        let until = Instant::now() + Duration::from_secs(120);
        let mut subscriber = self.cluster.connect(to);
        let copied = "select count(*) from pg_subscription_rel where srsubstate <> 'r'";
        let target = from.one("select pg_current_wal_flush_lsn()");
        let confirmed =
            format!("select confirmed_flush_lsn >= '{target}' from pg_replication_slots where slot_name = '{to}'");
        while subscriber.count(copied) > 0 || from.one(&confirmed) != "t" {
            assert!(Instant::now() < until, "{to} does not catch up\n{}", self.cluster.log());
            // An idle server writes nothing that would be confirmed.
            from.run("select pg_logical_emit_message(false, 'tick', '')");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Every table row for row, the sequences left out, which are not replicated.
fn equal(one: &mut Client, other: &mut Client) {
    assert_eq!(differences(&snapshot(one), &snapshot(other)), [""; 0]);
    let sums = "select tenant_no, currency_code, account_type, debits, credits from txn_processing.trial_balance() order by 1, 2, 3";
    assert_eq!(one.lines(sums), other.lines(sums));
    let balances = "select account_id, current_balance, available_balance from banking.account_balances order by 1";
    assert_eq!(one.lines(balances), other.lines(balances));
}

/// All operations with ids on both kinds of accounts and both paths, as far as they do without fixed dates.
fn everything(db: &mut Client, small: usize) {
    // A small run has exclusive accounts by direct access on one side of the switch, slotted ones by SQL on the other.
    let step = if setting("ROUNDS", 1) == 1 { 4 } else { 1 };
    for stage in Stage::ALL.into_iter().skip(if step == 4 { small } else { 0 }).step_by(step) {
        db.run(&format!("set neobank.posting_path = '{}'", stage.path));
        for operation in neobank_faults::operations::all() {
            if stage.accounts == "exclusive" || !operation.only_exclusive {
                stage.prepare(db, operation);
                db.run(&stage.text(operation.call));
            }
        }
    }
    db.run("reset neobank.posting_path");
}

fn load(cluster: &PrivateCluster, database: &str, stop: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (mut session, stop) = (cluster.connect(database), Arc::clone(stop));
    thread::spawn(move || {
        let mut posted = 0;
        while !stop.load(Ordering::Relaxed) {
            session.run(
                "select txn_processing.transfer(e.a, s.b, 0.01), txn_processing.transfer(s.b, e.b, 0.01), \
                 txn_processing.transfer(e.b, s.a, 0.01, effective_at => now() - interval '1 hour') \
                 from stage.exclusive e join stage.slotted s using (n) where n = 1 + (random() * 23)::int",
            );
            posted += 3;
            thread::sleep(Duration::from_millis(5));
        }
        posted
    })
}

fn nobody_else_writes(db: &mut Client) {
    for setting in ["origin", "replica"] {
        db.run(&format!("set session_replication_role = {setting}"));
        refused(db, "update txn_processing.movements set amount = 1", "NB009");
        refused(db, "delete from banking.account_slots", "NB010");
        refused(db, "update banking.accounts set current_balance = 1", "NB010");
        refused(db, "insert into banking.accounts select * from banking.accounts limit 1", "NB010");
    }
    db.run("set session_replication_role = origin");
}

#[test]
fn the_ledger_follows_to_a_second_database_and_back() {
    let begun = Instant::now();
    let Some(cluster) = PrivateCluster::start("replication", "wal_level = logical\nautovacuum = off\nfsync = off")
    else {
        skipped("logical replication", "the server's initdb or pg_ctl cannot be found");
        return;
    };
    let replica = Replica { cluster };
    let mut first = replica.database("first");
    Stage::set(&mut first);
    let mut second = replica.database("second");
    let stop = Arc::new(AtomicBool::new(false));
    let posting = load(&replica.cluster, "first", &stop);
    // Copied while postings go on, and then followed.
    replica.follow("first", "second", true);
    everything(&mut first, 0);
    replica.caught_up(&mut first, "second");
    stop.store(true, Ordering::Relaxed);
    let mut posted = posting.join().expect("replication disturbs no posting");
    replica.caught_up(&mut first, "second");
    equal(&mut first, &mut second);
    nobody_else_writes(&mut second);
    at_rest(&mut second);

    // The switch: sequences go by hand, the second database writes, the third takes over from it.
    for line in first.lines(&documented("on the publisher: the sequences, as statements for the subscriber")) {
        second.run(&line);
    }
    second.run("drop subscription neobank");
    replica.follow("second", "first", false);
    Stage::set(&mut second);
    // Days that the first database has settled are not settled again.
    second.run("update stage.days set day = current_date - 100");
    let mut third = replica.database("third");
    let stop = Arc::new(AtomicBool::new(false));
    let posting = load(&replica.cluster, "second", &stop);
    replica.follow("second", "third", true);
    everything(&mut second, 3);
    stop.store(true, Ordering::Relaxed);
    posted += posting.join().expect("the new writer posts");
    for (name, follower) in [("third", &mut third), ("first", &mut first)] {
        replica.caught_up(&mut second, name);
        equal(&mut second, follower);
        nobody_else_writes(follower);
    }
    first.run("drop subscription neobank");
    third.run("drop subscription neobank");
    finish(&replica, first, second, third, posted, begun);
}

fn finish(replica: &Replica, mut first: Client, mut second: Client, mut third: Client, posted: usize, begun: Instant) {
    for db in [&mut first, &mut second, &mut third] {
        at_rest(db);
        check_storage(db);
    }
    check_log(&replica.cluster.log());
    let rows = third.count("select count(*) from txn_processing.movements");
    figure(
        "replication",
        &format!("{posted} postings under replication, {rows} rows, 3 databases, {} s", begun.elapsed().as_secs()),
    );
}
