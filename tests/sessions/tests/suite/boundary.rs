//! Appends on a condition about events of other streams: what was decided on still holds when the event is written.

use crate::events::{append, audit_events};
use neobank_sessions::*;
use std::thread;

fn event(tags: &[&str]) -> String {
    format!(r#"[{{"event_type": "Taken", "event_data": {{}}, "tags": {}}}]"#, serde_json::json!(tags))
}

/// `condition`: arguments from after_position on.
fn append_if(events: &str, condition: &str) -> String {
    format!("select event_store.append_events_if('Account', '{}', '{events}', {condition})", Uuid::now_v7())
}

/// A plain append of one event with these tags to a stream of its own.
fn tagged(event_type: &str, tags: &str) -> String {
    append(Uuid::now_v7(), event_type, "{}", &format!(", p_tags => '{tags}'"))
}

#[test]
fn a_name_is_taken_once() {
    let mut bank = Bank::new();
    let mine = event(&["email:ada@example.org", "branch:7"]);
    let free = "0, tags => '{email:ada@example.org}'";
    assert_eq!(bank.db.one(&append_if(&mine, free)), "1");
    let (id, position) = (
        bank.db.id("select event_id from event_store.events"),
        bank.db.count("select global_position from event_store.events"),
    );
    let refusal = refused(&mut bank.db, &append_if(&mine, free), "NB110");
    assert_eq!(refusal.detail, format!("Event {id} of type \"Taken\" is at position {position}, after 0."));
    bank.db.run(&append_if(&event(&["email:bob@example.org"]), "0, tags => '{email:bob@example.org}'"));
    let read = all_read(&mut bank.db);
    bank.db.run(&append_if(&mine, &format!("{read}, tags => '{{email:ada@example.org}}'")));
    audit_events(&mut bank.db);
}

#[test]
fn a_condition_is_met_by_type_and_all_tags_after_the_position() {
    let mut bank = Bank::new();
    bank.db.run(&tagged("Opened", "{a,b}"));
    let read = all_read(&mut bank.db);
    bank.db.run(&tagged("Opened", "{b,c}"));
    bank.db.run(&append(Uuid::now_v7(), "Plain", "{}", ""));
    let new = event(&["x"]);
    for (condition, met) in [
        ("0, null, '{a}'", true),
        ("0, null, '{b,a}'", true),
        ("0, null, '{a,c}'", false),
        ("0, null, '{d}'", false),
        ("0, '{Opened}', null", true),
        ("0, '{Closed,Plain}', null", true),
        ("0, '{Closed}', null", false),
        ("0, '{Opened,Closed}', '{a}'", true),
        ("0, '{Plain}', '{a}'", false),
        ("read, null, '{a}'", false),
        ("read, null, '{b}'", true),
        ("read, '{Plain}'", true),
        ("read, '{Closed}', '{b}'", false),
    ] {
        let condition = condition.replace("read", &read.to_string());
        if met {
            refused(&mut bank.db, &append_if(&new, &condition), "NB110");
        } else {
            assert_eq!(bank.db.one(&append_if(&new, &condition)), "1", "{condition}");
        }
    }
    audit_events(&mut bank.db);
}

#[test]
fn a_condition_finds_one_event_among_many() {
    let mut bank = Bank::new();
    bank.db.run(&tagged("Needle", "{needle}"));
    let hay = r#"(select jsonb_agg('{"event_type": "Hay", "event_data": {}, "tags": ["hay"]}'::jsonb) from generate_series(1, 500))"#;
    bank.db.run(&format!("select event_store.append_events('Account', '{}', {hay})", Uuid::now_v7()));
    bank.db.run(&tagged("Late", "{late,hay}"));
    let new = event(&[]);
    for condition in
        ["0, null, '{needle}'", "0, null, '{late,hay}'", "0, '{Late}', '{late}'", "0, '{Late}'", "0, '{Needle}'"]
    {
        refused(&mut bank.db, &append_if(&new, condition), "NB110");
    }
    for condition in ["0, null, '{none}'", "0, null, '{needle,hay}'", "0, '{Hay}', '{late}'", "0, '{None}'"] {
        assert_eq!(bank.db.one(&append_if(&new, condition)), "1", "{condition}");
    }
}

#[test]
fn a_retry_is_acknowledged_whatever_has_come_since() {
    let mut bank = Bank::new();
    let id = Uuid::now_v7();
    let events = format!(r#"[{{"event_type": "Taken", "event_data": {{}}, "tags": ["t"], "event_id": "{id}"}}]"#);
    let once = append_if(&events, "0, null, '{t}', 0");
    assert_eq!(bank.db.one(&once), "1");
    let before = snapshot(&mut bank.db);
    assert_eq!(bank.db.one(&once), "1", "its own event does not break its condition");
    assert_eq!(before, snapshot(&mut bank.db));
    refused(&mut bank.db, &append_if(&event(&["t"]), "0, null, '{t}'"), "NB110");
    refused(&mut bank.db, &append_if(&events, "0, null, '{t}'"), "NB103");
    refused(&mut bank.db, &append_if(&event(&["u"]), "0, null, '{u}', 1"), "NB101");
}

#[test]
fn a_condition_that_is_none_is_refused() {
    let mut bank = Bank::new();
    let (new, many) = (event(&["x"]), "array_fill('a'::text, '{101}')");
    for (sql, code) in [
        (append_if(&new, "0"), "NB021"),
        (append_if(&new, "0, null, null"), "NB021"),
        (append_if(&new, "0, '{}'"), "NB021"),
        (append_if(&new, "0, null, '{}'"), "NB021"),
        (append_if(&new, "0, '{}', '{a}'"), "NB021"),
        (append_if(&new, "0, '{a}', '{}'"), "NB021"),
        (append_if(&new, "0, '{a,null}'"), "NB021"),
        (append_if(&new, "0, '{\" \"}'"), "NB021"),
        (append_if(&new, &format!("0, {many}")), "NB021"),
        (append_if(&new, "0, null, '{a,null}'"), "NB021"),
        (append_if(&new, "0, null, '{a,a}'"), "NB021"),
        (append_if(&new, "0, null, (select array_agg(n::text) from generate_series(1, 21) n)"), "NB021"),
        (append_if(&new, "-1, '{a}'"), "NB021"),
        (append_if(&new, "9223372036854775807, '{a}'"), "NB021"),
        (append_if(&new, "null, '{a}'"), "22004"),
        (append_if(&new, "0, '{a}', null, -2"), "NB021"),
        (append_if("[]", "0, '{a}'"), "NB021"),
        (append_if("[1]", "0, '{a}'"), "NB104"),
        (format!("select event_store.append_events_if(null, '{}', '{new}', 0, '{{a}}')", Uuid::now_v7()), "22004"),
        (format!("select event_store.append_events_if('A', null, '{new}', 0, '{{a}}')"), "22004"),
        (format!("select event_store.append_events_if('A', '{}', null, 0, '{{a}}')", Uuid::now_v7()), "22004"),
    ] {
        refused(&mut bank.db, &sql, code);
    }
    let (nobody, teller) = (bank.role("nobody"), bank.role("teller"));
    refused_with_code_only(&mut bank.session_as(&nobody), &append_if(&new, "0, '{a}'"), "42501");
    bank.db.run(&format!("select neobank.grant_usage('{teller}', 'teller')"));
    let mut teller = bank.session_as(&teller);
    teller.run(&append_if(&new, "0, null, '{a}'"));
    assert_eq!(teller.fails(&append_if(&event(&["a"]), "0, null, '{x}'")).code, "NB110");
}

#[test]
fn of_those_who_read_the_same_one_wins() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    for condition in ["null, '{seat:1}'", "'{Taken}'", "'{Taken}', '{seat:1,hall:1}'"] {
        for _ in 0..5 {
            let read = all_read(&mut bank.db);
            let condition = format!("{read}, {condition}");
            let outcomes = together(&bank, 6, move |_, session| {
                let sql = append_if(&event(&["hall:1", "seat:1"]), &condition);
                session.try_lines(&sql).map(|_| ()).map_err(|refusal| refusal.code)
            });
            assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
            assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(|code| code == "NB110")));
        }
    }
    audit_events(&mut bank.db);
}

#[test]
fn whoever_has_not_committed_is_waited_for() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let new = event(&["y"]);
    let bulk = format!(
        "select event_store.append_events('Account', '{}', (select jsonb_agg(jsonb_build_object('event_type', 'Taken', \
         'event_data', '{{}}'::jsonb, 'tags', jsonb_build_array('n' || n))) from generate_series(1, 70) n))",
        Uuid::now_v7()
    );
    for (writer, condition) in [
        (tagged("Taken", "{x,z}"), "null, '{x}'"),
        (tagged("Taken", "{x,z}"), "null, '{z,x}'"),
        (tagged("Taken", "{x}"), "'{Taken}'"),
        (append(Uuid::now_v7(), "Taken", "{}", ""), "'{Taken}'"),
        (bulk, "null, '{n66}'"),
    ] {
        for end in ["rollback", "commit"] {
            let read = all_read(&mut bank.db);
            let (mut first, mut second) = (bank.session(), bank.session());
            let backend = Bank::backend_of(&mut second);
            first.run("begin");
            first.run(&writer);
            let sql = append_if(&new, &format!("{read}, {condition}"));
            let waiting = thread::spawn(move || second.try_lines(&sql).map_err(|refusal| refusal.code));
            bank.wait_until_blocked(backend);
            // Appends that have nothing to do with it go on.
            if condition.starts_with("null") {
                bank.db.run("set lock_timeout = '10s'");
                bank.db.run(&tagged("Other", "{other}"));
                if !condition.contains("n66") {
                    bank.db.run(&append_if(&event(&["other:2"]), &format!("{read}, null, '{{other:2}}'")));
                }
            }
            first.run(end);
            let outcome = waiting.join().expect("it answers");
            if end == "commit" {
                assert_eq!(outcome.expect_err("the event is there now"), "NB110", "{condition}");
            } else {
                assert_eq!(outcome.expect("nothing has happened"), ["1"], "{condition}");
            }
        }
    }
    audit_events(&mut bank.db);
}

#[test]
fn who_could_break_a_condition_waits_for_its_end() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let many = (0..70).map(|n| format!("m{n}")).collect::<Vec<_>>();
    for (condition, writer, before) in [
        ("null, '{x}'", tagged("Later", "{a,x}"), 0),
        ("null, '{x,a}'", tagged("Later", "{a,x}"), 0),
        ("null, '{x}'", tagged("Later", "{a,x}"), 70),
        ("'{Later}'", append(Uuid::now_v7(), "Later", "{}", ""), 0),
    ] {
        let read = all_read(&mut bank.db);
        let (mut first, mut second) = (bank.session(), bank.session());
        let backend = Bank::backend_of(&mut second);
        first.run("begin");
        // One that has locked many keys before locks all of them.
        for tags in many[..before].chunks(20) {
            first.run(&tagged("Before", &format!("{{{}}}", tags.join(","))));
        }
        first.run(&append_if(&event(&["y"]), &format!("{read}, {condition}")));
        let waiting = thread::spawn(move || second.run(&writer));
        bank.wait_until_blocked(backend);
        first.run("commit");
        waiting.join().expect("it goes on");
        let late = "select (select global_position from event_store.events where event_type = 'Taken' order by 1 desc limit 1) \
             < (select global_position from event_store.events where event_type = 'Later' order by 1 desc limit 1)";
        assert_eq!(bank.db.one(late), "t");
    }
    let left = "select count(*) from pg_locks where locktype = 'advisory' and database = \
         (select oid from pg_database where datname = current_database())";
    assert_eq!(bank.db.count(left), 0, "locks end with their transactions");
    audit_events(&mut bank.db);
}

#[test]
fn a_prepared_transaction_keeps_its_place() {
    let mut bank = Bank::new();
    if bank.db.one("show max_prepared_transactions") == "0" {
        return skipped("prepared appends", "max_prepared_transactions is 0");
    }
    let read = all_read(&mut bank.db);
    let name = bank.name.clone();
    bank.db.run("begin");
    bank.db.run(&tagged("Taken", "{seat:1}"));
    bank.db.run(&format!("prepare transaction '{name}'"));
    let condition = append_if(&event(&["seat:1"]), &format!("{read}, null, '{{seat:1}}'"));
    bank.db.run("set lock_timeout = '50ms'");
    assert_eq!(bank.db.fails(&condition).code, "55P03");
    bank.db.run(&format!("commit prepared '{name}'"));
    refused(&mut bank.db, &condition, "NB110");
}

#[test]
fn a_late_committer_with_a_lower_position_is_not_overlooked() {
    // Its transaction has a lower number than events that others have read, so a reader who went by the highest
    // position it saw would have passed it.
    let mut bank = Bank::new();
    bank.db.run("create table public.own (x int)");
    let mut older = bank.session();
    older.run("begin; insert into public.own values (1)");
    let read = bank.db.count("select event_store.safe_position() - 1");
    bank.db.run(&tagged("Taken", "{seat:1}"));
    let seen = bank.db.count("select max(global_position) from event_store.events");
    let refusal = refused(&mut bank.db, &append_if(&event(&[]), &format!("{seen}, null, '{{seat:2}}'")), "NB021");
    assert!(refusal.detail.contains("safe_position()"), "{}", refusal.detail);
    older.run(&tagged("Taken", "{seat:2}"));
    older.run("commit");
    assert_eq!(
        bank.db.one("select array_agg(tags[1] order by global_position) from event_store.events"),
        "{seat:2,seat:1}"
    );
    refused(&mut bank.db, &append_if(&event(&[]), &format!("{read}, null, '{{seat:2}}'")), "NB110");
    audit_events(&mut bank.db);
}

#[test]
fn an_old_snapshot_does_not_hide_what_came() {
    let mut bank = Bank::new();
    for level in ["repeatable read", "serializable"] {
        let read = all_read(&mut bank.db);
        let mut old = bank.session();
        old.run(&format!("begin isolation level {level}"));
        assert_eq!(old.count("select count(*) from event_store.read_all(tags => '{never}')"), 0);
        bank.db.run(&tagged("Taken", "{seat:1}"));
        let sql = append_if(&event(&["seat:1"]), &format!("{read}, null, '{{seat:1}}'"));
        assert_eq!(old.fails(&sql).code, "NB110");
        old.run("rollback");
    }
    // What the transaction itself has appended counts as well.
    let read = all_read(&mut bank.db);
    bank.db.run("begin");
    bank.db.run(&tagged("Taken", "{seat:3}"));
    let sql = append_if(&event(&["seat:3"]), &format!("{read}, null, '{{seat:3}}'"));
    assert_eq!(bank.db.fails(&sql).code, "NB110");
    bank.db.run("rollback");
    bank.db.run(&sql);
    audit_events(&mut bank.db);
}

#[test]
fn no_course_is_overbooked_and_nobody_deadlocks() {
    // Seats are given by counting what is there, with conditions on the course or on every enrolment, among plain
    // appends with tags in any order.
    const SEATS: i64 = 7;
    let _crowd = crowd();
    let mut bank = Bank::new();
    let outcomes = together(&bank, 8, |n, session| {
        let mut dice = Dice(n as u64 + 1);
        let mut lost = 0;
        for k in 0..60 {
            let (course, other) = (dice.below(4), dice.below(4));
            if dice.below(3) == 0 {
                let tags = format!("{{note:{other},note:{course}x,student:{n}-{k},list:{}}}", dice.below(3));
                session.run(&tagged("Noted", &tags));
                continue;
            }
            let read = session.count("select event_store.safe_position() - 1");
            let taken = session.count(&format!(
                "select count(*) from event_store.events where tags @> '{{course:{course}}}' and global_position <= {read}"
            ));
            if taken >= SEATS {
                continue;
            }
            let tags = [format!("course:{course}"), format!("student:{n}-{k}"), format!("note:{other}")];
            let mut tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            tags.rotate_left(dice.below(3));
            let condition = match dice.below(8) {
                0 => format!("{read}, '{{Taken}}'"),
                1 => format!("{read}, '{{Taken}}', '{{course:{course}}}'"),
                _ => format!("{read}, null, '{{course:{course}}}'"),
            };
            match session.try_lines(&append_if(&event(&tags), &condition)) {
                Ok(_) => {}
                Err(refusal) if refusal.code == "NB110" => lost += 1,
                Err(other) => panic!("{other}"),
            }
        }
        lost
    });
    assert!(outcomes.iter().sum::<i32>() > 0, "nobody came too late, so nothing was tried");
    let full =
        "select t, count(*) from event_store.events, unnest(tags) t where t like 'course:%' group by t order by t";
    for line in bank.db.lines(full) {
        let seats = line.split('|').next_back().and_then(|count| count.parse::<i64>().ok()).expect("a count");
        assert!((1..=SEATS).contains(&seats), "{line}");
    }
    audit_events(&mut bank.db);
}
