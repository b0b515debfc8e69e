//! Operations on tables with a history as statements.

use super::{At, Change, Given, Key, Row, SECOND, SOON, Step, Table, Tabled, Which};
use neobank_sessions::Uuid;

/// Foreign keys over periods are looked at where the operation ends, so that its answer tells.
const CHECKED: [&str; 2] = [
    "set constraints public_history.offers_link_period_fkey_child, public_history.offers_link_period_fkey_parent immediate",
    "set constraints public_history.offers_link_period_fkey_child, public_history.offers_link_period_fkey_parent deferred",
];

/// When the transaction began, and what the clock says.
const TIMES: &str = "select 'times', (extract(epoch from now()) * 1000000)::bigint, \
                     (extract(epoch from clock_timestamp()) * 1000000)::bigint";

impl At {
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

impl Table {
    /// The columns of its key.
    pub(super) fn key(self) -> &'static [&'static str] {
        match self {
            Table::Tariffs => &["tariff"],
            Table::Offers => &["customer", "kind"],
            Table::Limits => &["account", "kind"],
        }
    }

    /// The key as two columns.
    pub(super) fn both(self) -> String {
        if let [one] = self.key() { format!("{one}, 0") } else { self.key().join(", ") }
    }

    fn figures(self, key: Key) -> Vec<u8> {
        if self.key().len() == 1 { vec![key.0] } else { vec![key.0, key.1] }
    }

    fn is(self, key: Key) -> String {
        let parts = self.key().iter().zip(self.figures(key)).map(|(column, figure)| format!("{column} = {figure}"));
        parts.collect::<Vec<_>>().join(" and ")
    }

    pub(super) fn values(self, key: Key, row: Row) -> String {
        let figures = self.figures(key).iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        format!("({figures}, {}, {})", row.amount, number(row.link))
    }

    /// Members of an object.
    pub(crate) fn members(self, given: Given) -> Vec<String> {
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
}

impl Tabled {
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
