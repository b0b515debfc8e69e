//! What must be true when a fault is over.

use neobank_sessions::*;

/// Words of the server's log that tell of something left behind or of a crash.
const BAD: [&str; 9] = [
    "WARNING:",
    "PANIC:",
    "TRAP:",
    "leak",
    "still referenced",
    "not closed",
    "stuck",
    "was terminated by signal",
    "terminating connection because of crash",
];

/// No line of the log tells of a leak, a warning or a crash.
pub fn check_log(log: &str) {
    assert!(log.contains("ERROR:"), "the log tells nothing, not even the errors");
    let found: Vec<&str> = log.lines().filter(|line| BAD.iter().any(|word| line.contains(word))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The tables that two snapshots tell apart.
pub fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let changed = |(one, other): (&String, &String)| (one != other).then(|| format!("{one} became {other}"));
    before.iter().zip(after).filter_map(changed).collect()
}

/// The same but for the records of daily runs and of matching, which note calls that had nothing to do as well.
pub fn effects(before: &[String], after: &[String]) -> Vec<String> {
    let notes = ["txn_processing.daily_runs|", "txn_processing.reconciled_accounts|"];
    let is_effect = |change: &String| !notes.iter().any(|table| change.starts_with(table));
    differences(before, after).into_iter().filter(is_effect).collect()
}

/// No session but this one holds a lock, nothing is prepared, the books are in order.
pub fn at_rest(db: &mut Client) {
    // Autovacuum may be at work and hold locks of its own.
    let held = "select l.mode, l.relation::regclass, s.query from pg_locks l join pg_stat_activity s using (pid) \
                where s.backend_type = 'client backend' and s.datname = current_database() and pid <> pg_backend_pid()";
    assert_eq!(db.lines(held), Vec::<String>::new(), "locks were left behind");
    assert_eq!(db.count("select count(*) from pg_prepared_xacts where database = current_database()"), 0);
    audit(db);
    let faults = "select * from txn_processing.daily_reconciliation() where status <> 'Balanced'";
    assert_eq!(db.lines(faults), Vec::<String>::new());
    let uneven = "select tenant_no, currency_code from txn_processing.trial_balance() group by 1, 2 \
                  having sum(debits) <> sum(credits)";
    assert_eq!(db.lines(uneven), Vec::<String>::new());
}

/// Every table and index of the extension is whole, as the server's own checker sees it.
pub fn check_storage(db: &mut Client) {
    if db.count("select count(*) from pg_available_extensions where name = 'amcheck'") == 0 {
        skipped("the check of tables and indexes", "the server has no amcheck");
        return;
    }
    db.run("create extension if not exists amcheck");
    let ours = "relnamespace in ('banking'::regnamespace, 'txn_processing'::regnamespace, 'neobank'::regnamespace, \
                'saga'::regnamespace)";
    let indexes = db.count(&format!(
        "select count(bt_index_check(c.oid, true)::text) from pg_class c join pg_am m on m.oid = c.relam \
         where c.relkind = 'i' and m.amname = 'btree' and {ours}"
    ));
    assert!(indexes > 50, "{indexes} indexes");
    let heap =
        format!("select c.oid::regclass, h.* from pg_class c, verify_heapam(c.oid) h where c.relkind = 'r' and {ours}");
    assert_eq!(db.lines(&heap), Vec::<String>::new());
}
