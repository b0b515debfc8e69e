//! Statements, lines, rules and matches as rows.

use super::core::{Pass, Rule};
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type, array};
use rust_decimal::Decimal;
use uuid::Uuid;

static MIRROR: Statement = Statement::new(
    c"SELECT a.currency_code, c.exponent::integer, a.normal_side = 'D'
      FROM banking.accounts a JOIN banking.currencies c ON c.currency_code = a.currency_code
      WHERE a.account_id = $1",
    &[Type::Uuid],
);

static LOCK: Statement = Statement::new(
    c"INSERT INTO txn_processing.reconciled_accounts AS r (account_id, changes) VALUES ($1, 1)
      ON CONFLICT (account_id) DO UPDATE SET changes = r.changes + 1",
    &[Type::Uuid],
);

static STATEMENT: Statement = Statement::new(
    c"SELECT s.source, s.account_id, s.from_date - '2000-01-01'::date, s.to_date - '2000-01-01'::date, s.time_zone,
             s.opening_balance, s.closing_balance,
             s.from_date::timestamp AT TIME ZONE s.time_zone, (s.to_date + 1)::timestamp AT TIME ZONE s.time_zone,
             (now() AT TIME ZONE s.time_zone)::date - '2000-01-01'::date
      FROM txn_processing.external_statements s WHERE s.statement_id = $1",
    &[Type::Uuid],
);

static BEFORE: Statement = Statement::new(
    c"SELECT s.statement_ref, s.from_date::text, s.to_date::text, s.to_date - '2000-01-01'::date, s.closing_balance
      FROM txn_processing.external_statements s
      WHERE s.account_id = $1 AND s.source = $2 AND s.from_date <= $3 ORDER BY s.from_date DESC LIMIT 1",
    &[Type::Uuid, Type::Text, Type::Date],
);

static RULES: Statement = Statement::new(
    c"SELECT r.priority, r.amount_tolerance, r.amount_tolerance_percent, r.date_tolerance_days,
             r.reference_window_days, array_to_string(r.passes, ',')
      FROM txn_processing.reconciliation_rules r WHERE r.source = $1 ORDER BY r.priority",
    &[Type::Text],
);

static SET_RULE: Statement = Statement::new(
    c"INSERT INTO txn_processing.reconciliation_rules AS r
          (source, priority, amount_tolerance, amount_tolerance_percent, date_tolerance_days, reference_window_days,
           passes, set_by, set_at)
      VALUES ($1, $2, $3, $4, $5, $6, string_to_array($7, ','), $8, clock_timestamp())
      ON CONFLICT (source, priority) DO UPDATE SET
          amount_tolerance = excluded.amount_tolerance, amount_tolerance_percent = excluded.amount_tolerance_percent,
          date_tolerance_days = excluded.date_tolerance_days,
          reference_window_days = excluded.reference_window_days,
          passes = excluded.passes, set_by = excluded.set_by, set_at = excluded.set_at",
    &[
        Type::Text,
        Type::Int,
        Type::Numeric,
        Type::Numeric,
        Type::Int,
        Type::Int,
        Type::Text,
        Type::Text,
    ],
);

static LINES: Statement = Statement::new(
    c"SELECT l.line_id, l.line_no, l.amount, l.booked_on - '2000-01-01'::date, l.reference, l.counterparty,
             (SELECT m.match_id FROM txn_processing.reconciliation_match_lines m
              WHERE m.line_id = l.line_id AND m.in_force)
      FROM txn_processing.external_lines l WHERE l.statement_id = $1 ORDER BY l.line_no",
    &[Type::Uuid],
);

static INSERT_MATCHES: Statement = Statement::new(
    c"INSERT INTO txn_processing.reconciliation_matches
          (match_id, account_id, kind, pass, rule_priority, difference, reason, matched_by, matched_at)
      SELECT m.id, $2, m.kind, m.pass, m.priority, m.difference, $7, $8, clock_timestamp()
      FROM unnest($1, $3::text[], $4::text[], $5::integer[], $6::numeric[]) AS m(id, kind, pass, priority, difference)",
    &[
        Type::UuidArray,
        Type::Uuid,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Text,
        Type::Text,
    ],
);

static INSERT_MATCH_LINES: Statement = Statement::new(
    c"INSERT INTO txn_processing.reconciliation_match_lines (match_id, line_id)
      SELECT m.match_id, m.line_id FROM unnest($1, $2) AS m(match_id, line_id)",
    &[Type::UuidArray, Type::UuidArray],
);

static INSERT_MATCH_POSTINGS: Statement = Statement::new(
    c"INSERT INTO txn_processing.reconciliation_match_postings (match_id, transaction_id, account_id, amount, leg)
      SELECT m.match_id, m.transaction_id, $3, m.amount, m.leg
      FROM unnest($1, $2, $4::numeric[], $5::smallint[]) AS m(match_id, transaction_id, amount, leg)",
    &[Type::UuidArray, Type::UuidArray, Type::Uuid, Type::Text, Type::Text],
);

/// The account that a statement mirrors.
pub struct Mirror {
    pub currency: String,
    pub exponent: u32,
    /// Whether its balance grows by debits.
    pub grows_by_debits: bool,
}

pub fn mirror(session: &Session, account: Uuid) -> Result<Mirror, Error> {
    let row = session.run(&MIRROR, &[Arg::Uuid(Some(account))])?.first();
    let row = row.ok_or(Error::AccountNotFound { account })?;
    Ok(Mirror {
        currency: row.text(1).expect(PRESENT),
        exponent: row.int(2).expect(PRESENT) as u32,
        grows_by_debits: row.bool(3).expect(PRESENT),
    })
}

/// From here to the end of the transaction nobody else changes statements or matches of the account.
pub fn lock(session: &Session, account: Uuid) -> Result<(), Error> {
    session.run(&LOCK, &[Arg::Uuid(Some(account))]).map(drop)
}

/// An imported statement; days count from 2000-01-01, times are microseconds from then.
pub struct External {
    pub id: Uuid,
    pub source: String,
    pub account: Uuid,
    pub mirror: Mirror,
    pub from: i32,
    pub to: i32,
    pub zone: String,
    pub opening: Decimal,
    pub closing: Decimal,
    /// The first instant of the period, and the first after it.
    pub start: i64,
    pub end: i64,
    pub today: i32,
}

pub fn external(session: &Session, id: Uuid) -> Result<External, Error> {
    let row = session.run(&STATEMENT, &[Arg::Uuid(Some(id))])?.first();
    let row = row.ok_or(Error::ReconciliationNotFound { what: "statement", id })?;
    let account = row.uuid(2).expect(PRESENT);
    Ok(External {
        id,
        source: row.text(1).expect(PRESENT),
        account,
        mirror: mirror(session, account)?,
        from: row.int(3).expect(PRESENT),
        to: row.int(4).expect(PRESENT),
        zone: row.text(5).expect(PRESENT),
        opening: row.numeric(6).expect(PRESENT),
        closing: row.numeric(7).expect(PRESENT),
        start: row.time(8).expect(PRESENT).0,
        end: row.time(9).expect(PRESENT).0,
        today: row.int(10).expect(PRESENT),
    })
}

/// Another statement of the same source and account.
pub struct Earlier {
    pub statement_ref: String,
    /// Both days as text, for messages.
    pub period: (String, String),
    pub to: i32,
    pub closing: Decimal,
}

/// The last one that begins by that day.
pub fn begun_by(session: &Session, account: Uuid, source: &str, day: i32) -> Result<Option<Earlier>, Error> {
    let args = [Arg::Uuid(Some(account)), Arg::Text(Some(source)), Arg::Date(Some(day))];
    let earlier = |row: &Row| Earlier {
        statement_ref: row.text(1).expect(PRESENT),
        period: (row.text(2).expect(PRESENT), row.text(3).expect(PRESENT)),
        to: row.int(4).expect(PRESENT),
        closing: row.numeric(5).expect(PRESENT),
    };
    session.one(&BEFORE, &args, earlier)
}

/// The amount in the currency's smallest unit.
pub fn units(amount: Decimal, exponent: u32) -> i128 {
    let mut scaled = amount;
    scaled.rescale(exponent);
    scaled.mantissa()
}

/// A source's rules in their order; one that allows no difference where it has none.
pub fn rules(session: &Session, source: &str, exponent: u32) -> Result<Vec<Rule>, Error> {
    let rule = |row: Row| {
        let percent = row.numeric(3).expect(PRESENT);
        Rule {
            priority: row.int(1).expect(PRESENT),
            // Half a cent more of tolerance is none.
            amount_tolerance: units(row.numeric(2).expect(PRESENT).trunc_with_scale(exponent), exponent)
                as u128,
            amount_tolerance_ppm: units(percent.trunc_with_scale(4), 4) as u128,
            date_tolerance_days: row.int(4).expect(PRESENT),
            reference_window_days: row.int(5).expect(PRESENT),
            passes: row.text(6).expect(PRESENT).split(',').filter_map(Pass::of).collect(),
        }
    };
    let mut rules: Vec<_> = session.run(&RULES, &[Arg::Text(Some(source))])?.iter().map(rule).collect();
    if rules.is_empty() {
        rules.push(Rule {
            priority: 0,
            amount_tolerance: 0,
            amount_tolerance_ppm: 0,
            date_tolerance_days: 0,
            reference_window_days: 31,
            passes: vec![Pass::Reference, Pass::Date, Pass::OneToMany, Pass::ManyToOne],
        });
    }
    Ok(rules)
}

/// What `set_reconciliation_rule` sets.
pub struct NewRule<'a> {
    pub source: &'a str,
    pub priority: i32,
    pub amount_tolerance: Decimal,
    pub amount_tolerance_percent: Decimal,
    pub date_tolerance_days: i32,
    pub reference_window_days: i32,
    pub passes: &'a [Pass],
}

pub fn set_rule(session: &Session, rule: &NewRule, caller: &str) -> Result<(), Error> {
    let passes = rule.passes.iter().map(|pass| pass.name()).collect::<Vec<_>>().join(",");
    let args = [
        Arg::Text(Some(rule.source)),
        Arg::Int(Some(rule.priority)),
        Arg::Numeric(Some(rule.amount_tolerance)),
        Arg::Numeric(Some(rule.amount_tolerance_percent)),
        Arg::Int(Some(rule.date_tolerance_days)),
        Arg::Int(Some(rule.reference_window_days)),
        Arg::Text(Some(&passes)),
        Arg::Text(Some(caller)),
    ];
    session.run(&SET_RULE, &args).map(drop)
}

/// One line of a statement.
pub struct Line {
    pub id: Uuid,
    pub no: i32,
    pub amount: Decimal,
    pub day: i32,
    pub reference: Option<String>,
    pub counterparty: Option<String>,
    /// The match in force that it is in.
    pub matched: Option<Uuid>,
}

pub fn lines(session: &Session, statement: Uuid) -> Result<Vec<Line>, Error> {
    let line = |row: Row| Line {
        id: row.uuid(1).expect(PRESENT),
        no: row.int(2).expect(PRESENT),
        amount: row.numeric(3).expect(PRESENT),
        day: row.int(4).expect(PRESENT),
        reference: row.text(5),
        counterparty: row.text(6),
        matched: row.uuid(7),
    };
    Ok(session.run(&LINES, &[Arg::Uuid(Some(statement))])?.iter().map(line).collect())
}

/// A posting's side on the account.
pub struct Member {
    pub transaction: Uuid,
    pub leg: i16,
    pub amount: Decimal,
}

/// A match to be written.
pub struct NewMatch {
    pub id: Uuid,
    pub pass: &'static str,
    pub priority: Option<i32>,
    pub difference: Decimal,
    pub lines: Vec<Uuid>,
    pub postings: Vec<Member>,
}

impl NewMatch {
    fn kind(&self) -> &'static str {
        match (self.lines.len(), self.postings.len()) {
            (1, 1) => "1:1",
            (1, _) => "1:n",
            (_, 1) => "n:1",
            _ => "n:m",
        }
    }
}

pub fn insert_matches(
    session: &Session,
    account: Uuid,
    matches: &[NewMatch],
    reason: Option<&str>,
    caller: &str,
) -> Result<(), Error> {
    let ids: Vec<Uuid> = matches.iter().map(|m| m.id).collect();
    let kinds = array(matches.iter().map(|m| m.kind()));
    let passes = array(matches.iter().map(|m| m.pass));
    let priorities =
        array(matches.iter().map(|m| m.priority.map_or_else(|| "NULL".to_owned(), |p| p.to_string())));
    let differences = array(matches.iter().map(|m| m.difference));
    session.run(
        &INSERT_MATCHES,
        &[
            Arg::UuidArray(&ids),
            Arg::Uuid(Some(account)),
            Arg::Text(Some(&kinds)),
            Arg::Text(Some(&passes)),
            Arg::Text(Some(&priorities)),
            Arg::Text(Some(&differences)),
            Arg::Text(reason),
            Arg::Text(Some(caller)),
        ],
    )?;
    let (of, lines): (Vec<Uuid>, Vec<Uuid>) =
        matches.iter().flat_map(|m| m.lines.iter().map(|line| (m.id, *line))).unzip();
    session.run(&INSERT_MATCH_LINES, &[Arg::UuidArray(&of), Arg::UuidArray(&lines)])?;
    let postings = || matches.iter().flat_map(|m| m.postings.iter().map(|posting| (m.id, posting)));
    let (of, transactions): (Vec<Uuid>, Vec<Uuid>) = postings().map(|(id, p)| (id, p.transaction)).unzip();
    let amounts = array(postings().map(|(_, p)| p.amount));
    let legs = array(postings().map(|(_, p)| p.leg));
    let args = [
        Arg::UuidArray(&of),
        Arg::UuidArray(&transactions),
        Arg::Uuid(Some(account)),
        Arg::Text(Some(&amounts)),
        Arg::Text(Some(&legs)),
    ];
    session.run(&INSERT_MATCH_POSTINGS, &args).map(drop)
}
