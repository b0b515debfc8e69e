//! Waits that only a server of one's own can be made to show: for pages, for standbys, of the server's own processes; and
//! all of it on a standby.

use crate::blocking::{Busy, wait_until};
use neobank_sessions::*;

/// Vacuum, standbys and the server's own processes are looked at where no other test is at work.
fn lone_server(name: &str, settings: &str) -> Option<(PrivateCluster, Client)> {
    let cluster = PrivateCluster::start(name, settings)?;
    let mut db = cluster.connect("postgres");
    db.run("create extension neobank");
    Some((cluster, db))
}

#[test]
fn waits_for_pages_standbys_and_servers_own_processes() {
    let settings = "autovacuum_naptime = 1\nmax_wal_senders = 4";
    let Some((cluster, mut db)) = lone_server("waits", settings) else {
        skipped("waits for pages and standbys", "initdb or pg_ctl is missing");
        return;
    };
    let is = |db: &mut Client, pid: i64, kind: &str| {
        wait_until(db, &format!("select kind = '{kind}' from troubleshoot.why_waiting({pid})"));
    };
    // A cursor that was left in the middle of a page, and a vacuum that is to freeze what is on the page.
    db.run("create table p (v int) with (autovacuum_enabled = off); insert into p select generate_series(1, 10)");
    let mut cursor = cluster.connect("postgres");
    cursor.run("begin; declare c cursor for select * from p; fetch 1 from c");
    let vacuum = Busy::run(cluster.connect("postgres"), "vacuum (freeze, disable_page_skipping) p");
    is(&mut db, vacuum.pid, "buffer_pin");
    cursor.run("rollback");
    vacuum.end().expect("the page is free");

    // Autovacuum at work, and the sender of WAL: nobody's business to end.
    db.run("create table w (v int) with (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, \
         autovacuum_vacuum_threshold = 10, autovacuum_vacuum_scale_factor = 0); insert into w select generate_series(1, 50000); delete from w where v % 2 = 0");
    wait_until(
        &mut db,
        "select count(*) = 1 from pg_stat_activity where query ~ '^autovacuum:.*public.w' and query_start < now() - interval '300 ms'",
    );
    let Some(receive) = bindir_tool("pg_receivewal") else {
        return skipped("sessions that nobody should end", "this server lacks pg_receivewal");
    };
    let mut command = std::process::Command::new(receive);
    command.args(["-h", &cluster.folder().display().to_string(), "-p", "5432", "-U", "postgres", "-D"]);
    let mut receiver = command.arg(cluster.folder()).spawn().expect("pg_receivewal starts");
    wait_until(
        &mut db,
        "select count(*) = 1 from pg_stat_activity where backend_type = 'walsender' and query_start < now() - interval '200 ms'",
    );
    let sleeper = Busy::run(cluster.connect("postgres"), "select pg_sleep(60)");
    wait_until(
        &mut db,
        &format!("select now() - query_start > '200 ms' from pg_stat_activity where pid = {}", sleeper.pid),
    );
    let killed = db.lines("select pid, action from troubleshoot.kill_long_queries('100 ms', false)");
    assert_eq!(killed, [format!("{}|TERMINATED", sleeper.pid)]);
    assert!(sleeper.end().is_err());
    assert_eq!(db.count("select troubleshoot.clear_idle_transactions('100 ms', false)"), 0);
    let spared = "select count(distinct backend_type) from pg_stat_activity where backend_type in ('autovacuum worker', 'walsender')";
    assert_eq!(db.count(spared), 2);
    let background = "select string_agg(distinct kind, ' ' order by kind) from pg_stat_activity a, troubleshoot.why_waiting(a.pid) \
                      where a.backend_type in ('checkpointer', 'walwriter', 'autovacuum launcher')";
    assert_eq!(db.one(background), "nothing_to_do");
    let _ = receiver.kill();
    let _ = receiver.wait();

    // A commit that no standby confirms.
    cluster.reload("synchronous_standby_names = 'nobody'");
    wait_until(&mut db, "select current_setting('synchronous_standby_names') = 'nobody'");
    let commit = Busy::run(cluster.connect("postgres"), "insert into p values (0)");
    is(&mut db, commit.pid, "sync_rep");
    cluster.reload("synchronous_standby_names = ''");
    commit.end().expect("nobody is asked any more");
}

#[test]
fn it_answers_on_a_standby() {
    let Some((cluster, mut db)) = lone_server("tree_standby", "") else {
        skipped("blocking on a standby", "initdb or pg_ctl is missing");
        return;
    };
    db.run("create table t (v int); select concurrency.acquire_lease('a', 'me')");
    drop(db);
    std::fs::write(cluster.folder().join("data/standby.signal"), "").expect("the folder is there");
    cluster.restart();
    let mut db = cluster.connect("postgres");
    assert_eq!(db.one("select pg_is_in_recovery()"), "t");
    let mut holder = cluster.connect("postgres");
    holder.run("begin; select concurrency.acquire_lock('a')");
    let waiter = Busy::run(cluster.connect("postgres"), "select concurrency.acquire_lock('a', 60000)");
    wait_until(&mut db, "select count(*) = 2 from troubleshoot.blocking_tree");
    assert_eq!(db.one(&format!("select kind from troubleshoot.why_waiting({})", waiter.pid)), "advisory_lock");
    for view in ["troubleshoot.v_blocking_chains", "concurrency.v_lock_analysis", "concurrency.detect_deadlock_risk()"]
    {
        db.run(&format!("select * from {view}"));
    }
    assert_eq!(db.one("select scope, holder from concurrency.held_locks where name = 'a'"), "lease|me");
    assert_eq!(db.count("select count(*) from concurrency.show_mvcc_info('concurrency.leases')"), 1);
    wait_until(&mut db, "select count(*) = 1 from troubleshoot.idle_transactions where idle_seconds > 0.15");
    // No row can be written here: the server's log has it.
    assert_eq!(db.count("select troubleshoot.clear_idle_transactions('100 ms', false)"), 1);
    assert_eq!(waiter.end().expect("the holder is gone"), ["t"]);
    assert!(cluster.log().contains("neobank: clear_idle_transactions by postgres: terminated process"));
}
