//! Who waits for whom: real sessions that block each other by rows, tables, queues, prepared transactions and circles,
//! and the views that must name the right ones, and nobody else.

use neobank_sessions::*;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A session with a statement under way.
pub struct Busy {
    pub pid: i64,
    work: JoinHandle<Result<Vec<String>, Refusal>>,
}

impl Busy {
    pub fn run(mut session: Client, sql: &str) -> Busy {
        let (pid, sql) = (Bank::backend_of(&mut session), sql.to_owned());
        Busy { pid, work: thread::spawn(move || session.try_lines(&sql)) }
    }

    /// What it came to.
    pub fn end(self) -> Result<Vec<String>, Refusal> {
        self.work.join().expect("the session's thread does not fail")
    }
}

/// Waits until the query, which is to say `t`, does.
pub fn wait_until(client: &mut Client, sql: &str) {
    for _ in 0..1_000 {
        if client.one(sql) == "t" {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came true: {sql}");
}

/// A session that holds what its statements lock, idle in its transaction.
fn holder(bank: &Bank, sql: &str) -> (Client, i64) {
    let mut session = bank.session();
    session.run(&format!("begin; {sql}"));
    let pid = Bank::backend_of(&mut session);
    (session, pid)
}

/// The same with one more session that waits for it.
fn blocked(bank: &mut Bank, sql: &str) -> Busy {
    let busy = Busy::run(bank.session(), sql);
    bank.wait_until_blocked(busy.pid);
    busy
}

/// Of this database: another test's session that is just starting has no database yet.
const TREE: &str = "select root_pid, depth, pid, path, blocked_by, state, lock_mode, object, \
    coalesce(remediation_sql, ''), is_deadlock from troubleshoot.blocking_tree \
    where coalesce(database_name, current_database()) = current_database() and object !~ ' of database '";

fn why(client: &mut Client, pid: i64) -> String {
    client.one(&format!("select kind, blocked_by from troubleshoot.why_waiting({pid})"))
}

fn table(bank: &mut Bank) {
    bank.db.run("create table t (id int primary key, v int); insert into t select n, 0 from generate_series(1, 5) n");
}

#[test]
fn a_row_lock_names_its_holder_and_no_bystander() {
    let mut bank = Bank::new();
    table(&mut bank);
    // The seed's join on the relation named this one: it has the same table open.
    let (_bystander, bystander_pid) = holder(&bank, "select * from t");
    let (_root, root) = holder(&bank, "update t set v = 1 where id = 2");
    let first = blocked(&mut bank, "update t set v = 2 where id = 2");
    let second = blocked(&mut bank, "update t set v = 3 where id = 2");
    let tree = bank.db.lines(TREE);
    let end = "SELECT pg_terminate_backend(";
    assert_eq!(tree.len(), 3, "{tree:#?}");
    assert_eq!(
        tree[0],
        format!(
            "{root}|0|{root}|{{{root}}}|{{}}|idle in transaction|ExclusiveLock|row (0,2) of public.t|{end}{root}); \
             -- to cancel does nothing while it is idle|f"
        )
    );
    let one = first.pid;
    assert_eq!(
        tree[1],
        format!("{root}|1|{one}|{{{root},{one}}}|{{{root}}}|active|ShareLock|row (0,2) of public.t||f")
    );
    let two = second.pid;
    assert_eq!(
        tree[2],
        format!("{root}|2|{two}|{{{root},{one},{two}}}|{{{one}}}|active|ExclusiveLock|row (0,2) of public.t||f")
    );
    assert_eq!(why(&mut bank.db, one), format!("row_lock|{{{root}}}"));
    assert_eq!(why(&mut bank.db, two), format!("row_queue|{{{one}}}"));
    assert_eq!(why(&mut bank.db, root), "idle_in_transaction|{}");
    let chains = "select blocked_pid, blocking_pid, depth, path from troubleshoot.v_blocking_chains \
         where blocked_pid in (select pid from pg_stat_activity where datname = current_database()) order by 1 = 0, 3, 1";
    let mut expected = [
        format!("{one}|{root}|1|{{{root}}}"),
        format!("{two}|{one}|1|{{{one}}}"),
        format!("{two}|{root}|2|{{{one},{root}}}"),
    ];
    expected.sort();
    let mut found = bank.db.lines(chains);
    found.sort();
    assert_eq!(found, expected);
    let analysis = format!(
        "select blocked_pid, blocked_mode, blocking_pid, blocking_mode, lock_type, blocked_duration >= '0', blocked_query, \
         blocking_query from concurrency.v_lock_analysis where blocked_pid in ({one}, {two}) order by blocked_pid = {two}"
    );
    assert_eq!(
        bank.db.lines(&analysis),
        [
            format!(
                "{one}|ShareLock|{root}|ExclusiveLock|transactionid|t|update t set v = 2 where id = 2|select pg_backend_pid()"
            ),
            format!(
                "{two}|ExclusiveLock|{one}|ExclusiveLock|tuple|t|update t set v = 3 where id = 2|update t set v = 2 where id = 2"
            ),
        ]
    );
    let named = format!("select count(*) from troubleshoot.blocking_tree where {bystander_pid} in (pid, root_pid)");
    assert_eq!(bank.db.count(&named), 0);
    // What it says to run is what helps; why_waiting says the same.
    let remedy = bank.db.one(&format!("select remediation_sql from troubleshoot.why_waiting({two})"));
    assert!(remedy.starts_with(&format!("{end}{root})")), "{remedy}");
    bank.db.run(&remedy);
    assert!(first.end().is_ok() && second.end().is_ok());
    assert_eq!(bank.db.lines(TREE), [""; 0]);
    assert_eq!(bank.db.one("select v from t where id = 2"), "3");
}

#[test]
fn who_queues_behind_an_access_exclusive_lock_waits_for_the_queue() {
    let mut bank = Bank::new();
    table(&mut bank);
    let (mut reader, root) = holder(&bank, "select * from t");
    let alter = blocked(&mut bank, "alter table t add column w int");
    let select = blocked(&mut bank, "select count(*) from t");
    let (two, three) = (alter.pid, select.pid);
    let tree = bank.db.lines(
        "select depth, pid, blocked_by, lock_mode, coalesce(remediation_sql, ''), waiters from troubleshoot.blocking_tree \
         where database_name = current_database()",
    );
    assert_eq!(
        tree,
        [
            format!(
                "0|{root}|{{}}|AccessShareLock|SELECT pg_terminate_backend({root}); -- to cancel does nothing while it is idle|2"
            ),
            format!(
                "1|{two}|{{{root}}}|AccessExclusiveLock|SELECT pg_cancel_backend({two}); -- others queue behind it; repeat it with lock_timeout set|1"
            ),
            format!("2|{three}|{{{two}}}|AccessShareLock||0"),
        ]
    );
    assert_eq!(why(&mut bank.db, two), format!("relation_lock|{{{root}}}"));
    assert_eq!(why(&mut bank.db, three), format!("lock_queue|{{{two}}}"));
    let text = bank.db.one(&format!("select explanation from troubleshoot.why_waiting({three})"));
    assert!(text.contains(&format!("process {two} came before, and waits there for AccessExclusiveLock")), "{text}");
    let queued = format!("select blocking_is_queued from concurrency.v_lock_analysis where blocked_pid = {three}");
    assert_eq!(bank.db.one(&queued), "t");
    reader.run("rollback");
    assert!(alter.end().is_ok() && select.end().is_ok());
    assert_eq!(bank.db.lines(TREE), [""; 0]);
}

#[test]
fn a_prepared_transaction_is_a_root_with_its_name() {
    let mut bank = Bank::new();
    table(&mut bank);
    let gid = format!("{}'left", bank.name);
    let quoted = gid.replace('\'', "''");
    let mut session = bank.session();
    session.run(&format!("begin; update t set v = 1 where id = 1; prepare transaction '{quoted}'"));
    // A second one that has the table open, and is in nobody's way.
    session.run(&format!("begin; update t set v = 1 where id = 4; prepare transaction '{quoted}2'"));
    let waiter = blocked(&mut bank, "update t set v = 2 where id = 1");
    let pid = waiter.pid;
    let tree = bank.db.lines(
        "select root_pid, depth, pid, blocked_by, state, object, query, coalesce(remediation_sql, ''), root_gid, \
         transaction_seconds >= 0 from troubleshoot.blocking_tree where database_name = current_database()",
    );
    assert_eq!(
        tree,
        [
            format!(
                "0|0|0|{{}}|prepared|row (0,1) of public.t|{gid}|ROLLBACK PREPARED '{quoted}'; -- or COMMIT PREPARED, in \
                 database {}: its coordinator knows which|{gid}|t",
                bank.name
            ),
            format!("0|1|{pid}|{{0}}|active|row (0,1) of public.t|update t set v = 2 where id = 1||{gid}|t"),
        ]
    );
    let (kind, remedy) =
        (why(&mut bank.db, pid), bank.db.one(&format!("select remediation_sql from troubleshoot.why_waiting({pid})")));
    assert_eq!(kind, "row_lock|{0}");
    let chain =
        format!("select blocking_pid, blocking_query from troubleshoot.v_blocking_chains where blocked_pid = {pid}");
    assert_eq!(bank.db.lines(&chain), [format!("0|{gid}")]);
    bank.db.run(&remedy);
    assert!(waiter.end().is_ok());
    bank.db.run(&format!("rollback prepared '{quoted}2'"));
}

#[test]
fn a_circle_is_told_while_it_lasts() {
    let mut bank = Bank::new();
    table(&mut bank);
    bank.db.run("create table other (id int primary key, v int); insert into other values (1, 0)");
    // Long enough for us to look at it.
    let patient = "set deadlock_timeout = '60s'; begin;";
    let mut one = bank.session();
    one.run(&format!("{patient} update t set v = 1 where id = 1"));
    let mut two = bank.session();
    two.run(&format!("{patient} update other set v = 1"));
    let one = Busy::run(one, "update other set v = 2");
    bank.wait_until_blocked(one.pid);
    // Not yet: one waits for the other, which might touch what that has.
    let risk = format!(
        "select session1_pid, session1_locks, session2_pid, session2_locks, risk_level from concurrency.detect_deadlock_risk() \
         where {} in (session1_pid, session2_pid)",
        one.pid
    );
    let two_pid = Bank::backend_of(&mut two);
    assert_eq!(
        bank.db.lines(&risk),
        [format!(
            "{}|public.other (RowExclusiveLock), public.t (RowExclusiveLock)|{two_pid}|public.other (RowExclusiveLock)|\
             HIGH - Both sessions hold locks",
            one.pid
        )]
    );
    let two = Busy::run(two, "update t set v = 2 where id = 1");
    bank.wait_until_blocked(two.pid);
    let levels = bank.db.lines(&format!("select risk_level from ({risk}) x"));
    assert_eq!(levels, ["DEADLOCK - each waits for the other"]);
    let tree = bank.db.lines(
        "select depth, pid, is_deadlock from troubleshoot.blocking_tree where database_name = current_database()",
    );
    let (low, high) = (one.pid.min(two.pid), one.pid.max(two.pid));
    assert_eq!(tree, [format!("0|{low}|t"), format!("1|{high}|f")]);
    bank.db.run(&format!("select pg_terminate_backend({})", one.pid));
    assert!(one.end().is_err());
    assert!(two.end().is_ok());
}

#[test]
fn nothing_is_said_where_nobody_waits() {
    let mut bank = Bank::new();
    table(&mut bank);
    let (_one, pid) = holder(&bank, "update t set v = 1 where id = 1; lock table t in share mode");
    let (_two, _) = holder(&bank, "select pg_advisory_lock(7)");
    assert_eq!(bank.db.lines(TREE), [""; 0]);
    let mine = "(select pid from pg_stat_activity where datname = current_database())";
    for view in [
        format!("troubleshoot.v_blocking_chains where blocked_pid in {mine}"),
        format!("concurrency.v_lock_analysis where blocked_pid in {mine}"),
        format!("concurrency.detect_deadlock_risk() where session1_pid in {mine}"),
    ] {
        assert_eq!(bank.db.count(&format!("select count(*) from {view}")), 0, "{view}");
    }
    assert_eq!(why(&mut bank.db, pid), "idle_in_transaction|{}");
    assert_eq!(bank.db.one("select kind from troubleshoot.why_waiting(2147483647)"), "no_session");
    refused(&mut bank.db, "select troubleshoot.why_waiting(null)", "22004");
}

#[test]
fn the_other_waits_have_their_words() {
    let mut bank = Bank::new();
    table(&mut bank);
    let wait = |bank: &mut Bank, sql: &str, kind: &str| {
        let busy = Busy::run(bank.session(), sql);
        let pid = busy.pid;
        wait_until(&mut bank.db, &format!("select kind = '{kind}' from troubleshoot.why_waiting({pid})"));
        bank.db.run(&format!("select pg_terminate_backend({pid})"));
        assert!(busy.end().is_err());
    };
    let (mut unique, _) = holder(&bank, "insert into t values (77, 0)");
    wait(&mut bank, "insert into t values (77, 1)", "transaction");
    wait(&mut bank, "create index concurrently t_v on t (v)", "older_transactions");
    unique.run("rollback");
    let (_advisory, _) = holder(&bank, "select pg_advisory_lock(-5), pg_advisory_lock(3, -4)");
    wait(&mut bank, "select pg_advisory_lock(-5)", "advisory_lock");
    wait(&mut bank, "select pg_advisory_lock(3, -4)", "advisory_lock");
    wait(&mut bank, "select pg_sleep(60)", "timeout");
    let mut idle = bank.session();
    let pid = Bank::backend_of(&mut idle);
    wait_until(&mut bank.db, &format!("select kind = 'idle' from troubleshoot.why_waiting({pid})"));
    let mut failed = bank.session();
    let pid = Bank::backend_of(&mut failed);
    failed.fails("begin; select 1 / 0");
    let text = format!("select explanation ~ 'failed transaction' from troubleshoot.why_waiting({pid})");
    wait_until(&mut bank.db, &text);
}

#[test]
fn a_lock_is_on_what_it_says() {
    let mut bank = Bank::new();
    let mut session = bank.session();
    let pid = Bank::backend_of(&mut session);
    session.run("begin; select pg_advisory_lock(-5), pg_advisory_lock(3, -4), concurrency.acquire_lock('a')");
    let objects = format!(
        "select troubleshoot.lock_object(locktype, database, relation, page, tuple, virtualxid, transactionid, classid, objid, \
         objsubid) from pg_locks where pid = {pid} and locktype = 'advisory' order by objsubid"
    );
    let key = bank.db.one("select concurrency.lock_key('a')");
    assert_eq!(
        bank.db.lines(&objects),
        ["advisory lock -5".to_owned(), "advisory lock (3, -4)".to_owned(), format!("named lock with key {key}")]
    );
    // Every pair of modes, as the server itself judges it.
    bank.db.run("create table m ()");
    let modes = [
        "access share",
        "row share",
        "row exclusive",
        "share update exclusive",
        "share",
        "share row exclusive",
        "exclusive",
        "access exclusive",
    ];
    let name = |mode: &str| {
        let words: Vec<String> = mode.split(' ').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        words.concat() + "Lock"
    };
    let mut other = bank.session();
    for held in modes {
        session.run(&format!("rollback; begin; lock table m in {held} mode"));
        for wanted in modes {
            let free = other.try_lines(&format!("begin; lock table m in {wanted} mode nowait; rollback")).is_ok();
            other.run("rollback");
            let said =
                bank.db.one(&format!("select troubleshoot.lock_modes_conflict('{}', '{}')", name(held), name(wanted)));
            assert_eq!(said == "f", free, "{held}, {wanted}");
        }
    }
}

#[test]
fn it_answers_and_locks_nothing_while_a_table_is_locked() {
    let mut bank = Bank::new();
    table(&mut bank);
    let (_locker, _) = holder(&bank, "lock table t in access exclusive mode");
    let waiter = blocked(&mut bank, "select * from t");
    let mut session = bank.session();
    session.run("set statement_timeout = '5s'; set lock_timeout = '1ms'; begin");
    for sql in [
        "select count(*) from troubleshoot.blocking_tree".to_owned(),
        "select count(*) from troubleshoot.v_blocking_chains".to_owned(),
        "select count(*) from concurrency.v_lock_analysis".to_owned(),
        "select count(*) from concurrency.detect_deadlock_risk()".to_owned(),
        "select count(*) from concurrency.held_locks".to_owned(),
        "select count(*) from troubleshoot.idle_transactions".to_owned(),
        "select count(*) from troubleshoot.kill_long_queries('1 hour')".to_owned(),
        "select troubleshoot.clear_idle_transactions('1 hour')".to_owned(),
        format!("select count(*) from troubleshoot.why_waiting({})", waiter.pid),
    ] {
        session.run(&sql);
    }
    // Nothing stronger than AccessShare, and nothing at all on a table of the user's.
    let locks = "select count(*) from pg_locks where pid = pg_backend_pid() and (relation = 't'::regclass \
                 or locktype = 'relation' and mode <> 'AccessShareLock')";
    assert_eq!(session.count(&locks.replace("'t'::regclass", "(select oid from pg_class where relname = 't')")), 0);
    bank.db.run(&format!("select pg_terminate_backend({})", waiter.pid));
    assert!(waiter.end().is_err());
}

#[test]
fn what_a_role_may_not_see_is_unknown() {
    let mut bank = Bank::new();
    table(&mut bank);
    let role = bank.role("reader");
    bank.db.run(&format!("select neobank.grant_usage('{role}', 'reader')"));
    let (_root, root) = holder(&bank, "update t set v = 1 where id = 2");
    let waiter = blocked(&mut bank, "update t set v = 2 where id = 2");
    let mut reader = bank.session_as(&role);
    let tree = format!(
        "select pid, state, lock_mode, remediation_sql from troubleshoot.blocking_tree where root_pid = {root} order by depth"
    );
    assert_eq!(
        reader.lines(&tree),
        [
            format!(
                "{root}|unknown|ExclusiveLock|-- unknown: this role may not see what the session does (pg_read_all_stats)"
            ),
            format!("{}|unknown|ShareLock|", waiter.pid),
        ]
    );
    // Locks are for all to see; what the others do is not.
    assert_eq!(why(&mut reader, waiter.pid), format!("row_lock|{{{root}}}"));
    assert_eq!(why(&mut reader, root), "unknown|{}");
    let idle = format!("select state from troubleshoot.idle_transactions where pid = {root}");
    assert_eq!(reader.lines(&idle), ["unknown"]);
    bank.db.run(&format!("grant pg_monitor to {role}"));
    assert_eq!(why(&mut reader, root), "idle_in_transaction|{}");
    assert_eq!(reader.lines(&idle), ["idle in transaction"]);
    bank.db.run(&format!("select pg_terminate_backend({root})"));
    assert!(waiter.end().is_ok());
}

#[test]
fn a_crowd_at_one_row_is_one_small_tree() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    table(&mut bank);
    let (mut root, _) = holder(&bank, "update t set v = 1 where id = 1");
    let mut waiters: Vec<Busy> = (0..30).map(|_| blocked(&mut bank, "update t set v = v + 1 where id = 1")).collect();
    let (_reader, _) = holder(&bank, "select * from t");
    waiters.push(blocked(&mut bank, "alter table t add w int"));
    waiters.extend((0..10).map(|_| blocked(&mut bank, "select * from t")));
    let of_ours = "from troubleshoot.blocking_tree where database_name = current_database()";
    let told = bank
        .db
        .one(&format!("select count(*), count(distinct pid), count(*) filter (where depth = 0), max(depth) {of_ours}"));
    assert_eq!(told, "43|43|2|2", "each session once, whatever stands in the queue");
    assert_eq!(bank.db.one(&format!("select max(waiters) >= 30 {of_ours}")), "t");
    let chains = "select max(depth) <= 3, count(*) < 1000 from troubleshoot.v_blocking_chains";
    assert_eq!(bank.db.one(chains), "t|t");
    root.run("rollback");
    drop(_reader);
    for waiter in waiters {
        waiter.end().expect("all come to their turn");
    }
}
