//! Carrying out claimed requests: in batches where that goes, each alone where it does not.
//!
//! Everything is part of the caller's transaction, the claim included, so a crash at any moment leaves each request
//! either carried out and recorded or as it was. Postings are made in subtransactions: what the server raises there is
//! undone and becomes the outcome of the requests that caused it.

use super::super::answer::Refusal;
use super::super::batch::{Outcome, post_all};
use super::super::bounds::given_reason;
use super::super::core::Kind;
use super::super::engine::{Desk, Order, Posted, post};
use super::super::store::internal_accounts;
use super::super::strict::{post_adjustment, post_refund, post_reversal};
use super::core::{Plan, delay_ms, is_transient, may_retry, word_of};
use super::store::{Claim, Request, Verdict, finish};
use crate::error::Error;
use crate::guc;
use crate::neobank::access::check_execute;
use crate::pg::ereport::Failure;
use crate::pg::server::{self, LockPatience};
use crate::pg::subtransaction::attempted;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

const MICROS_PER_MS: i64 = 1_000;

/// Requests of one claim, and what has become of them so far.
pub struct Processing<'a> {
    desk: &'a Desk,
    requests: &'a [Request],
    plans: Vec<Option<Plan>>,
    /// By kind: the bank's side for each customer's account.
    internal: HashMap<Kind, HashMap<Uuid, Uuid>>,
    verdicts: Vec<Option<Verdict>>,
    /// Whether accounts are held already, which others may come to wait for.
    holds_accounts: bool,
}

/// Carries out all requests of a claim, and writes what became of them.
pub fn carry_out(desk: &Desk, claim: &Claim, requests: &[Request]) -> Result<Vec<Verdict>, Error> {
    let mut processing = Processing::of(desk, requests)?;
    processing.run()?;
    let verdicts: Vec<Verdict> =
        processing.verdicts.into_iter().map(|verdict| verdict.expect("each request has its turn")).collect();
    let done: Vec<(Uuid, &Verdict)> =
        requests.iter().map(|request| request.id).zip(verdicts.iter()).collect();
    finish(desk.session(), claim, &done)?;
    Ok(verdicts)
}

/// Which roles may have which kinds posted: asked once in a call.
#[derive(Default)]
pub struct Rights<'a>(HashMap<(&'a str, Kind), bool>);

impl<'a> Rights<'a> {
    /// The queue is no way round the grants: who asked must be allowed to do it themselves.
    pub fn check(&mut self, desk: &Desk, role: &'a str, kind: Kind) -> Result<(), Error> {
        let may = match self.0.get(&(role, kind)) {
            Some(known) => *known,
            None => match check_execute(desk.session(), role, kind.function()) {
                Ok(()) => true,
                Err(Error::NotPermitted { .. }) => false,
                Err(error) => return Err(error),
            },
        };
        self.0.insert((role, kind), may);
        let refusal = || Error::NotPermitted { role: role.to_owned(), function: kind.function() };
        if may { Ok(()) } else { Err(refusal()) }
    }
}

impl<'a> Processing<'a> {
    fn of(desk: &'a Desk, requests: &'a [Request]) -> Result<Self, Error> {
        let now = server::clock_micros();
        let mut rights = Rights::default();
        let (mut plans, mut verdicts) = (Vec::new(), Vec::new());
        for request in requests {
            let plan = if request.expired {
                Ok(None)
            } else {
                let permitted = rights.check(desk, &request.requested_by, request.kind);
                permitted.and_then(|()| request.plan()).map(Some)
            };
            let (plan, verdict) = match plan {
                Ok(None) => (None, Some(Verdict::expired(now))),
                Ok(plan) => (plan, None),
                Err(refusal) => (None, Some(Verdict::refused(now, refusal)?)),
            };
            plans.push(plan);
            verdicts.push(verdict);
        }
        let mut customers: HashMap<Kind, Vec<Uuid>> = HashMap::new();
        for (request, plan) in requests.iter().zip(&plans) {
            if let Some(Plan::WithTheBank { account, .. }) = plan {
                customers.entry(request.kind).or_default().push(*account);
            }
        }
        let mut internal = HashMap::new();
        for (kind, accounts) in customers {
            let (of_type, _) = kind.other_side().expect("what is with the bank has the bank's side");
            internal.insert(kind, internal_accounts(desk.session(), &accounts, of_type)?);
        }
        Ok(Processing { desk, requests, plans, internal, verdicts, holds_accounts: false })
    }

    /// In the order of the claim: what may share a batch does, as far as nothing else stands between.
    fn run(&mut self) -> Result<(), Error> {
        let waiting: Vec<(usize, bool)> = self
            .plans
            .iter()
            .enumerate()
            .filter_map(|(at, plan)| Some((at, plan.as_ref()?.is_batchable())))
            .collect();
        for run in waiting.chunk_by(|(_, one), (_, next)| *one && *next) {
            let items: Vec<usize> = run.iter().map(|(at, _)| *at).collect();
            self.post(&items)?;
        }
        Ok(())
    }

    /// Posts the items, all in one go if that succeeds, else in halves, down to those that cannot be posted.
    fn post(&mut self, items: &[usize]) -> Result<(), Error> {
        if items.is_empty() {
            return Ok(());
        }
        let started_at = server::clock_micros();
        let attempt = {
            let _patience = self.patience();
            attempted(|| self.outcomes(items))?
        };
        // What was added for accounts with slots stands, or is undone; it is not this desk's to take back any more.
        self.desk.added.borrow_mut().clear();
        let failure = match attempt {
            Ok(outcomes) => {
                self.holds_accounts = true;
                for (at, outcome) in items.iter().zip(outcomes) {
                    self.verdicts[*at] = Some(Verdict::of(started_at, outcome)?);
                }
                return Ok(());
            }
            Err(failure) => failure,
        };
        if let [at] = items {
            self.verdicts[*at] = Some(Verdict::failed(started_at, &self.requests[*at], &failure));
            return Ok(());
        }
        let rest = if failure.sqlstate == "55P03" {
            self.without_held(items, started_at, &failure)?
        } else {
            items.to_vec()
        };
        let (first, second) = rest.split_at(rest.len() / 2);
        self.post(first)?;
        self.post(second)
    }

    fn patience(&self) -> LockPatience {
        LockPatience::giving_way(guc::queue_lock_timeout_ms(), self.holds_accounts)
    }

    /// Of items that waited in vain, those whose accounts nobody holds; the others are put off at once, lest each of
    /// them waits as long for the same account.
    fn without_held(
        &mut self,
        items: &[usize],
        started_at: i64,
        failure: &Failure,
    ) -> Result<Vec<usize>, Error> {
        let accounts: Vec<Uuid> = items.iter().flat_map(|at| self.accounts(*at)).collect();
        let mut held = HashSet::new();
        // Undone in any case, with the locks that it takes.
        let _patience = self.patience();
        let looked = attempted(|| {
            held.extend(super::store::held_by_others(self.desk.session(), &accounts)?);
            Err::<(), Error>(Error::ConcurrentUpdate)
        });
        looked?.expect_err("it always ends in an error");
        let is_free = |at: &usize| self.accounts(*at).iter().all(|account| !held.contains(account));
        let (free, held): (Vec<usize>, Vec<usize>) = items.iter().copied().partition(is_free);
        for at in held {
            self.verdicts[at] = Some(Verdict::failed(started_at, &self.requests[at], failure));
        }
        Ok(free)
    }

    /// The accounts that the request names.
    fn accounts(&self, at: usize) -> Vec<Uuid> {
        match self.plans[at] {
            Some(Plan::Transfer { from, to, .. }) => vec![from, to],
            Some(Plan::WithTheBank { account, .. } | Plan::Adjustment { account, .. }) => vec![account],
            Some(Plan::Refund { .. } | Plan::Reversal { .. }) | None => Vec::new(),
        }
    }

    fn outcomes(&self, items: &[usize]) -> Result<Vec<Outcome>, Error> {
        if let [at] = items {
            return match self.post_one(*at) {
                Err(error) if !error.is_refusal() => Err(error),
                outcome => Ok(vec![outcome]),
            };
        }
        let orders = items.iter().map(|at| self.order(*at)).collect();
        post_all(self.desk, orders, |_| false)
    }

    fn plan(&self, at: usize) -> Plan {
        self.plans[at].expect("only planned requests are posted")
    }

    /// The order of a request that may be part of a batch.
    fn order(&self, at: usize) -> Result<Order<'a>, Error> {
        let request = &self.requests[at];
        let (debit, credit, amount) = match self.plan(at) {
            Plan::Transfer { from, to, amount } => (from, to, amount),
            Plan::WithTheBank { account, amount } => {
                let (_, customer_is_debited) =
                    request.kind.other_side().expect("what is with the bank has the bank's side");
                let internal = self.internal[&request.kind].get(&account);
                let internal = *internal.ok_or(Error::AccountNotFound { account })?;
                if customer_is_debited { (account, internal, amount) } else { (internal, account, amount) }
            }
            _ => unreachable!("it is not batchable"),
        };
        Ok(request.tail.order(request.kind, debit, credit, Some(amount)))
    }

    fn post_one(&self, at: usize) -> Result<Posted, Error> {
        let (desk, tail) = (self.desk, &self.requests[at].tail);
        match self.plan(at) {
            Plan::Refund { original, amount } => post_refund(desk, original, Some(amount), tail),
            Plan::Reversal { original, amount } => post_reversal(desk, original, Some(amount), tail, None),
            Plan::Adjustment { account, change } => {
                given_reason("reason", tail.description.as_deref().unwrap_or_default())?;
                post_adjustment(desk, account, change, tail)
            }
            Plan::Transfer { .. } | Plan::WithTheBank { .. } => post(desk, &self.order(at)?),
        }
    }
}

/// Posts one request, with what the server raises raised.
pub fn post_alone(desk: &Desk, request: &Request) -> Result<Posted, Error> {
    Rights::default().check(desk, &request.requested_by, request.kind)?;
    request.plan()?;
    Processing::of(desk, std::slice::from_ref(request))?.post_one(0)
}

impl Verdict {
    fn now(status: &'static str, started_at: i64) -> Self {
        Verdict {
            status,
            code: None,
            sqlstate: None,
            message: None,
            detail: None,
            transaction_id: None,
            next_attempt_at: None,
            started_at,
            ended_at: server::clock_micros(),
        }
    }

    pub fn of(started_at: i64, outcome: Outcome) -> Result<Self, Error> {
        match outcome {
            Ok(posted) => Ok(Self::completed(started_at, &posted)),
            Err(refusal) => Self::refused(started_at, refusal),
        }
    }

    pub fn completed(started_at: i64, posted: &Posted) -> Self {
        let transaction_id = Some(posted.transaction_id);
        Verdict { transaction_id, ..Self::now("completed", started_at) }
    }

    pub fn expired(started_at: i64) -> Self {
        Verdict {
            code: Some("request_expired"),
            message: Some("Request expired".into()),
            ..Self::now("expired", started_at)
        }
    }

    /// A refusal of the bank's rules is final. What is none is an error still.
    fn refused(started_at: i64, refusal: Error) -> Result<Self, Error> {
        Refusal::of(refusal).map(|refusal| Self::of_refusal(started_at, &refusal))
    }

    pub fn of_refusal(started_at: i64, refusal: &Refusal) -> Self {
        Verdict {
            code: Some(refusal.code),
            sqlstate: refusal.sqlstate.map(str::to_owned),
            message: Some(refusal.error.clone()),
            detail: refusal.detail.clone(),
            ..Self::now("failed", started_at)
        }
    }

    /// What the server raised: tried again where another time may be better and retries are left.
    fn failed(started_at: i64, request: &Request, failure: &Failure) -> Self {
        let failures = request.failures.saturating_add(1);
        let again = is_transient(&failure.sqlstate) && may_retry(failures, request.max_retries);
        let status = if again { "queued" } else { "failed" };
        let delay = || {
            let ms = delay_ms(guc::queue_retry_delay_ms(), failures, server::random_bits());
            server::clock_micros() + ms as i64 * MICROS_PER_MS
        };
        Verdict {
            code: Some(word_of(&failure.sqlstate)),
            sqlstate: Some(failure.sqlstate.clone()),
            message: Some(failure.message.clone()),
            detail: failure.detail.clone(),
            next_attempt_at: again.then(delay),
            ..Self::now(status, started_at)
        }
    }
}
