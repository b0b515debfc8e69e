//! Daily accrual: what each account's balance at a day's end earned or cost, kept exactly.
//!
//! Every account is accrued day after day without a gap, so a call for a day also makes up what was missed before it.
//! An account that has new backdated entries, or whose last day's balance was seen before a posting of that day was
//! committed, is accrued anew for the days in question; the differences are rows of their own.

use super::rules::{Rules, lock_tenant};
use crate::error::Error;
use crate::pg::spi::c_text;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type, array};
use crate::txn_processing::calendar::iso;
use crate::txn_processing::runs::{Day, Progress, Run, Span};
use rust_decimal::Decimal;
use uuid::Uuid;

pub const KIND: &str = "interest accrual";
/// The balance of account `d` just before the instant `$at`. The row's balance holds where nothing was posted since. An
/// account that never had slots is walked back from its newest posting, few of which are newer; of any other account
/// balance_as_of knows.
macro_rules! balance_before {
    ($at:literal) => {
        concat!(
            "CASE WHEN d.slots = 0 AND d.updated_at < ", $at, " THEN d.current_balance \
             WHEN d.slots > 0 OR EXISTS (SELECT FROM banking.balance_mode_changes c WHERE c.account_id = d.account_id) \
             THEN txn_processing.balance_as_of(d.account_id, ", $at, " - '1 microsecond'::interval) \
             ELSE coalesce((SELECT l.balance FROM ( \
                      (SELECT m.debit_sequence AS n, m.debit_balance AS balance FROM txn_processing.movements m \
                       WHERE m.debit_account = d.account_id AND m.created_at < ", $at,
            "          ORDER BY m.debit_sequence DESC LIMIT 1) UNION ALL \
                      (SELECT m.credit_sequence, m.credit_balance FROM txn_processing.movements m \
                       WHERE m.credit_account = d.account_id AND m.created_at < ", $at,
            "          ORDER BY m.credit_sequence DESC LIMIT 1)) l ORDER BY l.n DESC LIMIT 1), 0) \
                  + coalesce((SELECT sum(b.balance_change) FROM txn_processing.backdated_entries b \
                              WHERE b.account_id = d.account_id AND b.effective_at < ", $at,
            "                   AND b.recorded_at >= ", $at, "), 0) END"
        )
    };
}

/// The rule that holds for account `d` on a day: its own, unless that was ended, else its type's.
macro_rules! rule_on {
    ($day:literal) => {
        concat!(
            "coalesce((SELECT CASE WHEN r.annual_percent IS NOT NULL THEN r.rule_id END \
                       FROM txn_processing.interest_rules r \
                       WHERE r.account_id = d.account_id AND r.valid_from <= ", $day,
            "          ORDER BY r.valid_from DESC, r.rule_id DESC LIMIT 1), \
                      (SELECT r.rule_id FROM txn_processing.interest_rules r \
                       WHERE r.account_id IS NULL AND r.tenant_no = d.tenant_no AND r.account_type = d.account_type \
                         AND r.currency_code = d.currency_code AND r.valid_from <= ", $day,
            "          ORDER BY r.valid_from DESC, r.rule_id DESC LIMIT 1))"
        )
    };
}

// The next day of each account that has days left, and whether days before it must be accrued anew: from the first
// backdated entry that was not counted, or from the start where more than that changed. Entries not counted are the
// latest recorded, unless one was recorded before others that were committed earlier.
// OFFSET 0 keeps the day from being worked out twice, and a plan made while there were no positions from reading all of
// them for each account.
static DUE: Statement = Statement::new(
    c_text(concat!(
        "WITH d AS MATERIALIZED ( \
             SELECT x.*, (x.day + 1)::timestamp AT TIME ZONE $6 AS day_end, x.day::timestamp AT TIME ZONE $6 AS day_start \
             FROM ( \
                 SELECT a.account_id, a.tenant_no, a.account_type, a.currency_code, a.current_balance, a.updated_at, \
                        a.slots, a.closed_at, p.first_day, p.accrued_through, p.balance AS balance_used, \
                        p.backdated_count, coalesce(p.backdated_until, '-infinity') AS backdated_until, \
                        CASE WHEN p.account_id IS NOT NULL THEN p.accrued_through + 1 \
                             ELSE (SELECT greatest(f.rule_day, least( \
                                              (a.created_at AT TIME ZONE $6)::date, \
                                              (SELECT (min(b.effective_at) AT TIME ZONE $6)::date \
                                               FROM txn_processing.backdated_entries b \
                                               WHERE b.account_id = a.account_id))) \
                                   FROM (SELECT min(r.valid_from) AS rule_day FROM txn_processing.interest_rules r \
                                         WHERE r.account_id = a.account_id \
                                            OR r.account_id IS NULL AND r.tenant_no = a.tenant_no \
                                               AND r.account_type = a.account_type \
                                               AND r.currency_code = a.currency_code) f \
                                   WHERE f.rule_day IS NOT NULL) \
                        END AS day \
                 FROM banking.accounts a \
                 LEFT JOIN LATERAL (SELECT * FROM txn_processing.interest_positions i \
                                    WHERE i.account_id = a.account_id OFFSET 0) p ON true \
                 WHERE a.account_id >= $3 AND a.account_id <= $4 AND a.tenant_no = $1 AND a.customer_id IS NOT NULL \
                 ORDER BY a.account_id OFFSET 0) x \
             WHERE x.day <= $2 \
               AND (x.closed_at IS NULL OR x.closed_at >= x.day::timestamp AT TIME ZONE $6) \
             ORDER BY x.account_id LIMIT $5), \
         seen AS MATERIALIZED ( \
             SELECT d.account_id, d.day, d.first_day, d.accrued_through, d.backdated_count, ",
        rule_on!("d.day"),
        " AS rule_id, ",
        balance_before!("d.day_end"),
        " AS balance, \
                    CASE WHEN d.accrued_through IS NOT NULL THEN ",
        balance_before!("d.day_start"),
        " - d.balance_used END AS moved, b.* \
             FROM d CROSS JOIN LATERAL ( \
                 SELECT count(*) AS entries, max(e.recorded_at) AS latest, min(e.effective_at) AS first, \
                        count(*) FILTER (WHERE e.recorded_at > d.backdated_until) AS newer, \
                        min(e.effective_at) FILTER (WHERE e.recorded_at > d.backdated_until) AS first_newer, \
                        coalesce(sum(e.balance_change) FILTER (WHERE e.recorded_at > d.backdated_until \
                                                                 AND e.effective_at < d.day_start), 0) AS newly_moved \
                 FROM txn_processing.backdated_entries e WHERE e.account_id = d.account_id) b) \
         SELECT s.account_id, s.day - '2000-01-01'::date, s.rule_id, s.balance, s.entries, s.latest, \
                CASE WHEN s.moved IS NULL OR s.entries = s.backdated_count AND s.moved = 0 THEN NULL \
                     WHEN s.entries - s.backdated_count = s.newer AND s.moved = s.newly_moved \
                     THEN (s.first_newer AT TIME ZONE $6)::date - '2000-01-01'::date \
                     ELSE least(s.first_day, (s.first AT TIME ZONE $6)::date) - '2000-01-01'::date END \
         FROM seen s ORDER BY s.account_id",
        "\0"
    )),
    &[Type::Int, Type::Date, Type::Uuid, Type::Uuid, Type::Int, Type::Text],
);

static ACCRUED_DAYS: Statement = Statement::new(
    c_text(concat!(
        "SELECT g.day - '2000-01-01'::date, ",
        rule_on!("g.day"),
        ", txn_processing.balance_as_of(d.account_id, ((g.day + 1)::timestamp AT TIME ZONE $4) - '1 microsecond'::interval), \
         x.units::text, x.revisions \
         FROM banking.accounts d \
         CROSS JOIN LATERAL (SELECT $2 + n AS day FROM generate_series(0, $3 - $2) n) g \
         CROSS JOIN LATERAL (SELECT coalesce(sum(i.units), 0) AS units, count(*)::int AS revisions \
                             FROM txn_processing.interest_accruals i \
                             WHERE i.account_id = d.account_id AND i.accrual_date = g.day) x \
         WHERE d.account_id = $1",
        "\0"
    )),
    &[Type::Uuid, Type::Date, Type::Date, Type::Text],
);

static POSITION: Statement = Statement::new(
    c"SELECT least(p.first_day, (b.first AT TIME ZONE $2)::date) - '2000-01-01'::date,
             p.accrued_through - '2000-01-01'::date, b.entries, b.latest
      FROM txn_processing.interest_positions p
      CROSS JOIN LATERAL (SELECT count(*) AS entries, max(e.recorded_at) AS latest, min(e.effective_at) AS first
                          FROM txn_processing.backdated_entries e WHERE e.account_id = p.account_id) b
      WHERE p.account_id = $1",
    &[Type::Uuid, Type::Text],
);

static WRITE_ACCRUALS: Statement = Statement::new(
    c"INSERT INTO txn_processing.interest_accruals
          (account_id, accrual_date, revision, days, rule_id, balance, units)
      SELECT t.account_id, '2000-01-01'::date + t.day, t.revision, t.days, t.rule_id, t.balance, t.units
      FROM unnest($1, $2::integer[], $3::smallint[], $4::smallint[], $5::integer[], $6::numeric[], $7::numeric[])
          AS t (account_id, day, revision, days, rule_id, balance, units)",
    &[Type::UuidArray, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text],
);

static WRITE_POSITIONS: Statement = Statement::new(
    c"INSERT INTO txn_processing.interest_positions AS p
          (account_id, tenant_no, first_day, accrued_through, balance, units, backdated_count, backdated_until)
      SELECT t.account_id, $7, '2000-01-01'::date + t.day, '2000-01-01'::date + t.day, t.balance, t.units, t.entries,
             '2000-01-01 00:00:00+00'::timestamptz + t.latest * '1 microsecond'::interval
      FROM unnest($1, $2::integer[], $3::numeric[], $4::numeric[], $5::bigint[], $6::bigint[])
          AS t (account_id, day, balance, units, entries, latest)
      ON CONFLICT (account_id) DO UPDATE
          SET accrued_through = excluded.accrued_through, balance = excluded.balance, units = p.units + excluded.units,
              backdated_count = excluded.backdated_count, backdated_until = excluded.backdated_until",
    &[Type::UuidArray, Type::Text, Type::Text, Type::Text, Type::Text, Type::Text, Type::Int],
);

/// An account with a day to accrue.
struct Due {
    account: Uuid,
    day: i32,
    rule: Option<i32>,
    balance: Decimal,
    backdated: i64,
    backdated_until: Option<i64>,
    /// The first of the days before that must be accrued anew.
    correct_from: Option<i32>,
}

impl Due {
    fn read(row: &Row) -> Self {
        Due {
            account: row.uuid(1).expect(PRESENT),
            day: row.int(2).expect(PRESENT),
            rule: row.int(3),
            balance: row.numeric(4).expect(PRESENT),
            backdated: row.bigint(5).expect(PRESENT),
            backdated_until: row.time(6).map(|time| time.0),
            correct_from: row.int(7),
        }
    }
}

/// A row of interest_accruals.
struct Accrual {
    account: Uuid,
    day: i32,
    revision: i32,
    days: i128,
    rule: i32,
    balance: Decimal,
    units: i128,
}

/// What a balance at the end of a day is to be accrued as; nothing where no rule holds.
fn accrual(
    session: &Session,
    rules: &mut Rules,
    account: Uuid,
    day: i32,
    rule: Option<i32>,
    balance: Decimal,
) -> Result<Option<Accrual>, Error> {
    let Some(number) = rule else { return Ok(None) };
    let rule = rules.get(session, number)?;
    let units = rule.units(balance, day).ok_or_else(|| Error::InterestRange { account, day: iso(day) })?;
    let days = rule.day_count.days(day);
    Ok(Some(Accrual { account, day, revision: 0, days, rule: number, balance, units }))
}

/// Accruals of one pass over accounts, written together.
struct Pass<'a> {
    session: &'a Session,
    rules: &'a mut Rules,
    day: &'a Day,
    accruals: Vec<Accrual>,
    /// What each due account's position grows by.
    growth: Vec<i128>,
}

impl Pass<'_> {
    fn take(&mut self, due: &Due) -> Result<(), Error> {
        let found = accrual(self.session, self.rules, due.account, due.day, due.rule, due.balance)?;
        let mut growth = found.as_ref().map_or(0, |accrual| accrual.units);
        self.accruals.extend(found.filter(|accrual| accrual.units != 0));
        if let Some(from) = due.correct_from.filter(|from| *from < due.day) {
            growth += self.correct(due, from)?.0;
        }
        self.growth.push(growth);
        Ok(())
    }

    /// Accrues the days from `from` to the one before the due one anew; answers what they differ by, and the balance at
    /// the end of the last.
    fn correct(&mut self, due: &Due, from: i32) -> Result<(i128, Decimal), Error> {
        let args = [
            Arg::Uuid(Some(due.account)),
            Arg::Date(Some(from)),
            Arg::Date(Some(due.day - 1)),
            Arg::Text(Some(&self.day.zone)),
        ];
        let (mut growth, mut last) = (0, Decimal::ZERO);
        for row in self.session.run(&ACCRUED_DAYS, &args)?.iter() {
            let (day, balance) = (row.int(1).expect(PRESENT), row.numeric(3).expect(PRESENT));
            last = balance;
            let units = row.text(4).expect(PRESENT);
            let accrued: i128 = units.parse().expect("a whole number that a balance earned");
            let revision = row.int(5).expect(PRESENT);
            let found = accrual(self.session, self.rules, due.account, day, row.int(2), balance)?;
            let Some(found) = found else { continue };
            let units = found.units - accrued;
            if units != 0 {
                growth += units;
                self.accruals.push(Accrual { revision, units, ..found });
            }
        }
        Ok((growth, last))
    }

    fn write(&self, tenant_no: i32, dues: &[Due]) -> Result<(), Error> {
        let accounts: Vec<Uuid> = dues.iter().map(|due| due.account).collect();
        let until =
            |due: &Due| due.backdated_until.map_or_else(|| "NULL".to_owned(), |until| until.to_string());
        let args = [
            Arg::UuidArray(&accounts),
            Arg::Text(Some(&array(dues.iter().map(|due| due.day)))),
            Arg::Text(Some(&array(dues.iter().map(|due| due.balance)))),
            Arg::Text(Some(&array(self.growth.iter()))),
            Arg::Text(Some(&array(dues.iter().map(|due| due.backdated)))),
            Arg::Text(Some(&array(dues.iter().map(until)))),
            Arg::Int(Some(tenant_no)),
        ];
        // Before the accruals: at REPEATABLE READ, a position that another session changed since raises 40001.
        self.session.run(&WRITE_POSITIONS, &args)?;
        let accounts: Vec<Uuid> = self.accruals.iter().map(|accrual| accrual.account).collect();
        let args = [
            Arg::UuidArray(&accounts),
            Arg::Text(Some(&array(self.accruals.iter().map(|accrual| accrual.day)))),
            Arg::Text(Some(&array(self.accruals.iter().map(|accrual| accrual.revision)))),
            Arg::Text(Some(&array(self.accruals.iter().map(|accrual| accrual.days)))),
            Arg::Text(Some(&array(self.accruals.iter().map(|accrual| accrual.rule)))),
            Arg::Text(Some(&array(self.accruals.iter().map(|accrual| accrual.balance)))),
            Arg::Text(Some(&array(self.accruals.iter().map(|accrual| accrual.units)))),
        ];
        self.session.run(&WRITE_ACCRUALS, &args)?;
        Ok(())
    }
}

/// Accrues up to `most` account-days of the tenant's accounts in `span`. Call it under the tenant's lock.
pub fn accrue(
    session: &Session,
    tenant_no: i32,
    day: &Day,
    span: Span,
    most: i32,
) -> Result<Progress, Error> {
    let mut rules = Rules::default();
    let mut progress = Progress { next: Some(span.from), ..Progress::default() };
    let mut left = most;
    while let (Some(from), true) = (progress.next, left > 0) {
        let args = [
            Arg::Int(Some(tenant_no)),
            Arg::Date(Some(day.date)),
            Arg::Uuid(Some(from)),
            Arg::Uuid(Some(span.to)),
            Arg::Int(Some(left)),
            Arg::Text(Some(&day.zone)),
        ];
        let dues: Vec<Due> = session.run(&DUE, &args)?.iter().map(|row| Due::read(&row)).collect();
        let mut pass = Pass { session, rules: &mut rules, day, accruals: Vec::new(), growth: Vec::new() };
        dues.iter().try_for_each(|due| pass.take(due))?;
        if !dues.is_empty() {
            pass.write(tenant_no, &dues)?;
        }
        progress.accounts += dues.len() as i64;
        let behind = dues.last().filter(|_| dues.len() == left as usize);
        let unfinished = dues.iter().find(|due| due.day < day.date).map(|due| due.account);
        progress.next = unfinished.or_else(|| behind.and_then(|due| Progress::behind(due.account)));
        left -= dues.len() as i32;
    }
    Ok(progress)
}

/// Accrues anew all days of one account that are accrued, for what was backdated into them since: an account that is to
/// be closed has no next day. Call it under the tenant's lock.
pub fn recheck(session: &Session, tenant_no: i32, day: &Day, account: Uuid) -> Result<(), Error> {
    let args = [Arg::Uuid(Some(account)), Arg::Text(Some(&day.zone))];
    let read = |row: &Row| {
        let (first, through) = (row.int(1).expect(PRESENT), row.int(2).expect(PRESENT));
        (first, through, row.bigint(3).expect(PRESENT), row.time(4).map(|time| time.0))
    };
    let Some((first, through, backdated, backdated_until)) = session.one(&POSITION, &args, read)? else {
        return Ok(());
    };
    let mut rules = Rules::default();
    let mut pass = Pass { session, rules: &mut rules, day, accruals: Vec::new(), growth: Vec::new() };
    let balance = Decimal::ZERO;
    let due = Due {
        account,
        day: through + 1,
        rule: None,
        balance,
        backdated,
        backdated_until,
        correct_from: None,
    };
    let (growth, balance) = pass.correct(&due, first)?;
    pass.growth.push(growth);
    pass.write(tenant_no, &[Due { day: through, balance, ..due }])
}

/// A call of the tenant's run: what it did, and the account-days of all calls.
pub fn run(session: &Session, tenant_no: i32, day: &Day, most: i32) -> Result<(Progress, i64), Error> {
    if !lock_tenant(session, tenant_no)? {
        return Ok((Progress::default(), 0));
    }
    let run = Run { session, tenant_no, kind: KIND, date: day.date };
    let progress = accrue(session, tenant_no, day, run.open()?, most)?;
    let all = run.keep(&progress)?;
    Ok((progress, all))
}
