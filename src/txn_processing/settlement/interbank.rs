//! One payment to another bank, or from it.

use super::store::{self, CLEARING};
use crate::error::Error;
use crate::txn_processing::bounds::given_text;
use crate::txn_processing::core::Kind;
use crate::txn_processing::engine::{Desk, Order, Posted, post};
use crate::txn_processing::store::internal_account;
use crate::txn_processing::strict::Tail;
use rust_decimal::Decimal;
use uuid::Uuid;

/// The function whose EXECUTE stands for payments to other banks.
pub const PAY_BANK: &str = "txn_processing.pay_bank";

const MAX_NAME: usize = 50;
/// How reports show what names no bank.
const UNASSIGNED: &str = "unassigned";

/// The other bank and the account there.
pub struct Counterparty {
    pub bank: String,
    pub account: String,
}

impl Counterparty {
    pub fn checked(bank: String, account: String) -> Result<Self, Error> {
        for (argument, text) in [("counterparty_bank", &bank), ("counterparty_account", &account)] {
            given_text(argument, text, MAX_NAME)?;
        }
        if bank == UNASSIGNED {
            let why = format!("{UNASSIGNED:?} stands in reports for payments that name no bank.");
            return Err(Error::ArgumentBounds { argument: "counterparty_bank", why });
        }
        Ok(Counterparty { bank, account })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Outgoing,
    Incoming,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Direction::Outgoing => "outgoing",
            Direction::Incoming => "incoming",
        }
    }
}

/// Posts between the customer's account and clearing. The counterparty goes into the posting's metadata, so a retry
/// that names another one is refused with the same id.
pub fn post_interbank(
    desk: &Desk,
    direction: Direction,
    account: Uuid,
    amount: Decimal,
    counterparty: &Counterparty,
    tail: &Tail,
) -> Result<Posted, Error> {
    let session = desk.session();
    let clearing = internal_account(session, account, CLEARING)?;
    let (kind, debit, credit) = match direction {
        Direction::Outgoing => (Kind::Payment, account, clearing),
        Direction::Incoming => (Kind::Deposit, clearing, account),
    };
    let order = tail.order(kind, debit, credit, Some(amount));
    // What is no object is the engine's to refuse.
    let metadata = match order.metadata {
        Some(json) if !json.is_object() => Some(json),
        given => Some(store::with_counterparty(session, given, &counterparty.bank, &counterparty.account)?),
    };
    let posted = post(desk, &Order { metadata, ..order })?;
    let Counterparty { bank, account } = counterparty;
    store::record(session, posted.transaction_id, direction.name(), bank, account)?;
    Ok(posted)
}
