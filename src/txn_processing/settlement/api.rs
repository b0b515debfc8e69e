//! `pay_bank`, `receive_from_bank`, `settle`.

use super::interbank::{Counterparty, Direction, post_interbank};
use super::settle;
use crate::error::Error;
use crate::pg::{BpChar, JsonDatum, Numeric, Text, Time, finish};
use crate::txn_processing::engine::{Desk, Posted};
use crate::txn_processing::strict::{Tail, amount as positive, id, required, sql_id};
use pgrx::datum::Date;
use pgrx::prelude::*;

fn checked(
    direction: Direction,
    account: Option<pgrx::Uuid>,
    amount: Option<Numeric>,
    bank: Option<Text>,
    account_there: Option<Text>,
    tail: &Tail,
) -> Result<Posted, Error> {
    let account = id(required("account", account)?);
    let amount = positive("amount", amount)?;
    let bank = required("counterparty_bank", bank)?;
    let counterparty = Counterparty::checked(bank.0, required("counterparty_account", account_there)?.0)?;
    post_interbank(&Desk::open(), direction, account, amount, &counterparty, tail)
}

/// One strict function between a customer's account and an account at another bank.
macro_rules! with_another_bank {
    ($name:ident, $direction:expr) => {
        #[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
        #[allow(clippy::too_many_arguments)]
        fn $name(
            account: Option<pgrx::Uuid>,
            amount: Option<Numeric>,
            counterparty_bank: Option<Text>,
            counterparty_account: Option<Text>,
            currency: default!(Option<BpChar>, "NULL"),
            description: default!(Option<Text>, "NULL"),
            reference: default!(Option<Text>, "NULL"),
            metadata: default!(Option<JsonDatum>, "NULL"),
            transaction_id: default!(Option<pgrx::Uuid>, "NULL"),
            effective_at: default!(Option<Time>, "NULL"),
        ) -> pgrx::Uuid {
            let tail = Tail { currency, description, reference, metadata, transaction_id, effective_at };
            let posted = checked($direction, account, amount, counterparty_bank, counterparty_account, &tail);
            drop(tail);
            sql_id(finish(posted).transaction_id)
        }
    };
}
with_another_bank!(pay_bank, Direction::Outgoing);
with_another_bank!(receive_from_bank, Direction::Incoming);

/// One row of the result.
type Line = (pgrx::Uuid, String, i64, Numeric, Numeric, Numeric, Option<pgrx::Uuid>);

fn lines(
    date: Option<Date>,
    currency: Option<BpChar>,
    tenant: Option<pgrx::Uuid>,
) -> Result<Vec<Line>, Error> {
    let day = required("settlement_date", date)?.to_pg_epoch_days();
    let currency = required("currency", currency)?;
    let report = settle::settle(day, &currency.0, tenant.map(id))?;
    let line = |line: super::store::Line| {
        let [outgoing, incoming, net] = [line.outgoing, line.incoming, line.net].map(Numeric::from);
        let settlement = sql_id(line.settlement_id);
        (settlement, line.bank, line.payments, outgoing, incoming, net, line.transaction_id.map(sql_id))
    };
    Ok(report.into_iter().map(line).collect())
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::type_complexity)]
fn settle(
    settlement_date: Option<Date>,
    currency: Option<BpChar>,
    tenant: default!(Option<pgrx::Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(settlement_id, pgrx::Uuid),
        name!(counterparty_bank, String),
        name!(payments, i64),
        name!(outgoing, Numeric),
        name!(incoming, Numeric),
        name!(net, Numeric),
        name!(transaction_id, Option<pgrx::Uuid>),
    ),
> {
    TableIterator::new(finish(lines(settlement_date, currency, tenant)))
}
