//! The queue of requests.

use super::rows::{Content, Posted, Queued};
use super::{Circumstances, Refusals, State, done};
use crate::answer::{Answer, Faults, agree, code_of};
use crate::op::{Posting, Request};
use neobank_sessions::{Decimal, Uuid};

/// A failure of the moment: the request stays, to be tried again.
const TRANSIENT: [&str; 3] = ["lock_not_available", "deadlock_detected", "serialization_failure"];

impl State {
    pub(super) fn accept_request(
        &mut self,
        key: &str,
        request: &Request,
        priority: usize,
        seen: &Answer,
    ) -> Result<(), String> {
        let key: Uuid = key[2..].parse().expect("an id after two letters");
        let mut faults = Faults::default();
        let amount = match request {
            Request::Post { amount, .. } | Request::Refund { amount, .. } | Request::Reverse { amount, .. } => *amount,
            Request::Adjust { amount, .. } => amount.abs(),
        };
        faults.must("NB005", amount <= Decimal::ZERO);
        let first = self.keys.get(&key).map(|id| (*id, self.requests.get(id).expect("a key has its request")));
        if let Some((id, first)) = first {
            if first.request == *request {
                return agree("a retried request", seen, &Answer::Done(vec![id.to_string()]));
            }
            faults.must("NB007", true);
        }
        match seen {
            Answer::Refused(code) => faults.allow(code),
            Answer::Done(lines) => {
                faults.allow_success()?;
                let id: Uuid = lines[0].parse().map_err(|e| format!("{e}: {lines:?}"))?;
                let queued = Queued { request: request.clone(), priority, turn: self.turn, status: "queued" };
                self.requests.set(id, queued);
                self.keys.set(key, id);
                Ok(())
            }
        }
    }

    fn draft_of(&self, request: &Request, faults: &mut Faults) -> Option<Posted> {
        match request {
            Request::Post { kind, from, to, amount } => {
                let (kind, from, to, amount) = (*kind, *from, *to, *amount);
                let id = Uuid::nil();
                let posting = Posting {
                    id,
                    kind,
                    from,
                    to,
                    amount,
                    currency: None,
                    reference: None,
                    effective_at: None,
                    bank: None,
                };
                self.draft(&posting, faults)
            }
            Request::Adjust { account, amount } => self.adjustment(*account, *amount, faults),
            Request::Refund { original, amount } => self.refund(*original, Some(*amount), faults),
            Request::Reverse { original, amount } => {
                let posted = self.reversal(*original, true, faults);
                // The amount is to be that of the original; what a request with another one is told is not written.
                let other = posted.as_ref().is_some_and(|posted| posted.amount() != *amount);
                faults.may("NB005", other);
                faults.may("NB008", other);
                posted
            }
        }
    }

    /// What became of one request: `completed` with its posting's id, or `failed` with a code.
    fn accept_outcome(&mut self, id: Uuid, outcome: Result<Option<Uuid>, &str>, checked: bool) -> Result<(), String> {
        let queued = self.requests.get(&id).ok_or(format!("request {id} is unknown"))?.clone();
        agree("the status of a request that is carried out", queued.status, "queued")?;
        let mut faults = Faults::default();
        let posted = self.draft_of(&queued.request, &mut faults);
        let told = |error| format!("{queued:?}: {error}");
        match outcome {
            Err(code) => {
                if checked {
                    faults.allow(code).map_err(told)?;
                }
                self.requests.change(id, |queued| queued.status = "failed");
            }
            Ok(transaction) => {
                faults.allow_success().map_err(told)?;
                let mut posted = posted.expect("nothing is wrong with it");
                posted.content = Content::Drawn;
                let amount = posted.amount();
                self.book(transaction, posted);
                self.requests.change(id, |queued| queued.status = "completed");
                match queued.request {
                    Request::Refund { original, .. } => self.gave_back(original, amount, false),
                    Request::Reverse { original, .. } => self.gave_back(original, amount, true),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Alone, the requests are those of the highest priority, then the oldest, as many as may be.
    fn check_choice(&self, chosen: &[Uuid], at_most: usize) -> Result<(), String> {
        let urgency = |queued: &Queued| (queued.priority, queued.turn);
        let rows = || self.requests.rows().filter(|(_, queued)| queued.status == "queued");
        agree("how many requests are taken", chosen.len(), rows().count().min(at_most))?;
        let of = |id: &Uuid| self.requests.get(id).map(urgency).ok_or(format!("request {id} is unknown"));
        let urgencies = chosen.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        agree("requests in their order", urgencies.is_sorted(), true)?;
        let Some(last) = urgencies.last() else { return Ok(()) };
        let passed_over = rows().find(|(id, queued)| urgency(queued) < *last && !chosen.contains(id));
        agree("passed over", passed_over.map(|(id, _)| id), None)
    }

    pub(super) fn accept_queue(&mut self, at_most: usize, seen: &Answer, how: Circumstances) -> Result<(), String> {
        if !how.read_committed {
            return agree("the queue above READ COMMITTED", seen, &Answer::Refused("NB029".to_owned()));
        }
        let lines = done(seen)?;
        let rows: Vec<Vec<&str>> = lines.iter().map(|line| line.split('|').collect()).collect();
        let id = |row: &Vec<&str>| row[0].parse::<Uuid>().map_err(|e| format!("{e}: {row:?}"));
        let ids = rows.iter().map(id).collect::<Result<Vec<_>, _>>()?;
        if how.alone {
            self.check_choice(&ids, at_most)?;
        }
        for (at, (id, row)) in ids.iter().zip(&rows).enumerate() {
            match (row[1], row[2]) {
                ("completed", "ok") => self.accept_outcome(*id, Ok(row[3].parse().ok()), true)?,
                ("failed", word) => self.accept_outcome(*id, Err(&code_of(word)), how.checks(at))?,
                ("queued", word) if !how.alone && TRANSIENT.contains(&word) => {}
                _ => return Err(format!("an outcome that cannot be: {row:?}")),
            }
            if how.refusals == Refusals::Of(at) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn accept_request_at_once(&mut self, id: Uuid, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let line = done(seen)?.first().ok_or("no answer")?;
        let json: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        let text = |key: &str| json.get(key).and_then(|value| value.as_str());
        let status = self.requests.get(&id).map(|queued| queued.status);
        match (text("code"), status) {
            (Some("request_not_found"), None) => Ok(()),
            // Another session is at it.
            (Some("request_not_found"), Some(_)) if !how.alone => Ok(()),
            (Some("request_already_processed"), Some(is @ ("completed" | "failed"))) => {
                agree("the status that is told", text("status"), Some(is))
            }
            (Some(_), Some("queued")) => {
                let code = text("sqlstate").ok_or("no SQLSTATE")?;
                self.accept_outcome(id, Err(code), how.checks(0))
            }
            (None, Some("queued")) => {
                let posted = text("reversal_transaction_id").or(text("transaction_id"));
                self.accept_outcome(id, Ok(posted.and_then(|posted| posted.parse().ok())), true)
            }
            (code, status) => Err(format!("{code:?} of a request that is {status:?}")),
        }
    }
}
