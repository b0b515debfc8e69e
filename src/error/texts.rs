//! What each refusal says: the message, and the figures of this case.

use super::{Error, Role};

impl Error {
    pub(super) fn texts(&self) -> (String, Option<String>) {
        match self {
            Error::InsufficientFunds { account, available, requested } => (
                "insufficient funds".into(),
                Some(format!("Account {account} has {available} available, {requested} was requested.")),
            ),
            Error::AccountNotFound { account } => {
                ("account not found".into(), Some(format!("There is no account {account}.")))
            }
            Error::AccountNotActive { account, status, role: Role::Sender } => (
                "source account not active".into(),
                Some(format!("Account {account} is {status} and cannot send.")),
            ),
            Error::AccountNotActive { account, status, role: Role::Receiver } => (
                "destination account not available".into(),
                Some(format!("Account {account} is {status} and cannot receive.")),
            ),
            Error::CurrencyMismatch { wanted, found } => (
                "currency mismatch".into(),
                Some(format!("The posting is in {wanted}, the account in {found}.")),
            ),
            Error::SagaNotFound { saga } => {
                ("saga not found".into(), Some(format!("There is no saga {saga}.")))
            }
            Error::SagaState { saga, why } => {
                ("saga does not allow it".into(), Some(format!("Saga {saga}: {why}")))
            }
            Error::SagaDefinition { step: 0, why, .. } => {
                ("definition of a saga is not valid".into(), Some(why.clone()))
            }
            Error::SagaDefinition { step, key, why } => {
                ("definition of a saga is not valid".into(), Some(format!("Step {step}, {key}: {why}")))
            }
            Error::SagaTypeUnknown { saga_type } => (
                "type of saga is not defined".into(),
                Some(format!("There is no definition of sagas of type {saga_type:?}.")),
            ),
            Error::SagaConflict { saga } => (
                "idempotency key has a saga with other content".into(),
                Some(format!("Saga {saga} has the key, with another context or another role.")),
            ),
            Error::StepLeaseLost { step, token } => (
                "step is not this worker's".into(),
                Some(format!("Lease {token} of step {step} ran out, was ended, or never was.")),
            ),
            Error::SagaNested { why } => ("saga is being run".into(), Some((*why).into())),
            Error::PastReturn { saga } => (
                "saga is past its point of no return".into(),
                Some(format!("The step of no return of saga {saga} is completed, or may have had its effect.")),
            ),
            Error::SignalConflict { signal } => (
                "signal id exists with other content".into(),
                Some(format!("Signal {signal} was sent to another saga, or with another name or payload.")),
            ),
            Error::StepNotFound { step } => {
                ("step not found".into(), Some(format!("There is no step {step}.")))
            }
            Error::InvalidAmount { why } => ("invalid amount".into(), Some(why.clone())),
            Error::VersionConflict { aggregate, expected, actual } => (
                "version conflict".into(),
                Some(format!("Aggregate {aggregate} is at version {actual}; {expected} was expected.")),
            ),
            Error::AggregateType { aggregate, wanted, found } => (
                "aggregate is of another type".into(),
                Some(format!("Aggregate {aggregate} is of type {found:?}, not {wanted:?}.")),
            ),
            Error::EventConflict { aggregate } => (
                "event id exists with other content".into(),
                Some(format!(
                    "Not all of these events are in the stream of {aggregate}, one after the other and with this content."
                )),
            ),
            Error::AppendCondition { event, event_type, position, after } => (
                "events that the append depends on are there".into(),
                Some(format!("Event {event} of type {event_type:?} is at position {position}, after {after}.")),
            ),
            Error::EventInvalid { number, key, why } => {
                ("event is not valid".into(), Some(format!("Event {number}, {key}: {why}")))
            }
            Error::NotFoldable { aggregate, version, why } => (
                "event cannot be folded".into(),
                Some(format!("Event {version} of aggregate {aggregate} {why}.")),
            ),
            Error::ReducerInvalid { operation: 0, why, .. } => {
                ("reducer is not valid".into(), Some(why.clone()))
            }
            Error::ReducerInvalid { operation, key, why } => {
                ("reducer is not valid".into(), Some(format!("Operation {operation}, {key}: {why}")))
            }
            Error::ReducerFunction { function, why } => {
                ("function of a reducer cannot be used".into(), Some(format!("Function {function}: {why}")))
            }
            Error::ReducerNotFound { aggregate_type, event_type } => {
                let named = |name: &Option<String>| name.as_ref().map_or("any".into(), |n| format!("{n:?}"));
                let (aggregate, event) = (named(aggregate_type), named(event_type));
                let why = format!("There is none for aggregate type {aggregate} and event type {event}.");
                ("reducer not found".into(), Some(why))
            }
            Error::SubscriptionExists { name } => {
                ("subscription exists".into(), Some(format!("There is a subscription {name:?}.")))
            }
            Error::SubscriptionNotFound { name } => {
                ("subscription not found".into(), Some(format!("There is no subscription {name:?}.")))
            }
            Error::LeaseLost { token } => (
                "lease is lost".into(),
                Some(format!("Lease {token} is unknown, or it ran out and its events were handed out again.")),
            ),
            Error::EventNotInLease { event, token } => (
                "event is not in the lease".into(),
                Some(format!("Event {event} was not handed out with lease {token}, or it was given back.")),
            ),
            Error::EventOrder { aggregate, open, given } => (
                "an earlier event of the stream is open".into(),
                Some(format!(
                    "Version {given} of aggregate {aggregate} cannot be acknowledged before version {open}."
                )),
            ),
            Error::EventNotParked { event } => {
                ("event is not parked".into(), Some(format!("The subscription has no parked event {event}.")))
            }
            Error::NotPublished => ("the ledger is not published".into(), None),
            Error::LedgerStream { transactions } => (
                "stream of a posting exists already".into(),
                Some(format!("Of {transactions} transactions one has a stream that it did not open.")),
            ),
            Error::NotExplainable { why } => ("query cannot be explained".into(), Some(why.clone())),
            Error::ParametersDiffer { wanted, given } => (
                "parameters do not match the query".into(),
                Some(format!("The query has {wanted} parameters, and {given} were given.")),
            ),
            Error::BaselineInTransaction => (
                "baselines run in a transaction of their own".into(),
                Some("The transaction has written already; its commit would wait for the notification's lock.".into()),
            ),
            Error::EventsDeleted { aggregate, through } => (
                "events are deleted".into(),
                Some(format!(
                    "The events of aggregate {aggregate} to version {through} were deleted without a state that could be begun with."
                )),
            ),
            Error::LedgerEventsDeleted { opened } => (
                "events are deleted".into(),
                Some(format!(
                    "Events of the publication of the ledger that was opened at position {opened} were deleted, and the balances rest on them."
                )),
            ),
            Error::LedgerType { aggregate_type } => (
                "type belongs to the events of the ledger".into(),
                Some(format!("Events of type {aggregate_type:?} are written by the ledger alone, as it is published.")),
            ),
            Error::EventSuppressed { aggregate } => (
                "a trigger suppressed the event".into(),
                Some(format!("A row of the stream of {aggregate} did not arrive in the event store's tables.")),
            ),
            Error::CommandConflict { command } => (
                "command id exists with other content".into(),
                Some(format!("Command {command} was submitted with another type, aggregate or payload, or by another role.")),
            ),
            Error::CommandUnknown { command_type } => (
                "command has no handler".into(),
                Some(format!("No handler is registered for commands of type {command_type:?}.")),
            ),
            Error::HandlerInvalid { handler, why } => {
                ("function is not a handler".into(), Some(format!("Function {handler} {why}.")))
            }
            Error::ProjectionNotFound { name } => {
                ("projection not found".into(), Some(format!("There is no projection {name:?}.")))
            }
            Error::ProjectionExists { name } => {
                ("projection exists".into(), Some(format!("There is a projection {name:?} already.")))
            }
            Error::ProjectionState { name, why } => {
                ("projection does not allow it".into(), Some(format!("Projection {name:?} {why}.")))
            }
            Error::CheckNotFound { check } => {
                ("check not found".into(), Some(format!("There is no check {check:?}.")))
            }
            Error::FindingNotFound { fingerprint } => (
                "finding not found".into(),
                Some(format!("No check finds anything with the fingerprint {fingerprint:?} now.")),
            ),
            Error::NoThreshold { check } => (
                "check has no thresholds".into(),
                Some(format!("Check {check:?} does not measure what it finds.")),
            ),
            Error::PgbouncerSetting { name, why } => {
                ("setting of pgbouncer is not possible".into(), Some(format!("Setting {name:?} {why}.")))
            }
            Error::PoolDatabase { name, why } => {
                ("database cannot have a pool".into(), Some(format!("Database {name:?} {why}.")))
            }
            Error::ProjectionTarget { target, why } => {
                ("table cannot be a projection's".into(), Some(format!("Table {target} {why}.")))
            }
            Error::CommandNested => (
                "commands are being processed".into(),
                Some("A handler cannot process commands itself: its own would be among them.".into()),
            ),
            Error::FunctionChanged { function } => (
                "function does not answer one jsonb".into(),
                Some(format!("{function} was made anew with another result.")),
            ),
            Error::SubmitterGone { role } => {
                ("submitter does not exist".into(), Some(format!("There is no role {role:?} any more.")))
            }
            Error::SameAccount { account } => {
                ("source and destination are the same account".into(), Some(format!("Both are {account}.")))
            }
            Error::IdConflict { transaction } => (
                "transaction id exists with other content".into(),
                Some(format!("Transaction {transaction} was posted with other accounts, amount or texts.")),
            ),
            Error::KeyConflict { request } => (
                "idempotency key exists with other content".into(),
                Some(format!("Request {request} has the key, and asks for something else or was made by another role.")),
            ),
            Error::NotReversible { transaction, why } => {
                ("transaction not reversible".into(), Some(format!("Transaction {transaction} {why}.")))
            }
            Error::AppendOnly { action, relation } => (
                "the ledger is append-only".into(),
                Some(format!("{action} on {relation} is refused for everyone.")),
            ),
            Error::BalanceGuard { action, relation } => (
                "accounts are written by the ledger only".into(),
                Some(format!("{action} on {relation} would write past the ledger.")),
            ),
            Error::HoldNotOpen { hold, why } => {
                ("hold is not open".into(), Some(format!("Hold {hold} {why}.")))
            }
            Error::HoldExceeded { hold, most, requested } => (
                "capture exceeds the hold".into(),
                Some(format!("Hold {hold} may be captured by {most} more, {requested} was requested.")),
            ),
            Error::HoldsOpen { account, reserved } => (
                "account has open holds".into(),
                Some(format!("Holds set {reserved} aside on account {account}.")),
            ),
            Error::LimitExceeded { account, most } => (
                "balance out of range".into(),
                Some(format!(
                    "The balance of account {account}, or of one of its slots, would exceed {most}."
                )),
            ),
            Error::SpendingLimit { account, why } => {
                ("spending limit exceeded".into(), Some(format!("Account {account}: {why}.")))
            }
            Error::TenantMismatch { why } => ("tenants do not match".into(), Some(why.clone())),
            Error::InternalAccount { account } => (
                "account is the bank's own".into(),
                Some(format!(
                    "Account {account} is internal: only adjustments and the other side of postings touch it."
                )),
            ),
            Error::CustomerNotFound { customer } => {
                ("customer not found".into(), Some(format!("There is no customer {customer}.")))
            }
            Error::TenantNotFound { tenant } => {
                ("tenant not found".into(), Some(format!("There is no tenant {tenant}.")))
            }
            Error::CurrencyNotFound { currency } => {
                ("currency not found".into(), Some(format!("banking.currencies has no {currency:?}.")))
            }
            Error::AccountTypeNotFound { account_type } => (
                "account type not found".into(),
                Some(format!("banking.account_types has no customer account type {account_type:?}.")),
            ),
            Error::AccountNotEmpty { account, balance } => (
                "account is not empty".into(),
                Some(format!("The balance of account {account} is {balance}.")),
            ),
            Error::StatusChange { account, from, to } => (
                "status change not allowed".into(),
                Some(format!("Account {account} is {from} and cannot become {to}.")),
            ),
            Error::AccountNumber { why } => ("invalid account number".into(), Some(why.clone())),
            Error::ArgumentBounds { argument, why } => {
                (format!("argument {argument:?} is out of bounds"), Some(why.clone()))
            }
            Error::EffectiveAt { why } => ("effective time out of bounds".into(), Some(why.clone())),
            Error::NotPermitted { role, function } => (
                format!("permission denied for function {function}"),
                Some(format!("Role {role:?} asked for it and may not execute it.")),
            ),
            Error::BalanceMode { account, why } => {
                ("balance mode does not allow it".into(), Some(format!("Account {account} {why}.")))
            }
            Error::StatementConflict { source, statement_ref } => (
                "statement exists with other content".into(),
                Some(format!(
                    "Statement {statement_ref:?} of {source:?} came with another account, period, balances or lines."
                )),
            ),
            Error::StatementUneven { opening, lines, closing } => (
                "statement does not add up".into(),
                Some(format!(
                    "The opening balance {opening} and the lines {lines} come to {}, the closing balance is {closing}.",
                    opening + lines
                )),
            ),
            Error::StatementOverlap { why } => {
                ("statement overlaps with another one".into(), Some(why.clone()))
            }
            Error::MatchState { why } => ("match not possible as things stand".into(), Some(why.clone())),
            Error::ReconciliationNotFound { what, id } => {
                (format!("{} not found", what.split(' ').next().unwrap_or_default()), Some(format!("There is no {what} {id}.")))
            }
            Error::LinkedFailed => ("another item of the chain was refused".into(), None),
            Error::SettlementDate { why } => ("date cannot be settled".into(), Some(why.clone())),
            Error::BatchItem { item, key, why } => (
                "item of the payment batch is invalid".into(),
                Some(match key.as_str() {
                    "" => format!("Item {item}: {why}."),
                    key => format!("Item {item}, key {key:?}: {why}."),
                }),
            ),
            Error::BatchNotFound { batch } => {
                ("payment batch not found".into(), Some(format!("There is no payment batch {batch}.")))
            }
            Error::BatchKeyConflict { key } => (
                "idempotency key exists with other content".into(),
                Some(format!("A batch with other items or another description was handed in as {key:?}.")),
            ),
            Error::ClearingMismatch { balance, open_items } => (
                "clearing account does not match its items".into(),
                Some(format!("The account holds {balance}, its open items add up to {open_items}.")),
            ),
            Error::NoDirectPath { why } => {
                ("postings cannot go by direct access".into(), Some(format!("Table {why}.")))
            }
            Error::OneCurrency { currency } => {
                ("currency mismatch".into(), Some(format!("Both accounts are in {currency}.")))
            }
            Error::FxRateNotFound { base, quote } => (
                "exchange rate not found".into(),
                Some(format!("There is no rate of {base} in {quote}, or of {quote} in {base}, valid then.")),
            ),
            Error::FxRateTolerance { given, stored, tolerance_bp } => (
                "exchange rate out of tolerance".into(),
                Some(format!(
                    "The rate given is {given}; that of the bank is {stored}, and it may be {tolerance_bp} basis points off."
                )),
            ),
            Error::FxRate { why } => ("invalid exchange rate".into(), Some(why.clone())),
            Error::NotDisputable { transaction, why } => {
                ("transaction not disputable".into(), Some(format!("Transaction {transaction} {why}.")))
            }
            Error::Disputed { transaction, dispute } => (
                "transaction is disputed".into(),
                Some(format!("Transaction {transaction} has the open dispute {dispute}.")),
            ),
            Error::DisputeNotOpen { dispute, why } => {
                ("dispute not open".into(), Some(format!("Dispute {dispute} {why}.")))
            }
            Error::IsolationLevel => (
                "work that waits is taken up at READ COMMITTED only".into(),
                Some("At the higher levels what another session has just finished would look unfinished.".into()),
            ),
            Error::ClaimLost => (
                "requests were changed while they were being processed".into(),
                Some("Some of the requests no longer carry the token of this claim; all that the call did is undone.".into()),
            ),
            Error::DayNotOver { day, zone } => {
                ("the day is not over".into(), Some(format!("Day {day} has not ended in time zone {zone}.")))
            }
            Error::DayAccrued { from, through } => (
                "days of the rule are accrued already".into(),
                Some(format!("The rule begins on {from}; interest is accrued to {through}.")),
            ),
            Error::NotAccrued { account, day } => (
                "interest is not accrued to that day".into(),
                Some(format!("Account {account} has no accrual to {day} yet.")),
            ),
            Error::NoFee { transaction, why } => {
                ("no fee can be charged on the transaction".into(), Some(format!("Transaction {transaction} {why}.")))
            }
            Error::InterestRange { account, day } => (
                "interest out of range".into(),
                Some(format!("The interest of account {account} for {day} is too large to be counted.")),
            ),
            Error::PeriodInvalid { why } => ("period is not valid".into(), Some(format!("{why}."))),
            Error::CorrectionInvalid { key, why } => {
                ("correction is not valid".into(), Some(format!("{key}: {why}")))
            }
            Error::LedgerNotEmpty { content } => ("the ledger holds money".into(), content.clone()),
            Error::LeaseNotHeld { name, token } => (
                "lease is not held".into(),
                Some(format!("Token {token} is not, or not any more, the one of a lease of {name:?} that this role has.")),
            ),
            Error::IdInFlight => (
                "could not serialize access: a transaction id is being posted by another session".into(),
                None,
            ),
            Error::Suppressed => (
                "a trigger suppressed the posting".into(),
                Some("A row written to the ledger's tables did not arrive, or a trigger changed its account meanwhile.".into()),
            ),
            Error::NotATrigger { function } => (format!("{function} was not called by a trigger"), None),
            Error::NullArgument { name } => (format!("argument {name:?} must not be null"), None),
            Error::ConcurrentUpdate => ("could not serialize access due to concurrent update".into(), None),
            Error::OutOfMemory { bytes } => {
                ("out of memory".into(), Some(format!("The call would take about {bytes} bytes.")))
            }
            Error::Server(_) => ("error of the server".into(), None),
        }
    }
}
