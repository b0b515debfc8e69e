//! Rounds: a fresh bank, so many operations by one session or by many, and at the quiet moment at its end everything
//! that must hold.

use crate::alone::{Alone, Watch};
use crate::answer::agree;
use crate::auditor::audit_all;
use crate::compare::{compare_accounts, compare_ledger, compare_settlement};
use crate::crowd::{Attempt, Crowd};
use crate::events::{compare_events, positions, read_on};
use crate::quiet::{come_to_rest, compare_readers};
use crate::replay::replay;
use crate::sagas::{Ends, ends};
use crate::state::State;
use crate::tables::{QUESTIONS, compare_tables};
use crate::tally::Tally;
use crate::world::World;
use neobank_sessions::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Spending limits count by the day, and the model's day is as long as its bank is there.
fn same_day<T>(round: impl Fn() -> Result<T, String>) -> Result<T, String> {
    let today = || std::time::UNIX_EPOCH.elapsed().expect("the clock is after 1970").as_secs() / 86_400;
    let began = today();
    match round() {
        Err(error) if today() != began => {
            say(&format!("the day has turned, so the round is repeated; it ended with: {error}"));
            round()
        }
        ended => ended,
    }
}

pub fn alone(seed: u64, operations: u64, watch: Watch) -> Result<Tally, String> {
    same_day(|| {
        let mut run = Alone::open(seed, watch);
        match run.run(operations) {
            Ok(()) => run.come_to_rest().map(|_| run.tally.clone()),
            Err(error) => Err(format!("one session, SEED={seed}\n{}\n{error}", run.trail())),
        }
    })
}

/// What a round of many sessions came to.
#[derive(Clone, Debug, Default)]
pub struct Together {
    pub tally: Tally,
    /// Transactions that were repeated after 40001 or 40P01.
    pub repeats: u64,
    /// Answers that did not stay, each explained by a moment of the serial order.
    pub explained: u64,
    /// Transactions that took effect before others which had read the clock earlier.
    pub reordered: u64,
    /// Events that somebody read beside the writers, in the order of all events.
    pub read: u64,
    /// Events that a projection or a consumer came by, each of them once.
    pub handed_out: u64,
    pub sagas: Ends,
}

/// The rates that the bank says it exchanged at, where events are, and the holds that it says were closed by their group.
fn take_records(session: &mut Client, state: &mut State) {
    let released = "select closing_reason, hold_id from txn_processing.holds \
                    where state = 'released' and closing_reason <> 'not wanted'";
    let captured = "select transaction_id, hold_id from txn_processing.hold_captures";
    for line in session.lines(released).iter().chain(&session.lines(captured)) {
        let (key, hold) = line.split_once('|').expect("two columns");
        let of_key = state.recorded_holds.entry(key.parse().expect("an id")).or_default();
        of_key.push(hold.parse().expect("an id"));
    }
    let rates = "select transaction_id, stored_rate from txn_processing.fx_transfers where reverses is null";
    for line in session.lines(rates) {
        let (id, rate) = line.split_once('|').expect("two columns");
        state.recorded_rates.insert(id.parse().expect("an id"), dec(rate));
    }
    state.recorded_positions = positions(session, i64::MAX);
}

/// What was read while others wrote is what there is, from the first event on without one left out. How far it came is a
/// matter of who else writes in the cluster.
fn skipped_nobody(session: &mut Client, read: &[String]) -> Result<(), String> {
    let all = "select global_position, event_id from event_store.events order by global_position";
    agree("what a reader read", read, &session.lines(all)[..read.len()])
}

pub fn together(seed: u64, sessions: usize, operations: u64, transactions: bool) -> Result<Together, String> {
    same_day(|| {
        let mut bank = Bank::new();
        let crowd = Arc::new(Crowd::new(World::open(&mut bank.db), seed, transactions));
        let mut state = State::opened(&crowd.world);
        let each = operations / sessions as u64;
        let (mut session, at_work) = (bank.session(), Arc::new(AtomicBool::new(true)));
        let goes_on = Arc::clone(&at_work);
        let reader = thread::spawn(move || read_on(&mut session, || goes_on.load(Ordering::Relaxed)));
        let work = neobank_sessions::together(&bank, sessions, move |n, client| crowd.work(n, client, each));
        at_work.store(false, Ordering::Relaxed);
        let read = reader.join().map_err(|_| "the reader failed, see above")?;
        let mut round = Together::default();
        let mut attempts: Vec<Attempt> = Vec::new();
        let told = |error: String| format!("{sessions} sessions, SEED={seed}\n{error}");
        for done in work {
            let (of_session, tally, repeats) = done.map_err(told)?;
            attempts.extend(of_session);
            round.tally.add(&tally);
            round.repeats += repeats;
        }
        audit_all(&mut bank.db).map_err(told)?;
        take_records(&mut bank.db, &mut state);
        let replayed = replay(state, &attempts).map_err(told)?;
        let state = replayed.state;
        round.explained = replayed.explained as u64;
        round.reordered = replayed.reordered as u64;
        compare_accounts(&mut bank.db, &state).map_err(told)?;
        compare_ledger(&mut bank.db, &state).map_err(told)?;
        compare_events(&mut bank.db, &state).map_err(told)?;
        skipped_nobody(&mut bank.db, &read).map_err(told)?;
        round.read = read.len() as u64;
        compare_readers(&mut bank.db, &state).map_err(told)?;
        compare_tables(&mut bank.db, &state, QUESTIONS).map_err(told)?;
        compare_settlement(&mut bank.db, &state).map_err(told)?;
        audit_all(&mut bank.db).map_err(told)?;
        round.handed_out = come_to_rest(&mut bank.db).map_err(told)? as u64;
        round.sagas = ends(&mut bank.db);
        audit_all(&mut bank.db).map_err(told)?;
        Ok(round.clone())
    })
}
