//! Many consumers over writers that take long and short: nothing is skipped, doubled or out of order.

use crate::events::append;
use crate::subscriptions::{COLUMNS, Delivery, audit_quiet, deliveries, until};
use neobank_sessions::*;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const STREAMS: usize = 24;
const CONSUMERS: usize = 8;

/// What one consumer does until it is told to stop.
type Work = fn(&mut Client, usize, &mut Dice) -> Result<(), Refusal>;

fn connect(name: &str) -> Client {
    let server = server();
    server.connect(name, &server.superuser).expect("the database lets us in")
}

/// Appends to all streams, in transactions of one and of many events, some rolled back.
fn write(name: &str, streams: &[Uuid], mut dice: Dice, rounds: usize) {
    let mut session = connect(name);
    for round in 0..rounds {
        let long = dice.below(4) == 0;
        session.run("begin");
        // In their order, so that two writers do not wait for each other.
        let mut at = dice.below(4);
        while at < streams.len() {
            session.run(&append(streams[at], "T", &format!(r#"{{"round": {round}}}"#), ""));
            if long && dice.below(4) == 0 {
                thread::sleep(Duration::from_millis(5));
            }
            at += 1 + dice.below(if long { 3 } else { streams.len() });
        }
        session.run(if dice.below(6) == 0 { "rollback" } else { "commit" });
    }
}

fn consume(name: String, n: usize, seed: u64, stop: Arc<AtomicBool>, work: Work) {
    let mut dice = Dice(seed);
    let mut session = connect(&name);
    while !stop.load(Ordering::Relaxed) {
        match work(&mut session, n, &mut dice) {
            Ok(()) => {}
            // Ended by the test, or by the server on its behalf.
            Err(refusal) if ["client", "57P01"].contains(&refusal.code.as_str()) => session = connect(&name),
            Err(refusal) if refusal.code == "NB116" => session.run("rollback"),
            Err(refusal) => panic!("consumer {n}: {refusal}"),
        }
    }
}

/// Writers and consumers at once, consumers killed now and then, until all is handled.
fn run(bank: &mut Bank, work: Work, kills: bool) {
    let (seed, rounds) = (seed(), setting("ROUNDS", 40) as usize);
    let streams: Vec<Uuid> = (0..STREAMS).map(|_| Uuid::now_v7()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let consumers: Vec<JoinHandle<()>> = (0..CONSUMERS)
        .map(|n| {
            let (name, stop) = (bank.name.clone(), Arc::clone(&stop));
            thread::spawn(move || consume(name, n, seed + n as u64, stop, work))
        })
        .collect();
    let writers: Vec<JoinHandle<()>> = (0..3)
        .map(|n| {
            let (name, streams) = (bank.name.clone(), streams.clone());
            thread::spawn(move || write(&name, &streams, Dice(seed + 100 + n), rounds))
        })
        .collect();
    let mut dice = Dice(seed + 200);
    let started = Instant::now();
    let quiet = "select events_behind = 0 and in_flight = 0 and retrying_streams = 0 from event_store.subscription_lag";
    while !(writers.iter().all(JoinHandle::is_finished) && bank.db.one(quiet) == "t") {
        assert!(
            started.elapsed() < Duration::from_secs(240 + rounds as u64),
            "seed {seed}: {:?}",
            bank.db.lines("table event_store.subscription_lag")
        );
        assert!(!consumers.iter().any(JoinHandle::is_finished), "seed {seed}: a consumer failed");
        if kills && dice.below(4) == 0 {
            bank.db.run(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where datname = current_database() and query ~ 'consumer' and pid <> pg_backend_pid() \
                 order by random() limit 1",
            );
        }
        thread::sleep(Duration::from_millis(30));
    }
    for writer in writers {
        writer.join().unwrap_or_else(|_| panic!("seed {seed}: a writer failed"));
    }
    stop.store(true, Ordering::Relaxed);
    for consumer in consumers {
        consumer.join().unwrap_or_else(|_| panic!("seed {seed}: a consumer failed"));
    }
    until(bank, "select count(*) = 0 from event_store.subscription_leases where not done");
    audit_quiet(bank, "s");
    let events = bank.db.count("select count(*) from event_store.events");
    figure("subscriptions", &format!("{events} events, {:.1} s, seed {seed}", started.elapsed().as_secs_f64()));
}

fn taken(session: &mut Client, n: usize, batch: usize) -> Result<Vec<Delivery>, Refusal> {
    let sql = format!("select {COLUMNS} from event_store.fetch('s', {batch}, 'consumer {n}')");
    session.try_lines(&sql).map(|lines| deliveries(&lines))
}

/// What its own transaction did of each event, in one statement.
fn note(delivery: &Delivery) -> String {
    format!(
        "insert into public.handled (event_id, stream, version, token) values ('{}', '{}', {}, {}) /* consumer */",
        delivery.event, delivery.stream, delivery.version, delivery.token
    )
}

const TABLE: &str = "create table public.handled (seq bigint generated always as identity, event_id uuid, stream uuid, \
     version int, token bigint)";

/// Everything in one transaction, some rolled back, some events given back.
fn in_one_transaction(session: &mut Client, n: usize, dice: &mut Dice) -> Result<(), Refusal> {
    session.try_lines("begin")?;
    let taken = taken(session, n, 1 + dice.below(40))?;
    if taken.is_empty() {
        session.try_lines("commit")?;
        thread::sleep(Duration::from_millis(5));
        return Ok(());
    }
    let fails = dice.below(taken.len() * 4);
    let mut given_back = None;
    for (at, delivery) in taken.iter().enumerate() {
        if given_back == Some(delivery.stream) {
            continue;
        }
        if at == fails {
            let (token, event) = (delivery.token, delivery.event);
            session.try_lines(&format!("select event_store.nack('s', {token}, '{event}', 'consumer', 0)"))?;
            given_back = Some(delivery.stream);
        } else {
            session.try_lines(&note(delivery))?;
        }
    }
    session.try_lines(&format!("select event_store.ack('s', {}) /* consumer */", taken[0].token))?;
    session.try_lines(if dice.below(5) == 0 { "rollback" } else { "commit" }).map(drop)
}

#[test]
fn in_one_transaction_every_event_is_handled_exactly_once_and_in_order() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    bank.db.run(TABLE);
    bank.db.run("select event_store.create_subscription('s', max_attempts => 1000)");
    run(&mut bank, in_one_transaction, true);
    let all = "select count(*), count(distinct event_id), \
         (select count(*) from event_store.events e where not exists \
             (select from public.handled h where h.event_id = e.event_id)) from public.handled";
    let events = bank.db.one("select count(*) from event_store.events");
    assert_eq!(bank.db.one(all), format!("{events}|{events}|0"));
    let disorder = "select count(*) from (select version, lag(version, 1, 0) over (partition by stream order by seq) \
         as before from public.handled) x where version <> before + 1";
    assert_eq!(bank.db.count(disorder), 0);
}

/// Each event for itself, with failures of every kind.
fn with_leases(session: &mut Client, n: usize, dice: &mut Dice) -> Result<(), Refusal> {
    let taken = taken(session, n, 1 + dice.below(30))?;
    if taken.is_empty() {
        thread::sleep(Duration::from_millis(5));
        return Ok(());
    }
    let token = taken[0].token;
    let mut given_back = HashSet::new();
    for delivery in &taken {
        if given_back.contains(&delivery.stream) {
            continue;
        }
        let event = delivery.event;
        match dice.below(60) {
            // It stalls.
            0 => return Ok(()),
            1 => {
                session.try_lines(&format!("select event_store.nack('s', {token}, '{event}', 'consumer', 0)"))?;
                given_back.insert(delivery.stream);
            }
            _ => {
                session.try_lines(&note(delivery))?;
                let acked = format!(
                    "insert into public.acked select '{event}', event_store.ack('s', {token}, '{{{event}}}') /* consumer */"
                );
                session.try_lines(&acked)?;
            }
        }
    }
    Ok(())
}

#[test]
fn with_leases_every_event_is_handled_and_none_out_of_order() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    bank.db.run(TABLE);
    bank.db.run("create table public.acked (event_id uuid, count int)");
    // Short enough that busy consumers lose theirs, too.
    bank.db.run(
        "select event_store.create_subscription('s', max_attempts => 1000, lease_ms => 300, backoff_first_ms => 1, \
         backoff_most_ms => 10)",
    );
    run(&mut bank, with_leases, true);
    let skipped = "select count(*) from event_store.events e where \
         (select coalesce(sum(count), 0) from public.acked a where a.event_id = e.event_id) <> 1";
    assert_eq!(bank.db.count(skipped), 0, "each is acknowledged once, with the lease that holds then");
    // Again is allowed, ahead is not.
    let disorder = "select count(*) from (select version, coalesce(max(version) over (partition by stream order by seq \
         rows between unbounded preceding and 1 preceding), 0) as before from public.handled) x where version > before + 1";
    assert_eq!(bank.db.count(disorder), 0);
}
