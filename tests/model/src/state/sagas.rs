//! Sagas. What a run tells of the effects of functions is taken as postings of its transaction, each predicted; and what
//! has ended stays so.

use super::{Circumstances, State, done};
use crate::answer::{Answer, agree};
use crate::op::{Kind, Posting};
use crate::sagas::{Context, Sagaing};
use neobank_sessions::{Uuid, dec};

/// What a key stands for.
#[derive(Clone, Debug)]
pub struct Started {
    saga: Uuid,
    saga_type: &'static str,
    context: Context,
}

fn id_in(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|error| format!("{error}: {text}"))
}

/// Refused with one of these, or not at all.
fn within(seen: &Answer, codes: &[&str]) -> Result<(), String> {
    match seen {
        Answer::Refused(code) if !codes.contains(&code.as_str()) => {
            Err(format!("refused with {code}; it may be {codes:?}"))
        }
        _ => Ok(()),
    }
}

impl State {
    pub(super) fn accept_sagaing(&mut self, op: &Sagaing, seen: &Answer, how: Circumstances) -> Result<(), String> {
        match op {
            Sagaing::Start { saga_type, key, context, .. } => self.accept_start(saga_type, *key, context, seen),
            Sagaing::Create { .. } => {
                let saga = id_in(&done(seen)?[0])?;
                self.saga_ends.set(saga, None);
                Ok(())
            }
            Sagaing::Execute { saga } => {
                let line = &done(seen)?[0];
                match (self.saga_ends.get(saga).copied(), line.as_str()) {
                    (Some(Some(_)), "saga_state") | (Some(None), "next") => Ok(()),
                    // It was cancelled, which is the end of it for the client.
                    (Some(None), "saga_state") => Ok(()),
                    (Some(None), "completed") => self.ends(*saga, "completed"),
                    (None, "saga_not_found") => Ok(()),
                    (state, line) => Err(format!("a step of a saga that is {state:?} answers {line}")),
                }
            }
            Sagaing::RunReady { .. } | Sagaing::Claim { .. } if !how.read_committed => {
                agree("above READ COMMITTED", seen, &Answer::Refused("NB029".to_owned()))
            }
            Sagaing::RunReady { .. } => self.accept_run(done(seen)?, how),
            Sagaing::Run { saga } => match (seen, self.saga_ends.get(saga).is_some()) {
                (Answer::Refused(code), there) => {
                    agree("a run of an unknown saga", code.as_str(), if there { "NB201" } else { "NB200" })
                }
                (Answer::Done(lines), _) => self.accept_run(lines, how),
            },
            Sagaing::Claim { .. } | Sagaing::Jump { .. } => done(seen).map(|_| ()),
            Sagaing::Complete { .. } | Sagaing::Fail { .. } => within(seen, &["NB205", "NB209"]),
            Sagaing::Extend { .. } => within(seen, &["NB201", "NB205", "NB209"]),
            Sagaing::Signal { saga, id, figure } => self.accept_signal((*saga, *id, *figure), seen),
            Sagaing::Cancel { saga } => {
                within(seen, &["NB200", "NB201", "NB207"])?;
                self.accept_decision_on(*saga, seen, |end| (end == "failed").then_some("failed"))
            }
            Sagaing::RetryStep { saga } | Sagaing::RetryCompensation { saga } | Sagaing::Resolve { saga, .. } => {
                within(seen, &["NB200", "NB201", "NB207"])?;
                self.accept_decision_on(*saga, seen, |_| None)
            }
        }
    }

    fn accept_start(
        &mut self,
        saga_type: &'static str,
        key: Option<Uuid>,
        context: &Context,
        seen: &Answer,
    ) -> Result<(), String> {
        if let Some(there) = key.and_then(|key| self.saga_keys.get(&key)) {
            let is_same = there.context == *context && there.saga_type == saga_type;
            let told =
                if is_same { Answer::Done(vec![there.saga.to_string()]) } else { Answer::Refused("NB204".into()) };
            return agree("a key that was used before", seen, &told);
        }
        let saga = id_in(&done(seen)?[0])?;
        agree("a new saga", self.saga_ends.get(&saga).is_some(), false)?;
        self.saga_ends.set(saga, None);
        if let Some(key) = key {
            self.saga_keys.set(key, Started { saga, saga_type, context: context.clone() });
        }
        Ok(())
    }

    fn accept_signal(&mut self, (saga, id, figure): (Uuid, Uuid, u32), seen: &Answer) -> Result<(), String> {
        if let Some(there) = self.signals.get(&id) {
            let told = if *there == (saga, figure) {
                Answer::Done(vec![id.to_string()])
            } else {
                Answer::Refused("NB208".into())
            };
            return agree("a signal that was sent before", seen, &told);
        }
        let refused = match self.saga_ends.get(&saga) {
            None => Some("NB200"),
            Some(Some(_)) => Some("NB201"),
            Some(None) => None,
        };
        match refused {
            // A child: whether it is there, and has ended, its parent knows.
            Some("NB200") if self.children.contains(&saga) => {
                within(seen, &["NB200", "NB201"])?;
                if matches!(seen, Answer::Refused(_)) {
                    return Ok(());
                }
            }
            Some(code) => return agree("a signal", seen, &Answer::Refused(code.to_owned())),
            None => agree("a signal", seen, &Answer::Done(vec![id.to_string()]))?,
        }
        self.signals.set(id, (saga, figure));
        Ok(())
    }

    /// What a person or a client says of a saga.
    fn accept_decision_on(
        &mut self,
        saga: Uuid,
        seen: &Answer,
        of_ended: impl Fn(&'static str) -> Option<&'static str>,
    ) -> Result<(), String> {
        match (self.saga_ends.get(&saga).copied(), seen) {
            (None, Answer::Refused(code)) if code == "NB200" => Ok(()),
            // A child: what became of it its parent knows.
            (None, _) => agree("a saga that is not known", self.children.contains(&saga), true),
            (Some(Some(end)), _) => {
                let told = of_ended(end).map_or(Answer::Refused("NB201".into()), |end| Answer::Done(vec![end.into()]));
                agree("a decision on a saga that has ended", seen, &told)
            }
            (Some(None), Answer::Done(lines)) if matches!(lines[0].as_str(), "completed" | "failed") => {
                self.ends(saga, &lines[0])
            }
            (Some(None), _) => Ok(()),
        }
    }

    fn ends(&mut self, saga: Uuid, status: &str) -> Result<(), String> {
        let end = if status == "completed" { "completed" } else { "failed" };
        match self.saga_ends.get(&saga).copied() {
            Some(Some(before)) => agree("the end of a saga", end, before),
            Some(None) => {
                self.saga_ends.set(saga, Some(end));
                Ok(())
            }
            None => {
                self.children.insert(saga);
                Ok(())
            }
        }
    }

    fn accept_run(&mut self, lines: &[String], how: Circumstances) -> Result<(), String> {
        for line in lines {
            let columns: Vec<&str> = line.split('|').collect();
            match columns[..] {
                ["saga", saga, status] => self.accept_status_of(id_in(saga)?, status)?,
                ["effect", "reversal", id, original] => {
                    let told = Answer::Done(vec![id.to_owned()]);
                    self.accept_reversal(id_in(id)?, id_in(original)?, None, &told)?;
                }
                ["effect", kind, id, from, to, amount] => {
                    let posting = Posting {
                        id: id_in(id)?,
                        kind: if kind == "deposit" { Kind::Deposit } else { Kind::Transfer },
                        from: (from != "-").then(|| id_in(from)).transpose()?,
                        to: Some(id_in(to)?),
                        amount: dec(amount),
                        currency: None,
                        reference: None,
                        effective_at: None,
                        bank: None,
                    };
                    self.accept_posting(&posting, false, &Answer::Done(vec![id.to_owned()]), how)?;
                }
                _ => return Err(format!("a run answers {line}")),
            }
        }
        Ok(())
    }

    fn accept_status_of(&mut self, saga: Uuid, status: &str) -> Result<(), String> {
        match (self.saga_ends.get(&saga).copied(), status) {
            (_, "completed" | "failed") => self.ends(saga, status),
            (Some(Some(end)), _) => Err(format!("{saga} is {status}, but has ended {end}")),
            (Some(None), _) => Ok(()),
            (None, _) => {
                self.children.insert(saga);
                Ok(())
            }
        }
    }

    /// Of every saga that was started by a client: how it has ended, if that was told.
    pub fn saga_ends(&self) -> impl Iterator<Item = (&Uuid, &Option<&'static str>)> {
        self.saga_ends.rows()
    }
}
