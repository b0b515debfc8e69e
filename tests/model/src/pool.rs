//! What operations may refer to, from whichever session it came: a bounded choice of it, so that there are many who
//! want the same.

use crate::events::{Append, Decision};
use crate::op::Op;
use crate::sagas::{Sagaing, Task};
use crate::subscriptions::{Consuming, Handed};
use neobank_sessions::{Dice, Uuid};
use std::collections::HashMap;

const KEPT: usize = 40;

#[derive(Default)]
pub struct Pool {
    pub transactions: Vec<Uuid>,
    pub holds: Vec<Uuid>,
    pub groups: Vec<Uuid>,
    pub disputes: Vec<Uuid>,
    pub requests: Vec<Uuid>,
    /// Aggregates with events, and which version they may be at: what somebody guesses who has not read it.
    pub streams: HashMap<Uuid, i32>,
    /// Those of them that are not of the world.
    pub new_streams: Vec<Uuid>,
    /// Up to which all is final.
    pub positions: Vec<i64>,
    /// What consumers have, and events that were parked.
    pub leases: Vec<Handed>,
    pub parked: Vec<Uuid>,
    pub sagas: Vec<Uuid>,
    /// Sagas whose steps their clients do, and sagas that were parked.
    pub clients_sagas: Vec<Uuid>,
    pub parked_sagas: Vec<Uuid>,
    /// What workers have claimed.
    pub tasks: Vec<Task>,
    /// When transactions began that changed tables with a history.
    pub recorded: Vec<i64>,
    /// What was asked for and has an id, done or refused.
    pub asked: Vec<Op>,
}

fn keep<T>(kept: &mut Vec<T>, one: T, dice: &mut Dice) {
    if kept.len() < KEPT {
        kept.push(one);
    } else {
        kept[dice.below(KEPT)] = one;
    }
}

impl Pool {
    /// `lines`: what it answered, or none where it was refused.
    pub fn learn(&mut self, op: &Op, lines: Option<&[String]>, dice: &mut Dice) {
        if op.has_id() {
            keep(&mut self.asked, op.clone(), dice);
        }
        let Some(lines) = lines else { return };
        match op {
            Op::Post { posting, .. } => keep(&mut self.transactions, posting.id, dice),
            Op::Adjust { id, .. }
            | Op::Refund { id, .. }
            | Op::Reverse { id, .. }
            | Op::Capture { id, .. }
            | Op::Exchange { id, .. } => keep(&mut self.transactions, *id, dice),
            Op::Batch { items, .. } => {
                for item in items {
                    keep(&mut self.transactions, item.posting.id, dice);
                }
            }
            Op::Hold { id, group, .. } => {
                keep(&mut self.holds, *id, dice);
                if let Some(group) = group {
                    keep(&mut self.groups, *group, dice);
                }
            }
            Op::OpenDispute { id, .. } => keep(&mut self.disputes, *id, dice),
            Op::Enqueue { .. } => {
                let request = lines.first().and_then(|line| line.parse().ok());
                keep(&mut self.requests, request.expect("an id was answered"), dice);
            }
            Op::ProcessQueue { .. } => {
                for id in lines.iter().filter_map(|line| line.rsplit('|').next()?.parse().ok()) {
                    keep(&mut self.transactions, id, dice);
                }
            }
            Op::Append(append) | Op::Decide(Decision { append, .. }) => self.learn_of_stream(append, lines, dice),
            Op::Saga(sagaing) => self.learn_of_saga(sagaing, lines, dice),
            Op::Table(_) => {
                let began = lines.last().and_then(|line| line.split('|').nth(1)?.parse().ok());
                keep(&mut self.recorded, began.expect("times come last"), dice);
            }
            Op::Position => keep(&mut self.positions, lines[0].parse().expect("a position"), dice),
            Op::Consume(Consuming::Fetch { .. }) => self.learn_of_fetch(lines, dice),
            Op::Consume(Consuming::Fail { event, .. }) if lines[0].is_empty() => keep(&mut self.parked, *event, dice),
            Op::ReadStream { aggregate, .. } if !lines.is_empty() => {
                let last = lines.last().and_then(|line| line.split('|').next()?.parse().ok());
                self.streams.insert(*aggregate, last.expect("a version comes first"));
            }
            _ => {}
        }
    }

    fn learn_of_fetch(&mut self, lines: &[String], dice: &mut Dice) {
        let (handed, taken) = Handed::read(lines);
        for token in taken {
            // The only event of its lease may have been parked, as somebody would see who looks for parked ones.
            if let Some([event]) = self.leases.iter().find(|lease| lease.token == token).map(|it| it.events.as_slice())
            {
                let event = event.0;
                keep(&mut self.parked, event, dice);
            }
        }
        if let Some(handed) = handed {
            keep(&mut self.leases, handed, dice);
        }
    }

    fn learn_of_saga(&mut self, sagaing: &Sagaing, lines: &[String], dice: &mut Dice) {
        let id = |text: &str| text.parse::<Uuid>().expect("an id");
        match sagaing {
            Sagaing::Start { .. } => keep(&mut self.sagas, id(&lines[0]), dice),
            Sagaing::Create { .. } => {
                keep(&mut self.sagas, id(&lines[0]), dice);
                keep(&mut self.clients_sagas, id(&lines[0]), dice);
            }
            Sagaing::Run { .. } | Sagaing::RunReady { .. } => {
                for line in lines {
                    let columns: Vec<&str> = line.split('|').collect();
                    if let ["saga", saga, status] = columns[..] {
                        self.parked_sagas.retain(|parked| *parked != id(saga));
                        if status == "parked" {
                            keep(&mut self.parked_sagas, id(saga), dice);
                        } else if !self.sagas.contains(&id(saga)) {
                            keep(&mut self.sagas, id(saga), dice);
                        }
                    }
                }
            }
            Sagaing::Claim { .. } => {
                for line in lines {
                    let columns: Vec<&str> = line.split('|').collect();
                    keep(&mut self.tasks, (id(columns[0]), columns[1].parse().expect("a token")), dice);
                }
            }
            _ => {}
        }
    }

    fn learn_of_stream(&mut self, append: &Append, lines: &[String], dice: &mut Dice) {
        let before = self.streams.get(&append.aggregate).copied();
        let version = if append.batch { lines[0].parse().expect("a version") } else { before.unwrap_or(0) + 1 };
        self.streams.insert(append.aggregate, version.max(before.unwrap_or(0)));
        if before.is_none() {
            keep(&mut self.new_streams, append.aggregate, dice);
        }
    }
}
