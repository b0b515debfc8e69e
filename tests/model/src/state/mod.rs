//! The model: what the documents say that each operation does and answers, in plain Rust over plain maps. Nothing here
//! was taken from the extension's code, and nothing here asks the server.
//!
//! A system that comes later adds its tables to `State` (and to `Marks`), and its operations to `State::accept`.

mod batches;
mod commands;
mod consumers;
mod decisions;
mod disputes;
mod events;
mod exchanges;
mod fold;
mod give_back;
mod histories;
mod holds;
mod journal;
mod postings;
mod queue;
mod rows;
mod sagas;
mod settings;
mod tables;

pub use events::{Event, Stream};
pub use rows::{Account, Applied, Party};

use crate::answer::Answer;
use crate::op::Op;
use crate::tables::{Key, Table, facts::History};
use crate::world::{RATES, World};
use commands::Commanded;
use consumers::{Failure, Lease, Standing};
use journal::Journal;
use neobank_sessions::{Decimal, Uuid, dec};
use rows::{Dispute, Hold, Posted, Queued};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Circumstances of an operation that its prediction depends on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// Alone: nobody else works on the bank, and the answer is known exactly.
    pub alone: bool,
    pub read_committed: bool,
    pub refusals: Refusals,
    /// All of the first so many transactions had been answered when it was asked. What was placed in a group of holds
    /// later, while the group was looked for, it may have missed.
    pub since: u64,
    /// By the clock of this machine, in microseconds: its transaction did not begin earlier.
    pub begun_at: i64,
    /// By the same clock: no lease that ends later had run out.
    pub answered_at: i64,
    /// It stayed, so the records of the bank are of it, and not of its repetition with the same ids.
    pub stays: bool,
}

/// Refusals within an answer may be of an earlier moment than what the answer says was done: what was refused was not
/// held until the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusals {
    All,
    Ignored,
    /// That of this row.
    Of(usize),
}

impl Circumstances {
    fn checks(self, row: usize) -> bool {
        self.refusals == Refusals::All || self.refusals == Refusals::Of(row)
    }
}

#[derive(Debug, Default)]
pub struct State {
    accounts: Journal<Uuid, Account>,
    /// Debits less credits of the bank's own accounts, by type and currency.
    own: Journal<(&'static str, &'static str), Decimal>,
    postings: Journal<Uuid, Posted>,
    holds: Journal<Uuid, Hold>,
    disputes: Journal<Uuid, Dispute>,
    requests: Journal<Uuid, Queued>,
    /// A request by its idempotency key, which is an id after one letter.
    keys: Journal<Uuid, Uuid>,
    rates: Journal<(&'static str, &'static str), Decimal>,
    /// What rounding left and no sweep has posted.
    residues: Journal<&'static str, Decimal>,
    /// Outgoing and incoming amounts that wait in clearing, by bank and currency.
    clearing: Journal<(&'static str, &'static str), (Decimal, Decimal)>,
    /// What is known of the time before an account was opened.
    pasts: Journal<Uuid, histories::Past>,
    /// The rows of tables with a history.
    tables: Journal<(Table, Key), History>,
    /// The instant before which a history is pruned.
    pruned: Journal<Table, i64>,
    streams: Journal<Uuid, Stream>,
    /// By aggregate and version.
    events: Journal<(Uuid, i32), Arc<Event>>,
    /// Where the event of an id is.
    event_ids: Journal<Uuid, (Uuid, i32)>,
    /// Whether postings are events as well; nobody has switched it where there is none.
    published: Journal<(), bool>,
    commands: Journal<Uuid, Commanded>,
    /// Projections that are being rebuilt.
    rebuilt: Journal<&'static str, bool>,
    leases: Journal<i64, Lease>,
    /// What became of each event that was handed out.
    handed: Journal<(Uuid, i32), Standing>,
    /// By stream.
    failures: Journal<Uuid, Failure>,
    /// The ids of events as fetches told them.
    fetched: Journal<(Uuid, i32), Uuid>,
    saga_keys: Journal<Uuid, sagas::Started>,
    /// How each saga that a client started has ended, if it has.
    saga_ends: Journal<Uuid, Option<&'static str>>,
    /// Sagas that no client has started, by what runs told, also those that were rolled back.
    children: HashSet<Uuid>,
    /// To which saga, and with which figure.
    signals: Journal<Uuid, (Uuid, u32)>,
    /// Every leg in the order in which it took effect.
    applied: Vec<Applied>,
    /// An account of the bank that is named at times.
    cash: Uuid,
    /// Counts transactions; requests and holds are as old as theirs.
    pub turn: u64,
    /// What is accepted now was done before this moment, by a transaction that is still under way.
    pub built_upon: bool,
    /// Which holds those were that sessions side by side closed by their group, as the bank recorded them: by the id of
    /// a release, and by the transaction of a capture.
    pub recorded_holds: HashMap<Uuid, Vec<Uuid>>,
    /// Rates that exchanges of sessions side by side were made at, as the bank recorded them: which rate is in force
    /// is a matter of each one's snapshot.
    pub recorded_rates: HashMap<Uuid, Decimal>,
    /// Where the bank put events, by aggregate and version, and those of legs: what is not here was not committed when
    /// it was asked, or came later.
    pub recorded_positions: HashMap<(Uuid, i32), i64>,
}

/// A moment to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark([usize; 27]);

impl State {
    pub fn opened(world: &World) -> State {
        let mut state = State { cash: world.cash, ..State::default() };
        for place in world.places.iter().chain([&world.spare]) {
            state.accounts.set(place.id, Account::opened(place));
            state.pasts.set(place.id, histories::Past::opened_with(place.limit));
            let cash = state.own_balance("cash", place.currency) + place.opening;
            state.own.set(("cash", place.currency), cash);
        }
        state.open_tables(world.recorded_since);
        for (base, quote, rate) in RATES {
            state.rates.set((base, quote), dec(rate));
        }
        state
    }

    pub fn mark(&self) -> Mark {
        Mark([
            self.accounts.mark(),
            self.own.mark(),
            self.postings.mark(),
            self.holds.mark(),
            self.disputes.mark(),
            self.requests.mark(),
            self.keys.mark(),
            self.rates.mark(),
            self.residues.mark(),
            self.clearing.mark(),
            self.pasts.mark(),
            self.tables.mark(),
            self.pruned.mark(),
            self.streams.mark(),
            self.events.mark(),
            self.event_ids.mark(),
            self.published.mark(),
            self.commands.mark(),
            self.rebuilt.mark(),
            self.leases.mark(),
            self.handed.mark(),
            self.failures.mark(),
            self.fetched.mark(),
            self.saga_keys.mark(),
            self.saga_ends.mark(),
            self.signals.mark(),
            self.applied.len(),
        ])
    }

    pub fn back_to(&mut self, mark: Mark) {
        let [
            accounts,
            own,
            postings,
            holds,
            disputes,
            requests,
            keys,
            rates,
            residues,
            clearing,
            pasts,
            tables,
            pruned,
            streams,
            events,
            ids,
            published,
            commands,
            rebuilt,
            leases,
            handed,
            failures,
            fetched,
            saga_keys,
            saga_ends,
            signals,
            applied,
        ] = mark.0;
        self.accounts.back_to(accounts);
        self.own.back_to(own);
        self.postings.back_to(postings);
        self.holds.back_to(holds);
        self.disputes.back_to(disputes);
        self.requests.back_to(requests);
        self.keys.back_to(keys);
        self.rates.back_to(rates);
        self.residues.back_to(residues);
        self.clearing.back_to(clearing);
        self.pasts.back_to(pasts);
        self.tables.back_to(tables);
        self.pruned.back_to(pruned);
        self.streams.back_to(streams);
        self.events.back_to(events);
        self.event_ids.back_to(ids);
        self.published.back_to(published);
        self.commands.back_to(commands);
        self.rebuilt.back_to(rebuilt);
        self.leases.back_to(leases);
        self.handed.back_to(handed);
        self.failures.back_to(failures);
        self.fetched.back_to(fetched);
        self.saga_keys.back_to(saga_keys);
        self.saga_ends.back_to(saga_ends);
        self.signals.back_to(signals);
        self.applied.truncate(applied);
    }

    /// A transaction has ended: what was done is done.
    pub fn settle(&mut self) {
        self.accounts.settle();
        self.own.settle();
        self.postings.settle();
        self.holds.settle();
        self.disputes.settle();
        self.requests.settle();
        self.keys.settle();
        self.rates.settle();
        self.residues.settle();
        self.clearing.settle();
        self.pasts.settle();
        self.tables.settle();
        self.pruned.settle();
        self.streams.settle();
        self.events.settle();
        self.event_ids.settle();
        self.published.settle();
        self.commands.settle();
        self.rebuilt.settle();
        self.leases.settle();
        self.handed.settle();
        self.failures.settle();
        self.fetched.settle();
        self.saga_keys.settle();
        self.saga_ends.settle();
        self.signals.settle();
    }

    /// Holds the answer against the prediction. The state is then as after the operation; where the two disagree it is
    /// as before.
    pub fn accept(&mut self, op: &Op, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let before = self.mark();
        let accepted = self.predict(op, seen, how);
        if accepted.is_err() {
            self.back_to(before);
        }
        accepted
    }

    fn predict(&mut self, op: &Op, seen: &Answer, how: Circumstances) -> Result<(), String> {
        match op {
            Op::Post { posting, contract } => self.accept_posting(posting, *contract, seen, how),
            Op::Adjust { id, account, amount } => self.accept_adjustment(*id, *account, *amount, seen),
            Op::Refund { id, original, amount } => self.accept_refund(*id, *original, *amount, seen),
            Op::Reverse { id, original, allow_overdraft } => {
                self.accept_reversal(*id, *original, *allow_overdraft, seen)
            }
            Op::Batch { items, atomic, .. } => self.accept_batch(items, *atomic, seen),
            Op::Hold { .. } => self.accept_hold(op, seen),
            Op::Capture { .. } => self.accept_capture(op, seen),
            Op::Release { hold } => self.accept_release(*hold, seen),
            Op::CaptureGroup { group } => self.accept_capture_of_group(*group, seen, how),
            Op::ReleaseGroup { id, group } => self.accept_release_of_group(*id, *group, seen, how),
            Op::ExpireHolds => self.accept_expiry(seen, how),
            Op::Exchange { .. } => self.accept_exchange(op, seen, how),
            Op::SetRate { base, quote, rate } => {
                self.rates.set((base, quote), *rate);
                done(seen).map(|_| ())
            }
            Op::SweepResidues => self.accept_sweep(seen, how),
            Op::OpenDispute { id, transaction, amount } => self.accept_dispute(*id, *transaction, *amount, seen),
            Op::ResolveDispute { .. } => self.accept_resolution(op, seen),
            Op::Enqueue { key, request, priority } => self.accept_request(key, request, *priority, seen),
            Op::ProcessQueue { at_most } => self.accept_queue(*at_most, seen, how),
            Op::ProcessRequest { request } => self.accept_request_at_once(*request, seen, how),
            Op::SetStatus { account, status } => self.accept_status(*account, status, seen),
            Op::SetOverdraft { account, limit } => self.accept_overdraft(*account, *limit, seen),
            Op::SetMode { account, slotted } => self.accept_mode(*account, *slotted, seen),
            Op::SetLimit { .. } => self.accept_limit(op, seen),
            Op::Close { account, sweep_to } => self.accept_closing(*account, *sweep_to, seen),
            Op::History(historical) => self.accept_history(historical, seen),
            Op::Table(tabled) => self.accept_tabled(tabled, seen, how),
            Op::Append(append) => self.accept_append(append, seen),
            Op::State { aggregate, up_to } => self.accept_state(*aggregate, *up_to, seen),
            Op::ReadStream { aggregate, from, at_most } => self.accept_stream(*aggregate, *from, *at_most, seen),
            Op::Decide(decision) => self.accept_decision(decision, seen),
            Op::Position => done(seen).map(|_| ()),
            Op::Publish { on } => self.accept_publication(*on, seen),
            Op::CheckLedgerEvents => self.accept_check(seen),
            Op::Submit(command) => self.accept_command(command, seen, how),
            Op::ProcessCommand => self.accept_processing(seen, how),
            Op::Project(projecting) => self.accept_projecting(*projecting, seen, how),
            Op::Consume(consuming) => self.accept_consuming(consuming, seen, how),
            Op::Saga(sagaing) => self.accept_sagaing(sagaing, seen, how),
        }
    }

    /// Of every account of a customer, to hold against what the bank says.
    pub fn accounts(&self) -> impl Iterator<Item = (&Uuid, &Account)> {
        self.accounts.rows()
    }

    /// Debits less credits of an account of the bank.
    pub fn own_balance(&self, account_type: &'static str, currency: &'static str) -> Decimal {
        self.own.get(&(account_type, currency)).copied().unwrap_or_default()
    }

    pub fn own_accounts(&self) -> impl Iterator<Item = (&(&'static str, &'static str), &Decimal)> {
        self.own.rows()
    }

    pub fn clearing(&self) -> impl Iterator<Item = (&(&'static str, &'static str), &(Decimal, Decimal))> {
        self.clearing.rows()
    }

    pub fn applied(&self) -> &[Applied] {
        &self.applied
    }

    pub fn residue(&self, currency: &'static str) -> Decimal {
        self.residues.get(&currency).copied().unwrap_or_default()
    }
}

/// The lines of what can only succeed.
fn done(seen: &Answer) -> Result<&[String], String> {
    match seen {
        Answer::Done(lines) => Ok(lines),
        Answer::Refused(code) => Err(format!("refused with {code}; there is nothing to refuse")),
    }
}
