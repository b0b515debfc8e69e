//! One session, nobody else: every answer is predicted exactly, through savepoints, rollbacks and every isolation
//! level.

use crate::answer::{Answer, agree};
use crate::auditor::audit_all;
use crate::compare::{compare_accounts, compare_ledger, compare_settlement};
use crate::crowd::now;
use crate::events::{compare_events, positions};
use crate::generate::Generator;
use crate::op::Op;
use crate::pool::Pool;
use crate::quiet::{come_to_rest, compare_readers};
use crate::state::{Circumstances, Mark, Refusals, State};
use crate::tables::{QUESTIONS, compare_tables};
use crate::tally::Tally;
use crate::world::World;
use neobank_sessions::*;
use std::collections::VecDeque;

/// How closely a run is looked at.
#[derive(Clone, Copy)]
pub struct Watch {
    /// Audits after each step, and holds every table against what it was before a refusal.
    pub every_step: bool,
    pub path: &'static str,
}

pub struct Alone {
    bank: Bank,
    world: World,
    session: Client,
    state: State,
    dice: Dice,
    pool: Pool,
    watch: Watch,
    read_committed: bool,
    /// When its transaction was begun, by the clock of this machine.
    begun_at: i64,
    /// The last statements, for who reads the failure.
    trail: VecDeque<String>,
    pub tally: Tally,
}

pub const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// Every table of the extension, and those of the application that have a history, with it.
fn everything(admin: &mut Client) -> Vec<String> {
    let mut all = snapshot(admin);
    all.extend(admin.lines(crate::tables::ALL));
    all
}

impl Alone {
    pub fn open(seed: u64, watch: Watch) -> Alone {
        let mut bank = Bank::new();
        let world = World::open(&mut bank.db);
        let (mut session, state) = (bank.session_on(watch.path), State::opened(&world));
        session.run("set neobank.queue_retry_delay = '1ms'");
        let (pool, trail, tally) = (Pool::default(), VecDeque::new(), Tally::default());
        let (dice, read_committed, begun_at) = (Dice(seed), true, now());
        Alone { bank, world, session, state, dice, pool, watch, read_committed, begun_at, trail, tally }
    }

    fn send(&mut self, sql: &str) -> Result<Vec<String>, Refusal> {
        if self.trail.len() == 30 {
            self.trail.pop_front();
        }
        let answer = self.session.try_lines(sql);
        self.trail.push_back(match &answer {
            Ok(lines) => format!("{sql};\n    --> {}", lines.join("\n    --> ")),
            Err(refusal) => format!("{sql};\n    --> {refusal}"),
        });
        answer
    }

    /// Whether it was done; the model is as after it.
    fn carry_out(&mut self) -> Result<bool, String> {
        let op = Generator { dice: &mut self.dice, world: &self.world, pool: &self.pool }.next_op();
        if let Op::Decide(decision) = &op {
            self.state.recorded_positions = positions(&mut self.session, decision.after);
        }
        let answer = match self.send(&op.sql()) {
            Ok(lines) => Answer::Done(lines),
            Err(refusal) => Answer::Refused(refusal.code),
        };
        self.tally.count(&op, &answer);
        let how = Circumstances {
            alone: true,
            read_committed: self.read_committed,
            refusals: Refusals::All,
            since: u64::MAX,
            begun_at: self.begun_at,
            answered_at: now(),
            stays: true,
        };
        self.state.accept(&op, &answer, how).map_err(|error| format!("{op:#?}\nanswered {answer:?}\n{error}"))?;
        let lines = if let Answer::Done(lines) = &answer { Some(lines.as_slice()) } else { None };
        self.pool.learn(&op, lines, &mut self.dice);
        Ok(lines.is_some())
    }

    /// Every step, or now and then.
    fn look(&mut self) -> Result<(), String> {
        if self.watch.every_step || self.tally.operations.is_multiple_of(8) {
            compare_accounts(&mut self.session, &self.state)?;
        }
        Ok(())
    }

    /// One operation by itself: what is refused leaves every table as it was.
    fn single(&mut self) -> Result<(), String> {
        let before = self.watch.every_step.then(|| everything(&mut self.bank.db));
        self.begun_at = now();
        let done = self.carry_out()?;
        if let (Some(before), false) = (before, done) {
            agree("tables after a refusal", everything(&mut self.bank.db), before)?;
        }
        Ok(())
    }

    /// Several in a transaction, with savepoints to which it goes back at times. It may end without effect.
    fn transaction(&mut self) -> Result<(), String> {
        let level = LEVELS[self.dice.below(3)];
        self.read_committed = level == LEVELS[0];
        self.begun_at = now();
        self.send(&format!("begin isolation level {level}")).map_err(|e| e.to_string())?;
        let begin = self.state.mark();
        let mut savepoints: Vec<Mark> = Vec::new();
        let mut aborted = false;
        for _ in 0..1 + self.dice.below(7) {
            let at = savepoints.len();
            match self.dice.below(8) {
                0 if at > 0 => {
                    let back = self.dice.below(at);
                    self.send(&format!("rollback to s{back}")).map_err(|e| e.to_string())?;
                    self.state.back_to(savepoints[back]);
                    savepoints.truncate(back + 1);
                }
                1 if at > 0 => {
                    self.send(&format!("release s{}", at - 1)).map_err(|e| e.to_string())?;
                    savepoints.pop();
                }
                n => {
                    let guarded = n < 7;
                    if guarded {
                        self.send(&format!("savepoint s{at}")).map_err(|e| e.to_string())?;
                        savepoints.push(self.state.mark());
                    }
                    let done = self.carry_out()?;
                    if !done && !guarded {
                        aborted = true;
                        break;
                    }
                    if !done {
                        self.send(&format!("rollback to s{at}")).map_err(|e| e.to_string())?;
                    }
                }
            }
            self.look()?;
        }
        let commits = !aborted && self.dice.below(4) > 0;
        self.send(if commits { "commit" } else { "rollback" }).map_err(|e| e.to_string())?;
        if !commits {
            self.state.back_to(begin);
        }
        self.read_committed = true;
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        self.state.turn += 1;
        if self.dice.below(4) == 0 {
            self.transaction()?
        } else {
            self.single()?
        }
        self.state.settle();
        if self.watch.every_step {
            audit_all(&mut self.bank.db)?;
            compare_events(&mut self.session, &self.state)?;
            compare_readers(&mut self.session, &self.state)?;
            compare_tables(&mut self.session, &self.state, 0)?;
        }
        self.look()
    }

    /// So many operations; then the ledger, row by row, and a settlement that clears.
    pub fn run(&mut self, operations: u64) -> Result<(), String> {
        while self.tally.operations < operations {
            self.step()?;
        }
        compare_ledger(&mut self.session, &self.state)?;
        compare_events(&mut self.session, &self.state)?;
        compare_readers(&mut self.session, &self.state)?;
        compare_tables(&mut self.session, &self.state, QUESTIONS)?;
        audit_all(&mut self.bank.db)?;
        compare_settlement(&mut self.session, &self.state)?;
        audit_all(&mut self.bank.db)
    }

    /// Whoever reads events comes to their end. The model does not go on from here.
    pub fn come_to_rest(&mut self) -> Result<i64, String> {
        let read = come_to_rest(&mut self.bank.db)?;
        audit_all(&mut self.bank.db)?;
        Ok(read)
    }

    /// What was done last.
    pub fn trail(&self) -> String {
        self.trail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    pub fn database(&mut self) -> &mut Client {
        &mut self.bank.db
    }
}

impl Op {
    /// Rows of an answer that are refusals of things which may have changed since.
    pub fn refusals_in(&self, lines: &[String]) -> Vec<usize> {
        match self {
            Op::ProcessCommand => (0..lines.len()).filter(|row| !lines[*row].contains("|completed|")).collect(),
            Op::ProcessQueue { .. } => (0..lines.len()).filter(|row| lines[*row].contains("|failed|")).collect(),
            _ if self.is_refused_in(lines) => vec![0],
            _ => Vec::new(),
        }
    }

    /// Lines of an answer that say that nothing was done.
    pub fn is_refused_in(&self, lines: &[String]) -> bool {
        match self {
            Op::Post { contract: true, .. } | Op::ProcessRequest { .. } => lines[0].contains(r#""success": false"#),
            _ => false,
        }
    }
}
