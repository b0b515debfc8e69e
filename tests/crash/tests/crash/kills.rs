//! Clients at work on everything the ledger does, and processes killed under them at random moments: a backend in the
//! middle of a statement, a worker of the queue, the checkpointer, the postmaster, all at once by an immediate stop, and
//! the recovery itself, several times in a row. After each round the clients have sent again what was not answered, and
//! what they wrote down is held against the tables: nothing acknowledged is missing, nothing refused is there, nothing
//! is there twice, and nothing that nobody asked for.

use neobank_crash::*;
use neobank_model::quiet::come_to_rest;
use neobank_model::sagas::ends;
use neobank_sessions::*;
use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: [&str; 6] = [
    "set neobank.posting_path = 'direct'",
    "set neobank.posting_path = 'spi'",
    "set neobank.posting_path = 'direct'; set synchronous_commit = remote_apply",
    "set neobank.posting_path = 'auto'; set plan_cache_mode = force_generic_plan",
    "set neobank.posting_path = 'auto'; set default_transaction_isolation = 'repeatable read'",
    "set neobank.posting_path = 'direct'",
];

pub const WORKERS: &str = "shared_preload_libraries = 'neobank'\nneobank.queue_workers = 2\nneobank.queue_database = 'bank'\n\
                           neobank.queue_poll_interval = 5\nneobank.queue_retry_delay = 50";

/// All but GiST: where the server takes dead entries out of such a page, its recovery sets a flag (of tuples that were
/// deleted, which nobody reads) that it does not set itself, and calls that an inconsistent page.
pub const COMPARED: &str =
    "wal_consistency_checking = 'heap, heap2, btree, gin, hash, spgist, brin, sequence, generic'";

/// By turns: checkpoints all the time; the pages that recovery makes compared with those that were; neither.
const ROUNDS: [[&str; 2]; 3] = [
    ["checkpoint_timeout = 30s\nmin_wal_size = 2MB\nmax_wal_size = 3MB", "wal_consistency_checking = ''"],
    ["checkpoint_timeout = 5min\nmax_wal_size = 1GB", COMPARED],
    ["checkpoint_timeout = 5min\nmax_wal_size = 1GB", "wal_consistency_checking = ''"],
];
const KILLS_OF_A_ROUND: u64 = 12;

const KINDS: [&str; 6] = ["backend", "queue worker", "checkpointer", "postmaster", "immediate stop", "recovery"];

/// The server under load, and who breaks it.
struct Killer<'a> {
    server: &'a mut Server,
    load: &'a Load,
    dice: Dice,
    done: BTreeMap<&'static str, u64>,
}

impl Killer<'_> {
    /// A process of that type, if there is one to be seen.
    fn process(&self, backend_type: &str) -> Option<i64> {
        let seen =
            format!("select pid from pg_stat_activity where backend_type = '{backend_type}' order by random() limit 1");
        let found = self.server.connect().try_lines(&seen).unwrap_or_default();
        found.first().map(|process| process.parse().expect("a process id"))
    }

    /// Kills what `find` finds, which may have ended before it is hit.
    fn until_killed(&mut self, find: impl Fn(&mut Self) -> Option<i64>) {
        let until = Instant::now() + Duration::from_secs(120);
        while !find(self).is_some_and(|process| self.server.signal(process, "-9")) {
            assert!(Instant::now() < until, "there is nothing to kill:\n{}", self.server.log());
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// Something that writes pages and their marks while the kill comes.
    fn disturb(&mut self) {
        let statement = ["checkpoint", "vacuum (freeze, analyze)", "vacuum (index_cleanup on)"][self.dice.below(3)];
        let mut session = self.server.connect();
        thread::spawn(move || session.try_lines(statement));
        thread::sleep(Duration::from_millis(self.dice.below(40) as u64));
    }

    fn kill(&mut self, kind: &'static str) {
        self.load.pass(250, &mut self.dice);
        if self.dice.below(3) == 0 {
            self.disturb();
        }
        match kind {
            "backend" => self.until_killed(|killer| killer.load.backend_at_work(&mut killer.dice)),
            "queue worker" => self.until_killed(|killer| killer.process("neobank queue worker")),
            "checkpointer" => self.until_killed(|killer| killer.process("checkpointer")),
            "postmaster" => {
                self.server.kill_postmaster();
                self.server.start();
            }
            "immediate stop" => {
                self.server.stop_immediately();
                self.server.start();
            }
            _ => self.kill_recovery(),
        }
        *self.done.entry(kind).or_default() += 1;
    }

    /// The server is killed again before it has come up from the kill before.
    fn kill_recovery(&mut self) {
        self.server.stop_immediately();
        for _ in 0..1 + self.dice.below(3) {
            self.server.spawn();
            thread::sleep(Duration::from_millis(self.dice.below(60) as u64));
            match self.server.process_titled("startup") {
                // The postmaster gives up then.
                Some(startup) if self.server.signal(startup, "-9") => self.server.wait_until_down(),
                _ => self.server.kill_postmaster(),
            }
        }
        self.server.start();
    }
}

/// The kinds in an order of their own for every turn, so that a short run meets each of them.
fn next_kinds(dice: &mut Dice) -> Vec<&'static str> {
    let mut kinds = KINDS.to_vec();
    for at in (1..kinds.len()).rev() {
        kinds.swap(at, dice.below(at + 1));
    }
    kinds
}

/// What was acknowledged answers the same once more, and changes not one byte.
fn repeat_some(db: &mut Client, load: &Load, dice: &mut Dice) -> usize {
    let known: Vec<&Entry> =
        load.journals().filter(|entry| entry.is_acknowledged() && entry.request.is_repeatable).collect();
    let before = snapshot(db);
    for _ in 0..100 {
        let entry = known[dice.below(known.len())];
        assert_eq!(db.lines(&entry.request.sql), entry.answer, "{}", entry.request.sql);
    }
    assert_eq!(before, snapshot(db), "requests that were sent again changed something");
    100
}

/// What a reader of all events has read, and reads on after each round: what it has passed stays as it was, and nothing
/// comes up between.
fn read_on_events(db: &mut Client, read: &mut Vec<String>) {
    let after = read.last().map_or("0", |line| line.split('|').next().expect("a position comes first"));
    let page = format!("select global_position, event_id from event_store.read_all({after}, 100000)");
    let page = db.lines(&page);
    read.extend(page);
    let all = db.lines("select global_position, event_id from event_store.events order by global_position");
    assert!(all.starts_with(read), "a reader has missed something, or read what is not there");
}

/// Holds everything against everything, at rest.
pub fn verify(db: &mut Client, first: &HashMap<String, u32>, load: &Load, log: &str, seed: u64) {
    let faults = check(db, first, load.journals());
    assert!(faults.is_empty(), "SEED={seed}: {} faults: {:#?}", faults.len(), &faults[..faults.len().min(20)]);
    all_sound(db);
    for word in ["PANIC", "inconsistent page", "invalid page", "could not redo"] {
        let found = log.lines().find(|line| line.contains(word));
        assert_eq!(found, None, "SEED={seed}: the server's log");
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_done_twice_when_processes_are_killed() {
    let kills = setting("KILLS", 6);
    let seed = seed();
    say(&format!("crash: {kills} kills, SEED={seed}"));
    let began = Instant::now();
    let mut server = Server::create("kills", WORKERS);
    let mut db = server.connect();
    let books = Books::found(&mut db);
    let first = facts(&mut db);
    let mut load = Load::new(&server, &books, seed, &CLIENTS);
    let mut dice = Dice(seed);
    let (mut kinds, mut done, mut round) = (Vec::new(), BTreeMap::new(), dice.below(ROUNDS.len()));
    let (mut left, mut read, mut handed_out) = (kills, Vec::new(), 0);
    while left > 0 {
        server.add_settings(&ROUNDS[round % ROUNDS.len()].join("\n"));
        drop(db);
        server.shut_down();
        server.start();
        load.begin();
        let mut killer = Killer { server: &mut server, load: &load, dice: Dice(seed.wrapping_add(left)), done };
        for _ in 0..left.min(KILLS_OF_A_ROUND) {
            if kinds.is_empty() {
                kinds = next_kinds(&mut dice);
            }
            killer.kill(kinds.pop().expect("it was just filled"));
            left -= 1;
        }
        done = killer.done;
        // A kill of one process is answered only now: the server is there again when answers come.
        load.pass(50, &mut dice);
        load.rest();
        db = server.connect();
        drained(&mut db);
        handed_out = come_to_rest(&mut db).unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
        verify(&mut db, &first, &load, &server.log(), seed);
        repeat_some(&mut db, &load, &mut dice);
        read_on_events(&mut db, &mut read);
        round += 1;
        let counts = load.counts();
        say(&format!("crash: {} of {kills} kills, {counts:?}, SEED={seed}", kills - left));
    }
    let Counts { answers, lost, lost_but_done, repeated } = load.counts();
    let sagas = ends(&mut db);
    let commands = db.count("select count(*) from cqrs.commands where status = 'completed'");
    figure(
        "crash",
        &format!(
            "{kills} kills {done:?}; {answers} requests answered, of which {} left what \
             they asked for, {} events, handed out {handed_out} times, {commands} commands; {sagas:?}; {lost} lost in a kill, of which {lost_but_done} had been \
             carried out, {repeated} repeated; {:.0} s, SEED={seed}",
            load.journals().filter(|entry| entry.is_acknowledged()).count(),
            read.len(),
            began.elapsed().as_secs_f64()
        ),
    );
}
