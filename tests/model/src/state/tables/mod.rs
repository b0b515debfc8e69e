//! Tables with a history: what is true and what is believed of each of their keys.
//!
//! The answer tells when the transaction began and what the clock said, which decides what is now. A refusal does not: it
//! must be explained by a transaction that began when this one may have at the earliest, or at the latest.

mod steps;

use super::{Circumstances, State, done};
use crate::answer::{Answer, Faults, agree};
use crate::tables::facts::{FOREVER, Fact, History, Period, Row, Writer};
use crate::tables::{At, FIRST, FIRST_YEAR, Key, Step, Table, Tabled, year};
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
    pub(in crate::state) fn open_tables(&mut self, since: i64) {
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

    pub(in crate::state) fn accept_tabled(
        &mut self,
        op: &Tabled,
        seen: &Answer,
        how: Circumstances,
    ) -> Result<(), String> {
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
