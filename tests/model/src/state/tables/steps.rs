//! One statement, or one portion: what it meets, what it may be refused for, and what is believed afterwards.

use super::{Course, Moment, figure, keys_in, row_in};
use crate::answer::agree;
use crate::state::State;
use crate::tables::facts::{Due, Period, Row};
use crate::tables::{At, Change, Given, Key, Step, Table, Which};

impl State {
    /// Carries a step out, as far as it is not refused.
    pub(super) fn take_step(
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
                self.correct((table, given.key), period, Some(&instead), told, at, course)
            }
            Step::DeletePortion { given, from, to } => {
                let period = (from.micros(at.me.began), to.micros(at.me.began));
                self.portion(table, *given, period, at, course);
                if !course.faults.none() {
                    return Ok(());
                }
                self.correct((table, given.key), period, None, told, at, course)
            }
            Step::InsertPortion { given, from, to, amount, link } => {
                let period = (from.micros(at.me.began), to.micros(at.me.began));
                let is_empty = table.members(*given).is_empty() && amount.is_none() && link.is_none();
                course.faults.must("NB326", is_empty);
                self.portion(table, *given, period, at, course);
                if !course.faults.none() {
                    return Ok(());
                }
                self.fill((table, given.key), period, (*amount, *link), told, at, course)
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
        (table, key): (Table, Key),
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
        let done = self.portion_told((table, key), period, met, told, at, course);
        done.map_err(|error| format!("{error}, of {key:?} of {table:?}: {believed:?}"))
    }

    fn fill(
        &mut self,
        (table, key): (Table, Key),
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
        self.portion_told((table, key), period, 1, told, at, course)
    }

    /// Where the portion includes now, the table's row is changed with it. One that begins soon may have begun.
    fn portion_told(
        &mut self,
        (table, key): (Table, Key),
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
}
