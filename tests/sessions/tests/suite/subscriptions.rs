//! Subscriptions in few sessions: what is handed out, acknowledged, given back, parked, replayed, refused.

use crate::events::{append, append_many};
use neobank_sessions::*;
use std::time::Duration;

/// Waits until what is committed can be read: transactions of other databases hold it back.
/// Waits until the question is answered by yes.
pub fn until(bank: &mut Bank, question: &str) {
    for _ in 0..6_000 {
        if bank.db.one(question) == "t" {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("never so: {question}");
}

/// Waits until the lease has run out.
pub fn run_out(bank: &mut Bank, token: i64) {
    until(
        bank,
        &format!(
            "select leased_until < clock_timestamp() from event_store.subscription_leases where lease_token = {token}"
        ),
    );
}

pub struct Delivery {
    pub event: Uuid,
    pub stream: Uuid,
    pub version: i64,
    pub attempt: i64,
    pub token: i64,
}

pub const COLUMNS: &str = "event_id, aggregate_id, event_version, attempt, lease_token";

pub fn deliveries(lines: &[String]) -> Vec<Delivery> {
    let delivery = |line: &String| {
        let parts: Vec<&str> = line.split('|').collect();
        let number = |at: usize| parts[at].parse().expect("a number");
        Delivery {
            event: parts[0].parse().expect("a uuid"),
            stream: parts[1].parse().expect("a uuid"),
            version: number(2),
            attempt: number(3),
            token: number(4),
        }
    };
    lines.iter().map(delivery).collect()
}

pub fn fetch(session: &mut Client, name: &str, batch: usize, consumer: &str) -> Vec<Delivery> {
    deliveries(&session.lines(&format!("select {COLUMNS} from event_store.fetch('{name}', {batch}, '{consumer}')")))
}

pub fn ack(session: &mut Client, name: &str, token: i64) -> i64 {
    session.count(&format!("select event_store.ack('{name}', {token})"))
}

/// Says that it failed, to be tried again at once.
pub fn nack(session: &mut Client, name: &str, delivery: &Delivery) -> String {
    let (token, event) = (delivery.token, delivery.event);
    session.one(&format!("select event_store.nack('{name}', {token}, '{event}', 'why', 0) is null"))
}

pub fn create(bank: &mut Bank, name: &str, more: &str) {
    bank.db.run(&format!("select event_store.create_subscription('{name}'{more})"));
}

/// A stream with that many events.
pub fn stream_of(bank: &mut Bank, events: usize) -> Uuid {
    let stream = Uuid::now_v7();
    let event = r#"{"event_type": "T", "event_data": {}, "tags": ["a", "b"]}"#;
    bank.db.run(&append_many(stream, &format!("[{}]", vec![event; events].join(",")), ""));
    all_read(&mut bank.db);
    stream
}

pub fn versions(deliveries: &[Delivery], stream: Uuid) -> Vec<i64> {
    deliveries.iter().filter(|delivery| delivery.stream == stream).map(|delivery| delivery.version).collect()
}

pub fn lag(bank: &mut Bank, name: &str, columns: &str) -> String {
    bank.db.one(&format!("select {columns} from event_store.subscription_lag where subscription = '{name}'"))
}

/// Nothing is left but the positions.
pub fn audit_quiet(bank: &mut Bank, name: &str) {
    let row = lag(bank, name, "events_behind, in_flight, retrying_streams, blocked_streams, parked, oldest_at is null");
    assert_eq!(row, "0|0|0|0|0|t");
    let held = format!(
        "select count(*) from event_store.subscription_partitions where subscription = '{name}' and lease_token is not null"
    );
    assert_eq!(bank.db.count(&held), 0);
}

#[test]
fn events_are_handed_out_in_the_order_of_their_streams() {
    let mut bank = Bank::new();
    let (a, b) = (stream_of(&mut bank, 3), stream_of(&mut bank, 2));
    create(&mut bank, "s", "");
    let first = fetch(&mut bank.db, "s", 2, "c");
    assert_eq!(versions(&first, a), [1, 2]);
    assert!(fetch(&mut bank.db, "s", 9, "c").iter().all(|delivery| delivery.stream == b), "a is in flight");
    assert_eq!(ack(&mut bank.db, "s", first[0].token), 2);
    let rest = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!(versions(&rest, a), [3]);
    assert!(rest[0].token > first[0].token);
    let open = "select lease_token, event_store.ack('s', lease_token) from event_store.subscription_leases \
                where not done order by 1";
    // Two streams may belong to one partition, which one lease has at a time.
    let apart = format!("select event_store.stream_partition('{a}', 16) <> event_store.stream_partition('{b}', 16)");
    let leases = if bank.db.one(&apart) == "t" { 2 } else { 1 };
    assert_eq!(bank.db.lines(open).len(), leases);
    assert_eq!(fetch(&mut bank.db, "s", 9, "c").len(), 0);
    audit_quiet(&mut bank, "s");
    let all = "select event_id, aggregate_id, global_position, created_at, event_version, aggregate_type, event_type, \
               created_by, event_data, metadata, tags";
    create(&mut bank, "t", "");
    let fetched = format!("{all} from event_store.fetch('t', 100, 'c') order by global_position");
    let stored = bank.db.lines(&format!("{all} from event_store.events order by global_position"));
    assert_eq!(bank.db.lines(&fetched), stored);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut bank = Bank::new();
    stream_of(&mut bank, 3);
    create(&mut bank, "s", "");
    let taken = fetch(&mut bank.db, "s", 3, "c");
    let (token, first, second) = (taken[0].token, taken[0].event, taken[1].event);
    let nobody = Uuid::now_v7();
    let long = "x".repeat(101);
    for (call, code) in [
        ("create_subscription('s')".to_owned(), "NB114"),
        ("create_subscription(null)".into(), "22004"),
        ("create_subscription(' ')".into(), "NB021"),
        (format!("create_subscription('{long}')"), "NB021"),
        ("create_subscription('t', null)".into(), "22004"),
        ("create_subscription('t', '[]')".into(), "NB021"),
        ("create_subscription('t', '{\"type\": [\"A\"]}')".into(), "NB021"),
        ("create_subscription('t', '{\"tags\": []}')".into(), "NB021"),
        ("create_subscription('t', start => null)".into(), "22004"),
        ("create_subscription('t', start => 'end')".into(), "NB021"),
        ("create_subscription('t', start => '-1')".into(), "NB021"),
        ("create_subscription('t', start => '9000000000000000000')".into(), "NB021"),
        ("create_subscription('t', partitions => 0)".into(), "NB021"),
        ("create_subscription('t', partitions => 257)".into(), "NB021"),
        ("create_subscription('t', partitions => null)".into(), "22004"),
        ("create_subscription('t', max_attempts => 0)".into(), "NB021"),
        ("create_subscription('t', max_attempts => null)".into(), "22004"),
        ("create_subscription('t', backoff_first_ms => -1)".into(), "NB021"),
        ("create_subscription('t', backoff_first_ms => 10, backoff_most_ms => 9)".into(), "NB021"),
        ("create_subscription('t', backoff_most_ms => 604800001)".into(), "NB021"),
        ("create_subscription('t', lease_ms => 0)".into(), "NB021"),
        ("create_subscription('t', lease_ms => null)".into(), "22004"),
        ("create_subscription('t', parked_blocks => null)".into(), "22004"),
        ("alter_subscription('t')".into(), "NB115"),
        ("alter_subscription(null)".into(), "22004"),
        ("alter_subscription('s', max_attempts => 1001)".into(), "NB021"),
        ("alter_subscription('s', backoff_most_ms => 999)".into(), "NB021"),
        ("reset_subscription('t', 'now')".into(), "NB115"),
        ("reset_subscription('s', null)".into(), "22004"),
        ("reset_subscription('s', 'never')".into(), "NB021"),
        ("drop_subscription('t')".into(), "NB115"),
        ("drop_subscription(null)".into(), "22004"),
        ("fetch('t', 1, 'c')".into(), "NB115"),
        ("fetch(null, 1, 'c')".into(), "22004"),
        ("fetch('s', 0, 'c')".into(), "NB021"),
        ("fetch('s', 1001, 'c')".into(), "NB021"),
        ("fetch('s', null, 'c')".into(), "22004"),
        ("fetch('s', 1, null)".into(), "22004"),
        ("fetch('s', 1, '')".into(), "NB021"),
        (format!("ack('t', {token})"), "NB115"),
        (format!("ack(null, {token})"), "22004"),
        ("ack('s', null)".into(), "22004"),
        ("ack('s', -1)".into(), "NB116"),
        (format!("ack('s', {token}, '{{{nobody}}}')"), "NB117"),
        (format!("ack('s', {token}, '{{{first}, {nobody}}}')"), "NB117"),
        (format!("ack('s', {token}, '{{null}}')"), "NB021"),
        (format!("ack('s', {token}, '{{{second}}}')"), "NB118"),
        (format!("nack('t', {token}, '{first}', 'why')"), "NB115"),
        (format!("nack('s', -1, '{first}', 'why')"), "NB116"),
        (format!("nack('s', null, '{first}', 'why')"), "22004"),
        (format!("nack('s', {token}, null, 'why')"), "22004"),
        (format!("nack('s', {token}, '{nobody}', 'why')"), "NB117"),
        (format!("nack('s', {token}, '{first}', null)"), "22004"),
        (format!("nack('s', {token}, '{first}', ' ')"), "NB021"),
        (format!("nack('s', {token}, '{first}', 'why', -1)"), "NB021"),
        (format!("nack('s', {token}, '{first}', 'why', park => null)"), "22004"),
        (format!("extend_lease('t', {token})"), "NB115"),
        ("extend_lease('s', -1)".into(), "NB116"),
        ("extend_lease('s', null)".into(), "22004"),
        (format!("extend_lease('s', {token}, 0)"), "NB021"),
        ("replay_parked('t')".into(), "NB115"),
        (format!("replay_parked('s', '{{{first}}}')"), "NB119"),
        ("replay_parked('s', '{null}')".into(), "NB021"),
        (format!("discard_parked('s', '{{{first}}}')"), "NB119"),
        ("discard_parked('s', null)".into(), "22004"),
    ] {
        refused(&mut bank.db, &format!("select event_store.{call}"), code);
    }
    let order = refused(&mut bank.db, &format!("select event_store.ack('s', {token}, '{{{second}}}')"), "NB118");
    let stream = taken[0].stream;
    assert_eq!(order.detail, format!("Version 2 of aggregate {stream} cannot be acknowledged before version 1."));
    assert_eq!(ack(&mut bank.db, "s", token), 3);
    refused(&mut bank.db, &format!("select event_store.extend_lease('s', {token})"), "NB116");
    audit_quiet(&mut bank, "s");
}

#[test]
fn a_filter_that_matches_rarely_is_read_past_in_pieces() {
    let mut bank = Bank::new();
    let filter = r#", '{"aggregate_types": ["Account", "Other"], "event_types": ["Rare"], "tags": ["x", "y"]}'"#;
    create(&mut bank, "s", filter);
    let often = r#"{"event_type": "Often", "event_data": {}}"#;
    let often = format!("[{}]", vec![often; 10_000].join(","));
    for _ in 0..11 {
        bank.db.run(&append_many(Uuid::now_v7(), &often, ""));
    }
    let stream = Uuid::now_v7();
    for (event_type, tags) in [("Rare", "{x}"), ("Rare", "{z,y,x}"), ("Often", "{x,y}"), ("Rare", "{x,y}")] {
        bank.db.run(&append(stream, event_type, "{}", &format!(", p_tags => '{tags}'")));
    }
    all_read(&mut bank.db);
    assert_eq!(fetch(&mut bank.db, "s", 10, "c").len(), 0);
    let passed = "select count(*) from event_store.events where global_position <= \
         (select min(position) from event_store.subscription_partitions)";
    assert_eq!(bank.db.count(passed), 100_000);
    assert_eq!(lag(&mut bank, "s", "events_behind"), "2");
    let taken = fetch(&mut bank.db, "s", 10, "c");
    assert_eq!(versions(&taken, stream), [2, 4]);
    ack(&mut bank.db, "s", taken[0].token);
    audit_quiet(&mut bank, "s");
    // The same while the stream is apart.
    bank.db.run("select event_store.reset_subscription('s', 'beginning')");
    fetch(&mut bank.db, "s", 10, "c");
    let taken = fetch(&mut bank.db, "s", 10, "c");
    nack(&mut bank.db, "s", &taken[0]);
    for version in [2, 4] {
        let taken = fetch(&mut bank.db, "s", 10, "c");
        assert_eq!(versions(&taken, stream), [version]);
        ack(&mut bank.db, "s", taken[0].token);
    }
    audit_quiet(&mut bank, "s");
}

#[test]
fn effects_and_acknowledgement_are_one_transaction() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 2);
    create(&mut bank, "s", "");
    bank.db.run("create table public.effects (event_id uuid primary key)");
    let handle = "with taken as materialized (select * from event_store.fetch('s', 1, 'c')), \
         done as (insert into public.effects select event_id from taken) \
         select sum(event_store.ack('s', lease_token)) from taken";
    for (end, effects) in [("rollback", 0), ("commit", 1), ("rollback", 1), ("commit", 2)] {
        let before = snapshot(&mut bank.db);
        bank.db.run("begin");
        assert_eq!(bank.db.count(handle), 1);
        bank.db.run(end);
        assert_eq!(bank.db.count("select count(*) from public.effects"), effects);
        assert_eq!(before == snapshot(&mut bank.db), end == "rollback", "the lease goes with the transaction");
    }
    // What one transaction holds is not in another's way, and a savepoint gives it back.
    let other = stream_of(&mut bank, 1);
    bank.db.run(&append(stream, "T", "{}", ""));
    all_read(&mut bank.db);
    let (mut one, mut two) = (bank.session(), bank.session());
    for (session, consumer) in [(&mut one, "one"), (&mut two, "two")] {
        session.run(&format!("begin; savepoint s; select count(*) from event_store.fetch('s', 1, '{consumer}')"));
        session.run("rollback to s");
    }
    one.run("rollback");
    two.run("rollback");
    let taken = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!((versions(&taken, stream), versions(&taken, other)), (vec![3], vec![1]));
    ack(&mut bank.db, "s", taken[0].token);
    audit_quiet(&mut bank, "s");
}

#[test]
fn consumers_at_once_share_the_partitions() {
    let mut bank = Bank::new();
    // The lease is also how long a consumer that is not seen has a share: events may be long in becoming final here.
    create(&mut bank, "s", ", lease_ms => 600000");
    let mut sessions: Vec<Client> = (0..4).map(|_| bank.session()).collect();
    for (n, session) in sessions.iter_mut().enumerate() {
        assert_eq!(fetch(session, "s", 100, &format!("c{n}")).len(), 0);
    }
    for _ in 0..64 {
        stream_of(&mut bank, 3);
    }
    // Each gets its share while the transactions of the others are open, and nobody waits.
    let mut seen = std::collections::HashMap::new();
    let mut tokens = Vec::new();
    for (n, session) in sessions.iter_mut().enumerate() {
        session.run("set lock_timeout = '10s'; begin");
        let taken = fetch(session, "s", 1000, &format!("c{n}"));
        assert!(!taken.is_empty(), "consumer {n} gets nothing");
        for delivery in &taken {
            assert_eq!(*seen.entry(delivery.stream).or_insert(n), n, "two have events of {}", delivery.stream);
        }
        tokens.push(taken[0].token);
    }
    for (session, token) in sessions.iter_mut().zip(tokens) {
        ack(session, "s", token);
        session.run("commit");
    }
    let rest = fetch(&mut bank.db, "s", 1000, "c0");
    assert_eq!(rest.len() + seen.len() * 3, 192);
    if let Some(last) = rest.last() {
        ack(&mut bank.db, "s", last.token);
    }
    audit_quiet(&mut bank, "s");
}

#[test]
fn a_late_committer_is_not_skipped() {
    let mut bank = Bank::new();
    create(&mut bank, "s", "");
    let (late, soon) = (Uuid::now_v7(), Uuid::now_v7());
    let mut writer = bank.session();
    writer.run("begin");
    writer.run(&append(late, "T", "{}", ""));
    bank.db.run(&append(soon, "T", "{}", ""));
    assert_eq!(fetch(&mut bank.db, "s", 9, "c").len(), 0, "the order is not final yet");
    writer.run("commit");
    all_read(&mut bank.db);
    let taken = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!(taken.iter().map(|delivery| delivery.stream).collect::<Vec<_>>(), [late, soon]);
}

#[test]
fn under_an_old_snapshot_a_fetch_starts_anew() {
    let mut bank = Bank::new();
    create(&mut bank, "s", "");
    for level in ["repeatable read", "serializable"] {
        stream_of(&mut bank, 2);
        let mut old = bank.session();
        old.run(&format!("begin isolation level {level}"));
        old.run("select count(*) from event_store.events");
        let taken = fetch(&mut bank.db, "s", 1, "c");
        ack(&mut bank.db, "s", taken[0].token);
        assert_eq!(old.fails("select * from event_store.fetch('s', 9, 'old')").code, "40001");
        old.run("rollback");
        old.run(&format!("begin isolation level {level}"));
        let taken = fetch(&mut old, "s", 9, "old");
        assert_eq!(taken.len(), 1);
        ack(&mut old, "s", taken[0].token);
        old.run("commit");
    }
    audit_quiet(&mut bank, "s");
}

#[test]
fn a_subscription_is_changed_paused_set_back_and_dropped() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 3);
    let second = bank.db.count("select global_position from event_store.events where event_version = 2");
    create(&mut bank, "now", ", start => 'now'");
    create(&mut bank, "at", &format!(", start => '{second}'"));
    bank.db.run(&append(stream, "T", "{}", ""));
    all_read(&mut bank.db);
    assert_eq!(versions(&fetch(&mut bank.db, "now", 9, "c"), stream), [4]);
    let taken = fetch(&mut bank.db, "at", 9, "c");
    assert_eq!(versions(&taken, stream), [3, 4]);
    let token = taken[0].token;
    bank.db.run(&format!("select event_store.reset_subscription('at', '{second}')"));
    refused(&mut bank.db, &format!("select event_store.ack('at', {token})"), "NB116");
    bank.db.run("select event_store.alter_subscription('at', paused => true, max_attempts => 7, lease_ms => 5)");
    assert_eq!(fetch(&mut bank.db, "at", 9, "c").len(), 0);
    assert_eq!(lag(&mut bank, "at", "paused, events_behind"), "t|2");
    bank.db.run("select event_store.alter_subscription('at', paused => false)");
    let settings = "select max_attempts, lease_ms, backoff_first_ms, parked_blocks from event_store.subscriptions \
                    where name = 'at'";
    assert_eq!(bank.db.one(settings), "7|5|1000|t");
    let taken = fetch(&mut bank.db, "at", 9, "c");
    assert_eq!(versions(&taken, stream), [3, 4]);
    nack(&mut bank.db, "at", &taken[0]);
    bank.db.run("select event_store.reset_subscription('at', 'beginning')");
    assert_eq!(versions(&fetch(&mut bank.db, "at", 9, "c"), stream), [1, 2, 3, 4]);
    bank.db.run("select event_store.reset_subscription('at', 'now')");
    audit_quiet(&mut bank, "at");
    for name in ["at", "now"] {
        bank.db.run(&format!("select event_store.drop_subscription('{name}')"));
    }
    let left: Vec<String> = snapshot(&mut bank.db)
        .into_iter()
        .filter(|line| line.starts_with("event_store.subscription") && !line.contains("|0|"))
        .collect();
    assert_eq!(left, [""; 0]);
    create(&mut bank, "at", "");
    refused(&mut bank.db, &format!("select event_store.ack('at', {token})"), "NB116");
    // Who holds events in a transaction is waited for.
    let mut holder = bank.session();
    holder.run("begin");
    let held = fetch(&mut holder, "at", 9, "c");
    let mut dropping = bank.session();
    let backend = Bank::backend_of(&mut dropping);
    let dropped = std::thread::spawn(move || dropping.run("select event_store.drop_subscription('at')"));
    bank.wait_until_blocked(backend);
    ack(&mut holder, "at", held[0].token);
    holder.run("commit");
    dropped.join().expect("it is dropped");
    refused(&mut bank.db, "select * from event_store.fetch('at', 1, 'c')", "NB115");
}

#[test]
fn consumers_fetch_and_operators_decide() {
    let mut bank = Bank::new();
    stream_of(&mut bank, 2);
    let [reader, teller, operator] = ["reader", "teller", "operator"].map(|level| {
        let role = bank.role(level);
        bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
        bank.session_as(&role)
    });
    let (mut reader, mut teller, mut operator) = (reader, teller, operator);
    operator.run("select event_store.create_subscription('s', lease_ms => 60000)");
    let decisions = [
        "select event_store.create_subscription('t')",
        "select event_store.alter_subscription('s')",
        "select event_store.reset_subscription('s', 'now')",
        "select event_store.drop_subscription('s')",
        "select event_store.replay_parked('s')",
        "select event_store.discard_parked('s', '{}')",
    ];
    for sql in decisions {
        refused_with_code_only(&mut teller, sql, "42501");
    }
    for sql in ["select * from event_store.fetch('s', 1, 'c')", "select event_store.ack('s', 1)"] {
        refused_with_code_only(&mut reader, sql, "42501");
    }
    for table in ["subscription_partitions", "subscription_leases", "subscription_streams", "subscriptions"] {
        refused_with_code_only(&mut teller, &format!("delete from event_store.{table}"), "42501");
    }
    let taken = fetch(&mut teller, "s", 9, "c");
    nack(&mut teller, "s", &taken[1]);
    assert_eq!(ack(&mut teller, "s", taken[0].token), 1);
    assert_eq!(
        reader.one("select events_behind, retrying_streams, consumers from event_store.subscription_lag"),
        "1|1|1"
    );
    assert_eq!(reader.count("select count(*) from event_store.parked_events"), 0);
    for sql in decisions {
        operator.run(sql);
        if sql.contains("drop") {
            operator.run("select event_store.create_subscription('s')");
        }
    }
}
