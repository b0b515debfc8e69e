//! Tables of the application's own that have a history: a parent, a child with a foreign key over periods to it, and a
//! table by itself, whose history is written the short way. Plain statements about one row and many, the same key twice,
//! corrections of portions, facts ahead of their time, and questions about every instant on both axes.

mod compare;
mod draw;
pub mod facts;
mod rules;

pub use compare::compare_tables;
pub use facts::Row;
pub use rules::TABLES;

use facts::FOREVER;
use neobank_sessions::{Ask, Client, Uuid};

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

/// Foreign keys over periods are looked at where the operation ends, so that its answer tells.
const CHECKED: [&str; 2] = [
    "set constraints public_history.offers_link_period_fkey_child, public_history.offers_link_period_fkey_parent immediate",
    "set constraints public_history.offers_link_period_fkey_child, public_history.offers_link_period_fkey_parent deferred",
];

/// When the transaction began, and what the clock says.
const TIMES: &str = "select 'times', (extract(epoch from now()) * 1000000)::bigint, \
                     (extract(epoch from clock_timestamp()) * 1000000)::bigint";

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

    fn sql(self) -> String {
        let from = |base: &str, micros: i64| format!("{base} + {micros} * interval '1 microsecond'");
        match self {
            At::Year(year) => format!("timestamptz '{year}-01-01 00:00:00Z'"),
            At::Ago(micros) => from("now()", -micros),
            At::Soon => from("now()", SOON),
            At::Then(at) => from("timestamptz 'epoch'", at),
            At::Forever => "timestamptz 'infinity'".to_owned(),
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

    /// The columns of its key.
    fn key(self) -> &'static [&'static str] {
        match self {
            Table::Tariffs => &["tariff"],
            Table::Offers => &["customer", "kind"],
            Table::Limits => &["account", "kind"],
        }
    }

    /// The key as two columns.
    fn both(self) -> String {
        if let [one] = self.key() { format!("{one}, 0") } else { self.key().join(", ") }
    }

    fn figures(self, key: Key) -> Vec<u8> {
        if self.key().len() == 1 { vec![key.0] } else { vec![key.0, key.1] }
    }

    fn is(self, key: Key) -> String {
        let parts = self.key().iter().zip(self.figures(key)).map(|(column, figure)| format!("{column} = {figure}"));
        parts.collect::<Vec<_>>().join(" and ")
    }

    fn values(self, key: Key, row: Row) -> String {
        let figures = self.figures(key).iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        format!("({figures}, {}, {})", row.amount, number(row.link))
    }

    /// Members of an object.
    fn members(self, given: Given) -> Vec<String> {
        let members = self.key().iter().zip(self.figures(given.key));
        members.skip(usize::from(!given.whole)).map(|(column, figure)| format!("\"{column}\": {figure}")).collect()
    }

    fn object(self, given: Given) -> String {
        format!("'{{{}}}'", self.members(given).join(", "))
    }
}

fn number(value: Option<i64>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

impl Which {
    fn sql(self, table: Table) -> String {
        match self {
            Which::One(key) => table.is(key),
            Which::From(amount) => format!("amount >= {amount}"),
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

    /// Its answer tells which keys it met, or how many periods.
    fn sql(&self, table: Table) -> String {
        let (name, both) = (table.name(), table.both());
        let told = |statement: String| {
            format!("with x (k, l) as ({statement} returning {both}) select 'row', k, l from x order by k, l")
        };
        match self {
            Step::Insert(rows) => {
                let rows: Vec<String> = rows.iter().map(|(key, row)| table.values(*key, *row)).collect();
                let columns = format!("{}, amount, link", table.key().join(", "));
                told(format!("insert into public.{name} ({columns}) values {}", rows.join(", ")))
            }
            Step::Update(which, change) => {
                let set = match change {
                    Change::Amount(amount) => format!("amount = {amount}"),
                    Change::Link(link) => format!("link = {}", number(*link)),
                    Change::Add(more) => format!("amount = amount + {more}"),
                    other => unreachable!("no plain statement says {other:?}"),
                };
                told(format!("update public.{name} set {set} where {}", which.sql(table)))
            }
            Step::Delete(which) => told(format!("delete from public.{name} where {}", which.sql(table))),
            Step::Move(from, to) => {
                let set = table.is(*to).replace(" and ", ", ");
                told(format!("update public.{name} set {set} where {}", table.is(*from)))
            }
            Step::UpdatePortion { given, from, to, change } => {
                let values = match change {
                    Change::Amount(amount) => format!("\"amount\": {amount}"),
                    Change::Link(link) => format!("\"link\": {}", number(*link)),
                    Change::Unknown => "\"amonut\": 1".to_owned(),
                    Change::OfKey => format!("\"{}\": 1", table.key()[0]),
                    _ => String::new(),
                };
                format!(
                    "select 'met', temporal.update_portion('public.{name}', {}, {}, {}, '{{{values}}}')",
                    table.object(*given),
                    from.sql(),
                    to.sql()
                )
            }
            Step::DeletePortion { given, from, to } => format!(
                "select 'met', temporal.delete_portion('public.{name}', {}, {}, {})",
                table.object(*given),
                from.sql(),
                to.sql()
            ),
            Step::InsertPortion { given, from, to, amount, link } => {
                let mut members = table.members(*given);
                members.extend(amount.map(|amount| format!("\"amount\": {amount}")));
                members.extend(link.map(|link| format!("\"link\": {link}")));
                format!(
                    "select 'met', temporal.insert_portion('public.{name}', '{{{}}}', {}, {})",
                    members.join(", "),
                    from.sql(),
                    to.sql()
                )
            }
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

    pub fn sql(&self) -> String {
        match self {
            Tabled::Change(steps) => {
                let mut statements: Vec<String> = Vec::new();
                for (table, step) in steps {
                    statements.push(step.sql(*table));
                    match (step.from(), step.of()) {
                        (Some(At::Soon), Some(key)) => statements.extend(soon(*table, key)),
                        (None, _) => statements.push("select 'end'".to_owned()),
                        _ => {}
                    }
                }
                statements.extend(CHECKED.map(str::to_owned));
                statements.push(TIMES.to_owned());
                statements.join("; ")
            }
            Tabled::ApplyDue { table } => {
                let apply = format!("select 'met', temporal.apply_due('public.{}')", table.name());
                let there = format!(
                    "select 'row', {}, amount, coalesce(link::text, '-') from public.{}",
                    table.both(),
                    table.name()
                );
                [&apply, &there, CHECKED[0], CHECKED[1], TIMES].join("; ")
            }
            Tabled::Prune { table, before } => {
                let prune = format!(
                    "select 'done', is_done from temporal.prune({}, 'public.{}', 1000000)",
                    before.sql(),
                    table.name()
                );
                [&prune, CHECKED[0], CHECKED[1], TIMES].join("; ")
            }
            Tabled::Ask { table, valid, known } => {
                let valid = valid.map_or("null".to_owned(), At::sql);
                let question = format!(
                    "select 'row', {}, amount, coalesce(link::text, '-') \
                     from temporal.as_of(null::public.{}, {valid}, {}) order by 2, 3",
                    table.both(),
                    table.name(),
                    known.sql()
                );
                format!("{question}; {TIMES}")
            }
            Tabled::Report { table, valid } => format!(
                "set local neobank.as_of = '{valid}-01-01 00:00:00Z'; \
                 select 'row', {}, amount, coalesce(link::text, '-') from public_as_of.{} order by 2, 3; \
                 set local neobank.as_of = ''; {TIMES}",
                table.both(),
                table.name()
            ),
        }
    }
}

/// What the table says right after a portion that begins soon, which may have begun by then; and the wait for that.
fn soon(table: Table, key: Key) -> [String; 2] {
    let present = format!(
        "select 'present', amount, coalesce(link::text, '-') from public.{} where {}",
        table.name(),
        table.is(key)
    );
    [present, format!("select 'waited', pg_sleep({}) is null", SOON as f64 / SECOND as f64)]
}

/// A row that bears a mark, by which it is found again in its history.
pub fn marked(key: Key, mark: Uuid) -> String {
    format!(
        "insert into public.limits (account, kind, amount, mark) values ({}, {}, 1, '{mark}') \
         on conflict (account, kind) do update set mark = excluded.mark",
        key.0, key.1
    )
}

/// The same in the past, for a day.
pub fn marked_portion(key: Key, mark: Uuid, day: &str) -> String {
    format!(
        "select temporal.insert_portion('public.limits', \
         '{{\"account\": {}, \"kind\": {}, \"amount\": 1, \"mark\": \"{mark}\"}}', {day}, {day} + 1)",
        key.0, key.1
    )
}
