//! Every refusal of the extension: one variant, one SQLSTATE, one word, for ever. `docs/errors.md` lists them.

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
        status: String,
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
    },
    LimitExceeded {
        account: Uuid,
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
    NotPermitted {
        role: String,
        function: &'static str,
    },
    /// A user's trigger took away a row that a posting wrote.
    Suppressed,
    /// The row was changed by another transaction since this one's snapshot (REPEATABLE READ and above).
    ConcurrentUpdate,
    /// What the server itself raised, passed on as it was.
    Server(ServerError),
}

/// What an error looks like to a person and to a program.
pub struct Report {
    pub sqlstate: &'static str,
    /// The `code` of the contract functions' JSON.
    pub word: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<&'static str>,
}

impl Error {
    fn codes(&self) -> (&'static str, &'static str) {
        match self {
            Error::InsufficientFunds { .. } => ("NB001", "insufficient_funds"),
            Error::AccountNotFound { .. } => ("NB002", "account_not_found"),
            Error::AccountNotActive { .. } => ("NB003", "account_not_active"),
            Error::CurrencyMismatch { .. } => ("NB004", "currency_mismatch"),
            Error::InvalidAmount { .. } => ("NB005", "invalid_amount"),
            Error::SameAccount { .. } => ("NB006", "same_account"),
            Error::IdConflict { .. } => ("NB007", "id_conflict"),
            Error::NotReversible { .. } => ("NB008", "not_reversible"),
            Error::AppendOnly { .. } => ("NB009", "append_only"),
            Error::BalanceGuard { .. } => ("NB010", "balance_guard"),
            Error::LimitExceeded { .. } => ("NB012", "limit_exceeded"),
            Error::TenantMismatch { .. } => ("NB013", "tenant_mismatch"),
            Error::CustomerNotFound { .. } => ("NB014", "customer_not_found"),
            Error::TenantNotFound { .. } => ("NB015", "tenant_not_found"),
            Error::CurrencyNotFound { .. } => ("NB016", "currency_not_found"),
            Error::AccountTypeNotFound { .. } => ("NB017", "account_type_not_found"),
            Error::AccountNotEmpty { .. } => ("NB018", "account_not_empty"),
            Error::StatusChange { .. } => ("NB019", "status_change_not_allowed"),
            Error::AccountNumber { .. } => ("NB020", "account_number_invalid"),
            Error::ArgumentBounds { .. } => ("NB021", "argument_out_of_bounds"),
            Error::EffectiveAt { .. } => ("NB022", "effective_at_out_of_bounds"),
            Error::InternalAccount { .. } => ("NB024", "internal_account"),
            Error::NotPermitted { .. } => ("42501", "permission_denied"),
            Error::Suppressed => ("NB025", "posting_suppressed"),
            Error::NullArgument { .. } => ("22004", "null_argument"),
            Error::ConcurrentUpdate => ("40001", "serialization_failure"),
            Error::Server(_) => ("XX000", "server_error"),
        }
    }

    fn texts(&self) -> (String, Option<String>) {
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
            Error::InvalidAmount { why } => ("invalid amount".into(), Some(why.clone())),
            Error::SameAccount { account } => {
                ("source and destination are the same account".into(), Some(format!("Both are {account}.")))
            }
            Error::IdConflict { transaction } => (
                "transaction id exists with other content".into(),
                Some(format!("Transaction {transaction} was posted with other accounts, amount or texts.")),
            ),
            Error::NotReversible { transaction, why } => {
                ("transaction not reversible".into(), Some(format!("Transaction {transaction} {why}.")))
            }
            Error::AppendOnly { action, relation } => (
                "the ledger is append-only".into(),
                Some(format!("{action} on {relation} is refused for everyone.")),
            ),
            Error::BalanceGuard { action } => (
                "accounts are written by the ledger only".into(),
                Some(format!("{action} on banking.accounts would write past the ledger.")),
            ),
            Error::LimitExceeded { account } => (
                "balance out of range".into(),
                Some(format!("The balance of account {account} would exceed 10^24.")),
            ),
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
            Error::Suppressed => (
                "a trigger suppressed the posting".into(),
                Some("A row written to txn_processing.movements or banking.accounts did not arrive.".into()),
            ),
            Error::NullArgument { name } => (format!("argument {name:?} must not be null"), None),
            Error::ConcurrentUpdate => ("could not serialize access due to concurrent update".into(), None),
            Error::Server(_) => ("error of the server".into(), None),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::InsufficientFunds { .. } => {
                "Post a smaller amount, or raise the account's overdraft limit."
            }
            Error::AccountNotFound { .. } => "Use an id that banking.open_account answered.",
            Error::AccountNotActive { .. } => "Set the status with banking.set_account_status first.",
            Error::CurrencyMismatch { .. } => {
                "Leave the currency out, or post between accounts of one currency."
            }
            Error::InvalidAmount { .. } => {
                "Give an amount above zero with no more decimals than the currency has."
            }
            Error::SameAccount { .. } => "Give two different accounts.",
            Error::IdConflict { .. } => {
                "Use a new id for a new transaction, and the same content for a retry."
            }
            Error::NotReversible { .. } => "Look at txn_processing.transaction(id) and its status.",
            Error::AppendOnly { .. } => {
                "Correct a posting with txn_processing.reverse or txn_processing.adjust."
            }
            Error::BalanceGuard { .. } => {
                "Use banking.open_account, set_account_status and the posting functions."
            }
            Error::LimitExceeded { .. } => "Split the money over several accounts.",
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
            Error::Suppressed => "Let triggers on the ledger return the row, or raise an error of their own.",
            Error::NullArgument { .. } => "Give a value.",
            Error::ConcurrentUpdate => "Repeat the transaction from its start.",
            Error::Server(_) => return None,
        })
    }

    pub fn report(&self) -> Report {
        let (sqlstate, word) = self.codes();
        let (message, detail) = self.texts();
        Report { sqlstate, word, message, detail, hint: self.hint() }
    }

    /// Whether it is a business refusal, decided before anything was written; every function raises the others.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Error::Server(_) | Error::ConcurrentUpdate | Error::Suppressed)
    }
}
