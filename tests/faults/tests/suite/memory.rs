//! Little memory: each process of the server may have so much address space and no more. A call that does not fit is
//! refused with 53200, and the server goes on.
//!
//! It did not: Rust's allocator ends the process where it finds nothing, and with one backend that aborts the server
//! takes down all others. A batch of 10,000 on a server that was short of 2 MB was enough.

use neobank_faults::{at_rest, check_log, check_storage, found_bank};
use neobank_sessions::*;
use std::time::Instant;

const MEGABYTE: u64 = 1 << 20;

const ACCOUNTS: &str = "
    create schema stage;
    create table stage.shelf as select n, banking.open_account(banking.create_customer('A', 'B'), opening_deposit => 1e7) as id
        from generate_series(1, 500) n;
    create function stage.ids(shift int) returns uuid[] language sql as $$
        select array_agg(id order by g) from generate_series(0, 9999) g join stage.shelf on n = 1 + (g + shift) % 500 $$;
    create function stage.items(count int) returns jsonb language sql as $$
        select jsonb_agg(jsonb_build_object('from_account', a.id, 'to_account', b.id, 'amount', 1, 'description', repeat('x', 60)))
        from generate_series(1, count) g join stage.shelf a on a.n = 1 + g % 499 join stage.shelf b on b.n = a.n + 1 $$;
    create function stage.lines(count int) returns jsonb language sql as $$
        select jsonb_agg(jsonb_build_object('amount', 1, 'booked_on', '2026-01-31', 'reference', i::text, 'line_ref', i::text))
        from generate_series(1, count) i $$;";

/// Calls that take much memory, by how much of everything they bring.
fn calls(items: u64) -> Vec<String> {
    let batch = "txn_processing.post_transfers(stage.ids(1), stage.ids(3), array_fill(1::numeric, array[10000])";
    let one = "(select id from stage.shelf where n = 1)";
    let other = "(select id from stage.shelf where n = 2)";
    let transfer = format!("select txn_processing.transfer({one}, {other}, 1");
    let cash = "(select account_id from banking.accounts where account_type = 'cash' and currency_code = 'USD')";
    let mut calls: Vec<String> = ["direct", "spi"]
        .iter()
        .flat_map(|path| {
            [
                format!("set neobank.posting_path = {path}; select count(*) from {batch}) p"),
                format!("set neobank.posting_path = {path}; select count(*) from {batch}, atomic => true) p"),
            ]
        })
        .collect();
    calls.extend([
        "select count(*) from txn_processing.post_batch(array_fill('deposit'::text, array[10000]), array_fill(null::uuid, \
         array[10000]), stage.ids(1), array_fill(1::numeric, array[10000]), (select array_agg(gen_random_uuid()) from \
         generate_series(1, 10000)), (select array_agg('ref' || g || gen_random_uuid()) from generate_series(1, 10000) g)) p"
            .to_owned(),
        // Far too many, which is found out once they are there.
        "select count(*) from txn_processing.post_transfers(array_fill(gen_random_uuid(), array[400000]), \
         array_fill(gen_random_uuid(), array[400000]), array_fill(1::numeric, array[400000])) p"
            .to_owned(),
        format!("select txn_processing.create_payment_batch(stage.items({items}), gen_random_uuid()::text)"),
        "select p.* from txn_processing.payment_batches b, txn_processing.process_payment_batch(b.batch_id, 10000) p \
         order by 1 limit 1"
            .to_owned(),
        "select count(txn_processing.enqueue('transfer', a.id, b.id, 1)) from stage.shelf a join stage.shelf b on b.n = a.n + 1"
            .to_owned(),
        "select count(*) from txn_processing.process_queue(10000)".to_owned(),
        format!(
            "select txn_processing.import_external_statement(gen_random_uuid()::text, 'one', {cash}, 'USD', 0, {items}, \
             stage.lines({items}))"
        ),
        "select m.* from (select statement_id from txn_processing.external_statements limit 1) s, \
         txn_processing.match_external_statement(statement_id) m"
            .to_owned(),
    ]);
    for megabytes in [2, 5, 11, 19, 30] {
        let text = format!("repeat('y', {megabytes} * 1024 * 1024)");
        calls.push(format!("{transfer}, description => {text})"));
        calls.push(format!("{transfer}, reference => {text})"));
        calls.push(format!("{transfer}, metadata => jsonb_build_object('x', {text}))"));
        calls.push(format!(
            "select txn_processing.enqueue('deposit', null, {one}, 1, request_data => jsonb_build_object('x', {text}))"
        ));
        calls.push(format!("select txn_processing.execute_deposit(null, {text}, {one}, 1, 'USD', null)"));
    }
    calls
}

/// The address space of that process.
fn address_space(process: i64) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmPeak:"))?;
    line.split_whitespace().nth(1)?.parse().ok().map(|kilobytes: u64| kilobytes * 1_024)
}

/// What the server's log says of a process that ended.
fn last_words(cluster: &PrivateCluster) -> Vec<String> {
    let telling = |line: &&str| !line.starts_with([' ', '\t']) && !line.starts_with("Grand total");
    let log = cluster.log();
    let mut lines: Vec<String> = log.lines().filter(telling).rev().take(40).map(str::to_owned).collect();
    lines.reverse();
    lines
}

/// With the library loaded and a posting done.
fn warm(cluster: &PrivateCluster) -> Client {
    let mut db = cluster.connect("bank");
    db.run("select txn_processing.deposit((select id from stage.shelf where n = 1), 1)");
    db
}

#[test]
fn a_call_that_takes_too_much_memory_is_refused_and_the_server_goes_on() {
    let begun = Instant::now();
    let settings = "shared_buffers = 16MB\nautovacuum = off\nfsync = off\njit = off\nmax_connections = 20";
    let Some(cluster) = PrivateCluster::start("little_memory", settings) else {
        skipped("little memory", "the server's initdb or pg_ctl cannot be found");
        return;
    };
    let mut db = found_bank(&cluster);
    db.run(ACCOUNTS);
    db = warm(&cluster);
    let backend = db.count("select pg_backend_pid()");
    let Some(base) = address_space(backend) else {
        skipped("little memory", "the server's /proc cannot be read");
        return;
    };
    let rounds = setting("ROUNDS", 1).div_ceil(4);
    let seed = seed();
    let mut dice = Dice(seed);
    let (mut made, mut refused, mut bounds) = (0, 0, 0);
    // From barely enough to plenty.
    for room in [1, 4, 12, 48].into_iter().cycle().take(4 * rounds as usize) {
        let limit = base + room * MEGABYTE + dice.below(MEGABYTE as usize) as u64;
        drop(db);
        cluster.restart_within(Some(limit));
        db = warm(&cluster);
        for call in calls(if rounds == 1 { 15_000 } else { 100_000 }) {
            // A small run takes some of them with each limit.
            if rounds == 1 && dice.below(4) > 0 {
                continue;
            }
            made += 1;
            match db.try_lines(&call) {
                Ok(_) => {}
                Err(refusal) if refusal.code == "53200" => refused += 1,
                // Found to be too long or too many, which it was given the room for.
                Err(refusal) if refusal.code == "NB021" || refusal.code == "22001" => bounds += 1,
                Err(refusal) => panic!(
                    "with {limit} bytes, {room} MB more than nothing: {refusal}\n{call}\n{:#?}\nSEED={seed}",
                    last_words(&cluster)
                ),
            }
            db.run("select 1; select txn_processing.deposit((select id from stage.shelf where n = 1), 1)");
        }
    }
    drop(db);
    cluster.restart_within(None);
    db = cluster.connect("bank");
    at_rest(&mut db);
    check_storage(&mut db);
    check_log(&cluster.log());
    assert!(refused > 0 && made > refused, "{refused} of {made} were refused");
    figure(
        "little memory",
        &format!(
            "{made} large calls, {refused} without memory, {bounds} out of bounds, {} s, SEED={seed}",
            begun.elapsed().as_secs()
        ),
    );
}
