//! Tables with a history: what is true and what is believed of each of their keys.
//!
//! The answer tells when the transaction began and what the clock said, which decides what is now. A refusal does not: it
//! must be explained by a transaction that began when this one may have at the earliest, or at the latest.

use super::{Circumstances, State, done};
use crate::answer::{Answer, Faults, agree};
use crate::tables::facts::{Due, FOREVER, Fact, History, Period, Row, Writer};
use crate::tables::{At, Change, FIRST, FIRST_YEAR, Given, Key, Step, Table, Tabled, Which, year};
use std::collections::BTreeSet;

/// What an answer tells: lines of columns, each beginning with a word for what it is.
struct Told<'a> {
    lines: Vec<Vec<&'a str>>,
    began: i64,
    clock: i64,
}

fn figure(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error| format!("{error}: {text}"))
}

fn told(lines: &[String]) -> Result<Told<'_>, String> {
    let mut lines: Vec<Vec<&str>> = lines.iter().map(|line| line.split('|').collect()).collect();
    match lines.pop().as_deref() {
        Some(["times", began, clock]) => Ok(Told { lines, began: figure(began)?, clock: figure(clock)? }),
        last => Err(format!("times were to come last, and not {last:?}")),
    }
}

/// The lines that tell of a step: up to its last one.
fn lines_of<'a>(step: &Step, lines: &mut impl Iterator<Item = Vec<&'a str>>) -> Vec<Vec<&'a str>> {
    let last = match step.from() {
        Some(At::Soon) => "waited",
        Some(_) => "met",
        None => "end",
    };
    let mut of = Vec::new();
    for line in lines {
        let is_last = line[0] == last;
        of.push(line);
        if is_last {
            break;
        }
    }
    of
}

/// Who works, and what it may have seen.
#[derive(Clone, Copy)]
struct Moment {
    me: Writer,
    /// By the clock.
    present: i64,
    how: Circumstances,
    /// It was refused, and had not met what it may have missed.
    misses: bool,
    /// It was refused, and what was to begin soon had begun before the table was looked at.
    waited: bool,
}

impl Moment {
    /// A row that was changed by somebody who was not done when this was asked may not have been seen.
    fn may_miss(&self, history: &History) -> bool {
        history.changed > self.how.since
    }
}

/// What a change has come to so far.
#[derive(Default)]
struct Course {
    faults: Faults,
    /// Whose facts are others now.
    touched: BTreeSet<(Table, Key)>,
    /// Facts of a parent, which is told when the operation ends.
    parents: bool,
}

impl Course {
    fn refuse(&mut self, code: &'static str) {
        self.faults.must(code, true);
    }
}

impl State {
    pub(super) fn open_tables(&mut self, since: i64) {
        let by = Writer { turn: 0, began: since };
        for (table, key, row) in FIRST {
            self.tables.set((table, key), History::enabled(row, year(FIRST_YEAR), by));
        }
    }

    pub fn histories(&self, table: Table) -> impl Iterator<Item = (Key, &History)> {
        self.tables.rows().filter(move |((of, _), _)| *of == table).map(|((_, key), history)| (*key, history))
    }

    /// The instant before which the history is pruned.
    pub fn kept_since(&self, table: Table) -> i64 {
        self.pruned.get(&table).copied().unwrap_or(i64::MIN)
    }

    pub(super) fn accept_tabled(&mut self, op: &Tabled, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let (began, clock) = match seen {
            Answer::Done(lines) => {
                let told = told(lines)?;
                (told.began, told.clock)
            }
            Answer::Refused(_) => return self.accept_refusal(op, seen, how),
        };
        let at = Moment { me: Writer { turn: self.turn, began }, present: clock, how, misses: false, waited: false };
        self.accept_at(op, seen, at)
    }

    fn accept_refusal(&mut self, op: &Tabled, seen: &Answer, how: Circumstances) -> Result<(), String> {
        let mut objection = String::new();
        for (began, present, misses, waited) in [
            (how.answered_at, how.answered_at, false, false),
            (how.begun_at, how.answered_at, false, false),
            (how.begun_at, how.begun_at, false, false),
            (how.answered_at, how.answered_at, true, false),
            (how.begun_at, how.answered_at, false, true),
        ] {
            let before = self.mark();
            let at = Moment { me: Writer { turn: self.turn, began }, present, how, misses, waited };
            let accepted = self.accept_at(op, seen, at);
            self.back_to(before);
            match accepted {
                Ok(()) => return Ok(()),
                Err(error) => objection = error,
            }
        }
        Err(objection)
    }

    fn accept_at(&mut self, op: &Tabled, seen: &Answer, at: Moment) -> Result<(), String> {
        match op {
            Tabled::Change(steps) => self.accept_changes(steps, seen, at),
            Tabled::ApplyDue { table } => self.accept_due(*table, seen, at),
            Tabled::Prune { table, before } => self.accept_prune(*table, *before, seen, at),
            Tabled::Ask { table, valid, known } => {
                let valid = valid.map_or(at.present, |valid| valid.micros(at.me.began));
                self.accept_question(*table, valid, known.micros(at.me.began), seen, at)
            }
            Tabled::Report { table, valid } => self.accept_question(*table, year(*valid), FOREVER, seen, at),
        }
    }

    /// What is known of two keys may have been recorded by two who come one way round in the order of the clock and became
    /// visible the other way round: of a key that was recorded meanwhile the answer may be of before and after it.
    fn accept_question(&self, table: Table, valid: i64, known: i64, seen: &Answer, at: Moment) -> Result<(), String> {
        let mut faults = Faults::default();
        faults.must("NB331", valid.min(known) < self.kept_since(table));
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => lines,
        };
        faults.allow_success()?;
        let (mut wanted, mut of_meanwhile): (Vec<String>, Vec<String>) = Default::default();
        for (key, history) in self.histories(table) {
            if history.recorded > at.how.since {
                of_meanwhile.push(format!("row|{}|{}|", key.0, key.1));
                continue;
            }
            if let Some(Fact { row, .. }) = history.at(valid, known) {
                let link = row.link.map_or("-".to_owned(), |link| link.to_string());
                wanted.push(format!("row|{}|{}|{}|{link}", key.0, key.1, row.amount));
            }
        }
        wanted.sort();
        let is_certain = |line: &&String| !of_meanwhile.iter().any(|key| line.starts_with(key));
        let lines: Vec<String> = lines[..lines.len() - 1].iter().filter(is_certain).cloned().collect();
        agree("the rows at that instant", lines, wanted)
    }

    fn accept_changes(&mut self, steps: &[(Table, Step)], seen: &Answer, at: Moment) -> Result<(), String> {
        let mut course = Course::default();
        let told = match seen {
            Answer::Done(lines) => Some(told(lines)?),
            Answer::Refused(_) => None,
        };
        let mut lines = told.map(|told| told.lines.into_iter());
        for (table, step) in steps {
            let of_step = lines.as_mut().map(|lines| lines_of(step, lines));
            self.take_step(*table, step, of_step.as_deref(), at, &mut course)?;
            if !course.faults.none() {
                break;
            }
        }
        if course.faults.none() {
            self.check_covered(&mut course);
            course.faults.must("NB334", course.parents);
        }
        match seen {
            Answer::Refused(code) => course.faults.allow(code),
            Answer::Done(_) => course.faults.allow_success(),
        }
    }

    /// Carries a step out, as far as it is not refused.
    fn take_step(
        &mut self,
        table: Table,
        step: &Step,
        told: Option<&[Vec<&str>]>,
        at: Moment,
        course: &mut Course,
    ) -> Result<(), String> {
        // What begins soon was mostly yet to come where the table was looked at.
        let is_soon = step.from() == Some(At::Soon) && told.is_none() && !at.waited;
        let at = if is_soon { Moment { present: at.me.began, ..at } } else { at };
        match step {
            Step::Insert(rows) => self.insert(table, rows, told, at, course),
            Step::Update(which, change) => {
                let keys = self.met(table, *which, told, at)?;
                self.restate(table, &keys, |row| Some(change.of(row)), at, course);
                Ok(())
            }
            Step::Delete(which) => {
                let keys = self.met(table, *which, told, at)?;
                self.restate(table, &keys, |_| None, at, course);
                Ok(())
            }
            Step::Move(from, to) => self.move_key(table, *from, *to, told, at, course),
            Step::UpdatePortion { given, from, to, change } => {
                let period = (from.micros(at.me.began), to.micros(at.me.began));
                course.faults.must("NB326", !change.is_of_values());
                self.portion(table, *given, period, at, course);
                if !course.faults.none() {
                    return Ok(());
                }
                let history = self.tables.get(&(table, given.key)).cloned().unwrap_or_default();
                let wrong = matches!(change, Change::Amount(amount) if *amount < 0);
                course.faults.must("23514", wrong && !history.is_free(period.0, period.1));
                let instead = |row: Row| change.of(row);
                self.correct(table, given.key, period, Some(&instead), told, at, course)
            }
            Step::DeletePortion { given, from, to } => {
                let period = (from.micros(at.me.began), to.micros(at.me.began));
                self.portion(table, *given, period, at, course);
                if !course.faults.none() {
                    return Ok(());
                }
                self.correct(table, given.key, period, None, told, at, course)
            }
            Step::InsertPortion { given, from, to, amount, link } => {
                let period = (from.micros(at.me.began), to.micros(at.me.began));
                self.portion(table, *given, period, at, course);
                if !course.faults.none() {
                    return Ok(());
                }
                self.fill(table, given.key, period, (*amount, *link), told, at, course)
            }
        }
    }

    /// The keys that a statement met, which it tells if it was done.
    fn met(&self, table: Table, which: Which, told: Option<&[Vec<&str>]>, at: Moment) -> Result<Vec<Key>, String> {
        let is_met = |key: &Key, row: Row| match which {
            Which::One(one) => *key == one,
            Which::From(amount) => row.amount >= amount,
        };
        let rows = || self.histories(table).filter_map(|(key, history)| Some((key, history, history.present?)));
        let Some(told) = told else {
            let met = rows().filter(|(key, history, row)| is_met(key, *row) && !(at.misses && at.may_miss(history)));
            let mut keys: Vec<Key> = met.map(|(key, ..)| key).collect();
            keys.sort_unstable();
            return Ok(keys);
        };
        let keys = keys_in(told)?;
        for key in &keys {
            let is_there = rows().any(|(there, _, row)| there == *key && is_met(&there, row));
            agree(&format!("{key:?} of {table:?} is there to be met"), is_there, true)?;
        }
        for (key, history, row) in rows() {
            if is_met(&key, row) && !keys.contains(&key) && !at.may_miss(history) {
                return Err(format!("{key:?} of {table:?} was missed: {row:?}"));
            }
        }
        Ok(keys)
    }

    /// Each of the rows becomes another one, or goes.
    fn restate(
        &mut self,
        table: Table,
        keys: &[Key],
        change: impl Fn(Row) -> Option<Row>,
        at: Moment,
        course: &mut Course,
    ) {
        for key in keys {
            let row = self.tables.get(&(table, *key)).and_then(|history| history.present);
            let new = change(row.expect("it was met"));
            course.faults.must("23514", new.is_some_and(|row| row.amount < 0));
            self.say(table, *key, new, false, at, course);
        }
    }

    /// The table says this of the key from now on.
    fn say(&mut self, table: Table, key: Key, row: Option<Row>, moves: bool, at: Moment, course: &mut Course) {
        let mut history = self.tables.get(&(table, key)).cloned().unwrap_or_default();
        let was_due = history.is_due(at.present);
        let is_same = history.present == row;
        match history.state(row, at.me, at.present, moves) {
            Err(Due) => course.refuse("NB327"),
            Ok(replaced) => {
                // Nothing is to be changed, by what is out of date.
                course.faults.may("NB327", was_due && is_same);
                self.changes_parent(table, replaced, at, course);
                course.touched.insert((table, key));
            }
        }
        self.tables.set((table, key), history);
    }

    fn changes_parent(&self, table: Table, replaced: bool, at: Moment, course: &mut Course) {
        course.parents |= replaced && table == Table::Tariffs && !at.how.read_committed;
    }

    fn insert(
        &mut self,
        table: Table,
        rows: &[(Key, Row)],
        told: Option<&[Vec<&str>]>,
        at: Moment,
        course: &mut Course,
    ) -> Result<(), String> {
        for (key, row) in rows {
            let there = self.tables.get(&(table, *key)).and_then(|history| history.present);
            course.faults.must("23505", there.is_some());
            course.faults.must("23514", row.amount < 0);
        }
        if !course.faults.none() {
            return Ok(());
        }
        let mut keys: Vec<Key> = rows.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        if let Some(told) = told {
            agree("the keys that were inserted", keys_in(told)?, keys)?;
        }
        for (key, row) in rows {
            self.say(table, *key, Some(*row), false, at, course);
        }
        Ok(())
    }

    fn move_key(
        &mut self,
        table: Table,
        from: Key,
        to: Key,
        told: Option<&[Vec<&str>]>,
        at: Moment,
        course: &mut Course,
    ) -> Result<(), String> {
        let Some(history) = self.tables.get(&(table, from)).filter(|history| history.present.is_some()) else {
            return agree("keys that changed", told.map_or(Ok(Vec::new()), keys_in)?, Vec::new());
        };
        let row = history.present;
        if let Some(told) = told {
            let keys = keys_in(told)?;
            if keys.is_empty() && at.may_miss(history) {
                return Ok(());
            }
            agree("keys that changed", keys, vec![to])?;
        }
        if from == to {
            self.say(table, from, row, false, at, course);
            return Ok(());
        }
        let taken = self.tables.get(&(table, to)).is_some_and(|history| history.present.is_some());
        course.faults.must("23505", taken);
        if taken {
            return Ok(());
        }
        self.say(table, from, None, true, at, course);
        self.say(table, to, row, true, at, course);
        Ok(())
    }

    /// What any portion may be refused for.
    fn portion(&self, table: Table, given: Given, (from, to): Period, at: Moment, course: &mut Course) {
        course.faults.must("NB323", !given.whole);
        course.faults.must("NB324", from >= to);
        course.faults.must("NB331", from < self.kept_since(table));
        // Where its row is, it is taken hold of, whatever there is to change.
        course.faults.may("NB334", table == Table::Tariffs && !at.how.read_committed);
    }

    fn correct(
        &mut self,
        table: Table,
        key: Key,
        period: Period,
        instead: Option<&dyn Fn(Row) -> Row>,
        told: Option<&[Vec<&str>]>,
        at: Moment,
        course: &mut Course,
    ) -> Result<(), String> {
        let mut history = self.tables.get(&(table, key)).cloned().unwrap_or_default();
        let believed: Vec<(Row, Period)> = history.believed().map(|fact| (fact.row, fact.valid)).collect();
        let met = history.correct(period.0, period.1, at.me, instead);
        self.tables.set((table, key), history);
        self.changes_parent(table, met > 0, at, course);
        let done = self.portion_told(table, key, period, met, told, at, course);
        done.map_err(|error| format!("{error}, of {key:?} of {table:?}: {believed:?}"))
    }

    fn fill(
        &mut self,
        table: Table,
        key: Key,
        period: Period,
        (amount, link): (Option<i64>, Option<i64>),
        told: Option<&[Vec<&str>]>,
        at: Moment,
        course: &mut Course,
    ) -> Result<(), String> {
        let mut history = self.tables.get(&(table, key)).cloned().unwrap_or_default();
        course.faults.must("NB325", !history.is_free(period.0, period.1));
        course.faults.must("23502", amount.is_none());
        course.faults.must("23514", amount.is_some_and(|amount| amount < 0));
        let Some(amount) = amount.filter(|_| course.faults.none()) else { return Ok(()) };
        history.fill(Row { amount, link }, period.0, period.1, at.me);
        self.tables.set((table, key), history);
        self.portion_told(table, key, period, 1, told, at, course)
    }

    /// Where the portion includes now, the table's row is changed with it. One that begins soon may have begun.
    fn portion_told(
        &mut self,
        table: Table,
        key: Key,
        (from, to): Period,
        met: usize,
        told: Option<&[Vec<&str>]>,
        at: Moment,
        course: &mut Course,
    ) -> Result<(), String> {
        course.touched.insert((table, key));
        let mut history = self.tables.get(&(table, key)).cloned().unwrap_or_default();
        if let Some(told) = told {
            agree("periods that it met", figure(told[0][1])?, met as i64)?;
            if let [_, rows @ .., waited] = told
                && waited[0] == "waited"
            {
                let there = rows.first().map(|columns| row_in(&columns[1..])).transpose()?;
                if met > 0 {
                    history.catch_up(at.me.began, at.me.turn);
                }
                if there != history.present {
                    history.catch_up(at.present, at.me.turn);
                    agree("what the table says", there, history.present)?;
                }
                self.tables.set((table, key), history);
                return Ok(());
            }
        }
        // What was due of the key comes with it.
        if met > 0 || from <= at.present && at.present < to {
            history.catch_up(at.present, at.me.turn);
        }
        self.tables.set((table, key), history);
        Ok(())
    }

    /// As long as a child is believed to be true, its parent is, from when both histories are kept on.
    fn check_covered(&self, course: &mut Course) {
        let since = self.kept_since(Table::Tariffs).max(self.kept_since(Table::Offers));
        let concerns = |key: Key, fact: &Fact| {
            let parent = fact.row.link.map(|link| (Table::Tariffs, (link as u8, 0)));
            course.touched.contains(&(Table::Offers, key)) || parent.is_some_and(|it| course.touched.contains(&it))
        };
        let uncovered = self.histories(Table::Offers).any(|(key, history)| {
            let mut children = history.believed().filter(|fact| concerns(key, fact));
            children.any(|fact| !self.is_covered(fact, since))
        });
        course.faults.must("NB330", uncovered);
    }

    fn is_covered(&self, child: &Fact, since: i64) -> bool {
        let Some(link) = child.row.link else { return true };
        let Some(parent) = self.tables.get(&(Table::Tariffs, (link as u8, 0))) else {
            return child.valid.1 <= since;
        };
        let mut times: Vec<Period> = parent.believed().map(|fact| fact.valid).collect();
        times.sort_unstable();
        let mut from = child.valid.0.max(since);
        for time in times {
            if time.0 <= from {
                from = from.max(time.1);
            }
        }
        from >= child.valid.1
    }

    /// The answer tells the rows that are there then. What others have recorded meanwhile may have been missed, and the next
    /// one finds it.
    fn accept_due(&mut self, table: Table, seen: &Answer, at: Moment) -> Result<(), String> {
        let due: Vec<(Key, History)> = self
            .histories(table)
            .filter(|(_, history)| history.is_due(at.present))
            .map(|(key, history)| (key, history.clone()))
            .collect();
        let mut faults = Faults::default();
        faults.may("NB334", table == Table::Tariffs && !at.how.read_committed && !due.is_empty());
        let lines = match seen {
            Answer::Refused(code) => return faults.allow(code),
            Answer::Done(lines) => told(lines)?.lines,
        };
        let (mut least, mut most) = (0, 0);
        for (key, mut history) in due {
            let row =
                lines.iter().find(|line| line[0] == "row" && line[1..3] == [key.0.to_string(), key.1.to_string()]);
            let there = row.map(|columns| row_in(&columns[3..])).transpose()?;
            let is_of_meanwhile = history.recorded.max(history.changed) > at.how.since;
            if there == history.present && is_of_meanwhile {
                continue;
            }
            history.catch_up(at.present, at.me.turn);
            agree(&format!("what came due of {key:?}"), there, history.present)?;
            self.tables.set((table, key), history);
            most += 1;
            // Or somebody else was first.
            least += i64::from(!is_of_meanwhile);
        }
        let applied = figure(lines[0][1])?;
        if (least..=most).contains(&applied) {
            return Ok(());
        }
        Err(format!("{applied} facts came due, and not {least} to {most}"))
    }

    fn accept_prune(&mut self, table: Table, before: At, seen: &Answer, at: Moment) -> Result<(), String> {
        let before = before.micros(at.me.began);
        let mut faults = Faults::default();
        faults.must("NB021", before > at.me.began);
        faults.may("NB334", table == Table::Tariffs && !at.how.read_committed);
        if let Answer::Refused(code) = seen {
            return faults.allow(code);
        }
        done(seen)?;
        faults.allow_success()?;
        self.pruned.set(table, before.max(self.kept_since(table)));
        Ok(())
    }
}

/// An amount and a link.
fn row_in(columns: &[&str]) -> Result<Row, String> {
    let link = (columns[1] != "-").then(|| figure(columns[1])).transpose()?;
    Ok(Row { amount: figure(columns[0])?, link })
}

fn keys_in(lines: &[Vec<&str>]) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for line in lines {
        if let ["row", first, second] = line[..] {
            keys.push((figure(first)? as u8, figure(second)? as u8));
        }
    }
    Ok(keys)
}
