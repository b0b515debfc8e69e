//! Checks of indexes: each condition is made, beside one that looks like it and is in order.

use crate::checks::*;
use neobank_sessions::*;
use std::thread;

#[test]
fn invalid_index() {
    let mut bank = Bank::new();
    bank.db
        .run("create table public.t (a int); insert into public.t values (1), (1); create index fine on public.t (a)");
    bank.db.fails("create unique index concurrently broken on public.t (a)");
    found(&mut bank.db, "invalid_index", "public.broken", "warning");
    silent(&mut bank.db, "invalid_index", "public.fine");
    bank.db.run("drop index concurrently public.broken");
    silent(&mut bank.db, "invalid_index", "public.broken");
    // A partitioned index that waits for its parts is not broken.
    bank.db.run(
        "create table public.p (a int) partition by list (a); create table public.p1 partition of public.p for values in (1); \
         create index parts on only public.p (a)",
    );
    silent(&mut bank.db, "invalid_index", "public.parts");
}

/// Most tools report a CREATE INDEX CONCURRENTLY that goes on.
#[test]
fn an_index_that_is_being_built_is_not_invalid() {
    let mut bank = Bank::new();
    bank.db.run("create table public.t (a int)");
    let mut writer = bank.session();
    writer.run("begin; insert into public.t values (1)");
    let mut builder = bank.session();
    let pid = Bank::backend_of(&mut builder);
    let building = thread::spawn(move || builder.run("create index concurrently growing on public.t (a)"));
    bank.wait_until_blocked(pid);
    let invalid = "select not indisvalid from pg_index where indexrelid = 'public.growing'::regclass";
    assert_eq!(bank.db.one(invalid), "t");
    silent(&mut bank.db, "invalid_index", "public.growing");
    writer.run("commit");
    building.join().expect("it is built");
}

#[test]
fn duplicate_and_prefix_indexes() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.t (id int primary key, a int, b int, t text); \
         create index first_a on public.t (a); create index second_a on public.t (a); \
         create unique index again_id on public.t (id); \
         create index expr_1 on public.t (lower(t)); create index expr_2 on public.t (  lower(t)  ); \
         create index part_1 on public.t (b) where a > 1; create index part_2 on public.t (b) where (a > 1); \
         create index part_3 on public.t (b) where a > 2; create index plain_b on public.t (b desc); \
         create index pattern on public.t (t text_pattern_ops); create index plain_t on public.t (t); \
         create index in_c on public.t (t collate \"C\"); create index hashed on public.t using hash (b); \
         create index with_more on public.t (b, a) include (t); create index with_less on public.t (b, a)",
    );
    // In the default collation of the database C is not another one only by name.
    found_are(
        &mut bank.db,
        "duplicate_index",
        &["public.again_id|warning", "public.expr_2|warning", "public.part_2|warning", "public.second_a|warning"],
    );
    silent(&mut bank.db, "duplicate_index", "public.first_a");
    assert_eq!(detail(&mut bank.db, "duplicate_index", "public.again_id"), "The same as public.t_pkey, which stays.");
    found_are(&mut bank.db, "prefix_index", &[]);
    bank.db.run("create index wide_a on public.t (a, b)");
    found_are(&mut bank.db, "prefix_index", &["public.first_a|info", "public.second_a|info"]);
    silent(&mut bank.db, "prefix_index", "public.plain_b");
    // A constraint's index goes with its constraint.
    bank.db.run("alter table public.t add constraint same unique (id)");
    assert_eq!(remedy(&mut bank.db, "duplicate_index", "public.same"), "ALTER TABLE public.t DROP CONSTRAINT same;");
}

#[test]
fn unused_index() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.parent (id int primary key); insert into public.parent select generate_series(1, 100); \
         create table public.t (id int primary key, a int, b int, c int references public.parent); \
         insert into public.t select g, g, g, 1 + g % 100 from generate_series(1, 20000) g; \
         create index never on public.t (a); create index used on public.t (b); create index for_fk on public.t (c); \
         create unique index rule on public.t (a, b); analyze public.t",
    );
    bank.db.run("set enable_seqscan = off; select * from public.t where b = 7; reset enable_seqscan");
    bank.db.run("select pg_stat_force_next_flush()");
    silent(&mut bank.db, "unused_index", "public.never");
    threshold(&mut bank.db, "unused_index", "0.1, null");
    found_are(&mut bank.db, "unused_index", &["public.never|info"]);
}

#[test]
fn fk_without_index() {
    let mut bank = Bank::new();
    bank.db.run(
        "create table public.parent (a int, b int, primary key (a, b)); create table public.root (id int primary key); \
         create table public.turned (b int, a int, c int, foreign key (a, b) references public.parent); \
         create index on public.turned (b, a, c); \
         create table public.partial (root int references public.root); create index on public.partial (root) where root > 5; \
         create table public.second (x int, root int references public.root); create index on public.second (x, root); \
         create table public.covered (root int references public.root); create index on public.covered (root)",
    );
    found_are(&mut bank.db, "fk_without_index", &["public.partial|info", "public.second|info"]);
    bank.db.run("insert into public.root values (1); insert into public.second select g, 1 from generate_series(1, 12000) g; analyze public.second");
    found(&mut bank.db, "fk_without_index", "public.second", "warning");
    let create = remedy(&mut bank.db, "fk_without_index", "public.second");
    bank.db.run(&create);
    silent(&mut bank.db, "fk_without_index", "public.second");
}
