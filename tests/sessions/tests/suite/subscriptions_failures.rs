//! Events that fail, and consumers that do: retries, parked events, leases that run out.

use crate::events::append;
use crate::subscriptions::*;
use neobank_sessions::*;

#[test]
fn a_retry_waits_longer_each_time_and_holds_back_its_own_stream_only() {
    let mut bank = Bank::new();
    let failing = stream_of(&mut bank, 3);
    // One partition, so that the others would wait with it if it were the partition that waits.
    create(
        &mut bank,
        "s",
        ", partitions => 1, max_attempts => 4, backoff_first_ms => 3600000, backoff_most_ms => 10800000",
    );
    for (attempt, hours) in [(1, 1), (2, 2), (3, 3)] {
        let other = stream_of(&mut bank, 2);
        let taken = fetch(&mut bank.db, "s", 99, "c");
        assert_eq!(versions(&taken, other), [1, 2]);
        let mine: Vec<&Delivery> = taken.iter().filter(|delivery| delivery.stream == failing).collect();
        assert_eq!((mine[0].version, mine[0].attempt), (1, attempt));
        let waits = format!(
            "select round(extract(epoch from event_store.nack('s', {}, '{}', 'why') - clock_timestamp()) / 3600)",
            mine[0].token, mine[0].event
        );
        assert_eq!(bank.db.count(&waits), hours);
        ack(&mut bank.db, "s", mine[0].token);
        assert_eq!(fetch(&mut bank.db, "s", 99, "c").len(), 0);
        bank.db.run("update event_store.subscription_streams set retry_at = now()");
    }
    let last = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!(nack(&mut bank.db, "s", &last[0]), "t", "the fourth failure parks");
    assert_eq!(
        bank.db.lines(
            "select subscription, event_version, attempts, reason, consumer, blocks, replaying, event_type \
             from event_store.parked_events"
        ),
        ["s|1|4|why|c|t|f|T"]
    );
    // The later events of its stream wait for it; other streams do not.
    let other = stream_of(&mut bank, 1);
    let taken = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!((versions(&taken, other), taken.len()), (vec![1], 1));
    ack(&mut bank.db, "s", taken[0].token);
    assert_eq!(lag(&mut bank, "s", "events_behind, blocked_streams, parked"), "2|1|1");
    assert_eq!(bank.db.count("select event_store.replay_parked('s')"), 1);
    assert_eq!(bank.db.count("select event_store.replay_parked('s')"), 0);
    let taken = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!((versions(&taken, failing), taken[0].attempt), (vec![1], 1));
    ack(&mut bank.db, "s", taken[0].token);
    let taken = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!(versions(&taken, failing), [2, 3]);
    ack(&mut bank.db, "s", taken[0].token);
    // Caught up, the stream goes back to its partition.
    bank.db.run(&append(failing, "T", "{}", ""));
    all_read(&mut bank.db);
    let taken = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!((versions(&taken, failing), taken.len()), (vec![4], 1));
    ack(&mut bank.db, "s", taken[0].token);
    assert_eq!(bank.db.count("select count(*) from event_store.subscription_streams"), 0);
    audit_quiet(&mut bank, "s");
}

#[test]
fn a_parked_event_is_replayed_or_discarded() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 4);
    create(&mut bank, "s", ", max_attempts => 1");
    let taken = fetch(&mut bank.db, "s", 2, "c");
    ack_one(&mut bank.db, &taken[0]);
    assert_eq!(nack(&mut bank.db, "s", &taken[1]), "t");
    assert_eq!(fetch(&mut bank.db, "s", 9, "c").len(), 0);
    // It fails again when it is replayed, and blocks again.
    bank.db.run("select event_store.replay_parked('s')");
    let again = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!(versions(&again, stream), [2]);
    assert_eq!(nack(&mut bank.db, "s", &again[0]), "t");
    assert_eq!(fetch(&mut bank.db, "s", 9, "c").len(), 0);
    let discard = format!("select event_store.discard_parked('s', '{{{}}}')", again[0].event);
    assert_eq!(bank.db.count(&discard), 1);
    let rest = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!(versions(&rest, stream), [3, 4]);
    ack(&mut bank.db, "s", rest[0].token);
    audit_quiet(&mut bank, "s");
}

fn ack_one(session: &mut Client, delivery: &Delivery) {
    let sql = format!("select event_store.ack('s', {}, '{{{}}}')", delivery.token, delivery.event);
    assert_eq!(session.count(&sql), 1);
}

#[test]
fn where_parked_events_do_not_block_their_streams_go_on() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 4);
    create(&mut bank, "s", ", max_attempts => 1, parked_blocks => false");
    let taken = fetch(&mut bank.db, "s", 2, "c");
    assert_eq!(nack(&mut bank.db, "s", &taken[0]), "t");
    let rest = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!(versions(&rest, stream), [2], "what its partition had come to");
    ack(&mut bank.db, "s", rest[0].token);
    let rest = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!(versions(&rest, stream), [3, 4]);
    // Replayed while later events of the stream are in flight: it comes when those are done.
    bank.db.run("select event_store.replay_parked('s')");
    assert_eq!(fetch(&mut bank.db, "s", 9, "d").len(), 0);
    ack(&mut bank.db, "s", rest[0].token);
    bank.db.run(&append(stream, "T", "{}", ""));
    all_read(&mut bank.db);
    let again = fetch(&mut bank.db, "s", 9, "d");
    assert_eq!(versions(&again, stream), [1]);
    assert_eq!(lag(&mut bank, "s", "events_behind, in_flight, parked"), "2|1|0");
    ack(&mut bank.db, "s", again[0].token);
    let last = fetch(&mut bank.db, "s", 9, "d");
    assert_eq!(versions(&last, stream), [5]);
    ack(&mut bank.db, "s", last[0].token);
    assert_eq!(bank.db.count("select count(*) from event_store.subscription_parked"), 0);
    audit_quiet(&mut bank, "s");
}

#[test]
fn a_consumer_that_stalls_loses_its_lease() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 2);
    create(&mut bank, "s", ", lease_ms => 1, backoff_first_ms => 0");
    let lost = fetch(&mut bank.db, "s", 9, "slow");
    run_out(&mut bank, lost[0].token);
    let taken = fetch(&mut bank.db, "s", 9, "quick");
    assert_eq!((versions(&taken, stream), taken[0].attempt), (vec![1], 2), "one alone after a failure");
    assert!(taken[0].token > lost[0].token);
    let (token, event) = (lost[0].token, lost[0].event);
    for call in [
        format!("ack('s', {token})"),
        format!("ack('s', {token}, '{{{event}}}')"),
        format!("nack('s', {token}, '{event}', 'why')"),
        format!("extend_lease('s', {token})"),
    ] {
        refused(&mut bank.db, &format!("select event_store.{call}"), "NB116");
    }
    // Who is late, but before anybody else came, has still got it; who asks for more time gets it.
    run_out(&mut bank, taken[0].token);
    let longer =
        format!("select event_store.extend_lease('s', {}, 3600000) > now() + interval '59 minutes'", taken[0].token);
    assert_eq!(bank.db.one(&longer), "t");
    assert_eq!(fetch(&mut bank.db, "s", 9, "other").len(), 0);
    assert_eq!(ack(&mut bank.db, "s", taken[0].token), 1);
}

#[test]
fn the_event_that_kills_its_consumers_is_parked_and_no_other() {
    let mut bank = Bank::new();
    let mut streams: Vec<Uuid> = (0..6).map(|_| stream_of(&mut bank, 2)).collect();
    streams.sort();
    create(&mut bank, "s", ", lease_ms => 1, backoff_first_ms => 0, backoff_most_ms => 0, max_attempts => 3");
    let poison = streams[3];
    let mut handled = 0;
    for _ in 0..60 {
        let taken = fetch(&mut bank.db, "s", 100, "c");
        if taken.is_empty() {
            if lag(&mut bank, "s", "events_behind = 1 and parked = 1") == "t" {
                break;
            }
            continue;
        }
        // The consumer takes the events one by one, and dies at the one.
        if versions(&taken, poison).contains(&1) {
            run_out(&mut bank, taken[0].token);
        } else {
            handled += ack(&mut bank.db, "s", taken[0].token);
        }
    }
    assert_eq!(handled, 10);
    let parked = bank.db.lines("select aggregate_id, event_version, attempts, reason from event_store.parked_events");
    assert_eq!(parked, [format!("{poison}|1|3|the lease ran out")]);
}

#[test]
fn an_acknowledgement_that_comes_again_changes_nothing() {
    let mut bank = Bank::new();
    stream_of(&mut bank, 4);
    create(&mut bank, "s", "");
    let taken = fetch(&mut bank.db, "s", 4, "c");
    let token = taken[0].token;
    let some = format!("select event_store.ack('s', {token}, '{{{}, {}}}')", taken[1].event, taken[0].event);
    assert_eq!(bank.db.count(&some), 2);
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.count(&some), 0);
    let given = format!("select event_store.nack('s', {token}, '{}', 'why', 60000)", taken[2].event);
    assert_eq!(before, snapshot(&mut bank.db));
    let retry_at = bank.db.one(&given);
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.one(&given), retry_at);
    assert_eq!(before, snapshot(&mut bank.db));
    // What was given back, and what was behind it, is not this consumer's any more.
    for sql in [
        format!("select event_store.ack('s', {token}, '{{{}}}')", taken[2].event),
        format!("select event_store.ack('s', {token}, '{{{}}}')", taken[3].event),
        format!("select event_store.nack('s', {token}, '{}', 'why')", taken[3].event),
    ] {
        refused(&mut bank.db, &sql, "NB117");
    }
    assert_eq!(ack(&mut bank.db, "s", token), 0);
    assert_eq!(lag(&mut bank, "s", "events_behind, in_flight, retrying_streams"), "2|0|1");
    assert_eq!(fetch(&mut bank.db, "s", 9, "c").len(), 0, "it waits");
    let parks = format!("select event_store.nack('s', {token}, '{}', 'why', park => true) is null", taken[0].event);
    refused(&mut bank.db, &parks, "NB117");
    bank.db.run("update event_store.subscription_streams set retry_at = now()");
    let again = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!((again[0].version, again[0].attempt, again.len()), (3, 2, 1));
    let parks =
        format!("select event_store.nack('s', {}, '{}', 'why', park => true) is null", again[0].token, again[0].event);
    for _ in 0..2 {
        assert_eq!(bank.db.one(&parks), "t");
    }
    refused(&mut bank.db, &given, "NB117");
    assert_eq!(lag(&mut bank, "s", "events_behind, blocked_streams, parked"), "1|1|1");
}

#[test]
fn leases_of_a_restore_are_over() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 2);
    create(&mut bank, "s", ", lease_ms => 3600000");
    let taken = fetch(&mut bank.db, "s", 9, "c");
    // What a dump has, and a restore writes.
    bank.db.run(
        "create table public.dumped as select * from event_store.subscription_leases; \
         delete from event_store.subscription_leases; \
         insert into event_store.subscription_leases select * from public.dumped",
    );
    let again = fetch(&mut bank.db, "s", 9, "c");
    assert_eq!((versions(&again, stream), again[0].attempt), (vec![1, 2], 1), "it was nobody's fault");
    refused(&mut bank.db, &format!("select event_store.ack('s', {})", taken[0].token), "NB116");
}

#[test]
fn a_reset_beside_acknowledgements_ends_in_no_deadlock() {
    // The reset had the partitions of a fetch that had just ended and wanted its lease; the acknowledgement had the lease
    // and wanted the partition.
    for (change, code) in [("reset_subscription('s', 'beginning')", "NB116"), ("drop_subscription('s')", "NB115")] {
        let mut bank = Bank::new();
        create(&mut bank, "s", ", partitions => 2");
        // Each of the two is seen, so that it leaves the other its share.
        let mut consumers = ["a", "b"].map(|consumer| {
            let mut session = bank.session();
            assert_eq!(fetch(&mut session, "s", 9, consumer).len(), 0);
            (consumer, session)
        });
        for _ in 0..8 {
            stream_of(&mut bank, 1);
        }
        let leases = consumers.each_mut().map(|(consumer, session)| {
            session.run("begin");
            fetch(session, "s", 99, consumer)
        });
        assert_eq!(leases[0].len() + leases[1].len(), 8, "each has its partition");
        let mut operator = bank.session();
        let backend = Bank::backend_of(&mut operator);
        let change = format!("select event_store.{change}");
        let changed = std::thread::spawn(move || operator.try_lines(&change).map(drop));
        bank.wait_until_blocked(backend);
        let [(_, mut first), (_, mut second)] = consumers;
        first.run("commit");
        let backend = Bank::backend_of(&mut first);
        let token = leases[0][0].token;
        let acknowledged =
            std::thread::spawn(move || first.try_lines(&format!("select event_store.ack('s', {token})")));
        bank.wait_until_blocked(backend);
        second.run("commit");
        changed.join().expect("it answers").expect("nobody is in its way");
        assert_eq!(acknowledged.join().expect("it answers").expect_err("all was forgotten").code, code);
    }
}

#[test]
fn an_event_is_not_parked_before_an_earlier_one_of_its_stream() {
    // The stream was past the earlier one, went back to it when that failed, and handed out the parked one behind it.
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 3);
    for most in [1, 5] {
        let name = format!("s{most}");
        create(&mut bank, &name, &format!(", max_attempts => {most}, backoff_first_ms => 0"));
        let taken = fetch(&mut bank.db, &name, 99, "c");
        assert_eq!(versions(&taken, stream), [1, 2, 3]);
        let given = |at: usize, park: bool| {
            let Delivery { token, event, .. } = &taken[at];
            format!("select event_store.nack('{name}', {token}, '{event}', 'why', park => {park}) is null")
        };
        refused(&mut bank.db, &given(1, true), "NB118");
        if most == 1 {
            refused(&mut bank.db, &given(1, false), "NB118");
        } else {
            assert_eq!(bank.db.one(&given(1, false)), "f", "it is tried again");
        }
        assert_eq!(bank.db.one(&given(0, true)), "t");
        assert_eq!(bank.db.lines("select event_version from event_store.parked_events order by 1"), ["1"]);
        assert_eq!(
            bank.db.count(&format!("select event_store.discard_parked('{name}', array['{}'::uuid])", taken[0].event)),
            1
        );
        let next = fetch(&mut bank.db, &name, 99, "c");
        assert_eq!(versions(&next, stream)[0], 2);
        bank.db.run(&format!("select event_store.drop_subscription('{name}')"));
    }
}

#[test]
fn what_is_discarded_while_it_is_replayed_stays_so() {
    // If its consumer failed all the same, the stream went back to it, and all later ones were handed out once more.
    for fails in ["nack", "lease"] {
        let mut bank = Bank::new();
        let stream = stream_of(&mut bank, 4);
        create(&mut bank, "s", ", parked_blocks => false, backoff_first_ms => 0, lease_ms => 60000");
        let taken = fetch(&mut bank.db, "s", 99, "c");
        assert_eq!(nack_parking(&mut bank.db, &taken[0]), "t");
        let taken = fetch(&mut bank.db, "s", 99, "c");
        assert_eq!(versions(&taken, stream), [2, 3, 4]);
        ack(&mut bank.db, "s", taken[0].token);
        bank.db.run("select event_store.replay_parked('s')");
        let replayed = fetch(&mut bank.db, "s", 99, "c");
        assert_eq!(versions(&replayed, stream), [1]);
        assert_eq!(discard(&mut bank.db, &replayed[0]), 1);
        if fails == "nack" {
            let Delivery { token, event, .. } = &replayed[0];
            bank.db.run(&format!("select event_store.nack('s', {token}, '{event}', 'why')"));
        } else {
            bank.db.run("update event_store.subscription_leases set leased_until = now() where not done");
        }
        for _ in 0..3 {
            assert_eq!(versions(&fetch(&mut bank.db, "s", 99, "c"), stream), [0_i64; 0], "{fails}");
        }
        // It goes on with what comes.
        bank.db.run(&append(stream, "T", "{}", ""));
        all_read(&mut bank.db);
        assert_eq!(versions(&fetch(&mut bank.db, "s", 99, "c"), stream), [5], "{fails}");
    }
}

#[test]
fn failures_are_those_of_one_event() {
    // What failed while it was replayed and was then discarded was counted as failures of the next event, which came to be
    // parked too early and waited for the other's backoff.
    for in_flight in [false, true] {
        let mut bank = Bank::new();
        let stream = stream_of(&mut bank, 2);
        create(&mut bank, "s", ", max_attempts => 3, backoff_first_ms => 0");
        let taken = fetch(&mut bank.db, "s", 99, "c");
        assert_eq!(nack_parking(&mut bank.db, &taken[0]), "t");
        bank.db.run("select event_store.replay_parked('s')");
        for attempt in [1, 2] {
            let again = fetch(&mut bank.db, "s", 99, "c");
            assert_eq!((versions(&again, stream), again[0].attempt), (vec![1], attempt));
            if in_flight && attempt == 2 {
                break;
            }
            let given = nack_after(&mut bank.db, &again[0], 3_600_000 * (attempt - 1));
            assert_eq!(given, nack_after(&mut bank.db, &again[0], 1), "the same answer when it comes again");
        }
        assert_eq!(discard(&mut bank.db, &taken[0]), 1);
        if in_flight {
            bank.db.run("update event_store.subscription_leases set leased_until = now() where not done");
        }
        let next = fetch(&mut bank.db, "s", 99, "c");
        assert_eq!((versions(&next, stream), next[0].attempt), (vec![2], 1), "in flight: {in_flight}");
        ack(&mut bank.db, "s", next[0].token);
        audit_quiet(&mut bank, "s");
    }
}

#[test]
fn an_event_keeps_its_failures_while_an_earlier_one_is_replayed() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 3);
    create(&mut bank, "s", ", max_attempts => 3, backoff_first_ms => 0, parked_blocks => false");
    let taken = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!(nack_parking(&mut bank.db, &taken[0]), "t");
    let taken = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!((versions(&taken, stream), taken[0].attempt), (vec![2, 3], 1));
    nack_after(&mut bank.db, &taken[0], 0);
    bank.db.run("select event_store.replay_parked('s')");
    let replayed = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!((versions(&replayed, stream), replayed[0].attempt), (vec![1], 1), "the other one's failure is not its");
    ack(&mut bank.db, "s", replayed[0].token);
    let next = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!((versions(&next, stream), next[0].attempt), (vec![2], 2));
    ack(&mut bank.db, "s", next[0].token);
    let last = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!((versions(&last, stream), last[0].attempt), (vec![3], 1));
}

#[test]
fn a_fetch_with_an_older_snapshot_does_not_park_again_what_was_discarded() {
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 2);
    create(&mut bank, "s", ", max_attempts => 1");
    let taken = fetch(&mut bank.db, "s", 1, "c");
    assert_eq!(nack_parking(&mut bank.db, &taken[0]), "t");
    bank.db.run("select event_store.replay_parked('s')");
    assert_eq!(versions(&fetch(&mut bank.db, "s", 9, "c"), stream), [1]);
    bank.db.run("update event_store.subscription_leases set leased_until = now() where not done");
    let mut other = bank.session();
    other.run("begin isolation level repeatable read");
    other.run("select count(*) from event_store.subscriptions");
    assert_eq!(discard(&mut bank.db, &taken[0]), 1);
    assert_eq!(other.fails("select count(*) from event_store.fetch('s', 9, 'd')").code, "40001");
    other.run("rollback");
    assert_eq!(versions(&fetch(&mut bank.db, "s", 9, "c"), stream), [2]);
    assert_eq!(bank.db.count("select count(*) from event_store.parked_events"), 0);
}

#[test]
fn what_lies_between_two_failures_is_not_lost() {
    // The last one failed, then the first was parked: the stream went on with the last, and nobody was given the others.
    let mut bank = Bank::new();
    let stream = stream_of(&mut bank, 4);
    create(&mut bank, "s", ", backoff_first_ms => 0");
    let taken = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!(versions(&taken, stream), [1, 2, 3, 4]);
    nack_after(&mut bank.db, &taken[3], 0);
    assert_eq!(nack_parking(&mut bank.db, &taken[0]), "t");
    assert_eq!(discard(&mut bank.db, &taken[0]), 1);
    let rest = fetch(&mut bank.db, "s", 99, "c");
    assert_eq!(versions(&rest, stream), [2, 3, 4]);
    ack(&mut bank.db, "s", rest[0].token);
    audit_quiet(&mut bank, "s");
}

fn nack_parking(session: &mut Client, delivery: &Delivery) -> String {
    let Delivery { token, event, .. } = delivery;
    session.one(&format!("select event_store.nack('s', {token}, '{event}', 'why', park => true) is null"))
}

fn nack_after(session: &mut Client, delivery: &Delivery, delay_ms: i64) -> String {
    let Delivery { token, event, .. } = delivery;
    session.one(&format!("select event_store.nack('s', {token}, '{event}', 'why', retry_in_ms => {delay_ms})"))
}

fn discard(session: &mut Client, delivery: &Delivery) -> i64 {
    session.count(&format!("select event_store.discard_parked('s', array['{}'::uuid])", delivery.event))
}
