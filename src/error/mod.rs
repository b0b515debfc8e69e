//! Every refusal of the extension: one variant, one SQLSTATE, one word, for ever. `docs/errors.md` lists them.

mod codes;
mod hints;
mod report;
mod texts;

use crate::pg::ereport::ServerError;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Which part of a posting an inactive account was to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Sender,
    Receiver,
}

#[derive(Debug)]
pub enum Error {
    InsufficientFunds {
        account: Uuid,
        available: Decimal,
        requested: Decimal,
    },
    AccountNotFound {
        account: Uuid,
    },
    AccountNotActive {
        account: Uuid,
        status: &'static str,
        role: Role,
    },
    CurrencyMismatch {
        wanted: String,
        found: String,
    },
    InvalidAmount {
        why: String,
    },
    SameAccount {
        account: Uuid,
    },
    IdConflict {
        transaction: Uuid,
    },
    /// A key of the queue.
    KeyConflict {
        request: Uuid,
    },
    NotReversible {
        transaction: Uuid,
        why: String,
    },
    AppendOnly {
        action: &'static str,
        relation: String,
    },
    BalanceGuard {
        action: &'static str,
        relation: &'static str,
    },
    HoldNotOpen {
        hold: Uuid,
        why: String,
    },
    /// A capture past what the hold and its account type allow.
    HoldExceeded {
        hold: Uuid,
        most: Decimal,
        requested: Decimal,
    },
    /// The account cannot be closed while something is held against it.
    HoldsOpen {
        account: Uuid,
        reserved: Decimal,
    },
    LimitExceeded {
        account: Uuid,
        most: Decimal,
    },
    /// A debit past what the account, or its type, may spend.
    SpendingLimit {
        account: Uuid,
        why: String,
    },
    TenantMismatch {
        why: String,
    },
    InternalAccount {
        account: Uuid,
    },
    CustomerNotFound {
        customer: Uuid,
    },
    TenantNotFound {
        tenant: Uuid,
    },
    CurrencyNotFound {
        currency: String,
    },
    AccountTypeNotFound {
        account_type: String,
    },
    AccountNotEmpty {
        account: Uuid,
        balance: Decimal,
    },
    StatusChange {
        account: Uuid,
        from: String,
        to: String,
    },
    AccountNumber {
        why: String,
    },
    ArgumentBounds {
        argument: &'static str,
        why: String,
    },
    EffectiveAt {
        why: String,
    },
    NullArgument {
        name: &'static str,
    },
    /// A trigger's function was called as a plain one.
    NotATrigger {
        function: &'static str,
    },
    NotPermitted {
        role: String,
        function: &'static str,
    },
    /// The account's balance is spread over slots, or is not, where the other was needed.
    BalanceMode {
        account: Uuid,
        why: String,
    },
    /// An external statement came before under the same name with other content.
    StatementConflict {
        source: String,
        statement_ref: String,
    },
    /// Opening balance and lines do not come to the closing balance.
    StatementUneven {
        opening: Decimal,
        lines: Decimal,
        closing: Decimal,
    },
    StatementOverlap {
        why: String,
    },
    /// A line or posting is in a match already, or the match is undone.
    MatchState {
        why: String,
    },
    /// No such statement, line or match.
    ReconciliationNotFound {
        what: &'static str,
        id: Uuid,
    },
    /// Another item of its chain was refused.
    LinkedFailed,
    SettlementDate {
        why: String,
    },
    /// An item of a payment batch does not say what to post; items count from 1.
    BatchItem {
        item: i64,
        key: String,
        why: String,
    },
    BatchNotFound {
        batch: Uuid,
    },
    /// The idempotency key of a payment batch was used for another one.
    BatchKeyConflict {
        key: String,
    },
    ClearingMismatch {
        balance: Decimal,
        open_items: Decimal,
    },
    /// `neobank.posting_path = direct` cannot be kept.
    NoDirectPath {
        why: String,
    },
    /// Both accounts of an exchange are in this currency.
    OneCurrency {
        currency: String,
    },
    FxRateNotFound {
        base: String,
        quote: String,
    },
    /// The caller's rate is too far from the stored one.
    FxRateTolerance {
        given: Decimal,
        stored: Decimal,
        tolerance_bp: i32,
    },
    FxRate {
        why: String,
    },
    NotDisputable {
        transaction: Uuid,
        why: String,
    },
    /// The transaction has an open dispute.
    Disputed {
        transaction: Uuid,
        dispute: Uuid,
    },
    DisputeNotOpen {
        dispute: Uuid,
        why: String,
    },
    /// The queue is processed at READ COMMITTED.
    IsolationLevel,
    /// Requests that this call has claimed were changed by somebody else.
    ClaimLost,
    /// Another session is posting the same id at this moment.
    IdInFlight,
    /// A user's trigger took away a row that a posting wrote.
    Suppressed,
    /// The row was changed by another transaction since this one's snapshot (REPEATABLE READ and above).
    ConcurrentUpdate,
    DayNotOver {
        day: String,
        zone: String,
    },
    /// A rule of interest would change days that are accrued.
    DayAccrued {
        from: String,
        through: String,
    },
    NotAccrued {
        account: Uuid,
        day: String,
    },
    /// A transaction on which no fee can be charged.
    NoFee {
        transaction: Uuid,
        why: String,
    },
    /// More interest than can be counted.
    InterestRange {
        account: Uuid,
        day: String,
    },
    /// A setting that a pgbouncer.ini cannot have.
    PgbouncerSetting {
        name: String,
        why: String,
    },
    /// A database that cannot be behind a pool.
    PoolDatabase {
        name: String,
        why: &'static str,
    },
    /// The extension cannot be dropped with what is in it.
    LedgerNotEmpty {
        content: Option<String>,
    },
    /// The system would not give as much memory as a call is going to take.
    OutOfMemory {
        bytes: usize,
    },
    /// What the server itself raised, passed on as it was.
    /// The stream is not where the caller expects it.
    VersionConflict {
        aggregate: Uuid,
        expected: String,
        actual: i32,
    },
    AggregateType {
        aggregate: Uuid,
        wanted: String,
        found: String,
    },
    /// An event's id is there with other content, or only some of a batch are.
    EventConflict {
        aggregate: Uuid,
    },
    /// Events that meet the condition of an append are there.
    AppendCondition {
        event: Uuid,
        event_type: String,
        position: i64,
        after: i64,
    },
    EventInvalid {
        number: usize,
        key: &'static str,
        why: String,
    },
    NotFoldable {
        aggregate: Uuid,
        version: i32,
        why: String,
    },
    /// An operation of a reducer, from 1; 0: all of them.
    ReducerInvalid {
        operation: usize,
        key: String,
        why: String,
    },
    /// A reducer's function cannot be called, or not by everybody who might.
    ReducerFunction {
        function: String,
        why: String,
    },
    ReducerNotFound {
        aggregate_type: Option<String>,
        event_type: Option<String>,
    },
    SubscriptionExists {
        name: String,
    },
    SubscriptionNotFound {
        name: String,
    },
    /// The lease is unknown, or ran out and its events went to somebody else.
    LeaseLost {
        token: i64,
    },
    EventNotInLease {
        event: Uuid,
        token: i64,
    },
    /// An earlier event of the same stream is still open.
    EventOrder {
        aggregate: Uuid,
        open: i32,
        given: i32,
    },
    EventNotParked {
        event: Uuid,
    },
    /// What the ledger's events say is asked for while none are written.
    NotPublished,
    /// A stream that the events of a posting were to open is there already.
    LedgerStream {
        transactions: usize,
    },
    /// A retention rule has deleted the events that are asked for, with their state.
    NotExplainable {
        why: String,
    },
    ParametersDiffer {
        wanted: usize,
        given: usize,
    },
    /// The scheduler's run amid somebody's transaction.
    BaselineInTransaction,
    EventsDeleted {
        aggregate: Uuid,
        through: i32,
    },
    /// A retention rule has deleted events that the ledger's balances at a position rest on.
    LedgerEventsDeleted {
        opened: i64,
    },
    /// Somebody else than the publication of the ledger appends under one of its types.
    LedgerType {
        aggregate_type: String,
    },
    /// A user's trigger kept a row of the event store from being written.
    EventSuppressed {
        aggregate: Uuid,
    },
    /// A command's id is there with other content.
    CommandConflict {
        command: Uuid,
    },
    /// Nothing carries out commands of the type.
    CommandUnknown {
        command_type: String,
    },
    /// The function cannot be called as a handler.
    HandlerInvalid {
        handler: String,
        why: &'static str,
    },
    /// It was made anew, and answers something else.
    FunctionChanged {
        function: String,
    },
    /// A handler would process commands in its turn.
    CommandNested,
    /// The role that submitted a command is not there any more.
    SubmitterGone {
        role: String,
    },
    ProjectionNotFound {
        name: String,
    },
    ProjectionExists {
        name: String,
    },
    /// What is asked of a projection is not possible as it stands.
    ProjectionState {
        name: String,
        why: &'static str,
    },
    /// The table cannot be, or be rebuilt as, a projection's.
    /// No check of the operator's toolkit has that name.
    CheckNotFound {
        check: String,
    },
    /// Nothing is found under that fingerprint now.
    FindingNotFound {
        fingerprint: String,
    },
    /// What the check finds is not measured.
    NoThreshold {
        check: String,
    },
    ProjectionTarget {
        target: String,
        why: String,
    },
    SagaNotFound {
        saga: Uuid,
    },
    /// What is asked of a saga is not possible as it stands.
    SagaState {
        saga: Uuid,
        why: String,
    },
    /// A step of a definition, from 1; 0: all of them.
    SagaDefinition {
        step: usize,
        key: &'static str,
        why: String,
    },
    SagaTypeUnknown {
        saga_type: String,
    },
    /// The key has a saga with other content.
    SagaConflict {
        saga: Uuid,
    },
    /// The step is not this worker's any more.
    StepLeaseLost {
        step: Uuid,
        token: i64,
    },
    /// A step's function would change a saga that is being run by its own session.
    SagaNested {
        why: &'static str,
    },
    PastReturn {
        saga: Uuid,
    },
    /// The signal's id is there with other content.
    SignalConflict {
        signal: Uuid,
    },
    StepNotFound {
        step: Uuid,
    },
    /// A time for which an account's history cannot be corrected.
    PeriodInvalid {
        why: String,
    },
    /// What a correction is to set.
    CorrectionInvalid {
        key: String,
        why: String,
    },
    /// The lease of that name is another one, was released or ran out.
    LeaseNotHeld {
        name: String,
        token: i64,
    },
    Server(ServerError),
}
