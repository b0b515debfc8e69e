//! Operations on tables with a history, at random.

use super::{At, Change, FIRST_YEAR, Given, Key, Row, SECOND, Step, Table, Tabled, Which};
use crate::generate::Generator;

/// As many years portions of the past begin and end in, and as many a lifetime from now.
const YEARS: usize = 6;
const FUTURE: i64 = 2101;

impl Generator<'_> {
    /// The first ones are busier.
    fn key(&mut self, table: Table) -> Key {
        let few = 1 + self.dice.below(4);
        let first = 1 + self.dice.below(few) as u8;
        if table == Table::Tariffs { (first, 0) } else { (first.min(3), 1 + self.dice.below(2) as u8) }
    }

    fn table(&mut self) -> Table {
        let of = self.dice.below(Table::ALL.len());
        Table::ALL[of]
    }

    fn link(&mut self) -> Option<i64> {
        match self.dice.below(16) {
            0..5 => None,
            5 => Some(9),
            _ => Some(1 + self.dice.below(3) as i64),
        }
    }

    fn amount_of_row(&mut self) -> i64 {
        if self.one_in(20) { -1 } else { self.dice.below(50) as i64 }
    }

    fn row(&mut self) -> Row {
        Row { amount: self.amount_of_row(), link: self.link() }
    }

    fn change_of_row(&mut self) -> Change {
        match self.dice.below(5) {
            0..2 => Change::Amount(self.amount_of_row()),
            2 => Change::Add(self.dice.below(4) as i64),
            _ => Change::Link(self.link()),
        }
    }

    fn given(&mut self, table: Table) -> Given {
        Given { key: self.key(table), whole: !self.one_in(20) }
    }

    /// Mostly years of the past; some reach up to now or beyond, and some are empty or inverted.
    fn period(&mut self) -> (At, At) {
        let begin = self.dice.below(YEARS) as i64;
        let from = FIRST_YEAR + begin;
        match self.dice.below(18) {
            0 => (At::Year(from), At::Year(FIRST_YEAR + self.dice.below(YEARS) as i64)),
            1 => (At::Year(from), At::Forever),
            2 => (At::Year(from), At::Year(FUTURE + begin)),
            3 => (At::Year(FUTURE + begin), At::Forever),
            4 => (At::Year(FUTURE), At::Year(FUTURE + 1 + begin)),
            5 => (At::Ago(0), At::Forever),
            6 => (At::Ago(0), At::Year(FUTURE + begin)),
            7 => {
                let ago = (1 + self.dice.below(900)) as i64 * SECOND / 1000;
                (At::Ago(2 * ago), At::Ago(if self.one_in(2) { 0 } else { ago }))
            }
            8 => (At::Ago(SECOND / 4), At::Forever),
            9 => (At::Soon, if self.one_in(2) { At::Forever } else { At::Year(FUTURE) }),
            _ => (At::Year(from), At::Year(from + 1 + self.dice.below(3) as i64)),
        }
    }

    fn portion_change(&mut self) -> Change {
        match self.dice.below(24) {
            0 => Change::Unknown,
            1 => Change::OfKey,
            2 => Change::Nothing,
            3..12 => Change::Link(self.link()),
            _ => Change::Amount(self.amount_of_row()),
        }
    }

    fn update_portion(&mut self, table: Table) -> Step {
        let (from, to) = self.period();
        Step::UpdatePortion { given: self.given(table), from, to, change: self.portion_change() }
    }

    fn delete_portion(&mut self, table: Table) -> Step {
        let (from, to) = self.period();
        Step::DeletePortion { given: self.given(table), from, to }
    }

    fn insert_portion(&mut self, table: Table) -> Step {
        let (from, to) = self.period();
        let amount = (!self.one_in(20)).then(|| self.amount_of_row());
        Step::InsertPortion { given: self.given(table), from, to, amount, link: self.link() }
    }

    fn insert(&mut self, table: Table) -> Step {
        // Of several, one is there already mostly.
        let many = if self.one_in(2) { 2 + self.dice.below(2) } else { 1 };
        let mut rows: Vec<(Key, Row)> = Vec::new();
        for _ in 0..many {
            let key = self.key(table);
            if rows.iter().all(|(other, _)| *other != key) {
                rows.push((key, self.row()));
            }
        }
        Step::Insert(rows)
    }

    fn step(&mut self, table: Table) -> Step {
        let key = self.key(table);
        match self.dice.below(24) {
            0..6 => self.insert(table),
            6..11 => Step::Update(Which::One(key), self.change_of_row()),
            11 | 12 => {
                let from = self.dice.below(40) as i64;
                Step::Update(Which::From(from), self.change_of_row())
            }
            13..15 => Step::Delete(Which::One(key)),
            15 => Step::Delete(Which::From(25 + self.dice.below(30) as i64)),
            16 => Step::Move(key, self.key(table)),
            17..20 => self.update_portion(table),
            20 | 21 => self.delete_portion(table),
            _ => self.insert_portion(table),
        }
    }

    pub(crate) fn tabled(&mut self) -> Tabled {
        let table = self.table();
        match self.dice.below(40) {
            0..2 => Tabled::ApplyDue { table },
            2 => {
                // Little is pruned, and that seldom, so that there is much to ask about.
                let before = At::Year(FIRST_YEAR + self.dice.below(2) as i64);
                Tabled::Prune { table, before: if self.one_in(8) { At::Ago(-SECOND) } else { before } }
            }
            3..10 => {
                let mut steps = vec![(table, self.step(table))];
                for _ in 0..1 + self.dice.below(2) {
                    let next = if self.one_in(3) { self.table() } else { table };
                    steps.push((next, self.step(next)));
                }
                Tabled::Change(steps)
            }
            _ => Tabled::Change(vec![(table, self.step(table))]),
        }
    }

    pub(crate) fn ask_table(&mut self) -> Tabled {
        let table = self.table();
        let year = FIRST_YEAR + self.dice.below(YEARS + 1) as i64;
        if self.one_in(4) {
            let valid = if self.one_in(5) { FUTURE + 3 } else { year };
            return Tabled::Report { table, valid };
        }
        let valid = match self.dice.below(6) {
            0 => None,
            1 => Some(At::Year(FUTURE + 3)),
            2 => Some(At::Ago(self.dice.below(2_000_000) as i64)),
            _ => Some(At::Year(year)),
        };
        let then = self.pool.recorded.as_slice();
        let known = match self.dice.below(4) {
            0 => At::Ago(self.dice.below(2_000_000) as i64),
            1 if !then.is_empty() => At::Then(self.pick(then)),
            _ => At::Forever,
        };
        Tabled::Ask { table, valid, known }
    }
}
