//! The history of an account against a model that is a list of facts: after random changes, corrections and postings,
//! every question at every instant on both axes has the model's answer.
//!
//! The model takes over from the extension when a thing was recorded, and nothing else.

use crate::temporal_accounts::in_order;
use neobank_sessions::*;
use std::collections::BTreeSet;

/// Microseconds since 1970.
type Instant = i64;

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    status: String,
    limit: Decimal,
    number: String,
}

/// From `recorded` on it was known that the account had this value in that time.
#[derive(Clone, Debug)]
struct Fact {
    recorded: Instant,
    from: Instant,
    to: Option<Instant>,
    /// Whether the account was there at all; else what it had.
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    /// As it was at that time, as known just before.
    Opened(State),
    Status(String),
    Limit(Decimal),
    Number(String),
}

#[derive(Clone, Debug)]
struct Posting {
    recorded: Instant,
    effective: Instant,
    amount: Decimal,
}

#[derive(Clone, Default)]
struct Model {
    facts: Vec<Fact>,
    postings: Vec<Posting>,
}

impl Model {
    fn state(&self, valid: Instant, known: Instant) -> Option<State> {
        let mut state = None;
        for fact in &self.facts {
            if fact.recorded > known || valid < fact.from || fact.to.is_some_and(|to| valid >= to) {
                continue;
            }
            match (&fact.value, &mut state) {
                (Value::Opened(opened), _) => state = Some(opened.clone()),
                (Value::Status(status), Some(state)) => state.status = status.clone(),
                (Value::Limit(limit), Some(state)) => state.limit = *limit,
                (Value::Number(number), Some(state)) => state.number = number.clone(),
                (_, None) => panic!("a fact of a time without the account: {fact:?}"),
            }
        }
        state
    }

    fn balance(&self, valid: Instant, known: Instant) -> Decimal {
        let counts = |posting: &&Posting| posting.recorded <= known && posting.effective <= valid;
        self.postings.iter().filter(counts).map(|posting| posting.amount).sum()
    }

    fn opened(&self) -> Instant {
        self.facts.iter().map(|fact| fact.from).min().expect("it was opened")
    }

    fn fact(&mut self, recorded: Instant, from: Instant, to: Option<Instant>, value: Value) {
        self.facts.push(Fact { recorded, from, to, value });
    }
}

fn sql(at: Instant) -> String {
    format!("(timestamptz 'epoch' + {at} * interval '1 microsecond')")
}

const MICROS: &str = "(extract(epoch from {}) * 1000000)::bigint";

fn micros(db: &mut Client, expression: &str) -> Instant {
    db.count(&format!("select {}", MICROS.replace("{}", expression)))
}

struct Run {
    bank: Bank,
    account: Uuid,
    model: Model,
    dice: Dice,
    instants: BTreeSet<Instant>,
}

impl Run {
    fn begin(seed: u64) -> Run {
        let mut bank = Bank::new();
        let account = bank.account_with("checking", "USD", "0", "0");
        let opened =
            micros(&mut bank.db, &format!("(select created_at from banking.accounts where account_id = '{account}')"));
        let number =
            bank.db.one(&format!("select account_number from banking.accounts where account_id = '{account}'"));
        let mut model = Model::default();
        let state = State { status: "active".into(), limit: Decimal::ZERO, number };
        model.fact(opened, opened, None, Value::Opened(state));
        let instants = BTreeSet::from([opened]);
        Run { bank, account, model, dice: Dice(seed), instants }
    }

    /// When the last thing was recorded of the account's attributes.
    fn recorded(&mut self) -> Instant {
        let account = self.account;
        micros(
            &mut self.bank.db,
            &format!("(select max(transaction_from) from temporal.accounts_history where account_id = '{account}')"),
        )
    }

    fn pick(&mut self, values: &[&str]) -> String {
        values[self.dice.below(values.len())].to_owned()
    }

    fn now(&self) -> State {
        self.model.state(Instant::MAX, Instant::MAX).expect("the account is open")
    }

    fn set_status(&mut self) {
        let status = self.pick(&["active", "dormant", "frozen"]);
        self.bank.status(self.account, &status);
        if self.now().status != status {
            let at = self.recorded();
            self.model.fact(at, at, None, Value::Status(status));
        }
    }

    fn set_limit(&mut self) {
        let limit = Decimal::from(self.dice.below(4));
        self.bank.db.run(&format!("select banking.set_overdraft_limit('{}', {limit}, 'w')", self.account));
        if self.now().limit != limit {
            let at = self.recorded();
            self.model.fact(at, at, None, Value::Limit(limit));
        }
    }

    fn post(&mut self) {
        let amount = Decimal::from(1 + self.dice.below(50));
        let back = match self.dice.below(3) {
            0 => "null".to_owned(),
            1 => format!("clock_timestamp() - interval '{} ms'", 1 + self.dice.below(200)),
            _ => format!("clock_timestamp() - interval '{} hours'", 1 + self.dice.below(30)),
        };
        let call = format!("select txn_processing.adjust('{}', {amount}, 'w', effective_at => {back})", self.account);
        match self.bank.db.try_lines(&call) {
            Err(refusal) => assert_eq!(refusal.code, "NB003", "{refusal}"),
            Ok(id) => {
                let time = |column: &str| {
                    format!("(select {column} from txn_processing.movements where transaction_id = '{}')", id[0])
                };
                let recorded = micros(&mut self.bank.db, &time("created_at"));
                let effective = micros(&mut self.bank.db, &time("coalesce(effective_at, created_at)"));
                self.model.postings.push(Posting { recorded, effective, amount });
                self.instants.extend([recorded, effective]);
            }
        }
    }

    fn instant(&mut self) -> Instant {
        let known: Vec<Instant> = self.instants.iter().copied().collect();
        known[self.dice.below(known.len())] + self.dice.below(3) as i64 - 1
    }

    /// A correction over a random time: of the past, up to now, or from before the account was opened.
    fn correct(&mut self) {
        let opened = self.model.opened();
        let mut ends = [self.instant(), self.instant()];
        ends.sort_unstable();
        if ends[0] == ends[1] {
            ends[1] += 1;
        }
        let to = (self.dice.below(3) > 0).then_some(ends[1]);
        let (json, value) = match self.dice.below(3) {
            0 => {
                let status = self.pick(&["active", "dormant", "frozen", "closed"]);
                (format!(r#""account_status": "{status}""#), Value::Status(status))
            }
            1 => {
                let limit = Decimal::from(self.dice.below(4));
                (format!(r#""overdraft_limit": {limit}"#), Value::Limit(limit))
            }
            _ => {
                let number = self.pick(&["N1", "N2"]);
                (format!(r#""account_number": "{number}""#), Value::Number(number))
            }
        };
        let end = to.map_or("null".into(), sql);
        let call = format!("select temporal.correct('{}', {}, {end}, '{{{json}}}', 'w')", self.account, sql(ends[0]));
        let done = self.bank.db.try_lines(&call);
        if to.is_some_and(|to| to < opened) && ends[0] < opened {
            assert_eq!(done.expect_err("it would leave a gap").code, "NB300");
            return;
        }
        let done = done.unwrap_or_else(|refusal| panic!("{refusal}\n{call}"));
        if done == [""] {
            // All read so already.
            return;
        }
        let at = self.recorded();
        if ends[0] < opened {
            let first = self.model.state(opened, Instant::MAX).expect("it was opened");
            self.model.fact(at, ends[0], Some(opened), Value::Opened(first));
        }
        self.model.fact(at, ends[0], Some(to.unwrap_or(at)), value);
        self.instants.extend([ends[0], to.unwrap_or(at)]);
    }

    /// One step, or several in a transaction that commits or not.
    fn step(&mut self) {
        match self.dice.below(10) {
            0 | 1 => self.set_status(),
            2 => self.set_limit(),
            3..=5 => self.post(),
            6 | 7 => self.correct(),
            8 => {
                let mode = self.pick(&["slotted", "exclusive"]);
                self.bank.mode(self.account, &mode);
            }
            _ => {
                let (model, instants) = (self.model.clone(), self.instants.clone());
                self.bank.db.run("begin");
                self.set_status();
                self.set_limit();
                self.post();
                // A refusal ends the transaction, whatever came before.
                let is_over = self.bank.db.try_lines("select 1").is_err();
                if is_over || self.dice.below(2) == 0 {
                    self.bank.db.run("rollback");
                    (self.model, self.instants) = (model, instants);
                } else {
                    self.bank.db.run("commit");
                }
            }
        }
        let recorded = self.recorded();
        self.instants.insert(recorded);
    }

    /// The instants, and those just before and after some of them.
    fn questions(&mut self) -> Vec<Instant> {
        let mut asked: BTreeSet<Instant> = self.instants.clone();
        for at in self.instants.clone() {
            asked.insert(at + [-1, 1][self.dice.below(2)]);
        }
        asked.into_iter().collect()
    }

    fn compare(&mut self) {
        let asked = self.questions();
        let list = asked.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let time = |n: &str| format!("timestamptz 'epoch' + {n} * interval '1 microsecond'");
        let answers = self.bank.db.lines(&format!(
            "select v.v, k.k, s.account_status, s.overdraft_limit, s.account_number, s.current_balance, {}, {} \
             from unnest('{{{list}}}'::bigint[]) v(v) cross join unnest('{{{list}}}'::bigint[]) k(k) \
             left join lateral temporal.get_account_as_of('{}', {}, {}) s on true order by v.v, k.k",
            MICROS.replace("{}", "s.valid_from"),
            MICROS.replace("{}", "s.valid_to"),
            self.account,
            time("v.v"),
            time("k.k"),
        ));
        assert_eq!(answers.len(), asked.len() * asked.len());
        for answer in answers {
            let fields: Vec<&str> = answer.split('|').collect();
            let (valid, known): (Instant, Instant) =
                (fields[0].parse().expect("a number"), fields[1].parse().expect("a number"));
            let Some(wanted) = self.model.state(valid, known) else {
                assert_eq!(fields[2], "", "nothing was known: {answer}");
                continue;
            };
            let found = State { status: fields[2].into(), limit: dec(fields[3]), number: fields[4].into() };
            assert_eq!(found, wanted, "{answer}\n{:#?}", self.model.facts);
            assert_eq!(dec(fields[5]), self.model.balance(valid, known), "{answer}\n{:#?}", self.model.postings);
            // The row that says so is of a time that has the instant in it, and throughout which it was so.
            let from: Instant = fields[6].parse().expect("a number");
            assert!(from <= valid && self.model.state(from, known) == Some(wanted.clone()), "{answer}");
            if let Ok(to) = fields[7].parse::<Instant>() {
                assert!(valid < to && self.model.state(to - 1, known) == Some(wanted), "{answer}");
            }
        }
    }
}

#[test]
fn every_question_at_every_instant_has_the_models_answer() {
    let seed = seed();
    say(&format!("temporal_accounts_model: SEED={seed}"));
    for round in 0..setting("ROUNDS", 4) {
        let mut run = Run::begin(seed.wrapping_add(round));
        for _ in 0..14 {
            run.step();
        }
        run.compare();
        in_order(&mut run.bank);
        audit(&mut run.bank.db);
    }
}
