//! Twenty sessions on five accounts, of which two are slotted and one is poor: single transfers, batches and atomic
//! chains, in both directions and in every order of accounts, by direct access and by SQL. Each session keeps its own
//! account of what it was answered; the ledger must say the same to the cent. A deadlock ends the test: each call is a
//! transaction of its own, and one call alone must never be the victim of one.

use neobank_sessions::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SESSIONS: usize = 20;
const ACCOUNTS: usize = 5;
/// Has too little for most of what it is asked for, so refusals are among the answers.
const POOR: usize = 2;

/// Accounts by number, and what a session did with them according to the answers it got.
#[derive(Default)]
struct Tally {
    net: [Decimal; ACCOUNTS],
    moved: u64,
    refused: u64,
    answers: HashMap<Uuid, (usize, usize, Decimal)>,
}

impl Tally {
    fn acknowledge(&mut self, id: Uuid, (from, to, amount): (usize, usize, Decimal)) {
        self.net[from] -= amount;
        self.net[to] += amount;
        self.moved += 1;
        assert_eq!(self.answers.insert(id, (from, to, amount)), None, "{id} was answered twice");
    }
}

struct Hammer {
    number: usize,
    dice: Dice,
    accounts: [Uuid; ACCOUNTS],
    left: [u64; 2],
    sent: u64,
    tally: Tally,
}

impl Hammer {
    /// The next transfer from a lower to a higher account or back, whichever is still owed.
    fn next(&mut self) -> Option<(usize, usize, Decimal)> {
        let back = self.dice.below(2);
        let way = if self.left[back] > 0 { back } else { 1 - back };
        self.left[way] = self.left[way].checked_sub(1)?;
        let low = self.dice.below(ACCOUNTS - 1);
        let high = low + 1 + self.dice.below(ACCOUNTS - 1 - low);
        let amount = Decimal::new(1 + self.dice.below(500) as i64, 2);
        Some(if way == 0 { (low, high, amount) } else { (high, low, amount) })
    }

    fn reference(&mut self) -> String {
        self.sent += 1;
        format!("s{}-{}", self.number, self.sent)
    }

    fn single(&mut self, session: &mut Client) {
        let Some((from, to, amount)) = self.next() else { return };
        let (a, b, reference) = (self.accounts[from], self.accounts[to], self.reference());
        let id = Uuid::now_v7();
        let given = if self.dice.below(2) == 0 { "" } else { &format!(", transaction_id => '{id}'") };
        let strict =
            format!("select txn_processing.transfer('{a}', '{b}', {amount}, reference => '{reference}'{given})");
        let contract = format!(
            "select txn_processing.execute_transfer('{id}', '{reference}', '{a}', '{b}', {amount}, 'USD', null) ->> 'transaction_id'"
        );
        let sql = if self.dice.below(4) == 0 { contract } else { strict };
        match session.try_lines(&sql).map(|lines| lines[0].parse::<Uuid>().ok()) {
            Ok(Some(answered)) => self.tally.acknowledge(answered, (from, to, amount)),
            // The contract function answers a refusal without an id.
            Ok(None) => self.refusal(from, &sql, "NB001"),
            Err(refusal) => self.refusal(from, &format!("{refusal}: {sql}"), &refusal.code),
        }
    }

    fn refusal(&mut self, from: usize, what: &str, code: &str) {
        assert!(code == "NB001" && from == POOR, "session {}: {what}", self.number);
        self.tally.refused += 1;
    }

    /// Several legs in one call, as they come, tied in pairs, or all or nothing.
    fn several(&mut self, session: &mut Client) {
        let size = 2 + self.dice.below(9);
        let legs: Vec<_> = (0..size).map_while(|_| self.next()).collect();
        let (atomic, tied) = (self.dice.below(3) == 0, self.dice.below(3) == 0);
        let list =
            |each: &dyn Fn(&(usize, usize, Decimal)) -> String| legs.iter().map(each).collect::<Vec<_>>().join(",");
        let accounts = self.accounts;
        let from = list(&|leg| format!("'{}'", accounts[leg.0]));
        let to = list(&|leg| format!("'{}'", accounts[leg.1]));
        let amounts = list(&|leg| leg.2.to_string());
        let references = legs.iter().map(|_| format!("'{}'", self.reference())).collect::<Vec<_>>().join(",");
        let links = (0..legs.len()).map(|at| (tied && at % 2 == 0 && at + 1 < legs.len()).to_string());
        let links = links.collect::<Vec<_>>().join(",");
        let sql = format!(
            "select ordinal, transaction_id, code from txn_processing.post_transfers(array[{from}]::uuid[], array[{to}]::uuid[], \
             array[{amounts}]::numeric[], refs => array[{references}]::text[], linked => array[{links}]::boolean[], atomic => {atomic})"
        );
        let answer = match session.try_lines(&sql) {
            Ok(lines) => lines,
            Err(refusal) if atomic && refusal.code == "NB001" => {
                self.tally.refused += legs.len() as u64;
                return;
            }
            Err(refusal) => panic!("session {}: {refusal}: {sql}", self.number),
        };
        assert_eq!(answer.len(), legs.len(), "{answer:?}: {sql}");
        for (line, leg) in answer.iter().zip(&legs) {
            let columns: Vec<_> = line.split('|').collect();
            match columns[2] {
                "ok" => self.tally.acknowledge(columns[1].parse().expect("ok comes with an id"), *leg),
                "insufficient_funds" | "linked_failed" => self.tally.refused += 1,
                other => panic!("session {}: {other}: {sql}", self.number),
            }
        }
    }
}

/// Opens the five: three as they are, two slotted, of which one has its slots from the start.
fn five_accounts(bank: &mut Bank) -> [Uuid; ACCOUNTS] {
    let mut accounts: [Uuid; ACCOUNTS] =
        std::array::from_fn(|n| bank.account(if n == POOR { "3" } else { "10000000" }));
    accounts.sort_unstable();
    // The order of the numbers is the order of the ids, so half of the transfers come in reversed order of locks.
    let poor = accounts.iter().position(|a| bank.db.balance(*a) == dec("3")).expect("one of them is poor");
    accounts.swap(poor, POOR);
    bank.mode(accounts[1], "slotted");
    bank.mode(accounts[4], "slotted");
    bank.grow(accounts[4], 4);
    accounts
}

/// Works off what one session owes, each way.
fn hammer(mut hammer: Hammer, session: &mut Client, done: &AtomicU64) -> Tally {
    while hammer.left != [0, 0] {
        let before = hammer.left[0] + hammer.left[1];
        if hammer.dice.below(3) == 0 {
            hammer.several(session);
        } else {
            hammer.single(session);
        }
        done.fetch_add(before - hammer.left[0] - hammer.left[1], Ordering::Relaxed);
    }
    hammer.tally
}

fn all_sessions(bank: &Bank, accounts: [Uuid; ACCOUNTS], each_way: u64, seed: u64) -> Vec<Tally> {
    let done = Arc::new(AtomicU64::new(0));
    let (watched, until) = (Arc::downgrade(&done), 2 * each_way);
    let watcher = thread::spawn(move || {
        let mut told = Instant::now();
        while let Some(done) = watched.upgrade() {
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                say(&format!("jackhammer: {} of {until} transfers", done.load(Ordering::Relaxed)));
            }
            drop(done);
            thread::sleep(Duration::from_millis(20));
        }
    });
    let tallies = together(bank, SESSIONS, move |number, session| {
        session.run(&format!("set neobank.posting_path = '{}'", ["direct", "spi"][number % 2]));
        let share = each_way / SESSIONS as u64 + u64::from((number as u64) < each_way % SESSIONS as u64);
        let dice = Dice(seed.wrapping_add(number as u64));
        let owed = Hammer { number, dice, accounts, left: [share; 2], sent: 0, tally: Tally::default() };
        hammer(owed, session, &done)
    });
    watcher.join().expect("the watcher only looks");
    tallies
}

/// What each session was told is what the ledger holds: every transfer, and every balance.
fn is_as_told(bank: &mut Bank, accounts: [Uuid; ACCOUNTS], opening: [Decimal; ACCOUNTS], tallies: &[Tally]) {
    let counted = "select split_part(reference, '-', 1), count(*) from txn_processing.movements where reference ~ '^s[0-9]+-' group by 1";
    let counted: HashMap<String, u64> = bank
        .db
        .lines(counted)
        .iter()
        .map(|line| line.split_once('|').expect("two columns"))
        .map(|(session, count)| (session.to_owned(), count.parse().expect("a count")))
        .collect();
    for (number, tally) in tallies.iter().enumerate() {
        let found = counted.get(&format!("s{number}")).copied().unwrap_or(0);
        assert_eq!(found, tally.moved, "session {number} was told of {} transfers", tally.moved);
    }
    let mut told: HashMap<Uuid, _> = HashMap::new();
    for (id, transfer) in tallies.iter().flat_map(|tally| &tally.answers) {
        assert_eq!(told.insert(*id, *transfer), None, "{id} was answered to two sessions");
    }
    let postings = "select transaction_id, debit_account, credit_account, amount from txn_processing.movements where reference ~ '^s[0-9]+-'";
    for line in bank.db.lines(postings) {
        let columns: Vec<_> = line.split('|').collect();
        let id: Uuid = columns[0].parse().expect("an id");
        let (from, to, amount) = told.remove(&id).unwrap_or_else(|| panic!("nobody was told of {line}"));
        let wanted = [accounts[from].to_string(), accounts[to].to_string()];
        assert!(wanted == columns[1..3] && amount == dec(columns[3]), "told {wanted:?} {amount}, posted {line}");
    }
    assert!(told.is_empty(), "told of, and not there: {told:?}");
    for (at, account) in accounts.into_iter().enumerate() {
        let net: Decimal = tallies.iter().map(|tally| tally.net[at]).sum();
        assert_eq!(bank.db.balance(account), opening[at] + net, "account {at}");
    }
}

#[test]
fn jackhammer() {
    let each_way = setting("TRANSFERS", 600);
    let seed = seed();
    say(&format!("jackhammer: {each_way} transfers each way, SEED={seed}"));
    let _turn = crowd();
    let mut bank = Bank::new();
    let accounts = five_accounts(&mut bank);
    let opening = accounts.map(|account| bank.db.balance(account));
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    let began = Instant::now();
    let tallies = all_sessions(&bank, accounts, each_way, seed);
    let seconds = began.elapsed().as_secs_f64();
    is_as_told(&mut bank, accounts, opening, &tallies);
    let total: Decimal = accounts.map(|account| bank.db.balance(account)).iter().sum();
    assert_eq!(total, opening.iter().sum::<Decimal>(), "a cent was lost or made");
    audit(&mut bank.db);
    assert_eq!(bank.db.count(deadlocks), 0, "the server saw a deadlock");
    let moved: u64 = tallies.iter().map(|tally| tally.moved).sum();
    let refused: u64 = tallies.iter().map(|tally| tally.refused).sum();
    assert_eq!(moved + refused, 2 * each_way, "every transfer was answered");
    figure(
        "jackhammer",
        &format!(
            "{moved} transfers and {refused} refusals by {SESSIONS} sessions on {ACCOUNTS} accounts in {seconds:.1} s, no deadlock, SEED={seed}"
        ),
    );
}
