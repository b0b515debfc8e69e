//! Taking in an external statement: whole and once.

use super::lines::{self, Total};
use super::store;
use crate::error::Error;
use crate::pg::spi::c_text;
use crate::pg::{Arg, BpChar, Day, JsonDatum, Numeric, Session, Statement, Text, Type};
use crate::txn_processing::account::MAX_BALANCE;
use crate::txn_processing::core::in_currency;
use crate::txn_processing::engine::Desk;
use crate::txn_processing::store::acknowledge_again;
use crate::txn_processing::strict::{finite, id, required};
use rust_decimal::Decimal;
use uuid::Uuid;

static FIND: Statement = Statement::new(
    c"SELECT s.statement_id, s.time_zone FROM txn_processing.external_statements s
      WHERE s.source = $1 AND s.statement_ref = $2",
    &[Type::Text, Type::Text],
);

static ZONE: Statement = Statement::new(c"SELECT current_setting('TimeZone')", &[]);

/// Where the lines are read from, with `$1` the lines and `$2` the time zone.
macro_rules! from_lines {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " FROM ROWS FROM (jsonb_to_recordset($1) AS (booked_on date, booked_at timestamptz, amount numeric, \
                  line_ref text, reference text, counterparty text, description text)) \
              WITH ORDINALITY AS l(booked_on, booked_at, amount, line_ref, reference, counterparty, description, line_no) \
              CROSS JOIN LATERAL (SELECT coalesce(l.booked_on, (l.booked_at AT TIME ZONE $2)::date) AS day) d ",
            $tail,
            "\0"
        )
    };
}

static DAYS: Statement = Statement::new(
    c_text(from_lines!("SELECT min(d.day) - '2000-01-01'::date, max(d.day) - '2000-01-01'::date", "")),
    &[Type::Jsonb, Type::Text],
);

static SAME: Statement = Statement::new(
    c_text(from_lines!(
        "SELECT s.account_id = $4 AND s.currency_code = $5 AND s.opening_balance = $6 AND s.closing_balance = $7 \
            AND s.from_date = $8 AND s.to_date = $9 AND s.line_count = $10 \
            AND NOT EXISTS (SELECT l.line_no, d.day, l.booked_at, l.amount, l.line_ref, l.reference, l.counterparty, l.description ",
        "EXCEPT SELECT k.line_no, k.booked_on, k.booked_at, k.amount, k.line_ref, k.reference, k.counterparty, k.description \
              FROM txn_processing.external_lines k WHERE k.statement_id = $3) \
         FROM txn_processing.external_statements s WHERE s.statement_id = $3"
    )),
    &[
        Type::Jsonb,
        Type::Text,
        Type::Uuid,
        Type::Uuid,
        Type::Text,
        Type::Numeric,
        Type::Numeric,
        Type::Date,
        Type::Date,
        Type::Int,
    ],
);

static INSERT_LINES: Statement = Statement::new(
    c_text(from_lines!(
        "INSERT INTO txn_processing.external_lines \
             (line_id, statement_id, line_no, booked_on, booked_at, amount, line_ref, reference, counterparty, description) \
         SELECT neobank.uuid_v7(), $3, l.line_no, d.day, l.booked_at, round(l.amount, $4), l.line_ref, l.reference, \
                l.counterparty, l.description",
        "ORDER BY l.line_no"
    )),
    &[Type::Jsonb, Type::Text, Type::Uuid, Type::Int],
);

static INSERT_STATEMENT: Statement = Statement::new(
    c"INSERT INTO txn_processing.external_statements
          (statement_id, source, statement_ref, account_id, currency_code, from_date, to_date, time_zone,
           opening_balance, closing_balance, line_count, continuity, opening_gap, imported_by, imported_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, clock_timestamp())
      ON CONFLICT (source, statement_ref) DO NOTHING RETURNING true",
    &[
        Type::Uuid,
        Type::Text,
        Type::Text,
        Type::Uuid,
        Type::Text,
        Type::Date,
        Type::Date,
        Type::Text,
        Type::Numeric,
        Type::Numeric,
        Type::Int,
        Type::Text,
        Type::Numeric,
        Type::Text,
    ],
);

/// The arguments of `import_external_statement`.
pub struct Given {
    pub source: Option<Text>,
    pub statement_ref: Option<Text>,
    pub account: Option<pgrx::Uuid>,
    pub currency: Option<BpChar>,
    pub opening_balance: Option<Numeric>,
    pub closing_balance: Option<Numeric>,
    pub lines: Option<JsonDatum>,
    pub from_date: Option<Day>,
    pub to_date: Option<Day>,
}

/// A name that says something.
pub fn named<'a>(argument: &'static str, name: &'a str, most: usize) -> Result<&'a str, Error> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > most {
        let why = format!("It has {length} characters; a name has 1 to {most} and is not blank.");
        return Err(Error::ArgumentBounds { argument, why });
    }
    Ok(name)
}

/// Days since 2000-01-01 of a date in the years 1 to 9999.
fn day(argument: &'static str, date: Option<Day>) -> Result<Option<i32>, Error> {
    let day = date.map(|date| date.0);
    if day.is_some_and(|day| !(-730_119..=2_921_939).contains(&day)) {
        return Err(Error::ArgumentBounds { argument, why: "It is not in the years 1 to 9999.".into() });
    }
    Ok(day)
}

/// A statement that was found good.
struct Checked<'a> {
    source: &'a str,
    statement_ref: &'a str,
    account: Uuid,
    currency: &'a str,
    exponent: u32,
    opening: Decimal,
    closing: Decimal,
    from: Option<i32>,
    to: Option<i32>,
    lines: JsonDatum,
    total: Total,
}

impl<'a> Checked<'a> {
    fn of(given: &'a Given, session: &Session, currency: &'a mut String) -> Result<Self, Error> {
        let source = named("source", required("source", given.source.as_deref())?, 100)?;
        let statement_ref =
            named("statement_ref", required("statement_ref", given.statement_ref.as_deref())?, 200)?;
        let account = id(required("account", given.account)?);
        let opening = finite(required("opening_balance", given.opening_balance)?)?;
        let closing = finite(required("closing_balance", given.closing_balance)?)?;
        let lines = required("lines", given.lines)?;
        let (from, to) = (day("from_date", given.from_date)?, day("to_date", given.to_date)?);
        let mirror = store::mirror(session, account)?;
        if let Some(wanted) = given.currency.as_ref().filter(|wanted| wanted.0 != mirror.currency) {
            return Err(Error::CurrencyMismatch { wanted: wanted.0.clone(), found: mirror.currency });
        }
        *currency = mirror.currency;
        let exponent = mirror.exponent;
        let balance = |balance: Decimal| {
            if balance.abs() > MAX_BALANCE {
                return Err(Error::LimitExceeded { account, most: MAX_BALANCE });
            }
            in_currency(balance, exponent, currency)
        };
        let (opening, closing) = (balance(opening)?, balance(closing)?);
        let total = lines::checked(&lines.to_text(), exponent, currency)?;
        if opening + total.sum != closing {
            return Err(Error::StatementUneven { opening, lines: total.sum, closing });
        }
        Ok(Checked {
            source,
            statement_ref,
            account,
            currency,
            exponent,
            opening,
            closing,
            from,
            to,
            lines,
            total,
        })
    }

    /// First and last day: as given, else those of the lines, which must be within.
    fn period(&self, session: &Session, zone: &str) -> Result<(i32, i32), Error> {
        let args = [Arg::Jsonb(Some(self.lines)), Arg::Text(Some(zone))];
        let (first, last) = session.one(&DAYS, &args, |row| (row.int(1), row.int(2)))?.unwrap_or_default();
        let (from, to) =
            (required("from_date", self.from.or(first))?, required("to_date", self.to.or(last))?);
        let refuse = |argument, why: &str| Err(Error::ArgumentBounds { argument, why: why.into() });
        if from > to {
            return refuse("to_date", "It is before from_date.");
        }
        if first.is_some_and(|first| first < from) || last.is_some_and(|last| last > to) {
            return refuse("lines", "A line is booked outside of from_date to to_date.");
        }
        Ok((from, to))
    }

    /// The id of the statement that came under this name before, if it is the same.
    fn earlier(&self, session: &Session) -> Result<Option<Uuid>, Error> {
        let name = [Arg::Text(Some(self.source)), Arg::Text(Some(self.statement_ref))];
        let found = session.one(&FIND, &name, |row| (row.uuid(1), row.text(2)))?;
        let Some((Some(statement), Some(zone))) = found else { return Ok(None) };
        let conflict = || Error::StatementConflict {
            source: self.source.to_owned(),
            statement_ref: self.statement_ref.to_owned(),
        };
        // Days that the same lines cannot have been given with are other content, not an error of their own.
        let (from, to) = self.period(session, &zone).map_err(|_| conflict())?;
        let args = [
            Arg::Jsonb(Some(self.lines)),
            Arg::Text(Some(&zone)),
            Arg::Uuid(Some(statement)),
            Arg::Uuid(Some(self.account)),
            Arg::Text(Some(self.currency)),
            Arg::Numeric(Some(self.opening)),
            Arg::Numeric(Some(self.closing)),
            Arg::Date(Some(from)),
            Arg::Date(Some(to)),
            Arg::Int(Some(self.total.count as i32)),
        ];
        match session.one(&SAME, &args, |row| row.bool(1))?.flatten() {
            Some(true) => Ok(Some(statement)),
            _ => Err(conflict()),
        }
    }

    fn insert(&self, session: &Session, caller: &str) -> Result<Option<Uuid>, Error> {
        let zone = session.one(&ZONE, &[], |row| row.text(1))?.flatten().expect("a setting that always is");
        let (from, to) = self.period(session, &zone)?;
        let before = store::begun_by(session, self.account, self.source, to)?;
        let (continuity, gap) = match before {
            None => ("first", Decimal::ZERO),
            Some(other) if other.to >= from => {
                let (first, last) = other.period;
                let why =
                    format!("Statement {:?} of this source covers {first} to {last}.", other.statement_ref);
                return Err(Error::StatementOverlap { why });
            }
            Some(other) if other.to + 1 == from && other.closing == self.opening => {
                ("continuous", Decimal::ZERO)
            }
            Some(other) => ("gap", self.opening - other.closing),
        };
        let statement = Uuid::now_v7();
        let args = [
            Arg::Uuid(Some(statement)),
            Arg::Text(Some(self.source)),
            Arg::Text(Some(self.statement_ref)),
            Arg::Uuid(Some(self.account)),
            Arg::Text(Some(self.currency)),
            Arg::Date(Some(from)),
            Arg::Date(Some(to)),
            Arg::Text(Some(&zone)),
            Arg::Numeric(Some(self.opening)),
            Arg::Numeric(Some(self.closing)),
            Arg::Int(Some(self.total.count as i32)),
            Arg::Text(Some(continuity)),
            Arg::Numeric(Some(gap)),
            Arg::Text(Some(caller)),
        ];
        if session.one(&INSERT_STATEMENT, &args, |_| ())?.is_none() {
            return Ok(None);
        }
        let args = [
            Arg::Jsonb(Some(self.lines)),
            Arg::Text(Some(&zone)),
            Arg::Uuid(Some(statement)),
            Arg::Int(Some(self.exponent as i32)),
        ];
        session.run(&INSERT_LINES, &args)?;
        Ok(Some(statement))
    }
}

/// Takes the statement in, or answers the id under which the same one came before.
pub fn import(given: &Given) -> Result<Uuid, Error> {
    let desk = Desk::open();
    let session = desk.session();
    let mut currency = String::new();
    let checked = Checked::of(given, session, &mut currency)?;
    if let Some(earlier) = checked.earlier(session)? {
        return acknowledge_again(session).map(|()| earlier);
    }
    store::lock(session, checked.account)?;
    // Somebody may have brought it while we waited: looked for again, as it would overlap with itself.
    if let Some(earlier) = checked.earlier(session)? {
        return Ok(earlier);
    }
    match checked.insert(session, &desk.caller)? {
        Some(statement) => Ok(statement),
        // Under another account, whose lock is another.
        None => checked.earlier(session)?.ok_or(Error::ConcurrentUpdate),
    }
}
