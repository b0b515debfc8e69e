//! What to do about each refusal.

use super::Error;

impl Error {
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::InsufficientFunds { .. } => {
                "Post a smaller amount, or raise the account's overdraft limit."
            }
            Error::AccountNotFound { .. } => "Use an id that banking.open_account answered.",
            Error::AccountNotActive { .. } => "Set the status with banking.set_account_status first.",
            Error::CurrencyMismatch { .. } => {
                "Leave the currency out, or exchange between currencies with txn_processing.transfer_fx."
            }
            Error::InvalidAmount { .. } => {
                "Give an amount above zero with no more decimals than the currency has."
            }
            Error::SagaNotFound { .. } => {
                "Use an id that saga.start or saga.create_saga answered; of sagas that are pruned see saga.prunings."
            }
            Error::SagaState { .. } => "Look at saga.sagas and saga.transitions for what became of it.",
            Error::SagaDefinition { .. } => {
                "A step is {\"name\": text} with one of action (\"schema.function\" or \"external\"), signal, delay_ms and child; see docs/saga.md for the other keys."
            }
            Error::SagaTypeUnknown { .. } => "Define it with saga.define.",
            Error::SagaConflict { .. } => "Use a new key for a new saga, and the same context for a retry.",
            Error::StepLeaseLost { .. } => {
                "Drop what was not committed: the step was handed on or settled, or the saga has gone on without it. If the effect is there all the same, tell whoever decided: see saga.transitions."
            }
            Error::SagaNested { .. } => "Leave it to the saga's own steps, or do it in another session.",
            Error::PastReturn { .. } => "Let it go on, or correct its effects afterwards.",
            Error::SignalConflict { .. } => {
                "Use a new id for a new signal, and the same content for a retry."
            }
            Error::StepNotFound { .. } => "Use a step_id that saga.claim_step answered.",
            Error::VersionConflict { .. } => "Read the stream again, decide anew, and append at its version.",
            Error::AggregateType { .. } => "An aggregate keeps the type of its first event.",
            Error::EventConflict { .. } => "Use new ids for new events, and the same events for a retry.",
            Error::AppendCondition { .. } => {
                "Read the events after the position that you gave, decide anew, and append with the later position."
            }
            Error::EventInvalid { .. } => {
                "An event is {\"event_type\": text, \"event_data\": object} and may have event_id, metadata and tags."
            }
            Error::NotFoldable { .. } => {
                "Read the events before it with p_up_to_version, or define a reducer that passes it by."
            }
            Error::ReducerInvalid { .. } => {
                "An operation is {\"set\" | \"merge\" | \"add\" | \"subtract\" | \"append\": path, \"value\": constant} or with \"from\": path in place of value, or {\"remove\": path}."
            }
            Error::ReducerFunction { .. } => {
                "Give a function (jsonb, event_store.events) returning jsonb that a superuser or the extension's owner owns, and EXECUTE to those who read states."
            }
            Error::ReducerNotFound { .. } => "Look into event_store.reducers.",
            Error::SubscriptionExists { .. } => {
                "Change it with event_store.alter_subscription, or choose another name."
            }
            Error::SubscriptionNotFound { .. } => "See event_store.subscriptions for those that there are.",
            Error::LeaseLost { .. } => "Drop what was not committed, and fetch again.",
            Error::EventNotInLease { .. } => "Give ids that the fetch with this token answered.",
            Error::EventOrder { .. } => "Acknowledge the events of a stream in their order.",
            Error::EventNotParked { .. } => "See event_store.parked_events for those that are.",
            Error::NotPublished => "Switch it on with event_store.publish_ledger(true).",
            Error::LedgerStream { .. } => {
                "Leave the aggregate ids that event_store.ledger_stream answers to the ledger."
            }
            Error::NotExplainable { .. } => "Give one SELECT, INSERT, UPDATE, DELETE or MERGE.",
            Error::ParametersDiffer { .. } => {
                "Give each of $1, $2 ... one element of params, as text; NULL is an element."
            }
            Error::BaselineInTransaction => "Call it by itself, as pg_cron does.",
            Error::EventsDeleted { .. } | Error::LedgerEventsDeleted { .. } => {
                "Look into event_store.tombstones, and read the archive."
            }
            Error::LedgerType { .. } => "Give the application's aggregates a type of their own.",
            Error::EventSuppressed { .. } => {
                "Let triggers on the event store return the row, or raise an error of their own."
            }
            Error::SameAccount { .. } => "Give two different accounts.",
            Error::IdConflict { .. } => {
                "Use a new id for a new transaction, and the same content for a retry."
            }
            Error::KeyConflict { .. } => "Use a new key for a new request, and the same content for a retry.",
            Error::NotReversible { .. } => "Look at txn_processing.transaction(id) and its status.",
            Error::AppendOnly { .. } => {
                "Correct a posting with txn_processing.reverse or txn_processing.adjust."
            }
            Error::BalanceGuard { .. } => {
                "Use banking.open_account, set_account_status and the posting functions."
            }
            Error::HoldNotOpen { .. } => "Look at txn_processing.account_holds, and place a new hold.",
            Error::HoldExceeded { .. } => {
                "Capture less, or set how far past its amount it may go with txn_processing.set_hold_rule."
            }
            Error::HoldsOpen { .. } => "Capture or release them first.",
            Error::LimitExceeded { .. } => "Split the money over several accounts.",
            Error::SpendingLimit { .. } => {
                "Wait for the next day or month, or see banking.set_account_limit and set_type_limit."
            }
            Error::TenantMismatch { .. } => "Post between accounts of one tenant.",
            Error::InternalAccount { .. } => "Name a customer's account.",
            Error::CustomerNotFound { .. } => "Use an id that banking.create_customer answered.",
            Error::TenantNotFound { .. } => "Use an id that banking.create_tenant answered.",
            Error::CurrencyNotFound { .. } => {
                "Use an ISO 4217 code, or add the currency to banking.currencies."
            }
            Error::AccountTypeNotFound { .. } => "Use a type of banking.account_types that is not internal.",
            Error::AccountNotEmpty { .. } => "Give sweep_to, or move the balance to zero first.",
            Error::StatusChange { .. } => "Statuses are active, dormant, frozen and closed; closed is final.",
            Error::AccountNumber { .. } => "Give a free account number of 1 to 50 characters, or none.",
            Error::ArgumentBounds { .. } => "See the argument's bounds in docs/errors.md.",
            Error::EffectiveAt { .. } => "Give a time up to now; neobank.max_backdate_days bounds the past.",
            Error::NotPermitted { .. } => "Ask an operator, or grant the level with neobank.grant_usage.",
            Error::DayNotOver { .. } => "Give a day that has ended; see neobank.business_time_zone.",
            Error::DayAccrued { .. } => {
                "Let the rule begin on a later day, and correct the past with adjust."
            }
            Error::NotAccrued { .. } => "Call txn_processing.accrue_interest for the day until it is done.",
            Error::NoFee { .. } => "Name a transaction of a customer that is not reversed.",
            Error::InterestRange { .. } => "Lower the rate, or end the account's rule.",
            Error::Suppressed => "Let triggers on the ledger return the row, or raise an error of their own.",
            Error::BalanceMode { .. } => "See banking.set_balance_mode.",
            Error::StatementConflict { .. } => {
                "Use a new statement_ref for a new statement, and the same content for a retry."
            }
            Error::StatementUneven { .. } => {
                "Import the statement whole, with its signs as the account's balance changes."
            }
            Error::StatementOverlap { .. } => "Import each day of an account once per source.",
            Error::MatchState { .. } => {
                "Undo the match first with txn_processing.unmatch, or leave it as it is."
            }
            Error::ReconciliationNotFound { .. } => {
                "Look into txn_processing.external_statements, external_lines and reconciliation_matches."
            }
            Error::LinkedFailed => "Look at the code of the other items of the chain.",
            Error::SettlementDate { .. } => {
                "Settle dates in their order, up to today in UTC; late payments go with the next date."
            }
            Error::BatchItem { .. } => "Correct the item and hand the whole batch in again.",
            Error::BatchNotFound { .. } => "Use an id that txn_processing.create_payment_batch answered.",
            Error::BatchKeyConflict { .. } => {
                "Use a new key for a new batch, and the same content for a retry."
            }
            Error::ClearingMismatch { .. } => {
                "Rows of txn_processing.clearing_items were changed past the extension: put them back."
            }
            Error::NoDirectPath { .. } => {
                "Set neobank.posting_path to auto, or take away what is in the way."
            }
            Error::OneCurrency { .. } => "Use txn_processing.transfer.",
            Error::FxRateNotFound { .. } => "Set a rate with txn_processing.set_fx_rate.",
            Error::FxRateTolerance { .. } => {
                "Leave the rate out, or set a new one with txn_processing.set_fx_rate."
            }
            Error::FxRate { .. } => "Give a rate from 10^-12 to 10^12 with up to 12 significant digits.",
            Error::NotDisputable { .. } => {
                "Look at txn_processing.transaction(id) and txn_processing.dispute_policies."
            }
            Error::Disputed { .. } => "Resolve the dispute with txn_processing.resolve_dispute first.",
            Error::DisputeNotOpen { .. } => "Look at txn_processing.disputes and its state.",
            Error::LedgerNotEmpty { .. } => {
                "Dump the database first; DROP EXTENSION neobank CASCADE drops the ledger with all that is in it."
            }
            Error::IsolationLevel => "Begin the transaction with ISOLATION LEVEL READ COMMITTED.",
            Error::ClaimLost => "Look for a trigger that writes txn_processing.transaction_queue.",
            Error::CommandConflict { .. } => {
                "Use a new id for a new command, and the same content for a retry."
            }
            Error::CommandUnknown { .. } => "Register a handler with cqrs.register_handler.",
            Error::HandlerInvalid { .. } => {
                "A command's handler is (cqrs.commands) returns jsonb, a projection's (event_store.events, regclass) returns void."
            }
            Error::CommandNested => {
                "Submit the command from the handler; a worker, or the next call, processes it."
            }
            Error::FunctionChanged { .. } => {
                "Make it anew as it was when it was named: it returns one jsonb."
            }
            Error::SubmitterGone { .. } => "Submit the command again in another role.",
            Error::ProjectionNotFound { .. } => "Look at cqrs.projection_status.",
            Error::ProjectionExists { .. } => "Choose another name, or drop it with cqrs.drop_projection.",
            Error::ProjectionState { .. } => {
                "Look at cqrs.projection_status; cqrs.rebuild_projection makes it whole again."
            }
            Error::CheckNotFound { .. } => "Look at troubleshoot.check_catalogue.",
            Error::FindingNotFound { .. } => "Take a fingerprint that troubleshoot.checks() shows.",
            Error::NoThreshold { .. } => "Acknowledge its findings with troubleshoot.acknowledge.",
            Error::PgbouncerSetting { .. } => {
                "Give settings of pgbouncer 1.18 as an object of texts and whole numbers; null leaves one out."
            }
            Error::PoolDatabase { .. } => "Look at pg_database: it must exist, and take connections.",
            Error::ProjectionTarget { .. } => "Give a plain table of your own, to which nothing else refers.",
            Error::PeriodInvalid { .. } => {
                "Give a valid_from before valid_to, and a valid_to up to now; without it the period is up to now."
            }
            Error::CorrectionInvalid { .. } => {
                "Keys are customer_id, account_number, account_type, account_status and overdraft_limit."
            }
            Error::LeaseNotHeld { .. } => {
                "Undo what was not committed under it, and take it anew with concurrency.acquire_lease."
            }
            Error::NotATrigger { .. } => "It is called by the triggers on the ledger's tables.",
            Error::NullArgument { .. } => "Give a value.",
            Error::ConcurrentUpdate | Error::IdInFlight => "Repeat the transaction from its start.",
            Error::OutOfMemory { .. } => "Bring fewer items in a call, or give the server more memory.",
            Error::Server(_) => return None,
        })
    }
}
