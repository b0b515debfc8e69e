//! Posting the next items of a batch.

use super::core::{Tally, Verdict};
use super::store::{self, Item};
use crate::error::Error;
use crate::neobank::access::check_execute;
use crate::txn_processing::batch::post_all;
use crate::txn_processing::core::Kind;
use crate::txn_processing::engine::{Desk, Order};
use crate::txn_processing::settlement::{CLEARING, PAY_BANK};
use crate::txn_processing::store::internal_accounts;
use std::collections::HashMap;
use uuid::Uuid;

/// What the role that handed the batch in may post, and where payments to other banks gather.
struct Terms {
    requested_by: String,
    may_transfer: bool,
    may_pay: bool,
    /// By the account that pays.
    clearing: HashMap<Uuid, Uuid>,
}

impl Terms {
    fn find(desk: &Desk, requested_by: String, items: &[Item]) -> Result<Self, Error> {
        let session = desk.session();
        // A batch is no way round the grants, and they are asked about once per call.
        let may = |wanted: bool, function: &'static str| match check_execute(session, &requested_by, function)
        {
            _ if !wanted => Ok(false),
            Ok(()) => Ok(true),
            Err(Error::NotPermitted { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        let payers: Vec<Uuid> = items.iter().filter(|item| item.to.is_none()).map(|item| item.from).collect();
        let may_transfer = may(payers.len() < items.len(), Kind::Transfer.function())?;
        let may_pay = may(!payers.is_empty(), PAY_BANK)?;
        let clearing = internal_accounts(session, &payers, CLEARING)?;
        Ok(Terms { requested_by, may_transfer, may_pay, clearing })
    }

    fn order<'a>(&self, item: &'a Item) -> Result<Order<'a>, Error> {
        let (may, kind, function) = match item.to {
            Some(_) => (self.may_transfer, Kind::Transfer, Kind::Transfer.function()),
            None => (self.may_pay, Kind::Payment, PAY_BANK),
        };
        if !may {
            return Err(Error::NotPermitted { role: self.requested_by.clone(), function });
        }
        let unknown = || Error::AccountNotFound { account: item.from };
        let credit = match item.to {
            Some(to) => to,
            None => *self.clearing.get(&item.from).ok_or_else(unknown)?,
        };
        Ok(Order {
            currency: Some(&item.currency),
            transaction_id: Some(item.transaction_id),
            reference: item.reference.as_deref(),
            description: item.description.as_deref(),
            metadata: item.metadata,
            ..Order::of(kind, item.from, credit, Some(item.amount))
        })
    }
}

/// Posts up to `chunk` pending items, and tells whether there are more. What raises an error, a deadlock for one, takes
/// the call back whole: its items stay pending.
pub fn process(desk: &Desk, batch: Uuid, chunk: i64) -> Result<(Tally, bool), Error> {
    let session = desk.session();
    let requested_by = store::requested_by(session, batch)?;
    let items = store::claim(session, batch, chunk)?;
    if items.is_empty() {
        return Ok((Tally::default(), store::has_pending(session, batch)?));
    }
    let terms = Terms::find(desk, requested_by, &items)?;
    let orders = items.iter().map(|item| terms.order(item)).collect();
    let outcomes = post_all(desk, orders, |_| false)?;
    let verdicts: Result<Vec<Verdict>, Error> =
        items.iter().zip(outcomes).map(|(item, outcome)| Verdict::of(item.no, outcome)).collect();
    let verdicts = verdicts?;
    store::close(session, batch, &verdicts)?;
    Ok((Tally::of(&verdicts), store::has_pending(session, batch)?))
}
