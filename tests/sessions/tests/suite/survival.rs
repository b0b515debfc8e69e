//! Errors at any moment: timeouts, cancels and kills while others post. Nothing may be half done, nothing stay locked,
//! and the session that got the error goes on posting.

use super::batches::{Item, PATHS, batch_sql};
use super::differential::Dice;
use super::differential_world::check_indexes;
use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Errors that an interrupted statement may end with; any other is a fault.
const INTERRUPTED: [&str; 2] = ["57014", "55P03"];

/// Whether to go on: some seconds at least, and on a slow machine as long as it takes to have met enough.
fn not_enough(began: Instant, seconds: u64, enough: bool) -> bool {
    let taken = began.elapsed();
    taken < Duration::from_secs(seconds) || (!enough && taken < Duration::from_secs(120))
}

/// A bank in which other sessions post all the time, and accounts that none of them touches.
struct Stage {
    bank: Bank,
    accounts: Vec<Uuid>,
    own: [Uuid; 2],
    stop: Arc<AtomicBool>,
    others: Vec<JoinHandle<usize>>,
    log: LogWatch,
}

fn stage(path: &str, others: usize) -> Stage {
    let log = LogWatch::begin();
    let mut bank = Bank::new();
    let mut accounts: Vec<Uuid> = (0..8).map(|_| bank.account_with("checking", "USD", "1000", "1000000")).collect();
    let own = [(); 2].map(|()| bank.account_with("checking", "USD", "1000", "1000000"));
    for account in &accounts[..2] {
        bank.db.run(&format!("select banking.set_balance_mode('{account}', 'slotted')"));
    }
    accounts.sort_unstable();
    let stop = Arc::new(AtomicBool::new(false));
    let others = (0..others)
        .map(|n| {
            let (mut session, stop, accounts) = (bank.session_on(path), Arc::clone(&stop), accounts.clone());
            thread::spawn(move || {
                let mut dice = Dice::new(n as u64 + 5);
                let mut posted = 0;
                while !stop.load(Ordering::Relaxed) {
                    session.run(&one_posting(&mut dice, &accounts));
                    posted += 1;
                }
                posted
            })
        })
        .collect();
    Stage { bank, accounts, own, stop, others, log }
}

fn pair(dice: &mut Dice, accounts: &[Uuid]) -> [Uuid; 2] {
    let from = dice.below(accounts.len());
    [accounts[from], accounts[(from + 1 + dice.below(accounts.len() - 1)) % accounts.len()]]
}

fn one_posting(dice: &mut Dice, accounts: &[Uuid]) -> String {
    let [a, b] = pair(dice, accounts);
    let call = match dice.below(6) {
        0 => format!("deposit('{a}', 1)"),
        1 => format!("withdraw('{a}', 1)"),
        2 => format!("transfer('{a}', '{b}', 1, transaction_id => '{}')", Uuid::new_v4()),
        3 => format!("transfer('{a}', '{b}', 1, effective_at => now() - interval '1 day')"),
        _ => format!("transfer('{a}', '{b}', 1)"),
    };
    format!("select txn_processing.{call}")
}

/// Something that takes a while: a batch, many postings of one statement, or one posting.
fn long_work(dice: &mut Dice, accounts: &[Uuid]) -> String {
    match dice.below(5) {
        0 => {
            let [a, b] = pair(dice, accounts);
            format!(
                "select txn_processing.transfer('{a}', '{b}', 1), txn_processing.transfer('{b}', '{a}', 1) \
                 from generate_series(1, 50)"
            )
        }
        1 => one_posting(dice, accounts),
        kind => {
            let item = |dice: &mut Dice| {
                let [a, b] = pair(dice, accounts);
                let id = dice.one_in(2).then(Uuid::new_v4);
                let item = match dice.below(4) {
                    0 => Item::of("deposit", None, a, "1"),
                    1 => Item::of("payment", a, None, "1"),
                    _ => Item::transfer(a, b, "1"),
                };
                Item { id, linked: kind == 2, ..item }
            };
            let mut items: Vec<Item> = (0..200 + dice.below(1_500)).map(|_| item(dice)).collect();
            items.last_mut().expect("many").linked = false;
            batch_sql(&items, kind == 3)
        }
    }
}

/// Runs what the timeout under test may still interrupt.
fn surely(session: &mut Client, sql: &str) {
    for _ in 0..100 {
        match session.try_lines(sql) {
            Ok(_) => return,
            Err(refusal) => assert!(INTERRUPTED.contains(&refusal.code.as_str()), "{refusal}: {sql}"),
        }
    }
    panic!("interrupted a hundred times: {sql}");
}

impl Stage {
    /// The interrupted session holds nothing any more, and posts as if nothing had been.
    fn goes_on(&mut self, session: &mut Client, backend: i64) {
        // The client hears of an error before the server has cleaned up; then of its readiness.
        surely(session, "set statement_timeout = 0; set lock_timeout = 0");
        let left = format!("select mode, relation::regclass from pg_locks where pid = {backend}");
        assert_eq!(self.bank.db.lines(&left), Vec::<String>::new(), "left behind");
        let [a, b] = self.own;
        session.run(&format!("select txn_processing.transfer('{a}', '{b}', 1)"));
    }

    fn ends_well(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for other in self.others {
            let posted = other.join().expect("who was not interrupted gets no error");
            assert!(posted > 5, "the others came to post {posted} times only");
        }
        // Autovacuum may be at work and hold locks of its own.
        let left = "select count(*) from pg_locks l join pg_stat_activity s using (pid) \
                    where s.datname = current_database() and s.backend_type = 'client backend' \
                    and pid <> pg_backend_pid()";
        assert_eq!(self.bank.db.count(left), 0);
        assert_eq!(self.bank.db.count("select count(*) from pg_prepared_xacts where database = current_database()"), 0);
        audit(&mut self.bank.db);
        let faults = "select * from txn_processing.daily_reconciliation() where status <> 'Balanced'";
        assert_eq!(self.bank.db.lines(faults), Vec::<String>::new());
        check_indexes(&mut self.bank);
        self.log.is_clean(&self.bank.name);
    }
}

/// The server's log from here on.
struct LogWatch(Option<(std::path::PathBuf, usize)>);

impl LogWatch {
    fn begin() -> LogWatch {
        let Some(path) = server().log else {
            skipped("the search for leaks in the server's log", "NEOBANK_LOG is not set");
            return LogWatch(None);
        };
        let length = std::fs::metadata(&path).expect("the log is there").len() as usize;
        LogWatch(Some((path, length)))
    }

    /// No warning of that database, and no crash of any.
    fn is_clean(&self, database: &str) {
        let Some((path, start)) = &self.0 else { return };
        let log = std::fs::read(path).expect("the log can be read");
        let text = String::from_utf8_lossy(&log[*start..]).into_owned();
        let ours = format!("@{database} ");
        let bad =
            ["WARNING:", "PANIC:", "FATAL:  terminating connection because of crash", "leak", "stuck", "still active"];
        let is_bad = |line: &&str| {
            (line.contains(&ours) && bad.iter().any(|word| line.contains(word)))
                || line.contains("was terminated by signal")
        };
        let found: Vec<&str> = text.lines().filter(is_bad).collect();
        assert!(text.contains(&ours), "the log tells nothing of this database, not even its errors");
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_timeout_at_any_moment_leaves_a_session_that_goes_on() {
    let _crowd = crowd();
    for path in PATHS {
        let mut stage = stage(path, 2);
        let mut session = stage.bank.session_on(path);
        let backend = Bank::backend_of(&mut session);
        let mut dice = Dice::new(42);
        let (mut interrupted, mut rounds) = (0, 0);
        let began = Instant::now();
        while not_enough(began, 5, interrupted > 40) {
            rounds += 1;
            let setting = dice.pick(&["statement_timeout", "statement_timeout", "lock_timeout"]);
            let work = long_work(&mut dice, &stage.accounts);
            let limit = format!("{setting} = {}", 1 + dice.below(20));
            if dice.one_in(2) {
                session.run(&format!("set {limit}"));
                match session.try_lines(&work) {
                    Ok(_) => {}
                    Err(refusal) if INTERRUPTED.contains(&refusal.code.as_str()) => {
                        assert_eq!(refusal.detail, "", "{refusal}");
                        interrupted += 1;
                    }
                    Err(other) => panic!("{path}: {other}"),
                }
            } else {
                // In a subtransaction: what was posted before it and after it stands.
                let [a, b] = stage.own;
                let before = stage.bank.db.balance(b);
                let small = format!("select txn_processing.transfer('{a}', '{b}', 1)");
                session.run(&format!("begin; {small}; savepoint s; set local {limit}"));
                if session.try_lines(&work).is_err() {
                    interrupted += 1;
                }
                surely(&mut session, "rollback to s");
                session.run(&small);
                session.run("commit");
                assert_eq!(stage.bank.db.balance(b), before + dec("2"), "{path}");
            }
            stage.goes_on(&mut session, backend);
        }
        assert!(interrupted > 40, "{path}: {interrupted} of {rounds} were interrupted");
        stage.ends_well();
    }
}

#[test]
fn a_cancel_at_any_moment_leaves_a_session_that_goes_on() {
    let _crowd = crowd();
    for path in PATHS {
        let mut stage = stage(path, 1);
        let mut session = stage.bank.session_on(path);
        let backend = Bank::backend_of(&mut session);
        let (stop, mut canceller) = (Arc::new(AtomicBool::new(false)), stage.bank.session());
        let seen = Arc::clone(&stop);
        let cancelling = thread::spawn(move || {
            let mut dice = Dice::new(7);
            while !seen.load(Ordering::Relaxed) {
                canceller.run(&format!("select pg_cancel_backend({backend})"));
                thread::sleep(Duration::from_micros(dice.below(6_000) as u64));
            }
        });
        let mut dice = Dice::new(43);
        let (mut interrupted, mut done) = (0, 0);
        let began = Instant::now();
        while not_enough(began, 4, interrupted > 100 && done > 10) {
            let work = long_work(&mut dice, &stage.accounts);
            // Caught where it happens, the transaction goes on as well.
            let caught = format!(
                "do $do$ begin begin perform * from ({work}) w; exception when query_canceled then null; end; \
                 perform txn_processing.transfer('{}', '{}', 1); end $do$",
                stage.own[0], stage.own[1]
            );
            let is_caught = work.starts_with("select *") && dice.one_in(2);
            match session.try_lines(if is_caught { &caught } else { &work }) {
                Ok(_) => done += 1,
                Err(refusal) if refusal.code == "57014" => {
                    assert_eq!(refusal.detail, "", "{refusal}");
                    interrupted += 1;
                }
                Err(other) => panic!("{path}: {other}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
        cancelling.join().expect("it can always cancel");
        assert!(interrupted > 100 && done > 10, "{path}: {interrupted} were interrupted, {done} done");
        // A cancel may still be on its way.
        let _ = session.try_lines("select pg_sleep(0.05)");
        stage.goes_on(&mut session, backend);
        stage.ends_well();
    }
}

#[test]
fn a_backend_killed_at_any_moment_leaves_nothing() {
    let _crowd = crowd();
    for path in PATHS {
        let mut stage = stage(path, 2);
        let mut dice = Dice::new(44);
        let mut killed = 0;
        for _ in 0..60 {
            let mut session = stage.bank.session_on(path);
            let backend = Bank::backend_of(&mut session);
            let work: Vec<String> = (0..200).map(|_| long_work(&mut dice, &stage.accounts)).take(20).collect();
            let working = thread::spawn(move || work.iter().find_map(|sql| session.try_lines(sql).err()));
            thread::sleep(Duration::from_micros(500 + dice.below(40_000) as u64));
            stage.bank.db.run(&format!("select pg_terminate_backend({backend}, 10000)"));
            let gone = format!("select count(*) from pg_locks where pid = {backend}");
            assert_eq!(stage.bank.db.count(&gone), 0);
            if let Some(refusal) = working.join().expect("no panic") {
                // 57P01, or no more than a closed connection.
                assert!(["57P01", "client"].contains(&refusal.code.as_str()), "{path}: {refusal}");
                killed += 1;
            }
        }
        assert!(killed > 50, "{path}: only {killed} were killed at work");
        stage.ends_well();
    }
}

#[test]
fn waiting_for_a_table_ends_as_the_settings_say() {
    // Tables and indexes are opened past the executor, so their errors come another way.
    for path in PATHS {
        let mut stage = stage(path, 0);
        let [a, b] = stage.own;
        let slotted = stage
            .bank
            .db
            .id("select account_id from banking.accounts where slots > 0 and customer_id is not null limit 1");
        let mut session = stage.bank.session_on(path);
        let backend = Bank::backend_of(&mut session);
        let posting = format!("select txn_processing.transfer('{a}', '{slotted}', 1)");
        let batch = batch_sql(&[Item::transfer(a, slotted, "1"), Item::transfer(a, b, "1")], false);
        // The view looks at the tables themselves.
        let view = "select * from neobank.posting_path".to_owned();
        for table in ["banking.accounts", "banking.account_slots", "txn_processing.movements"] {
            let mut holder = stage.bank.session();
            holder.run(&format!("begin; lock table {table} in access exclusive mode"));
            for (setting, code) in [("lock_timeout", "55P03"), ("statement_timeout", "57014")] {
                for sql in [&posting, &batch, &view] {
                    session.run(&format!("set {setting} = '30ms'"));
                    let refusal = refused_with_code_only(&mut session, sql, code);
                    assert_eq!(refusal.detail, "", "{path} {table}: {refusal}");
                    assert!(refusal.message.starts_with("canceling statement due to"), "{path} {table}: {refusal}");
                    session.run(&format!("begin; reset {setting}; savepoint s; set local {setting} = '30ms'"));
                    refused_with_code_only(&mut session, sql, code);
                    session.run(&format!("rollback to s; set local {setting} = 0; commit; reset {setting}"));
                }
            }
            holder.run("rollback");
            stage.goes_on(&mut session, backend);
        }
        session.run(&posting);
        session.run(&batch);
        stage.ends_well();
    }
}

#[test]
fn a_batch_does_not_outrun_its_timeout() {
    for path in PATHS {
        let mut stage = stage(path, 0);
        let mut dice = Dice::new(1);
        let items: Vec<Item> =
            (0..10_000).map(|_| pair(&mut dice, &stage.accounts)).map(|[a, b]| Item::transfer(a, b, "1")).collect();
        let sql = batch_sql(&items, false);
        let mut session = stage.bank.session_on(path);
        session.run("set statement_timeout = '40ms'");
        let begun = Instant::now();
        refused_with_code_only(&mut session, &sql, "57014");
        assert!(begun.elapsed() < Duration::from_secs(10), "{path}: it took {:?}", begun.elapsed());
        session.run("set statement_timeout = 0");
        session.run(&sql);
        let count =
            stage.bank.db.count("select count(*) from txn_processing.movements where transaction_type = 'transfer'");
        assert_eq!(count, 10_000, "{path}");
        stage.ends_well();
    }
}

/// Memory that is the backend's own, of the server's allocator and of the library's; nothing where it cannot be read.
fn own_bytes(backend: i64) -> Option<i64> {
    let status = std::fs::read_to_string(format!("/proc/{backend}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    line.split_whitespace().nth(1)?.parse().ok().map(|kilobytes: i64| kilobytes * 1024)
}

#[test]
fn errors_in_the_middle_of_batches_leave_no_memory_behind() {
    // An error jumps over the code that would have freed what a batch holds: thousands of rows.
    for path in PATHS {
        let mut stage = stage(path, 0);
        let mut session = stage.bank.session_on(path);
        let backend = Bank::backend_of(&mut session);
        if own_bytes(backend).is_none() {
            skipped("a backend's own memory after errors", "the server's /proc cannot be read");
            return;
        }
        let mut many: Vec<Uuid> = (0..200).map(|_| stage.bank.account("10")).collect();
        many.sort_unstable();
        let held = many[190];
        let items: Vec<Item> =
            (0..2_000).map(|n| Item::transfer(many[n % 200], many[(n * 3 + 1) % 200], "1")).collect();
        let sql = batch_sql(&items, false);
        let mut holder = stage.bank.session();
        holder.run(&format!("begin; select txn_processing.deposit('{held}', 1)"));
        session.run("set lock_timeout = '1ms'");
        let mut fail = |times: usize| {
            (0..times).for_each(|_| drop(refused_with_code_only(&mut session, &sql, "55P03")));
            own_bytes(backend).expect("it could be read before")
        };
        let before = fail(60);
        let grown = fail(240) - before;
        assert!(grown < 6 * 1024 * 1024, "{path}: {grown} bytes more after 240 errors");
        holder.run("rollback");
        stage.goes_on(&mut session, backend);
        session.run(&sql);
        stage.ends_well();
    }
}
