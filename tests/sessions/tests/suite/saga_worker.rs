//! Background workers at sagas, and processes killed in the middle of them, in a cluster of the test's own.

use neobank_sessions::*;
use std::thread;
use std::time::Duration;

/// Of the steps of a saga the last one fails for every third. What a step does is a posting and a row.
const WORLD: &str = "create extension neobank; create schema app; \
    create table app.account as select banking.open_account(banking.create_customer('A', 'B')) as id; \
    create table app.effects (effect_id uuid, saga_id uuid, kind text); \
    create function app.pay(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb language plpgsql \
      as $$ begin perform txn_processing.deposit(id, 1, transaction_id => effect_id) from app.account; \
        insert into app.effects values (effect_id, saga_id, 'done'); return to_jsonb(effect_id); end $$; \
    create function app.take_back(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
      language plpgsql as $$ begin perform txn_processing.reverse((outputs ->> 'first')::uuid, 'undone'); \
        insert into app.effects values (effect_id, saga_id, 'undone'); return null; end $$; \
    create function app.fail(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
      language plpgsql as $$ begin if (context ->> 'n')::int % 3 = 0 then raise exception using errcode = 'NB777'; \
        end if; insert into app.effects values (effect_id, saga_id, 'done'); return null; end $$; \
    select saga.define('work', '[{\"name\": \"first\", \"action\": \"app.pay\", \"compensation\": \"app.take_back\"}, \
      {\"name\": \"wait\", \"delay_ms\": 20}, {\"name\": \"last\", \"action\": \"app.fail\", \"max_attempts\": 1}]')";

#[test]
fn workers_run_sagas_to_their_end_and_may_be_killed() {
    let settings = "shared_preload_libraries = 'neobank'\nneobank.queue_workers = 2\nneobank.queue_database = 'bank'\n\
                    neobank.queue_poll_interval = 5";
    let Some(cluster) = PrivateCluster::start("saga_worker", settings) else {
        return skipped("killed workers at sagas", "the server's initdb or pg_ctl cannot be found");
    };
    cluster.connect("postgres").run("create database bank");
    let mut db = cluster.connect("bank");
    db.run(WORLD);
    let worker =
        "select pid from pg_stat_activity where backend_type = 'neobank queue worker' and datname = 'bank' limit 1";
    let mut dice = Dice(11);
    let mut sagas = 0;
    for _ in 0..4 {
        cluster.wait_for(&mut db, &format!("exists ({worker})"), 120);
        db.run("select saga.start('work', jsonb_build_object('n', n)) from generate_series(1, 300) n");
        sagas += 300;
        thread::sleep(Duration::from_millis(20 + dice.below(150) as u64));
        let process = db.count(worker);
        cluster.kill(process);
        db = cluster.after_crash(db, "bank", 60);
    }
    cluster.wait_for(&mut db, "not exists (select from saga.running_sagas)", 120);
    assert_eq!(
        db.lines("select status, count(*) from saga.sagas group by 1 order by 1"),
        [format!("completed|{}", sagas / 3 * 2), format!("failed|{}", sagas / 3)]
    );
    // Each effect once: two of a saga that completed, one and its undoing of one that failed.
    assert_eq!(
        db.lines(
            "select s.status, count(distinct s.saga_id), count(*), count(distinct e.effect_id), \
               count(*) filter (where e.kind = 'undone') \
             from saga.sagas s join app.effects e using (saga_id) group by 1 order by 1"
        ),
        [
            format!("completed|{0}|{1}|{1}|0", sagas / 3 * 2, sagas / 3 * 4),
            format!("failed|{0}|{1}|{1}|{0}", sagas / 3, sagas / 3 * 2)
        ]
    );
    let balance = db.one("select current_balance from banking.accounts join app.account on id = account_id");
    assert_eq!(balance, format!("{}.00", sagas / 3 * 2));
    // A worker interrupts a step that exceeds its timeout, and goes on.
    db.run(
        "create function app.linger(saga_id uuid, effect_id uuid, context jsonb, outputs jsonb) returns jsonb \
         language sql as $$ select to_jsonb(pg_sleep(600)::text) $$; \
         select saga.define('slow', '[{\"name\": \"linger\", \"action\": \"app.linger\", \"timeout_ms\": 200}]'); \
         select saga.start('slow') from generate_series(1, 3); select saga.start('work', '{\"n\": 1}')",
    );
    cluster.wait_for(&mut db, "not exists (select from saga.running_sagas)", 120);
    let slow = "select status, error_code, count(*) from saga.sagas where saga_type = 'slow' group by 1, 2";
    assert_eq!(db.lines(slow), ["failed|NB210|3"]);
    audit(&mut db);
    assert!(!cluster.log().contains("PANIC"), "{}", cluster.log());
}
