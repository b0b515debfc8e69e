//! What a debit may take of a slotted account is what all its slots hold together, however many sessions take and give
//! at once.
//!
//! A debit that locked its own slot only, and added up the others as it sees them, would pass every test with one
//! session and fail here: two of them take from two slots what is there once.

use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A storm of postings on one account.
#[derive(Clone, Copy)]
struct Storm {
    kind: &'static str,
    opening: &'static str,
    limit: &'static str,
    /// The posting paths of the sessions, in turn.
    paths: &'static [&'static str],
    isolation: &'static str,
    /// Whether somebody switches the account's mode all the while.
    switching: bool,
}

const PLAIN: Storm = Storm {
    kind: "checking",
    opening: "50",
    limit: "0",
    paths: &["auto"],
    isolation: "read committed",
    switching: false,
};

const CREDITORS: usize = 5;
const DEBTORS: usize = 6;
const TURNS: usize = 40;

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// In cents, as the customer sees it: credits less debits.
    effect: i64,
    posted: usize,
    refused: usize,
    again: usize,
}

/// The account, the account to transfer with, and what is done with it.
fn call(account: Uuid, other: Uuid, credit: bool, dice: &mut Dice) -> (String, i64) {
    // More is asked for than comes in, so that the balance is at its bound most of the time.
    let cents = 1 + dice.below(if credit { 1_500 } else { 4_000 }) as i64;
    let amount = Decimal::new(cents, 2);
    let call = match (credit, dice.below(3)) {
        (true, 0) => format!("deposit('{account}', {amount})"),
        (true, _) => format!("transfer('{other}', '{account}', {amount})"),
        (false, 0) => format!("withdraw('{account}', {amount})"),
        (false, 1) => format!("pay('{account}', {amount})"),
        (false, _) => format!("transfer('{account}', '{other}', {amount})"),
    };
    (format!("select txn_processing.{call}"), if credit { cents } else { -cents })
}

/// One posting in a transaction that stays open for a moment and is now and then given up.
fn turn(session: &mut Client, storm: Storm, sql: &str, cents: i64, dice: &mut Dice, tally: &mut Tally) {
    let keep = dice.below(8) > 0;
    session.run(&format!("begin isolation level {}", storm.isolation));
    let end = if keep { "commit" } else { "rollback" };
    match session.try_lines(sql) {
        Ok(_) => {
            session.run(&format!("select pg_sleep(0.001 * {})", dice.below(3)));
            match session.try_lines(end) {
                Ok(_) if keep => (tally.posted, tally.effect) = (tally.posted + 1, tally.effect + cents),
                Ok(_) => {}
                Err(refusal) => {
                    assert_eq!(refusal.code, "40001", "{refusal}");
                    tally.again += 1;
                }
            }
        }
        Err(refusal) => {
            session.run("rollback");
            match refusal.code.as_str() {
                "NB001" => tally.refused += 1,
                // Its snapshot is too old, or it waited for a slot and the balance is in the account's row now.
                "40001" if storm.isolation != "read committed" || storm.switching => tally.again += 1,
                _ => panic!("{refusal}\nfrom: {sql}"),
            }
        }
    }
}

/// How far the account was drawn on at most, replayed in the order of commits after `from`; and its balance then.
fn most_drawn(bank: &mut Bank, account: Uuid, opening: Decimal, from: &str) -> (Decimal, Decimal) {
    let order = format!(
        "select xid, start_lsn as place from pg_get_wal_records_info('{from}', pg_current_wal_flush_lsn()) \
         where resource_manager = 'Transaction' and record_type like 'COMMIT%'"
    );
    let answer = bank.db.one(&format!(
        "with commits as ({order}) \
         select max(case normal_side when 'D' then balance else -balance end), \
                (array_agg(balance order by place desc, created_at desc, seq desc))[1] from ( \
           select a.normal_side, c.place, m.created_at, s.seq, {opening} + sum( \
                  case (m.credit_account = a.account_id) = (a.normal_side = 'C') \
                  when true then m.amount else -m.amount end) \
                  over (order by c.place, m.created_at, s.seq) as balance \
           from banking.accounts a join txn_processing.movements m on a.account_id in (m.debit_account, m.credit_account) \
           cross join lateral (select case m.credit_account when a.account_id then m.credit_sequence \
                               else m.debit_sequence end as seq) s \
           join commits c on c.xid = m.xmin where a.account_id = '{account}') x"
    ));
    let (drawn, last) = answer.split_once('|').expect("two figures");
    (dec(drawn), dec(last))
}

/// Tells those who watch that one more is done, also by a panic.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Storm {
    fn blow(self) {
        let _crowd = crowd();
        let mut bank = Bank::new();
        let account = bank.slotted(self.kind, "0", self.limit);
        bank.grow(account, 4);
        if self.opening != "0" {
            bank.db.run(&format!("select txn_processing.deposit('{account}', {})", self.opening));
        }
        let others: Vec<Uuid> = (0..CREDITORS + DEBTORS).map(|_| bank.account("100000")).collect();
        let opening = bank.db.balance(account);
        // Which order the commits had is in the WAL alone; it is kept as long as this session may ask.
        let ordered = bank.db.count("select count(*) from pg_available_extensions where name = 'pg_walinspect'") == 1;
        let name = bank.name.clone();
        if ordered {
            bank.db.run("create extension pg_walinspect");
            bank.db.run(&format!("select pg_create_physical_replication_slot('{name}', true, true)"));
        } else {
            skipped("the bound replayed in the order of commits", "this server lacks pg_walinspect");
        }
        let from = bank.db.one("select pg_current_wal_insert_lsn()");

        let busy = Arc::new(AtomicUsize::new(CREDITORS + DEBTORS));
        let limit = dec(self.limit);
        let tallies = together(&bank, CREDITORS + DEBTORS + 2, move |n, session| match n.checked_sub(2) {
            Some(n) => {
                let _done = Done(&busy);
                self.post(account, others[n], n, session)
            }
            None if n == 0 => {
                while busy.load(Ordering::SeqCst) > 0 {
                    audit_in_passing(session);
                    let held = session.balance(account);
                    let drawn = if self.kind == "loan" { held } else { -held };
                    assert!(drawn <= limit, "drawn by {drawn} with a limit of {limit}");
                }
                Tally::default()
            }
            None => {
                while self.switching && busy.load(Ordering::SeqCst) > 0 {
                    for mode in ["exclusive", "slotted"] {
                        session.run(&format!("select banking.set_balance_mode('{account}', '{mode}')"));
                        session.run("select pg_sleep(0.005)");
                    }
                }
                Tally::default()
            }
        });
        let sum = |figure: fn(&Tally) -> usize| tallies.iter().map(figure).sum::<usize>();
        // Under an old snapshot a debit that comes too late is told to start anew.
        let turned_away = sum(|tally| tally.refused + tally.again);
        assert!(sum(|tally| tally.posted) > 50 && turned_away > 20, "{tallies:?}");
        let effect = Decimal::new(tallies.iter().map(|tally| tally.effect).sum(), 2);
        let last = if self.kind == "loan" { opening - effect } else { opening + effect };
        assert_eq!(bank.db.balance(account), last, "{tallies:?}");
        if ordered {
            let (drawn, replayed) = most_drawn(&mut bank, account, opening, &from);
            assert_eq!(replayed, last, "the replay is of all postings");
            assert!(drawn <= limit, "drawn by {drawn} with a limit of {limit}");
            // And it would have seen it: a fee may pass the bound.
            bank.db.run(&format!("select txn_processing.charge_fee('{account}', 100000)"));
            let (drawn, _) = most_drawn(&mut bank, account, opening, &from);
            assert!(drawn > limit, "drawn by {drawn} with a limit of {limit}");
            bank.db.run(&format!("select pg_drop_replication_slot('{name}')"));
        }
        audit(&mut bank.db);
    }

    fn post(self, account: Uuid, other: Uuid, n: usize, session: &mut Client) -> Tally {
        session.run(&format!("set neobank.posting_path = '{}'", self.paths[n % self.paths.len()]));
        let mut dice = Dice(n as u64 + 4_711);
        let mut tally = Tally::default();
        for _ in 0..TURNS {
            let (sql, cents) = call(account, other, n < CREDITORS, &mut dice);
            turn(session, self, &sql, cents, &mut dice, &mut tally);
        }
        tally
    }
}

#[test]
fn many_debits_at_once_do_not_take_an_account_below_zero() {
    Storm { paths: &["auto"], ..PLAIN }.blow();
    Storm { paths: &["spi"], ..PLAIN }.blow();
    Storm { paths: &["auto", "spi"], ..PLAIN }.blow();
}

#[test]
fn many_debits_at_once_do_not_take_an_account_past_its_overdraft() {
    Storm { limit: "100", paths: &["auto"], ..PLAIN }.blow();
    Storm { limit: "100", paths: &["spi"], ..PLAIN }.blow();
    Storm { limit: "100", paths: &["auto", "spi"], ..PLAIN }.blow();
}

#[test]
fn many_sessions_at_once_do_not_draw_a_loan_past_its_limit() {
    let loan = Storm { kind: "loan", opening: "0", limit: "100", ..PLAIN };
    Storm { paths: &["auto"], ..loan }.blow();
    Storm { paths: &["spi"], ..loan }.blow();
    Storm { paths: &["auto", "spi"], ..loan }.blow();
}

#[test]
fn the_bound_holds_while_the_mode_is_switched_to_and_fro() {
    Storm { switching: true, paths: &["auto", "spi"], ..PLAIN }.blow();
    Storm { switching: true, paths: &["auto", "spi"], kind: "loan", opening: "0", limit: "100", ..PLAIN }.blow();
}

#[test]
fn the_bound_holds_at_every_isolation_level() {
    Storm { isolation: "repeatable read", paths: &["auto", "spi"], ..PLAIN }.blow();
    Storm { isolation: "serializable", paths: &["auto", "spi"], limit: "20", ..PLAIN }.blow();
}

#[test]
fn a_slot_added_behind_an_old_snapshot_counts() {
    // A session at REPEATABLE READ locked the slots that its snapshot knew, none of which had changed, and passed the
    // limit by what had been taken from the slot that it did not know.
    for path in ["auto", "spi"] {
        for level in ["repeatable read", "serializable"] {
            let mut bank = Bank::new();
            let account = bank.slotted("checking", "0", "100");
            let other = bank.account("10");
            let mut late = bank.session_on(path);
            late.run(&format!("begin isolation level {level}; select count(*) from banking.accounts"));
            // The slot is made while another posting holds the first, which then is given up.
            let mut holder = bank.session();
            holder.run(&format!("begin; select txn_processing.deposit('{account}', 1)"));
            bank.db.run(&format!("select txn_processing.transfer('{other}', '{account}', 0.01)"));
            holder.run("rollback");
            bank.db.run(&format!("select txn_processing.withdraw('{account}', 100)"));
            let answer = late.try_lines(&format!("select txn_processing.withdraw('{account}', 100)"));
            late.run(if answer.is_ok() { "commit" } else { "rollback" });
            assert_eq!(bank.db.balance(account), dec("-99.99"), "{path}, {level}: {answer:?}");
            assert_eq!(answer.expect_err("it cannot know").code, "40001", "{path}, {level}");
            audit(&mut bank.db);
        }
    }
}

#[test]
fn a_debit_waits_for_an_open_debit_and_is_then_refused() {
    for (path, first_commits) in [("auto", true), ("auto", false), ("spi", true), ("spi", false)] {
        let mut bank = Bank::new();
        let account = bank.slotted("checking", "100", "0");
        bank.grow(account, 4);
        // Most of it in another slot than the first.
        let mut holder = bank.session();
        holder.run(&format!(
            "begin; select from banking.account_slots where account_id = '{account}' and slot_no < 3 for no key update"
        ));
        bank.db.run(&format!("select txn_processing.deposit('{account}', 100)"));
        holder.run("rollback");
        holder.run(&format!("set neobank.posting_path = '{path}'; begin"));
        holder.run(&format!("select txn_processing.withdraw('{account}', 30)"));
        let mut waiter = bank.session_on(path);
        let backend = Bank::backend_of(&mut waiter);
        let sql = format!("select txn_processing.pay('{account}', 190)");
        let waiting = thread::spawn(move || waiter.try_lines(&sql));
        bank.wait_until_blocked(backend);
        holder.run(if first_commits { "commit" } else { "rollback" });
        let answer = waiting.join().expect("it is answered");
        if first_commits {
            let refusal = answer.expect_err("170 are left");
            assert_eq!(refusal.code, "NB001", "{path}: {refusal}");
            assert!(refusal.detail.contains("170.00 available"), "{path}: {refusal}");
            assert_eq!(bank.db.balance(account), dec("170"), "{path}");
        } else {
            assert!(answer.is_ok(), "{path}: {answer:?}");
            assert_eq!(bank.db.balance(account), dec("10"), "{path}");
        }
        audit(&mut bank.db);
    }
}

#[test]
fn money_of_an_open_credit_is_not_there_yet() {
    // The slot that the credit made for itself shows to nobody else: a debit neither waits for it nor counts it.
    for path in ["auto", "spi"] {
        let mut bank = Bank::new();
        let account = bank.slotted("checking", "100", "0");
        let other = bank.account("1000");
        let mut holder = bank.session();
        holder
            .run(&format!("begin; select from banking.account_slots where account_id = '{account}' for no key update"));
        let mut crediting = bank.session();
        crediting.run(&format!("begin; select txn_processing.transfer('{other}', '{account}', 500)"));
        holder.run("rollback");
        bank.db.run(&format!("set neobank.posting_path = '{path}'"));
        refused(&mut bank.db, &format!("select txn_processing.withdraw('{account}', 100.01)"), "NB001");
        bank.db.run(&format!("select txn_processing.withdraw('{account}', 100)"));
        crediting.run("commit");
        bank.db.run(&format!("select txn_processing.withdraw('{account}', 500)"));
        // One in a slot that everybody knows is waited for: it may yet be rolled back.
        let mut crediting = bank.session();
        crediting.run(&format!("begin; select txn_processing.transfer('{other}', '{account}', 500)"));
        let mut waiter = bank.session();
        let backend = Bank::backend_of(&mut waiter);
        let sql = format!("select txn_processing.withdraw('{account}', 500)");
        let waiting = thread::spawn(move || waiter.fails(&sql));
        bank.wait_until_blocked(backend);
        crediting.run("rollback");
        assert_eq!(waiting.join().expect("it is answered").code, "NB001", "{path}");
        assert_eq!(bank.db.balance(account), dec("0"), "{path}");
        audit(&mut bank.db);
    }
}

#[test]
fn fees_and_corrections_pass_the_bound_of_a_slotted_account_as_of_any_other() {
    let mut bank = Bank::new();
    let account = bank.slotted("checking", "10", "0");
    bank.grow(account, 3);
    bank.db.run(&format!("select txn_processing.charge_fee('{account}', 30)"));
    bank.db.run(&format!("select txn_processing.adjust('{account}', -5, 'chargeback')"));
    assert_eq!(bank.db.balance(account), dec("-25"));
    // What it owes in one slot is not to be had from another.
    bank.db.run(&format!("select txn_processing.deposit('{account}', 20)"));
    refused(&mut bank.db, &format!("select txn_processing.withdraw('{account}', 0.01)"), "NB001");
    bank.db.run(&format!("select txn_processing.deposit('{account}', 20)"));
    refused(&mut bank.db, &format!("select txn_processing.withdraw('{account}', 15.01)"), "NB001");
    bank.db.run(&format!("select txn_processing.withdraw('{account}', 15)"));
    audit(&mut bank.db);
}

#[test]
fn a_debit_comes_before_an_unbounded_one_that_is_just_adding_its_slot() {
    // Who adds a slot is not waited for: it has not committed, so the debit stands before it in the serial order, and
    // what nothing bounds may go below the limit after it as it may at any time. The model of random operations once
    // took the order of the clock for that of the effects, and called this a debit that broke its bound.
    let _crowd = crowd();
    let mut bank = Bank::new();
    let account = bank.slotted("checking", "100", "0");
    let (mut holder, mut adder) = (bank.session(), bank.session());
    holder.run(&format!("begin; select txn_processing.deposit('{account}', 1)"));
    adder.run(&format!("begin; select txn_processing.charge_fee('{account}', 80)"));
    holder.run("commit");
    bank.db.run(&format!("select txn_processing.withdraw('{account}', 90)"));
    adder.run("commit");
    assert_eq!(bank.slots(account), 2, "the fee found the one slot held");
    assert_eq!(bank.db.balance(account), dec("-69"));
    let refusal = bank.db.fails(&format!("select txn_processing.withdraw('{account}', 0.01)"));
    assert_eq!(refusal.code, "NB001");
    audit(&mut bank.db);
}
