//! Opening and resolving disputes.
//!
//! Whoever gives back a transaction locks its accounts and then asks what is still to give; a dispute is opened and
//! resolved under the lock of the account that was debited. So one of the two comes first, and the other sees it.

use super::core::{Moves, Outcome, Refusal, moves};
use super::store::{self, Dispute, Ending};
use crate::error::Error;
use crate::pg::{JsonDatum, server};
use crate::txn_processing::Kind;
use crate::txn_processing::batch::post_legs;
use crate::txn_processing::engine::{Desk, Order};
use crate::txn_processing::store as ledger;
use rust_decimal::Decimal;
use uuid::Uuid;

/// What a customer contests.
pub struct Claim<'a> {
    pub transaction: Uuid,
    pub reason: &'a str,
    pub amount: Option<Decimal>,
    pub id: Option<Uuid>,
}

impl Claim<'_> {
    /// The dispute that this claim has opened before, or the conflict; nothing where its id is free.
    fn opened_before(&self, desk: &Desk) -> Result<Option<Uuid>, Error> {
        let Some(id) = self.id else { return Ok(None) };
        let Some(found) = store::find(desk.session(), id)? else { return Ok(None) };
        let same = (found.transaction, found.reason.as_str(), found.asked_amount)
            == (self.transaction, self.reason, self.amount);
        if same { Ok(Some(id)) } else { Err(Error::IdConflict { transaction: id }) }
    }
}

/// Opens a dispute, and credits the amount where the policy says so.
pub fn open(desk: &Desk, claim: &Claim) -> Result<Uuid, Error> {
    if let Some(id) = claim.opened_before(desk)? {
        return ledger::acknowledge_again(desk.session()).map(|()| id);
    }
    let transaction = claim.transaction;
    let refuse = |why: String| Error::NotDisputable { transaction, why };
    let session = desk.session();
    let found = store::transaction(session, transaction)?.ok_or_else(|| refuse("does not exist".into()))?;
    let contested = &found.contested;
    let policy = contested.policy(server::clock_micros()).map_err(refuse)?;
    store::lock_accounts(session, found.debit, None)?;
    // Another session may have been before us with the same id.
    if let Some(id) = claim.opened_before(desk)? {
        return Ok(id);
    }
    let given = ledger::given_back(session, transaction)?;
    if given.reversed {
        return Err(refuse("is reversed".into()));
    }
    if let Some(dispute) = given.disputed {
        return Err(Error::Disputed { transaction, dispute });
    }
    let amount =
        contested.amount(policy, given.refunded + given.settled, claim.amount).map_err(|refusal| {
            match refusal {
                Refusal::Why(why) => refuse(why),
                Refusal::Other(error) => error,
            }
        })?;
    let dispute = Dispute {
        id: claim.id.unwrap_or_else(Uuid::now_v7),
        transaction,
        account: found.debit,
        counterparty: found.credit,
        currency: contested.currency.clone(),
        amount,
        asked_amount: claim.amount,
        provisional: policy.provisional_credit,
        charge_back: policy.charge_back && found.credits_customer,
        state: "open".into(),
        kept: None,
        reason: claim.reason.to_owned(),
        note: None,
        counterparty_is_customer: found.credits_customer,
        resolution: None,
    };
    if !store::insert(session, &dispute, found.tenant_no, &desk.caller)? {
        return Err(Error::IdConflict { transaction: dispute.id });
    }
    if dispute.provisional {
        let between = ledger::internal_account(session, dispute.account, "disputes")?;
        let credit = Step {
            purpose: "provisional_credit",
            debit: between,
            credit: dispute.account,
            amount,
            text: "Provisional credit of a disputed transaction",
        };
        post(desk, &dispute, &[credit])?;
    }
    Ok(dispute.id)
}

/// One posting of a dispute.
struct Step {
    purpose: &'static str,
    debit: Uuid,
    credit: Uuid,
    amount: Decimal,
    text: &'static str,
}

/// Posts the steps as the legs of one transaction and links each; nothing where there are none.
fn post(desk: &Desk, dispute: &Dispute, steps: &[Step]) -> Result<Option<Uuid>, Error> {
    if steps.is_empty() {
        return Ok(None);
    }
    let id = Uuid::now_v7();
    let [dispute_id, transaction] = [dispute.id, dispute.transaction].map(|id| id.to_string());
    let metadata = JsonDatum::object(&[("dispute", &dispute_id), ("disputed_txn", &transaction)]);
    let order = |(leg, step): (i16, &Step)| Order {
        leg,
        currency: Some(&dispute.currency),
        transaction_id: Some(id),
        description: Some(step.text),
        metadata: Some(metadata),
        may_overdraw: true,
        by_the_bank: true,
        ..Order::of(Kind::Adjustment, step.debit, step.credit, Some(step.amount))
    };
    post_legs(desk, (1..).zip(steps).map(order).collect())?;
    for (leg, step) in (1..).zip(steps) {
        store::link(desk.session(), id, leg, dispute.id, step.purpose)?;
    }
    Ok(Some(id))
}

/// How a dispute is to end.
pub struct Verdict<'a> {
    pub outcome: Outcome,
    pub amount: Option<Decimal>,
    pub note: Option<&'a str>,
    /// Nothing: as the policy said when the dispute was opened.
    pub charge_back: Option<bool>,
}

/// Ends a dispute; answers the transaction that moved money, if any.
pub fn resolve(desk: &Desk, id: Uuid, verdict: &Verdict) -> Result<Option<Uuid>, Error> {
    let session = desk.session();
    let refuse = |why: String| Error::DisputeNotOpen { dispute: id, why };
    let dispute = store::find_and_lock(session, id)?.ok_or_else(|| refuse("does not exist".into()))?;
    let kept = verdict.outcome.kept(dispute.amount, verdict.amount, &dispute.currency)?;
    if dispute.state != "open" {
        // Where nothing was kept there was nothing to charge back, whatever was asked for.
        let charged =
            kept.is_zero() || verdict.charge_back.is_none_or(|charge| charge == dispute.charge_back);
        let same = dispute.state == verdict.outcome.name()
            && dispute.kept == Some(kept)
            && dispute.note.as_deref() == verdict.note
            && charged;
        return if same { Ok(dispute.resolution) } else { Err(refuse(format!("is {}", dispute.state))) };
    }
    let charge_back = verdict.charge_back.unwrap_or(dispute.charge_back) && !kept.is_zero();
    if charge_back && !dispute.counterparty_is_customer {
        let why = "The disputed transaction credits an account of the bank.".into();
        return Err(Error::ArgumentBounds { argument: "charge_back", why });
    }
    store::lock_accounts(session, dispute.account, charge_back.then_some(dispute.counterparty))?;
    let steps = steps(desk, &dispute, moves(dispute.amount, kept, dispute.provisional), charge_back)?;
    let ending = Ending {
        state: verdict.outcome.name(),
        kept,
        charged_back: charge_back,
        note: verdict.note,
        by: &desk.caller,
    };
    store::resolve(session, id, &ending)?;
    post(desk, &dispute, &steps)
}

fn steps(desk: &Desk, dispute: &Dispute, moves: Moves, charge_back: bool) -> Result<Vec<Step>, Error> {
    let internal = |of_type| ledger::internal_account(desk.session(), dispute.account, of_type);
    let between = internal("disputes")?;
    let customer = dispute.account;
    let (borne_by, purpose, text) = if charge_back {
        (dispute.counterparty, "charge_back", "Charged back: a dispute was won")
    } else {
        (internal("dispute_losses")?, "write_off", "Borne by the bank: a dispute was won")
    };
    let step = |purpose, debit, credit, amount, text| Step { purpose, debit, credit, amount, text };
    let all = [
        step("final_credit", between, customer, moves.credit, "Credit of a dispute that was won"),
        step("clawback", customer, between, moves.claw_back, "Provisional credit taken back"),
        step(purpose, borne_by, between, moves.borne, text),
    ];
    Ok(all.into_iter().filter(|step| !step.amount.is_zero()).collect())
}
