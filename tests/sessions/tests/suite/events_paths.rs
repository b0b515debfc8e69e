//! Appends by direct access and by SQL: the same rows, the same answers, the same refusals.

use crate::events::{append, append_many, audit_events};
use neobank_sessions::*;
use std::collections::HashMap;

/// All that a caller can tell two banks apart by: positions, times and drawn ids are left out.
const ROWS: &str = "select s.n, e.event_version, e.aggregate_type, e.event_type, e.created_by = session_user, e.event_data, \
    e.metadata, e.tags, e.created_at between now() - interval '1 hour' and clock_timestamp(), \
    lag(e.global_position) over (partition by e.aggregate_id order by e.event_version) < e.global_position, \
    case when s.n < 100 then null else e.event_id end, st.version, st.aggregate_type, st.last_position = max(e.global_position) over (partition by e.aggregate_id) \
    from event_store.events e join public.numbered s using (aggregate_id) join event_store.streams st using (aggregate_id) \
    order by s.n, e.event_version";

struct Pair {
    banks: [Bank; 2],
    sessions: [Client; 2],
}

impl Pair {
    fn new() -> Pair {
        let mut banks = [Bank::new(), Bank::new()];
        for bank in &mut banks {
            bank.db.run("create table public.numbered (aggregate_id uuid primary key, n serial)");
        }
        let sessions = [banks[0].session_on("direct"), banks[1].session_on("spi")];
        Pair { banks, sessions }
    }

    /// Both answer the same, a refusal's code and texts included.
    fn both(&mut self, sql: &str) -> Result<Vec<String>, String> {
        let [direct, spi] = &mut self.sessions;
        let told = |refusal: Refusal| format!("{} {} {}", refusal.code, refusal.message, refusal.detail);
        let (direct, spi) = (direct.try_lines(sql).map_err(told), spi.try_lines(sql).map_err(told));
        assert_eq!(direct, spi, "{sql}");
        direct
    }

    fn stream(&mut self, id: Uuid) {
        self.both(&format!("insert into public.numbered (aggregate_id) values ('{id}')")).expect("it is new");
    }

    fn same_rows(&mut self) -> usize {
        let rows = self.banks.each_mut().map(|bank| bank.db.lines(ROWS));
        assert_eq!(rows[0], rows[1]);
        for bank in &mut self.banks {
            audit_events(&mut bank.db);
        }
        rows[0].len()
    }
}

#[test]
fn both_paths_write_the_same() {
    let mut pair = Pair::new();
    let mut dice = Dice(7);
    let streams: Vec<Uuid> = (0..12).map(|_| Uuid::now_v7()).collect();
    streams.iter().for_each(|stream| pair.stream(*stream));
    let mut ids: HashMap<usize, Uuid> = HashMap::new();
    let datas = [
        "{}",
        r#"{"a": 1.50, "b": [true, false, null, {"c": "\u00e4 \\ \" "}], "n": -1e-7, "big": 123456789012345678901234567890}"#,
        r#"{"text": "'', {} []", "": {"": []}}"#,
    ];
    let long = format!(r#"{{"long": "{}"}}"#, "x1y2z3".repeat(3_000));
    let mut refused = 0;
    for step in 0..250 {
        let stream = streams[dice.below(streams.len())];
        let data = if dice.below(10) == 0 { &long } else { datas[dice.below(3)] };
        let expected = ["null", "null", "null", "null", "0", "-1", "3"][dice.below(7)];
        let sql = match dice.below(4) {
            0 => append(stream, ["T", "U"][dice.below(2)], data, &format!(", {expected}")),
            1 => {
                let id = *ids.entry(dice.below(40)).or_insert_with(Uuid::now_v7);
                let tags = ["null", "'{}'", "'{b,a}'"][dice.below(3)];
                append(stream, "Given", data, &format!(", {expected}, '{{\"k\": {}}}', '{id}', {tags}", dice.below(2)))
            }
            kind => {
                let most = if dice.below(12) == 0 { 1_200 } else { 5 };
                let first_id = 40 + 12 * dice.below(8);
                let events: Vec<String> = (0..=dice.below(most))
                    .map(|n| {
                        let mut event = format!(r#"{{"event_type": "B{n}", "event_data": {data}"#);
                        if kind == 3 && n < 12 {
                            let id = *ids.entry(first_id + n).or_insert_with(Uuid::now_v7);
                            event += &format!(r#", "event_id": "{id}""#);
                        }
                        event += [
                            "",
                            r#", "metadata": {"m": 1}, "tags": ["x", "y z"]"#,
                            r#", "tags": [], "metadata": null"#,
                        ][dice.below(3)];
                        event + "}"
                    })
                    .collect();
                append_many(stream, &format!("[{}]", events.join(",")), &format!(", {expected}"))
            }
        };
        // Drawn ids differ.
        let sql = if sql.contains("append_event(") { sql.replace("select ", "select 1 from ") } else { sql };
        // Some within a transaction, some of them rolled back.
        let end = [None, None, Some("commit"), Some("rollback")][dice.below(4)];
        if let Some(end) = end {
            pair.both("begin").expect("it begins");
            let done = pair.both(&sql);
            let _ = pair.both(&sql);
            refused += usize::from(done.is_err());
            pair.both(end).expect("it ends");
        } else {
            refused += usize::from(pair.both(&sql).is_err());
        }
        if step % 50 == 0 {
            pair.same_rows();
        }
    }
    let rows = pair.same_rows();
    assert!(rows > 300 && refused > 20, "{rows} rows, {refused} refused");
    for sql in [
        "select event_store.get_aggregate_state(aggregate_id) from public.numbered order by n",
        "select count(*) from event_store.events where tags @> '{x}'",
        "select count(*) from event_store.events where tags @> '{a}'",
    ] {
        pair.both(sql).expect("it reads");
    }
    // Every index has every row.
    for bank in &mut pair.banks {
        bank.db.run("create extension if not exists amcheck");
        bank.db.run(
            "select bt_index_check(i.indexrelid, true) from pg_index i join pg_class c on c.oid = i.indexrelid \
             join pg_am a on a.oid = c.relam where a.amname = 'btree' \
             and i.indrelid in ('event_store.events'::regclass, 'event_store.streams'::regclass)",
        );
        let tagged = "select count(*) from event_store.events where tags && '{x,a}'";
        let by_index = bank.db.one(tagged);
        bank.db.run("set enable_bitmapscan = off");
        assert_eq!(by_index, bank.db.one(tagged));
    }
}

#[test]
fn what_direct_access_would_pass_by_turns_it_off() {
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    let mut direct = bank.session_on("direct");
    direct.run(&append(stream, "A", "{}", ""));
    bank.db.run(
        "create table public.seen (event_type text); create function public.see() returns trigger language plpgsql \
         as $$ begin insert into public.seen values (new.event_type); return new; end $$; \
         create trigger see after insert on event_store.events for each row execute function public.see()",
    );
    assert_eq!(direct.fails(&append(stream, "B", "{}", "")).code, "NB027");
    bank.db.run(&append(stream, "C", "{}", ""));
    bank.db.run(&append_many(stream, r#"[{"event_type": "D", "event_data": {}}]"#, ""));
    assert_eq!(bank.db.lines("select event_type from public.seen"), ["C", "D"]);
    bank.db.run("drop trigger see on event_store.events");
    direct.run(&append(stream, "E", "{}", ", 3"));
    bank.db.run("alter table event_store.streams add check (version < 5)");
    assert_eq!(direct.fails(&append(stream, "F", "{}", "")).code, "NB027");
    assert_eq!(bank.db.fails(&append_many(stream, r#"[{"event_type": "D", "event_data": {}}]"#, "")).code, "23514");
    audit_events(&mut bank.db);
}

#[test]
fn sessions_on_both_paths_take_turns() {
    let _crowd = crowd();
    let mut bank = Bank::new();
    let streams = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    let shared: Vec<Uuid> = (0..30).map(|_| Uuid::now_v7()).collect();
    let ids = shared.clone();
    together(&bank, 8, move |n, session| {
        session.run(&format!("set neobank.posting_path = '{}'", ["direct", "spi"][n % 2]));
        let mut dice = Dice(n as u64);
        for id in &ids {
            let stream = streams[dice.below(3)];
            session.run(&append(stream, "Mine", "{}", &format!(", p_tags => '{{t{}}}'", dice.below(5))));
            // All bring the same id to the same stream: one event.
            session.run(&append(streams[0], "Shared", "{}", &format!(", null, null, '{id}'")));
            let batch = format!(
                r#"[{{"event_type": "First", "event_data": {{}}}}, {{"event_type": "Second", "event_data": {{"by": {n}}}}}]"#
            );
            session.run(&append_many(stream, &batch, ""));
        }
    });
    assert_eq!(bank.db.count("select count(*) from event_store.events"), 8 * 30 * 3 + 30);
    assert_eq!(bank.db.count("select count(*) from event_store.events where event_type = 'Shared'"), 30);
    all_read(&mut bank.db);
    assert_eq!(bank.db.count("select count(*) from event_store.read_all(max_events => 10000)"), 8 * 30 * 3 + 30);
    audit_events(&mut bank.db);
}

#[test]
fn a_table_that_was_altered_is_folded_by_sql() {
    // Many events are read past the executor, as long as that reads what SQL would.
    let mut bank = Bank::new();
    let stream = Uuid::now_v7();
    let deposit = r#"{"event_type": "FundsDeposited", "event_data": {"amount": 1}}"#;
    let deposits = format!("[{}]", vec![deposit; 300].join(","));
    bank.db.run(&format!("select event_store.append_events('Account', '{stream}', '{deposits}')"));
    bank.db.run("set neobank.ledger_guard = off");
    let key = "alter table event_store.events drop constraint events_aggregate_id_event_version_key";
    let index = format!("{key}; create unique index on event_store.events (aggregate_id, event_version");
    let child = "create table public.archived () inherits (event_store.events)";
    let columns = "event_id, aggregate_id, global_position, created_at, event_version, aggregate_type, event_type, \
                   created_by, event_data, metadata, tags";
    let moved = format!(
        "{child}; with moved as (delete from only event_store.events where event_version = 7 returning {columns}) \
         insert into public.archived ({columns}) select {columns} from moved"
    );
    for (change, version) in [
        ("select 1".to_owned(), 300),
        (key.to_owned(), 300),
        (format!("{index} desc)"), 300),
        (format!("{index}) include (event_type)"), 300),
        (format!("{index}) where event_version > 5"), 300),
        (
            "update pg_index set indisvalid = false \
             where indexrelid = 'event_store.events_aggregate_id_event_version_key'::regclass"
                .to_owned(),
            300,
        ),
        ("alter table event_store.events alter event_type drop not null".to_owned(), 300),
        ("alter table event_store.events force row level security".to_owned(), 300),
        (child.to_owned(), 300),
        (moved, 300),
        ("delete from event_store.events where event_version > 250".to_owned(), 250),
    ] {
        bank.db.run(&format!("begin; {change}"));
        for up_to in [version, 240] {
            let state = format!("select event_store.get_aggregate_state('{stream}', {up_to})");
            let told = bank.db.one(&state);
            assert_eq!(told, format!("{{\"balance\": {up_to}, \"version\": {up_to}}}"), "{change}");
        }
        bank.db.run("rollback");
    }
}
