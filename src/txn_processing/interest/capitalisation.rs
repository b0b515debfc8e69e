//! Capitalisation: what is accrued to the end of a day is rounded and posted, and the rest goes on with the account.

use super::accrual::{accrue, recheck};
use super::core::{DIVISOR, to_post};
use super::rules::lock_tenant;
use crate::banking::store as banking;
use crate::error::Error;
use crate::pg::{Arg, PRESENT, Row, Session, Statement, Type, array, server};
use crate::txn_processing::account::Side;
use crate::txn_processing::batch::{Outcome, post_all};
use crate::txn_processing::calendar::iso;
use crate::txn_processing::core::Kind;
use crate::txn_processing::engine::{Desk, Order};
use crate::txn_processing::runs::{Day, Progress, Run, Span};
use crate::txn_processing::store::{internal_accounts, side};
use rust_decimal::Decimal;
use std::collections::HashSet;
use uuid::Uuid;

const KIND: &str = "interest capitalisation";
// Days accrued after the one in question are not posted with it, so that a late run posts what one in time would have.
static DUE: Statement = Statement::new(
    c"SELECT p.account_id, a.currency_code, a.normal_side, c.exponent::int,
             (p.units - CASE WHEN p.accrued_through > $2
                             THEN (SELECT coalesce(sum(i.units), 0) FROM txn_processing.interest_accruals i
                                   WHERE i.account_id = p.account_id AND i.accrual_date > $2)
                             ELSE 0 END)::text,
             p.accrued_through < $2 AND (a.closed_at IS NULL
                 OR a.closed_at >= (p.accrued_through + 1)::timestamp AT TIME ZONE $6)
      FROM txn_processing.interest_positions p
      JOIN banking.accounts a ON a.account_id = p.account_id
      JOIN banking.currencies c ON c.currency_code = a.currency_code
      WHERE p.account_id >= $3 AND p.account_id <= $4 AND p.tenant_no = $1 AND p.first_day <= $2
        AND (p.capitalised_through IS NULL OR p.capitalised_through < $2)
      ORDER BY p.account_id LIMIT $5
      FOR NO KEY UPDATE OF p",
    &[Type::Int, Type::Date, Type::Uuid, Type::Uuid, Type::Int, Type::Text],
);

static WRITE_POSTED: Statement = Statement::new(
    c"INSERT INTO txn_processing.interest_capitalisations
          (account_id, capitalisation_date, transaction_id, posted_at, amount, units_before, units_after)
      SELECT t.account_id, $6, t.transaction_id, $7, t.amount, t.units, t.rest
      FROM unnest($1, $2, $3::numeric[], $4::numeric[], $5::numeric[])
          AS t (account_id, transaction_id, amount, units, rest)",
    &[Type::UuidArray, Type::UuidArray, Type::Text, Type::Text, Type::Text, Type::Date, Type::Timestamp],
);

static WRITE_POSITIONS: Statement = Statement::new(
    c"UPDATE txn_processing.interest_positions p
      SET capitalised_through = $3, units = p.units - t.taken
      FROM unnest($1, $2::numeric[]) AS t (account_id, taken)
      WHERE p.account_id = t.account_id",
    &[Type::UuidArray, Type::Text, Type::Date],
);

/// An account whose interest is to be posted.
struct Due {
    account: Uuid,
    currency: String,
    side: Side,
    exponent: u32,
    units: i128,
    /// Signed by the account's normal side.
    amount: Decimal,
    rest: i128,
}

impl Due {
    fn read(row: &Row, day: &Day) -> Result<Self, Error> {
        let account = row.uuid(1).expect(PRESENT);
        if row.bool(6) == Some(true) {
            return Err(Error::NotAccrued { account, day: iso(day.date) });
        }
        let exponent = row.int(4).expect(PRESENT).unsigned_abs();
        let range = || Error::InterestRange { account, day: iso(day.date) };
        let units: i128 = row.text(5).and_then(|text| text.parse().ok()).ok_or_else(range)?;
        let (amount, rest) = to_post(units, exponent).ok_or_else(range)?;
        let currency = row.text(2).expect(PRESENT);
        Ok(Due { account, currency, side: side(row.letter(3)), exponent, units, amount, rest })
    }

    /// Whether the customer gets interest, which costs the bank, or pays it, which the bank earns.
    fn is_credited(&self) -> bool {
        (self.side == Side::Credit) == self.amount.is_sign_positive()
    }

    fn order<'a>(&self, internal: Uuid, description: &'a str, effective_at: Option<i64>) -> Order<'a> {
        let credited = self.is_credited();
        Order {
            description: Some(description),
            effective_at,
            // Interest that a customer owes is posted whatever the balance is.,
            may_overdraw: true,
            by_the_bank: true,
            ..Order::of(
                Kind::Interest,
                if credited { internal } else { self.account },
                if credited { self.account } else { internal },
                Some(self.amount.abs()),
            )
        }
    }
}

/// Makes the bank's own accounts of the currencies where they are missing: a type may be younger than the tenant.
fn ensure_internals(session: &Session, tenant_no: i32, dues: &[Due]) -> Result<(), Error> {
    let currencies: HashSet<(&str, u32)> =
        dues.iter().map(|due| (due.currency.as_str(), due.exponent)).collect();
    for (currency, exponent) in currencies {
        banking::ensure_internals(session, tenant_no, currency, Decimal::new(0, exponent))?;
    }
    Ok(())
}

fn post(desk: &Desk, tenant_no: i32, day: &Day, dues: &[&Due]) -> Result<Vec<Outcome>, Error> {
    let effective_at = day.effective_at()?;
    let description = format!("Interest to {}", iso(day.date));
    let of = |credited: bool| {
        dues.iter()
            .filter(move |due| due.is_credited() == credited)
            .map(|due| due.account)
            .collect::<Vec<_>>()
    };
    let expense = internal_accounts(desk.session(), &of(true), "interest_expense")?;
    let income = internal_accounts(desk.session(), &of(false), "interest_income")?;
    let order = |due: &&Due| {
        let internal = if due.is_credited() { &expense } else { &income }.get(&due.account);
        let internal = internal.ok_or(Error::AccountNotFound { account: due.account })?;
        Ok(due.order(*internal, &description, effective_at))
    };
    assert!(dues.iter().all(|due| !due.amount.is_zero()), "nothing is not posted; tenant {tenant_no}");
    post_all(desk, dues.iter().map(order).collect(), |_| false)
}

/// Posts what up to `most` of the tenant's accounts in `span` have accrued to the end of `day`. Call it under the
/// tenant's lock. What is refused stays accrued, and is handed to `refused`.
fn capitalise(
    desk: &Desk,
    tenant_no: i32,
    day: &Day,
    span: Span,
    most: i32,
    mut refused: impl FnMut(Uuid, Decimal, Error) -> Result<(), Error>,
) -> Result<(Progress, Vec<Uuid>), Error> {
    let session = desk.session();
    let args = [
        Arg::Int(Some(tenant_no)),
        Arg::Date(Some(day.date)),
        Arg::Uuid(Some(span.from)),
        Arg::Uuid(Some(span.to)),
        Arg::Int(Some(most)),
        Arg::Text(Some(&day.zone)),
    ];
    let rows = session.run(&DUE, &args)?;
    let dues: Vec<Due> = rows.iter().map(|row| Due::read(&row, day)).collect::<Result<_, _>>()?;
    // Not even planned while there may be no positions: the plan would read all of them for each.
    if dues.is_empty() {
        return Ok(Default::default());
    }
    ensure_internals(session, tenant_no, &dues)?;
    let (payable, idle): (Vec<&Due>, Vec<&Due>) = dues.iter().partition(|due| !due.amount.is_zero());
    let mut done: Vec<(Uuid, i128)> = idle.iter().map(|due| (due.account, 0)).collect();
    let mut posted: Vec<(&Due, Uuid)> = Vec::with_capacity(payable.len());
    let outcomes = if payable.is_empty() { Vec::new() } else { post(desk, tenant_no, day, &payable)? };
    for (due, outcome) in payable.iter().zip(outcomes) {
        match outcome {
            Ok(outcome) => {
                posted.push((due, outcome.transaction_id));
                done.push((due.account, due.units - due.rest));
            }
            Err(why) => refused(due.account, due.amount, why)?,
        }
    }
    write(session, day, &posted, &done)?;
    let last = dues.last().filter(|_| dues.len() == most as usize);
    let progress = Progress {
        accounts: dues.len() as i64,
        posted: posted.len() as i64,
        refused: (payable.len() - posted.len()) as i64,
        next: last.and_then(|due| Progress::behind(due.account)),
    };
    Ok((progress, posted.iter().map(|posted| posted.1).collect()))
}

fn write(session: &Session, day: &Day, posted: &[(&Due, Uuid)], done: &[(Uuid, i128)]) -> Result<(), Error> {
    let accounts: Vec<Uuid> = posted.iter().map(|(due, _)| due.account).collect();
    let ids: Vec<Uuid> = posted.iter().map(|(_, id)| *id).collect();
    let args = [
        Arg::UuidArray(&accounts),
        Arg::UuidArray(&ids),
        Arg::Text(Some(&array(posted.iter().map(|(due, _)| due.amount)))),
        Arg::Text(Some(&array(posted.iter().map(|(due, _)| due.units)))),
        Arg::Text(Some(&array(posted.iter().map(|(due, _)| due.rest)))),
        Arg::Date(Some(day.date)),
        Arg::Timestamp(Some(server::clock_micros())),
    ];
    session.run(&WRITE_POSTED, &args)?;
    let accounts: Vec<Uuid> = done.iter().map(|(account, _)| *account).collect();
    let taken = array(done.iter().map(|(_, taken)| taken));
    session.run(
        &WRITE_POSITIONS,
        &[Arg::UuidArray(&accounts), Arg::Text(Some(&taken)), Arg::Date(Some(day.date))],
    )?;
    assert!(
        posted.iter().all(|(due, _)| 2 * due.rest.abs() <= DIVISOR / 10i128.pow(due.exponent)),
        "rounded"
    );
    Ok(())
}

/// A call of the tenant's run.
pub fn run(desk: &Desk, tenant_no: i32, day: &Day, most: i32) -> Result<Progress, Error> {
    let session = desk.session();
    if !lock_tenant(session, tenant_no)? {
        return Ok(Progress::default());
    }
    let run = Run { session, tenant_no, kind: KIND, date: day.date };
    let span = run.open()?;
    let refused = |account, amount, why: Error| run.refuse(account, None, amount, &why);
    let (progress, _) = capitalise(desk, tenant_no, day, span, most, refused)?;
    run.keep(&progress)?;
    Ok(progress)
}

/// Accrues and posts the interest of one account to the end of `day`; answers the posting, if there was something to
/// post. A refusal is raised.
pub fn settle(desk: &Desk, account: Uuid, tenant_no: i32, day: &Day) -> Result<Option<Uuid>, Error> {
    let session = desk.session();
    if !lock_tenant(session, tenant_no)? {
        return Ok(None);
    }
    let span = Span::one(account);
    while accrue(session, tenant_no, day, span, 1_000)?.next.is_some() {}
    recheck(session, tenant_no, day, account)?;
    let (_, posted) = capitalise(desk, tenant_no, day, span, 1, |_, _, why| Err(why))?;
    Ok(posted.first().copied())
}
