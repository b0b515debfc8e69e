//! Runs the calls, judges what comes of each, and watches the backend.

use crate::calls::{query, statement, write};
use crate::catalog::{Form, Function, Relation, functions, relations};
use crate::memory::{Growth, Memory};
use crate::report::Report;
use crate::values::Maker;
use crate::verdict::{Asked, Verdict};
use crate::world::World;
use neobank_sessions::{Ask, Bank, Client, Dice, Refusal, broken_rules, say, server, snapshot};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub struct Fuzz {
    pub world: World,
    pub report: Report,
    /// By what is wrong and with what, the first statement that showed it.
    pub faults: BTreeMap<String, String>,
    pub dice: Dice,
    session: Client,
    pid: i64,
    verdict: Verdict,
    growth: BTreeMap<String, Growth>,
    superuser: bool,
    timeout_ms: u64,
    /// Of so many steps one is held against snapshots of all tables.
    pub sample_every: usize,
    /// Faults after which a run has said enough.
    pub give_up_after: usize,
    said: Instant,
}

/// What is asked, and whether its effects stay.
struct Step<'s> {
    name: &'s str,
    asked: Asked,
    sql: String,
    /// The statement runs in a transaction of its own making.
    alone: bool,
    keep: bool,
}

/// These are given a statement, a condition, names of what they make, or a row as its table has it.
const GIVEN_STATEMENTS: &[&str] = &[
    "troubleshoot.explain",
    "temporal.home_schema",
    "temporal.make_tables",
    "temporal.make_views",
    "temporal.record_account_change",
    "temporal.uncovered",
];

fn asked_of(function: &Function, otherwise: Asked) -> Asked {
    match function.form {
        Form::Trigger => Asked::Trigger,
        _ if GIVEN_STATEMENTS.contains(&function.name.as_str()) => Asked::Statement,
        _ => otherwise,
    }
}

impl Fuzz {
    pub fn new(seed: u64) -> Fuzz {
        let world = World::new();
        let session = world.bank.session();
        let mut fuzz = Fuzz {
            session,
            world,
            report: Report::default(),
            faults: BTreeMap::new(),
            dice: Dice(seed),
            pid: 0,
            verdict: Verdict::new(),
            growth: BTreeMap::new(),
            superuser: true,
            timeout_ms: 10_000,
            sample_every: 80,
            give_up_after: 25,
            said: Instant::now(),
        };
        fuzz.log_in(true);
        fuzz
    }

    pub fn set_timeout(&mut self, milliseconds: u64) {
        self.timeout_ms = milliseconds;
        self.log_in(self.superuser);
    }

    /// A session of the superuser, or of the operator.
    pub fn log_in(&mut self, superuser: bool) {
        self.superuser = superuser;
        let role = if superuser { server().superuser } else { self.world.operator().to_owned() };
        self.world.bank.db.run(&format!("grant pg_read_all_stats to {role}"));
        self.session = self.world.bank.session_as(&role);
        self.pid = Bank::backend_of(&mut self.session);
        self.session.run(&format!("set statement_timeout = {}; set synchronous_commit = off", self.timeout_ms));
    }

    /// A bank of which nothing is used up yet.
    pub fn renew(&mut self) {
        self.check_books();
        self.world = World::new();
        self.log_in(!self.superuser);
    }

    /// Nothing of all this may have cost a cent.
    pub fn check_books(&mut self) {
        let mut broken = broken_rules(&mut self.world.bank.db);
        // The calls do give a reference twice, which nobody checks.
        broken.retain(|rule| !rule.starts_with("a reference number stands for one posting"));
        assert!(broken.is_empty(), "broken: {broken:#?}");
    }

    pub fn functions(&mut self) -> Vec<Function> {
        functions(&mut self.world.bank.db)
    }

    pub fn relations(&mut self) -> Vec<Relation> {
        let role = if self.superuser { server().superuser } else { self.world.operator().to_owned() };
        relations(&mut self.world.bank.db, &role)
    }

    fn make<T>(&mut self, subject: &str, make: impl FnOnce(&mut Maker) -> T) -> T {
        let subject = subject.split('.').next_back().unwrap_or_default();
        make(&mut Maker { dice: &mut self.dice, pools: &self.world.pools, length: 2, subject })
    }

    pub fn found_enough(&self) -> bool {
        self.faults.len() >= self.give_up_after
    }

    /// So many calls of one function in a row, and what the backend has grown by meanwhile.
    pub fn block(&mut self, function: &Function, calls: u64) {
        let warm = calls / 4;
        let mut before = None;
        for n in 0..calls {
            if n == warm && calls >= 20 {
                before = Some((Memory::of(&mut self.session, self.pid), self.pid));
            }
            self.call(function);
            if self.found_enough() {
                return;
            }
        }
        let Some((before, pid)) = before.filter(|(_, pid)| *pid == self.pid) else { return };
        let after = Memory::of(&mut self.session, pid);
        if let Some(grown) = self.growth.entry(function.name.clone()).or_default().add(before, after) {
            self.fault(&function.name, &grown, &format!("-- {calls} calls of {}", function.name));
        }
    }

    pub fn call(&mut self, function: &Function) {
        let sql = self.make(&function.name, |maker| statement(maker, function));
        let asked = asked_of(function, Asked::Call);
        let alone = function.form == Form::Procedure && self.dice.below(10) > 0;
        let keep = self.dice.below(10) == 0 && !function.concerns_roles();
        self.step(Step { name: &function.name, asked, sql, alone, keep });
    }

    pub fn query(&mut self, relation: &Relation) {
        let sql = self.make(&relation.name, |maker| query(maker, relation));
        let name = format!("select from {}", relation.name);
        self.step(Step { name: &name, asked: Asked::Table, sql, alone: false, keep: false });
    }

    /// A direct write, and then what works on what is written.
    pub fn write(&mut self, relation: &Relation, then: &[Function]) {
        let Some(sql) = self.make(&relation.name, |maker| write(maker, relation)) else { return };
        let name = format!("write to {}", relation.name);
        if self.superuser {
            // What an owner writes past the extension need not make sense to it.
            return self.step(Step { name: &name, asked: Asked::Table, sql, alone: false, keep: false });
        }
        self.step(Step { name: &name, asked: Asked::Table, sql, alone: true, keep: true });
        if self.dice.below(3) == 0 {
            let function = then[self.dice.below(then.len())].clone();
            self.call(&function);
        }
    }

    /// Whether the setting takes that value.
    pub fn set(&mut self, setting: &str) -> bool {
        let result = self.session.try_lines(setting);
        if let Err(refusal) = &result {
            self.judge("set", Asked::Setting, setting, refusal);
        }
        result.is_ok()
    }

    /// A call while a setting has an odd value.
    pub fn call_while(&mut self, setting: &str, function: &Function) {
        let call = self.make(&function.name, |maker| statement(maker, function));
        let alone = function.form == Form::Procedure;
        let asked = asked_of(function, Asked::Setting);
        let sql = if alone { call } else { format!("{call} /* {setting} */") };
        self.step(Step { name: &function.name, asked, sql, alone, keep: false });
    }

    fn step(&mut self, step: Step) {
        let sampled = self.superuser && !step.alone && self.dice.below(self.sample_every) == 0;
        let before = sampled.then(|| snapshot(&mut self.session));
        if !step.alone {
            self.session.run("begin");
        }
        let began = Instant::now();
        let result = self.session.try_lines(&step.sql);
        let result = self.again_if_slow(&step, result, began);
        let told = result.as_ref().ok().and_then(|lines| self.verdict.told(lines.first()?));
        if let (Some(before), Some(_)) = (&before, &told) {
            self.compare(&step, before, "a refusal told as JSON");
        }
        if !step.alone {
            let end = if step.keep && result.is_ok() { "commit" } else { "rollback" };
            if let Err(refusal) = self.session.try_lines(end) {
                self.judge(step.name, step.asked, &format!("{}; {end}", step.sql), &refusal);
            }
        }
        self.tally(&step, &result, told);
        if self.session.try_lines("").is_err() {
            self.log_in(self.superuser);
        } else if let (Some(before), Err(_)) = (&before, &result) {
            self.compare(&step, before, "a refusal");
        }
        self.say_how_far();
    }

    fn tally(&mut self, step: &Step, result: &Result<Vec<String>, Refusal>, told: Option<Result<(), String>>) {
        let tally = self.report.of(step.name);
        tally.calls += 1;
        match (result, told) {
            (Err(refusal), _) => {
                tally.refusals += 1;
                *tally.codes.entry(refusal.code.clone()).or_default() += 1;
                self.judge(step.name, step.asked, &step.sql, refusal);
            }
            (Ok(_), Some(told)) => {
                tally.refusals += 1;
                *tally.codes.entry("JSON".to_owned()).or_default() += 1;
                if let Err(fault) = told {
                    self.fault(step.name, &fault, &step.sql);
                }
            }
            (Ok(_), None) => tally.successes += 1,
        }
    }

    /// The timeout's end is a fault if six times that does not do either.
    fn again_if_slow(
        &mut self,
        step: &Step,
        result: Result<Vec<String>, Refusal>,
        began: Instant,
    ) -> Result<Vec<String>, Refusal> {
        let slow = matches!(&result, Err(refusal) if refusal.code == "57014")
            || began.elapsed() > Duration::from_millis(2 * self.timeout_ms);
        if !slow || self.session.is_closed() {
            return result;
        }
        say(&format!("slow ({:?}): {}", began.elapsed(), step.sql));
        let patience = 6 * self.timeout_ms;
        if !step.alone {
            let _ = self.session.try_lines("rollback");
            self.session.run("begin");
        }
        self.session.run(&format!("set statement_timeout = {patience}"));
        let began = Instant::now();
        let again = self.session.try_lines(&step.sql);
        let over = matches!(&again, Err(refusal) if refusal.code == "57014");
        if over || began.elapsed() > Duration::from_millis(2 * patience) {
            self.fault(step.name, &format!("no end within {patience} ms"), &step.sql);
        }
        // A setting made in a transaction that failed went with it.
        let reset = format!("set statement_timeout = {}", self.timeout_ms);
        if again.is_err() && !step.alone {
            let _ = self.session.try_lines("rollback; begin");
        }
        self.session.run(&reset);
        again
    }

    fn compare(&mut self, step: &Step, before: &[String], what: &str) {
        // A request that cannot be carried out is marked so.
        let of_ledger = |line: &&String| !line.starts_with("txn_processing.transaction_queue");
        let after = snapshot(&mut self.session);
        if before.iter().filter(of_ledger).ne(after.iter().filter(of_ledger)) {
            self.fault(step.name, &format!("{what} has changed a table"), &step.sql);
        }
    }

    fn judge(&mut self, name: &str, asked: Asked, sql: &str, refusal: &Refusal) {
        if let Some(fault) = self.verdict.fault(asked, refusal) {
            let shown: String = refusal.to_string().chars().take(1_500).collect();
            self.fault(name, &fault, &format!("{sql};\n-- {shown}"));
        }
    }

    fn fault(&mut self, name: &str, what: &str, sql: &str) {
        let role = if self.superuser { "superuser" } else { "operator" };
        let key = format!("{name} ({role}): {what}");
        self.faults.entry(key).or_insert_with_key(|key| {
            say(&format!("FAULT: {key}\n{sql}"));
            sql.to_owned()
        });
    }

    fn say_how_far(&mut self) {
        if self.said.elapsed() > Duration::from_secs(10) {
            self.said = Instant::now();
            say(&format!("{} calls, {} faults", self.report.total(|tally| tally.calls), self.faults.len()));
        }
    }
}
