//! The operations: every kind of thing that the ledger does, each with the id that its caller gives it.
//!
//! A further system adds its operations here as variants, writes them down in `sql.rs`, draws them in `generate.rs`
//! and says in `state/` what they do.

use crate::cqrs::{Command, Projecting};
use crate::events::{Append, Decision};
use crate::histories::Historical;
pub use crate::names::NAMES;
use crate::sagas::Sagaing;
use crate::subscriptions::Consuming;
use crate::tables::Tabled;
use neobank_sessions::{Decimal, Uuid};

/// What a posting of `Op::Post` or an item of a batch is, and so which two accounts it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Transfer,
    Deposit,
    Withdrawal,
    Payment,
    Fee,
    Interest,
    /// A payment to another bank, and one from it.
    PayBank,
    ReceiveFromBank,
}

impl Kind {
    /// The account of the customer that it debits and that it credits is named by the caller.
    pub fn sides(self) -> (bool, bool) {
        match self {
            Kind::Transfer => (true, true),
            Kind::Deposit | Kind::Interest | Kind::ReceiveFromBank => (false, true),
            Kind::Withdrawal | Kind::Payment | Kind::Fee | Kind::PayBank => (true, false),
        }
    }

    /// `transaction_type` of its posting.
    pub fn posted_as(self) -> &'static str {
        match self {
            Kind::Transfer => "transfer",
            Kind::Deposit | Kind::ReceiveFromBank => "deposit",
            Kind::Withdrawal => "withdrawal",
            Kind::Payment | Kind::PayBank => "payment",
            Kind::Fee => "fee",
            Kind::Interest => "interest",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Posting {
    pub id: Uuid,
    pub kind: Kind,
    pub from: Option<Uuid>,
    pub to: Option<Uuid>,
    pub amount: Decimal,
    pub currency: Option<&'static str>,
    pub reference: Option<String>,
    /// A time in the past, as the caller writes it.
    pub effective_at: Option<String>,
    /// The other bank of `PayBank` and `ReceiveFromBank`.
    pub bank: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub posting: Posting,
    /// Stands and falls with the next item.
    pub linked: bool,
}

/// What is asked of the queue.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Of a kind other than `PayBank` and `ReceiveFromBank`.
    Post {
        kind: Kind,
        from: Option<Uuid>,
        to: Option<Uuid>,
        amount: Decimal,
    },
    Adjust {
        account: Uuid,
        amount: Decimal,
    },
    Refund {
        original: Uuid,
        amount: Decimal,
    },
    Reverse {
        original: Uuid,
        amount: Decimal,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// By a strict function, or by a contract function, which answers a refusal instead of raising it.
    Post {
        posting: Posting,
        contract: bool,
    },
    Adjust {
        id: Uuid,
        account: Uuid,
        amount: Decimal,
    },
    Refund {
        id: Uuid,
        original: Uuid,
        amount: Option<Decimal>,
    },
    Reverse {
        id: Uuid,
        original: Uuid,
        allow_overdraft: Option<bool>,
    },
    /// `short`: its time is over before the statement has ended.
    Hold {
        id: Uuid,
        account: Uuid,
        amount: Decimal,
        to: Option<Uuid>,
        group: Option<Uuid>,
        short: bool,
    },
    Capture {
        id: Uuid,
        hold: Uuid,
        amount: Option<Decimal>,
        to: Option<Uuid>,
        last: bool,
    },
    Release {
        hold: Uuid,
    },
    CaptureGroup {
        group: Uuid,
    },
    /// `id` is given as the reason, so that each hold tells who released it.
    ReleaseGroup {
        id: Uuid,
        group: Uuid,
    },
    ExpireHolds,
    /// `mixed`: by post_batch, with any kind of item; else by post_transfers.
    Batch {
        items: Vec<Item>,
        atomic: bool,
        mixed: bool,
    },
    Exchange {
        id: Uuid,
        from: Uuid,
        to: Uuid,
        amount: Decimal,
        rate: Option<Decimal>,
    },
    SetRate {
        base: &'static str,
        quote: &'static str,
        rate: Decimal,
    },
    SweepResidues,
    OpenDispute {
        id: Uuid,
        transaction: Uuid,
        amount: Option<Decimal>,
    },
    ResolveDispute {
        dispute: Uuid,
        outcome: &'static str,
        amount: Option<Decimal>,
        charge_back: Option<bool>,
    },
    Enqueue {
        key: String,
        request: Request,
        priority: usize,
    },
    ProcessQueue {
        at_most: usize,
    },
    /// One request at once; refusals are answered.
    ProcessRequest {
        request: Uuid,
    },
    SetStatus {
        account: Uuid,
        status: &'static str,
    },
    SetOverdraft {
        account: Uuid,
        limit: Decimal,
    },
    SetMode {
        account: Uuid,
        slotted: bool,
    },
    /// Of a period: transaction, day or month. Without figures it is taken away.
    SetLimit {
        account: Uuid,
        period: &'static str,
        amount: Option<Decimal>,
        postings: Option<i64>,
    },
    Close {
        account: Uuid,
        sweep_to: Option<Uuid>,
    },
    /// A correction of an account's history, or a question about it.
    History(Historical),
    /// Of tables of the application's own that have a history.
    Table(Tabled),
    Append(Append),
    /// The state of an aggregate, now or at a version.
    State {
        aggregate: Uuid,
        up_to: Option<i32>,
    },
    ReadStream {
        aggregate: Uuid,
        from: i32,
        at_most: i32,
    },
    /// By append_events_if.
    Decide(Decision),
    /// Up to which position all is final.
    Position,
    /// Switches the events of the ledger on or off.
    Publish {
        on: bool,
    },
    CheckLedgerEvents,
    Submit(Command),
    /// The oldest command of those that wait.
    ProcessCommand,
    Project(Projecting),
    Consume(Consuming),
    Saga(Sagaing),
}

impl Op {
    pub fn name(&self) -> &'static str {
        match self {
            Op::Post { posting, .. } => match posting.kind {
                Kind::PayBank => "payment to a bank",
                Kind::ReceiveFromBank => "payment from a bank",
                kind => kind.posted_as(),
            },
            Op::Adjust { .. } => "adjustment",
            Op::Refund { .. } => "refund",
            Op::Reverse { .. } => "reversal",
            Op::Hold { .. } => "hold",
            Op::Capture { .. } => "capture",
            Op::Release { .. } => "release",
            Op::CaptureGroup { .. } => "capture of a group",
            Op::ReleaseGroup { .. } => "release of a group",
            Op::ExpireHolds => "expiry",
            Op::Batch { mixed: false, .. } => "transfers",
            Op::Batch { .. } => "batch",
            Op::Exchange { .. } => "exchange",
            Op::SetRate { .. } => "rate",
            Op::SweepResidues => "sweep",
            Op::OpenDispute { .. } => "dispute",
            Op::ResolveDispute { .. } => "resolution",
            Op::Enqueue { .. } => "request",
            Op::ProcessQueue { .. } => "queue",
            Op::ProcessRequest { .. } => "request at once",
            Op::SetStatus { .. } => "status",
            Op::SetOverdraft { .. } => "overdraft limit",
            Op::SetMode { .. } => "balance mode",
            Op::SetLimit { .. } => "spending limit",
            Op::Close { .. } => "closing",
            Op::History(historical) => historical.name(),
            Op::Table(tabled) => tabled.name(),
            Op::Append(Append { batch: false, .. }) => "event",
            Op::Append(_) => "events",
            Op::State { .. } => "state",
            Op::ReadStream { .. } => "stream",
            Op::Decide(_) => "decision",
            Op::Position => "position",
            Op::Publish { .. } => "publication",
            Op::CheckLedgerEvents => "check of the ledger's events",
            Op::Submit(Command { queued: false, .. }) => "command at once",
            Op::Submit(_) => "command",
            Op::ProcessCommand => "command carried out",
            Op::Project(projecting) => projecting.name(),
            Op::Consume(consuming) => consuming.name(),
            Op::Saga(sagaing) => sagaing.name(),
        }
    }

    /// A refusal is a part of the answer, not an error.
    pub fn answers_refusals(&self) -> bool {
        matches!(
            self,
            Op::Post { contract: true, .. }
                | Op::Batch { atomic: false, .. }
                | Op::ProcessQueue { .. }
                | Op::ProcessRequest { .. }
                | Op::ProcessCommand
        )
    }

    /// Holds nothing until the end of its transaction, and changes nothing: its answer is of the moment at which it was
    /// asked.
    pub fn is_reading(&self) -> bool {
        if let Op::Table(tabled) = self {
            return tabled.is_reading();
        }
        matches!(
            self,
            Op::State { .. }
                | Op::ReadStream { .. }
                | Op::Position
                | Op::CheckLedgerEvents
                | Op::History(Historical::Ask { .. })
        )
    }

    /// May be sent again after an answer that was lost: the second call answers the first, or is refused.
    pub fn has_id(&self) -> bool {
        if let Op::Saga(sagaing) = self {
            return sagaing.has_id();
        }
        if let Op::Append(append) | Op::Decide(Decision { append, .. }) = self {
            return append.events.iter().all(|event| event.id.is_some());
        }
        matches!(
            self,
            Op::Post { .. }
                | Op::Adjust { .. }
                | Op::Refund { .. }
                | Op::Reverse { .. }
                | Op::Hold { short: false, .. }
                | Op::Capture { .. }
                | Op::Batch { .. }
                | Op::Exchange { .. }
                | Op::OpenDispute { .. }
                | Op::ResolveDispute { .. }
                | Op::Enqueue { .. }
                | Op::Submit(_)
        )
    }
}
