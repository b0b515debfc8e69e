//! The settlement of one date.
//!
//! All of it happens under the lock of the clearing account, with all its slots: nothing is posted on it meanwhile, and
//! calls for the same tenant and currency take turns there.

use super::core::{Flow, check_balance, check_day, cut_off};
use super::store::{self, CLEARING, Ledger, Line, NOSTRO, Open};
use crate::banking::store as accounts;
use crate::error::Error;
use crate::pg::server;
use crate::txn_processing::batch::{all_or_first_refusal, post_all};
use crate::txn_processing::calendar::day_of;
use crate::txn_processing::core::{Kind, in_currency};
use crate::txn_processing::engine::{Desk, Order};
use crate::txn_processing::store as ledger;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Settles the date, or answers what an earlier call did.
pub fn settle(day: i32, currency: &str, tenant: Option<Uuid>) -> Result<Vec<Line>, Error> {
    let desk = Desk::open();
    let session = desk.session();
    let tenant_no = accounts::tenant_no(session, tenant)?;
    let exponent = accounts::exponent(session, currency)?;
    let of = Ledger { tenant_no, currency };
    if store::is_settled(session, of, day)? {
        ledger::acknowledge_again(session)?;
        return store::report(session, of, day);
    }
    check_day(day, day_of(server::clock_micros()), None)?;
    accounts::ensure_internals(session, tenant_no, currency, Decimal::new(0, exponent))?;
    let internal = |of_type| {
        store::internal(session, of, of_type).map(|found| found.expect("made where it was missing"))
    };
    let (clearing, nostro) = (internal(CLEARING)?, internal(NOSTRO)?);
    accounts::lock_in_order(session, clearing, nostro)?;
    // Another session may have settled while this one waited.
    if !store::is_settled(session, of, day)? {
        settle_locked(&desk, of, day, exponent, clearing, nostro)?;
    }
    store::report(session, of, day)
}

fn settle_locked(
    desk: &Desk,
    of: Ledger,
    day: i32,
    exponent: u32,
    clearing: Uuid,
    nostro: Uuid,
) -> Result<(), Error> {
    let session = desk.session();
    let (last_settled, date) = store::last_settled(session, of, day)?;
    check_day(day, day_of(server::clock_micros()), last_settled)?;
    store::sweep(session, clearing)?;
    let balance = accounts::lock_account(session, clearing)?.balance;
    check_balance(balance, store::open_total(session, of)?)?;
    let cut_off = cut_off(day);
    let mut open = store::open_by_bank(session, of, cut_off)?;
    for bank in &mut open {
        // Sums of nothing come without decimals.
        for sum in [&mut bank.gross.outgoing, &mut bank.gross.incoming] {
            *sum = in_currency(*sum, exponent, of.currency)?;
        }
    }
    let transactions = post_nets(desk, &open, &date, clearing, nostro)?;
    store::record_run(session, of, day, cut_off, &desk.caller)?;
    for (bank, transaction) in open.iter().zip(transactions) {
        store::record_settlement(session, of, day, cut_off, bank, transaction)?;
    }
    // Behind the settlement's own postings, which are no items.
    store::keep_positions(session, clearing)
}

/// A posting per counterparty whose net is not zero: all of them or none.
fn post_nets(
    desk: &Desk,
    open: &[Open],
    date: &str,
    clearing: Uuid,
    nostro: Uuid,
) -> Result<Vec<Option<Uuid>>, Error> {
    let texts: Vec<String> = open
        .iter()
        .map(|Open { bank, items, .. }| match bank.as_str() {
            "" => format!("Settlement of {date}, no bank named, {items} payments"),
            bank => format!("Settlement of {date} with {bank}, {items} payments"),
        })
        .collect();
    let flows: Vec<Option<Flow>> = open.iter().map(|bank| bank.gross.flow()).collect();
    let orders = flows.iter().zip(&texts).filter_map(|(flow, text)| {
        let (debit, credit, amount) = match (*flow)? {
            Flow::Out(amount) => (clearing, nostro, amount),
            Flow::In(amount) => (nostro, clearing, amount),
        };
        // An adjustment, because tellers may refund a transfer: only who may reverse can undo a settlement.
        Some(Ok(Order {
            description: Some(text),
            by_the_bank: true,
            ..Order::of(Kind::Adjustment, debit, credit, Some(amount))
        }))
    });
    let orders: Vec<_> = orders.collect();
    let mut posted =
        if orders.is_empty() { Vec::new() } else { all_or_first_refusal(post_all(desk, orders, |_| true)?)? }
            .into_iter();
    let id = |flow: &Option<Flow>| flow.map(|_| posted.next().expect("each flow is posted").transaction_id);
    Ok(flows.iter().map(id).collect())
}
