//! Tables of the application's own that have a history: a parent, a child with a foreign key over periods to it, and a
//! table by itself, whose history is written the short way. Plain statements about one row and many, the same key twice,
//! corrections of portions, facts ahead of their time, and questions about every instant on both axes.

mod compare;
mod draw;
pub mod facts;
mod rules;
mod sql;

pub use compare::compare_tables;
pub use facts::Row;
pub use rules::TABLES;
pub use sql::{marked, marked_portion};

use facts::FOREVER;
use neobank_sessions::{Ask, Client};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    Tariffs,
    Offers,
    Limits,
}

/// Of a table with a key of one column the second is zero.
pub type Key = (u8, u8);

/// The rows that are there when the histories begin, and what is true since this year.
pub const FIRST: [(Table, Key, Row); 8] = [
    (Table::Tariffs, (1, 0), Row { amount: 10, link: None }),
    (Table::Tariffs, (2, 0), Row { amount: 20, link: None }),
    (Table::Tariffs, (3, 0), Row { amount: 30, link: Some(7) }),
    (Table::Offers, (1, 1), Row { amount: 5, link: Some(1) }),
    (Table::Offers, (1, 2), Row { amount: 6, link: None }),
    (Table::Offers, (2, 1), Row { amount: 7, link: Some(2) }),
    (Table::Limits, (1, 1), Row { amount: 8, link: None }),
    (Table::Limits, (2, 2), Row { amount: 9, link: Some(4) }),
];
pub const FIRST_YEAR: i64 = 2001;

/// An application's tables. The last column of the limits is for who wants to find a row of its own again.
const SETUP: &str = "
create table public.tariffs (tariff int primary key, amount int not null check (amount >= 0), link int);
create table public.offers (customer int, kind int, amount int not null check (amount >= 0), link int,
                            primary key (customer, kind));
create table public.limits (account int, kind int, amount int not null check (amount >= 0), link int, mark uuid,
                            primary key (account, kind))";

const ENABLE: &str = "
select temporal.enable('public.tariffs', p_valid_from => '2001-01-01 00:00:00Z');
select temporal.enable('public.offers', p_valid_from => '2001-01-01 00:00:00Z');
select temporal.enable('public.limits', p_valid_from => '2001-01-01 00:00:00Z');
select temporal.add_foreign_key('public.offers', '{link}', 'public.tariffs')";

/// Makes the tables and gives them their histories. Since when they have one.
pub fn set_up(db: &mut Client) -> i64 {
    db.run(SETUP);
    for (table, key, row) in FIRST {
        let columns = format!("{}, amount, link", table.key().join(", "));
        db.run(&format!("insert into public.{} ({columns}) values {}", table.name(), table.values(key, row)));
    }
    db.run(ENABLE);
    db.count(
        "select (extract(epoch from min(history_known_from)) * 1000000)::bigint from public_history.tariffs_current",
    )
}

/// Every row of the tables and of their histories.
pub const ALL: &str = "
select 'tariffs', t.* from public.tariffs t order by t;
select 'offers', t.* from public.offers t order by t;
select 'limits', t.* from public.limits t order by t;
select 'tariffs', h.* from public_history.tariffs h order by h;
select 'offers', h.* from public_history.offers h order by h;
select 'limits', h.* from public_history.limits h order by h";

/// As many of each table when a round ends.
pub const QUESTIONS: usize = 20;

pub const SECOND: i64 = 1_000_000;

/// The beginning of a year.
pub fn year(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400 - 477;
    (365 * (year - 1970) + leap_days) * 86_400 * SECOND
}

/// An instant as a caller gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    Year(i64),
    /// So many microseconds before the transaction began.
    Ago(i64),
    /// A little after the transaction began; the operation ends when it is over.
    Soon,
    /// An instant at which something was recorded.
    Then(i64),
    Forever,
}

/// Long enough to be mostly yet to come, short enough to wait for.
const SOON: i64 = 15_000;

impl At {
    pub fn micros(self, began: i64) -> i64 {
        match self {
            At::Year(of) => year(of),
            At::Ago(micros) => began - micros,
            At::Soon => began + SOON,
            At::Then(at) => at,
            At::Forever => FOREVER,
        }
    }
}

/// Which rows a plain statement is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    One(Key),
    /// All of at least that amount.
    From(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    Amount(i64),
    Link(Option<i64>),
    /// To what there is.
    Add(i64),
    /// What a portion refuses: a column that is not there, one of the key, none at all.
    Unknown,
    OfKey,
    Nothing,
}

impl Change {
    pub fn of(self, row: Row) -> Row {
        match self {
            Change::Amount(amount) => Row { amount, ..row },
            Change::Link(link) => Row { link, ..row },
            Change::Add(more) => Row { amount: row.amount + more, ..row },
            _ => row,
        }
    }

    pub fn is_of_values(self) -> bool {
        matches!(self, Change::Amount(_) | Change::Link(_))
    }
}

/// A key as a portion's caller gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Given {
    pub key: Key,
    /// Its first column is not missing.
    pub whole: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Insert(Vec<(Key, Row)>),
    Update(Which, Change),
    Delete(Which),
    /// The key becomes another one.
    Move(Key, Key),
    UpdatePortion {
        given: Given,
        from: At,
        to: At,
        change: Change,
    },
    DeletePortion {
        given: Given,
        from: At,
        to: At,
    },
    /// `amount`: none where it is left out.
    InsertPortion {
        given: Given,
        from: At,
        to: At,
        amount: Option<i64>,
        link: Option<i64>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Tabled {
    /// One statement after the other, in one transaction.
    Change(Vec<(Table, Step)>),
    ApplyDue {
        table: Table,
    },
    Prune {
        table: Table,
        before: At,
    },
    /// What was true then, as known then. `valid`: none is now.
    Ask {
        table: Table,
        valid: Option<At>,
        known: At,
    },
    /// The same by the view and its settings.
    Report {
        table: Table,
        valid: i64,
    },
}

impl Table {
    pub const ALL: [Table; 3] = [Table::Tariffs, Table::Offers, Table::Limits];

    pub fn name(self) -> &'static str {
        match self {
            Table::Tariffs => "tariffs",
            Table::Offers => "offers",
            Table::Limits => "limits",
        }
    }
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Step::Insert(rows) if rows.len() == 1 => "row",
            Step::Insert(_) => "rows",
            Step::Update(Which::One(_), _) => "change of a row",
            Step::Update(..) => "change of rows",
            Step::Delete(Which::One(_)) => "end of a row",
            Step::Delete(_) => "end of rows",
            Step::Move(..) => "change of a key",
            Step::UpdatePortion { .. } => "changed portion",
            Step::DeletePortion { .. } => "deleted portion",
            Step::InsertPortion { .. } => "inserted portion",
        }
    }

    pub fn from(&self) -> Option<At> {
        match self {
            Step::UpdatePortion { from, .. } | Step::DeletePortion { from, .. } | Step::InsertPortion { from, .. } => {
                Some(*from)
            }
            _ => None,
        }
    }

    /// The key that a portion is of.
    fn of(&self) -> Option<Key> {
        match self {
            Step::UpdatePortion { given, .. }
            | Step::DeletePortion { given, .. }
            | Step::InsertPortion { given, .. } => Some(given.key),
            _ => None,
        }
    }
}

impl Tabled {
    pub fn name(&self) -> &'static str {
        match self {
            Tabled::Change(steps) if steps.len() > 1 => "rows changed twice",
            Tabled::Change(steps) => steps[0].1.name(),
            Tabled::ApplyDue { .. } => "facts come due",
            Tabled::Prune { .. } => "pruned history",
            Tabled::Ask { .. } => "rows of the past",
            Tabled::Report { .. } => "report of the past",
        }
    }

    pub fn is_reading(&self) -> bool {
        matches!(self, Tabled::Ask { .. } | Tabled::Report { .. })
    }
}
