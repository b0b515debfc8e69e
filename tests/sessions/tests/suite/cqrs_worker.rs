//! Background workers at commands and projections, and processes killed in the middle of them, in clusters of the tests'
//! own.

use neobank_sessions::*;
use std::thread;
use std::time::Duration;

const WORLD: &str = "create extension neobank; create schema app; \
    create table app.account as select banking.open_account(banking.create_customer('A', 'B')) as id; \
    create table app.totals (aggregate_type text primary key, events int not null); \
    create function app.pay_in(c cqrs.commands) returns jsonb language plpgsql as $$ begin \
      perform txn_processing.deposit(id, 1, transaction_id => c.command_id) from app.account; \
      return to_jsonb(event_store.append_event('Deposit', c.command_id, 'PaidIn', '{}')); end $$; \
    create function app.count(event event_store.events, target regclass) returns void language plpgsql as $$ begin \
      execute format('insert into %s as t values ($1, 1) on conflict (aggregate_type) do update set events = t.events + 1', \
        target) using event.aggregate_type; end $$; \
    select cqrs.register_handler('PayIn', 'app.pay_in', 100), \
      cqrs.create_projection('totals', 'app.count', 'app.totals')";

fn found(cluster: &PrivateCluster) -> Client {
    cluster.connect("postgres").run("create database bank");
    let mut db = cluster.connect("bank");
    db.run(WORLD);
    db
}

fn submit(db: &mut Client, commands: usize) {
    db.run(&format!(
        "select cqrs.submit_command('PayIn', 'Deposit', '{{}}', mode => 'queued') from generate_series(1, {commands})"
    ));
}

const ALL_DONE: &str = "not exists (select from cqrs.commands where status = 'pending')";
const CAUGHT_UP: &str = "(select behind = 0 from cqrs.projection_status)";

/// Each command had its effects once, and the projection counted each event once.
fn is_exact(db: &mut Client, commands: i64) {
    assert_eq!(db.lines("select status, count(*) from cqrs.commands group by 1"), [format!("completed|{commands}")]);
    for sql in [
        "select count(*) from txn_processing.movements m join cqrs.commands c on c.command_id = m.transaction_id",
        "select count(*) from txn_processing.movements",
        "select count(*) from event_store.events",
        "select count(*) from cqrs.command_events",
        "select sum(events) from app.totals",
    ] {
        assert_eq!(db.count(sql), commands, "{sql}");
    }
    audit(db);
}

fn cluster(name: &str, settings: &str) -> Option<PrivateCluster> {
    let cluster = PrivateCluster::start(name, settings);
    if cluster.is_none() {
        skipped("killed workers at commands", "the server's initdb or pg_ctl cannot be found");
    }
    cluster
}

#[test]
fn a_session_killed_at_commands_or_events_loses_and_doubles_nothing() {
    let Some(cluster) = cluster("cqrs_caller", "") else { return };
    let mut db = found(&cluster);
    submit(&mut db, 3_000);
    let mut dice = Dice(5);
    let mut killed_at_work = 0;
    for round in 0..8 {
        let call = if round % 2 == 0 {
            "select count(*) from cqrs.process_commands(60)"
        } else {
            "select count(*) from cqrs.process_commands(20); select cqrs.run_projection('totals', 50)"
        };
        let mut session = cluster.connect("bank");
        let backend = Bank::backend_of(&mut session);
        let working = thread::spawn(move || (0..).find_map(|_: u64| session.try_lines(call).err()));
        thread::sleep(Duration::from_millis(5 + dice.below(60) as u64));
        cluster.kill(backend);
        killed_at_work += usize::from(working.join().expect("no panic").is_some());
        db = cluster.after_crash(db, "bank", 60);
    }
    assert!(killed_at_work > 5, "{killed_at_work}");
    db.run("update cqrs.commands set next_attempt_at = now() where status = 'pending'");
    while db.count("select count(*) from cqrs.process_commands(1000)") > 0 {}
    while db.count("select cqrs.run_projection('totals', 1000)") > 0 {}
    is_exact(&mut db, 3_000);
}

#[test]
fn workers_carry_out_commands_and_projections_and_may_be_killed() {
    let settings = "shared_preload_libraries = 'neobank'\nneobank.queue_workers = 2\nneobank.queue_database = 'bank'\n\
                    neobank.queue_poll_interval = 5\nneobank.queue_retry_delay = 50";
    let Some(cluster) = cluster("cqrs_worker", settings) else { return };
    let mut db = found(&cluster);
    let worker =
        "select pid from pg_stat_activity where backend_type = 'neobank queue worker' and datname = 'bank' limit 1";
    let mut dice = Dice(11);
    let mut commands = 0;
    for _ in 0..4 {
        cluster.wait_for(&mut db, &format!("exists ({worker})"), 120);
        submit(&mut db, 600);
        commands += 600;
        thread::sleep(Duration::from_millis(dice.below(80) as u64));
        let process = db.count(worker);
        cluster.kill(process);
        db = cluster.after_crash(db, "bank", 60);
    }
    cluster.wait_for(&mut db, ALL_DONE, 120);
    cluster.wait_for(&mut db, CAUGHT_UP, 120);
    is_exact(&mut db, commands);
    // A worker marks long histories without being asked.
    cluster.wait_for(&mut db, "exists (select from cqrs.activity_marks)", 120);
    // It acts as whoever submitted, not as itself.
    db.run(
        "create role low; select neobank.grant_usage('low', 'teller'); grant usage on schema app to low; \
         create function app.who(c cqrs.commands) returns jsonb language sql as 'select to_jsonb(current_user)'; \
         select cqrs.register_handler('Who', 'app.who'); \
         set role low; select cqrs.submit_command('Who', 'x', '{}', mode => 'queued'), \
           cqrs.submit_command('PayIn', 'x', '{}', mode => 'queued'); reset role",
    );
    cluster.wait_for(&mut db, ALL_DONE, 120);
    assert_eq!(
        db.lines(
            "select command_type, status, result, error_code from cqrs.commands where submitted_by = 'low' order by 1"
        ),
        ["PayIn|failed||42501", "Who|completed|\"low\"|"]
    );
    // An event that cannot be applied stops its projection, and nothing else.
    db.run(
        "select event_store.append_event('Deposit', gen_random_uuid(), 'E', '{}'); \
            create table app.broken (n int); \
            create function app.fail(event event_store.events, target regclass) returns void language plpgsql as \
              'begin raise exception using errcode = ''NB777''; end'; \
            select cqrs.create_projection('broken', 'app.fail', 'app.broken')",
    );
    cluster.wait_for(
        &mut db,
        "(select error_code = 'NB777' and failures > 1 from cqrs.projections where name = 'broken')",
        120,
    );
    submit(&mut db, 5);
    cluster.wait_for(&mut db, ALL_DONE, 120);
    cluster.wait_for(&mut db, "(select behind = 0 from cqrs.projection_status where name = 'totals')", 120);
    let log = cluster.log();
    assert!(!log.contains("PANIC"), "{log}");
}
