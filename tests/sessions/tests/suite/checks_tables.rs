//! Checks of tables, sequences and of what is declared: each condition is made in a database of its own, beside one
//! that looks like it and is in order.

use crate::checks::*;
use neobank_sessions::*;

#[test]
fn table_and_index_bloat() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.bloated (id int primary key, t text) with (autovacuum_enabled = off); \
         create table public.fine (id int primary key, t text); \
         insert into public.bloated select g, repeat('x', 100) from generate_series(1, 60000) g; \
         insert into public.fine select g, repeat('x', 100) from generate_series(1, 60000) g; \
         delete from public.bloated where id % 20 <> 0",
    );
    // VACUUM forgets the dead rows that were counted by then; what they filled stays.
    bank.db.run("select pg_stat_force_next_flush()");
    bank.db.run("vacuum analyze public.bloated");
    bank.db.run("vacuum analyze public.fine");
    for check in ["table_bloat", "index_bloat"] {
        assert_eq!(all(&mut bank.db, check), ["ok|||Nothing was found."], "100 MB and more");
        threshold(&mut bank.db, check, "30, 80, 1");
    }
    found(&mut bank.db, "table_bloat", "public.bloated", "critical");
    silent(&mut bank.db, "table_bloat", "public.fine");
    found(&mut bank.db, "index_bloat", "public.bloated_pkey", "critical");
    silent(&mut bank.db, "index_bloat", "public.fine_pkey");
    let estimated = "select abs(bloat_percent - 95) < 4 from troubleshoot.table_bloat(0) where table_name = 'bloated'";
    assert_eq!(bank.db.one(estimated), "t", "{:?}", all(&mut bank.db, "table_bloat"));
    silent(&mut bank.db, "dead_tuples", "public.bloated");
    let reindex = remedy(&mut bank.db, "index_bloat", "public.bloated_pkey");
    bank.db.run(&reindex);
    silent(&mut bank.db, "index_bloat", "public.bloated_pkey");
    bank.db.run("vacuum (full, analyze) public.bloated");
    silent(&mut bank.db, "table_bloat", "public.bloated");
}

/// The estimates are held against what fills the pages.
#[test]
fn bloat_is_not_seen_where_there_is_none() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.wide as select g::bigint a, case when g % 3 = 0 then null else repeat('y', g % 300) end t, \
           now() c, g % 2 = 0 b, gen_random_uuid() u, g * 1.5 n from generate_series(1, 20000) g; \
         create table public.narrow as select g::smallint a from generate_series(1, 30000) g; \
         create table public.loose (a int, t text) with (fillfactor = 50); \
         insert into public.loose select g, repeat('z', 60) from generate_series(1, 20000) g; \
         create table public.none (a int); \
         create index on public.wide (u); create index on public.wide (lower(t)); create index on public.narrow (a, (a + 1)); \
         create index on public.loose (t text_pattern_ops) with (fillfactor = 60)",
    );
    bank.db.run("vacuum analyze");
    let high = "select table_name, bloat_percent from troubleshoot.table_bloat(65536) where bloat_percent > 12 or not is_known";
    assert_eq!(bank.db.lines(high), [""; 0]);
    let high = "select index_name, bloat_percent from troubleshoot.index_bloat(65536) \
                where schema_name = 'public' and (bloat_percent > 12 or not is_known)";
    assert_eq!(bank.db.lines(high), [""; 0]);
}

#[test]
fn what_was_never_analysed_is_unknown() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.restored (t text) with (autovacuum_enabled = off); create table public.empty (t text); \
         insert into public.restored select repeat('x', 200) from generate_series(1, 8000)",
    );
    threshold(&mut bank.db, "table_bloat", "30, 80, 1");
    found(&mut bank.db, "never_analysed", "1 tables", "warning");
    assert!(detail(&mut bank.db, "never_analysed", "1 tables").ends_with("public.restored."));
    found(&mut bank.db, "table_bloat", "1 tables", "unknown");
    bank.db.run("analyze public.restored");
    silent(&mut bank.db, "never_analysed", "1 tables");
    silent(&mut bank.db, "table_bloat", "1 tables");
}

#[test]
fn dead_tuples() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.t (a int) with (autovacuum_enabled = off); insert into public.t select generate_series(1, 30000); \
         create table public.small (a int) with (autovacuum_enabled = off); insert into public.small values (1), (2), (3)",
    );
    bank.db.run("delete from public.t where a <= 12000; delete from public.small");
    bank.db.run("select pg_stat_force_next_flush()");
    // The seed's check called a table of three rows critical.
    silent(&mut bank.db, "dead_tuples", "public.small");
    found(&mut bank.db, "dead_tuples", "public.t", "warning");
    let vacuum = remedy(&mut bank.db, "dead_tuples", "public.t");
    bank.db.run(&vacuum);
    bank.db.run("select pg_stat_force_next_flush()");
    silent(&mut bank.db, "dead_tuples", "public.t");
}

#[test]
fn sequences_end_where_what_they_fill_does() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.t (id serial primary key); create table public.big (id bigserial primary key); \
         create table public.refers (big int references public.big); create table public.alone (id bigserial primary key); \
         create sequence public.few maxvalue 100; create sequence public.round maxvalue 100 cycle; \
         create sequence public.down increment -1 minvalue -100; create sequence public.spent as bigint; \
         create table public.identity (id smallint generated always as identity)",
    );
    for sequence in ["t_id_seq", "big_id_seq", "alone_id_seq", "few", "down", "spent", "identity_id_seq"] {
        silent(&mut bank.db, "sequence", &format!("public.{sequence}"));
    }
    bank.db.run(
        "select setval('public.t_id_seq', 1700000000), setval('public.big_id_seq', 2000000000), \
         setval('public.alone_id_seq', 2000000000), setval('public.few', 80), setval('public.round', 99), \
         setval('public.down', -95), setval('public.spent', 9223372036854775807), setval('public.identity_id_seq', 30000)",
    );
    found_are(
        &mut bank.db,
        "sequence",
        &[
            "public.big_id_seq|critical",
            "public.down|critical",
            "public.few|warning",
            "public.identity_id_seq|critical",
            "public.spent|critical",
            "public.t_id_seq|warning",
        ],
    );
    silent(&mut bank.db, "sequence", "public.round");
    assert!(detail(&mut bank.db, "sequence", "public.big_id_seq").contains("2000000000 of 2147483647"));
    for sequence in ["public.t_id_seq", "public.big_id_seq", "public.few"] {
        let widen = remedy(&mut bank.db, "sequence", sequence);
        bank.db.run(&widen);
        silent(&mut bank.db, "sequence", sequence);
    }
}

#[test]
fn columns_that_a_sequence_outgrows() {
    let mut bank = Bank::new();
    bank.db.run(
        "create sequence public.wide; create table public.t (id int default nextval('public.wide'), n bigint default nextval('public.wide')); \
         create table public.parent (id bigint primary key); create table public.child (parent int references public.parent); \
         create table public.right_child (parent bigint references public.parent); create table public.plain (id serial)",
    );
    found_are(&mut bank.db, "narrow_column", &["public.child.parent|info", "public.t.id|info"]);
    silent(&mut bank.db, "narrow_column", "public.right_child.parent");
    bank.db.run("select setval('public.wide', 1500000000)");
    found_are(&mut bank.db, "narrow_column", &["public.child.parent|info", "public.t.id|warning"]);
    bank.db.run("alter table public.t alter id type bigint; alter table public.child alter parent type bigint");
    found_are(&mut bank.db, "narrow_column", &[]);
}

/// The age of a partitioned table is 2,147,483,647: it has no rows.
#[test]
fn ages_count_towards_wraparound_and_partitioned_tables_have_none() {
    let mut bank = Bank::new();
    let object = format!("database {}", bank.name);
    bank.db.run(
        "create table public.p (a int) partition by list (a); create table public.p1 partition of public.p for values in (1); \
         insert into public.p values (1)",
    );
    for check in ["xid_age", "multixact_age"] {
        assert_eq!(all(&mut bank.db, check), ["ok|||Nothing was found."]);
    }
    // As old as can be, which a test cannot wait for.
    bank.db.run("update pg_class set relfrozenxid = '3' where relname = 'p1'");
    threshold(&mut bank.db, "xid_age", "0.00000009, 10");
    found(&mut bank.db, "xid_age", &object, "warning");
    found(&mut bank.db, "xid_age", "public.p1", "warning");
    silent(&mut bank.db, "xid_age", "public.p");
    bank.db.run("vacuum freeze public.p1");
    silent(&mut bank.db, "xid_age", "public.p1");
    // Two who lock one row share a multixact.
    bank.db.run("insert into public.p values (1)");
    for _ in 0..2 {
        let mut other = bank.session();
        other.run("begin; select * from public.p for share");
        bank.db.run("begin; select * from public.p for share; commit");
        other.run("commit");
    }
    threshold(&mut bank.db, "multixact_age", "0.00000004, 10");
    found(&mut bank.db, "multixact_age", &object, "warning");
    silent(&mut bank.db, "multixact_age", "public.p");
    let members = "pg_multixact/members";
    silent(&mut bank.db, "multixact_members", members);
    threshold(&mut bank.db, "multixact_members", "0.001, 10");
    found(&mut bank.db, "multixact_members", members, "warning");
}

#[test]
fn partitions_run_out_and_default_ones_fill() {
    let mut bank = Bank::new();
    bank.db.run(
        "create function public.days(name text, until date) returns void language plpgsql as $$ begin \
           execute format('create table public.%I (d timestamptz not null) partition by range (d)', name); \
           execute format('create table public.%I partition of public.%I for values from (%L) to (%L)', name || '_1', name, until - 900, until); \
         end $$; \
         select public.days('soon', current_date + 10), public.days('now', current_date + 1), public.days('over', current_date - 2), \
           public.days('long', current_date + 400), public.days('endless', current_date + 1), public.days('infinite', current_date + 1); \
         create table public.endless_2 partition of public.endless for values from (current_date + 1) to (maxvalue); \
         create table public.infinite_2 partition of public.infinite for values from (current_date + 1) to ('infinity'); \
         create table public.soon_default partition of public.soon default; \
         create table public.by_number (n int) partition by range (n); \
         create table public.by_number_1 partition of public.by_number for values from (1) to (10)",
    );
    let ends = ["public.now|critical", "public.over|critical", "public.soon|warning"];
    found(&mut bank.db, "partition_runway", "public.soon", "warning");
    silent(&mut bank.db, "partition_runway", "public.long");
    assert!(detail(&mut bank.db, "partition_runway", "public.soon").ends_with("go to public.soon_default."));
    // Whatever way dates are written in this session.
    for style in ["german", "sql, dmy", "postgres, mdy"] {
        bank.db.run(&format!("set datestyle = '{style}'"));
        found_are(&mut bank.db, "partition_runway", &ends);
    }
    silent(&mut bank.db, "default_partition", "public.soon_default");
    bank.db.run("insert into public.soon values (now() + interval '20 days'), (now())");
    bank.db.run("select pg_stat_force_next_flush()");
    found(&mut bank.db, "default_partition", "public.soon_default", "warning");
}

#[test]
fn what_a_migration_leaves_behind() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.parent (id int primary key); create table public.t (a int references public.parent); \
         create table public.checked (a int); alter table public.checked add constraint positive check (a > 0) not valid; \
         create function public.f() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger f before insert on public.checked for each row execute function public.f(); \
         create unlogged table public.fast (a int); create table public.slow (a int)",
    );
    silent(&mut bank.db, "disabled_trigger", "public.checked");
    silent(&mut bank.db, "autovacuum", "public.checked");
    found(&mut bank.db, "not_valid_constraint", "public.checked", "info");
    silent(&mut bank.db, "not_valid_constraint", "public.t");
    found(&mut bank.db, "unlogged_table", "public.fast", "warning");
    silent(&mut bank.db, "unlogged_table", "public.slow");
    bank.db.run(
        "alter table public.checked disable trigger f; alter table public.t disable trigger all; \
         alter table public.slow set (autovacuum_enabled = false); alter table public.fast set (autovacuum_enabled = on)",
    );
    found(&mut bank.db, "disabled_trigger", "public.checked", "warning");
    found(&mut bank.db, "disabled_trigger", "public.t", "warning");
    found(&mut bank.db, "autovacuum", "public.slow", "warning");
    silent(&mut bank.db, "autovacuum", "public.fast");
    for (check, object) in [
        ("disabled_trigger", "public.checked"),
        ("autovacuum", "public.slow"),
        ("not_valid_constraint", "public.checked"),
        ("unlogged_table", "public.fast"),
    ] {
        let mend = remedy(&mut bank.db, check, object);
        bank.db.run(&mend);
        silent(&mut bank.db, check, object);
    }
}

#[test]
fn published_tables_need_an_identity() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.keyless (a int); create table public.keyed (a int primary key); create table public.whole (a int); \
         alter table public.whole replica identity full; create table public.inserted (a int)",
    );
    silent(&mut bank.db, "replica_identity", "public.keyless");
    bank.db.run(
        "set client_min_messages = error; create publication p for table public.keyless, public.keyed, public.whole; \
         create publication only_inserts for table public.inserted with (publish = 'insert')",
    );
    found_are(&mut bank.db, "replica_identity", &["public.keyless|critical"]);
    bank.db
        .run("drop publication p; create publication everything for tables in schema public with (publish = 'update')");
    found_are(&mut bank.db, "replica_identity", &["public.inserted|critical", "public.keyless|critical"]);
}

#[test]
fn subscriptions_that_stand_still() {
    let mut bank = Bank::new();
    silent(&mut bank.db, "subscription", "subscription s");
    bank.db.run(
        "set client_min_messages = error; \
         create subscription s connection 'dbname=nowhere' publication p with (connect = false, slot_name = none)",
    );
    found(&mut bank.db, "subscription", "subscription s", "warning");
    bank.db.run("drop subscription s");
    silent(&mut bank.db, "subscription", "subscription s");
}

#[test]
fn collations_that_changed() {
    let mut bank = Bank::new();
    if bank.db.count("select count(*) from pg_collation where collprovider = 'i'") == 0 {
        return skipped("collation_version", "the server is built without ICU");
    }
    bank.db.run(
        "create collation public.of_index (provider = icu, locale = 'de'); create collation public.unused (provider = icu, locale = 'sv'); \
         create table public.t (a text collate public.of_index); create index on public.t (a)",
    );
    silent(&mut bank.db, "collation_version", "collation public.of_index");
    // As after an upgrade of the operating system.
    bank.db.run("update pg_collation set collversion = '1.0' where collnamespace = 'public'::regnamespace");
    found(&mut bank.db, "collation_version", "collation public.of_index", "critical");
    silent(&mut bank.db, "collation_version", "collation public.unused");
    let database = format!("database {}", bank.name);
    silent(&mut bank.db, "collation_version", &database);
    bank.db.run("update pg_database set datcollversion = '1.0' where datname = current_database()");
    found(&mut bank.db, "collation_version", &database, "critical");
}

#[test]
fn passwords_that_end_and_settings_of_roles() {
    let mut bank = Bank::new();
    let (soon, over, long) = (bank.role("soon"), bank.role("over"), bank.role("long"));
    bank.db.run(&format!(
        "do $$ begin \
           execute format('alter role {soon} valid until %L', now() + interval '5 days'); \
           execute format('alter role {over} valid until %L', now() - interval '1 day'); \
           execute format('alter role {long} valid until %L', now() + interval '90 days'); end $$"
    ));
    found(&mut bank.db, "role_expiry", &format!("role {soon}"), "warning");
    found(&mut bank.db, "role_expiry", &format!("role {over}"), "critical");
    silent(&mut bank.db, "role_expiry", &format!("role {long}"));
    let database = bank.name.clone();
    for (of, object) in [
        (format!("role {long}"), format!("role {long}")),
        (format!("database {database}"), format!("database {database}")),
        (format!("role {long} in database {database}"), format!("database {database}, role {long}")),
    ] {
        let object = format!("synchronous_commit of {object}");
        silent(&mut bank.db, "settings", &object);
        bank.db.run(&format!("alter {of} set synchronous_commit = off"));
        found(&mut bank.db, "settings", &object, "warning");
        let mend = remedy(&mut bank.db, "settings", &object);
        bank.db.run(&mend);
        silent(&mut bank.db, "settings", &object);
    }
}

#[test]
fn temporary_files_and_cache() {
    let mut bank = Bank::new();
    let object = format!("database {}", bank.name);
    silent(&mut bank.db, "temp_files", &object);
    bank.db.run(
        "set work_mem = '64kB'; select count(*) from (select g from generate_series(1, 200000) g order by g desc) x",
    );
    bank.db.run("select pg_stat_force_next_flush()");
    threshold(&mut bank.db, "temp_files", "0.5, null");
    comes_to(&mut bank.db, "temp_files", &object, "warning");
    threshold(&mut bank.db, "cache_hit", "100, null, 1");
    // However bad it is, it is no more than information.
    found(&mut bank.db, "cache_hit", &object, "info");
    threshold(&mut bank.db, "cache_hit", "0, null, 1");
    silent(&mut bank.db, "cache_hit", &object);
}
