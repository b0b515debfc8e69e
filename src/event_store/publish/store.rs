//! What is published, as rows.

use super::core::{Leg, Places, stream_of};
use crate::cqrs;
use crate::error::Error;
use crate::event_store::boundary;
use crate::event_store::position::Position;
use crate::event_store::store::positions;
use crate::event_store::tags::{Keys, key_of};
use crate::pg::plans::HashedPlans;
use crate::pg::spi::Rows;
use crate::pg::subtransaction::undoable;
use crate::pg::watch::Watch;
use crate::pg::{Arg, PRESENT, Session, Statement, Type, server};
use std::cell::Cell;
use uuid::Uuid;

static OPENED: Statement = Statement::new(
    c"SELECT p.opened_position FROM event_store.ledger_publications p WHERE p.state = 'on'",
    &[],
);

// The movements are not read back: at SERIALIZABLE that would set every two postings at odds.

/// Of one posting that is alone in its transaction: no array is taken apart.
static APPEND_ONE: Statement = Statement::new(
    c"WITH opened AS (
          INSERT INTO event_store.streams (aggregate_id, aggregate_type, last_position, version)
          VALUES ($2, 'LedgerTransaction', $1, 1)
      )
      INSERT INTO event_store.events
          (global_position, aggregate_id, event_version, event_id, aggregate_type, event_type, event_data, tags,
           created_at, created_by)
      VALUES ($1, $2, 1, $3, 'LedgerTransaction', $4,
              CASE WHEN $6 IS NULL THEN $5::jsonb
                   ELSE $5::jsonb || pg_catalog.jsonb_build_object(
                       'effective_at', pg_catalog.to_jsonb($6 AT TIME ZONE 'UTC') #>> '{}' || 'Z') END,
              $7, $8, $9)",
    &[
        Type::BigInt, Type::Uuid, Type::Uuid, Type::Text, Type::Text, Type::Timestamp, Type::TextArray, Type::Timestamp,
        Type::Text,
    ],
);

static APPEND: Statement = Statement::new(
    c"WITH opened AS (
          INSERT INTO event_store.streams (aggregate_id, aggregate_type, last_position, version)
          SELECT s.stream, 'LedgerTransaction', $1 + s.last - 1, s.reached
          FROM ROWS FROM (pg_catalog.unnest($11), pg_catalog.unnest($12), pg_catalog.unnest($13))
               s(stream, last, reached)
      )
      INSERT INTO event_store.events
          (global_position, aggregate_id, event_version, event_id, aggregate_type, event_type, event_data, tags,
           created_at, created_by)
      SELECT $1 + p.n - 1, p.stream, p.version, p.event, 'LedgerTransaction', p.event_type,
             CASE WHEN p.effective_at IS NULL THEN p.data::jsonb
                  ELSE p.data::jsonb || pg_catalog.jsonb_build_object(
                      'effective_at', pg_catalog.to_jsonb(p.effective_at AT TIME ZONE 'UTC') #>> '{}' || 'Z') END,
             ARRAY[p.debit, p.credit], p.created_at, $10
      FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),
                      pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),
                      pg_catalog.unnest($14))
           WITH ORDINALITY p(stream, version, event, event_type, data, effective_at, debit, credit, created_at, n)",
    &[
        Type::BigInt, Type::UuidArray, Type::IntArray, Type::UuidArray, Type::TextArray, Type::TextArray,
        Type::TimestampArray, Type::TextArray, Type::TextArray, Type::Text, Type::UuidArray, Type::IntArray,
        Type::IntArray, Type::TimestampArray,
    ],
);

// Who administers waits here; postings only read the table.
static LOCK_PUBLICATIONS: Statement =
    Statement::new(c"LOCK TABLE event_store.ledger_publications IN SHARE ROW EXCLUSIVE MODE", &[]);

static LOCK_MOVEMENTS: Statement =
    Statement::new(c"LOCK TABLE txn_processing.movements IN SHARE ROW EXCLUSIVE MODE", &[]);

static LAST: Statement = Statement::new(
    c"SELECT p.publication, p.state, p.stream_id, p.accounts, p.last_account, p.first_position, p.last_position,
             p.opened_position, p.closed_position
      FROM event_store.ledger_publications p ORDER BY p.publication DESC LIMIT 1",
    &[],
);

static BEGIN: Statement = Statement::new(
    c"INSERT INTO event_store.ledger_publications (publication, state, stream_id, started_by)
      VALUES ($1, 'preparing', $2, $3)",
    &[Type::Int, Type::Uuid, Type::Text],
);

static ADVANCE: Statement = Statement::new(
    c"UPDATE event_store.ledger_publications p
      SET accounts = p.accounts + $2, last_account = $3, first_position = coalesce(p.first_position, $4),
          last_position = $5
      WHERE p.publication = $1",
    &[Type::Int, Type::BigInt, Type::Uuid, Type::BigInt, Type::BigInt],
);

static OPEN: Statement = Statement::new(
    c"UPDATE event_store.ledger_publications p
      SET state = 'on', opened_position = $2, first_position = coalesce(p.first_position, $2), opened_by = $3,
          opened_at = pg_catalog.clock_timestamp()
      WHERE p.publication = $1",
    &[Type::Int, Type::BigInt, Type::Text],
);

static CLOSE: Statement = Statement::new(
    c"UPDATE event_store.ledger_publications
      SET state = 'off', closed_position = $2, closed_by = $3, closed_at = pg_catalog.clock_timestamp()
      WHERE publication = $1",
    &[Type::Int, Type::BigInt, Type::Text],
);

// $6 and $7: the positions of what this publication has brought forward so far, of which an account that still holds the
// same is left out.
static BRING_FORWARD: Statement = Statement::new(
    c"WITH brought AS MATERIALIZED (
          SELECT event_store.uuid_of(e.event_data, 'account_id') AS account_id,
                 event_store.figure_of(e.event_data, 'balance') AS balance,
                 event_store.figure_of(e.event_data, 'postings') AS postings
          FROM event_store.events e
          WHERE e.aggregate_type = 'LedgerOpening' AND e.global_position >= $6 AND e.global_position <= $7
      ), next AS (
          SELECT w.*, pg_catalog.row_number() OVER (ORDER BY w.account_id) AS n
          FROM (SELECT a.account_id, a.currency_code, a.tenant_no, a.balance, a.postings
                FROM (SELECT a.account_id, a.currency_code, a.tenant_no,
                             coalesce(a.current_balance, s.balance) AS balance,
                             a.version - 1 + coalesce(s.postings, 0) AS postings
                      FROM banking.accounts a
                      LEFT JOIN LATERAL (SELECT sum(s.balance) AS balance,
                                                sum(s.sequence - (s.slot_no::bigint << 48) - 1)::bigint AS postings
                                         FROM banking.account_slots s WHERE s.account_id = a.account_id) s ON true
                      WHERE a.account_id > $3) a
                LEFT JOIN brought b ON b.account_id = a.account_id
                WHERE (b.balance, b.postings) IS DISTINCT FROM (a.balance, a.postings)
                ORDER BY a.account_id
                LIMIT $4) w
      ), opened AS (
          INSERT INTO event_store.streams (aggregate_id, aggregate_type, last_position, version)
          SELECT $1, 'LedgerOpening', $2 + count(*) - 1, count(*) FROM next HAVING count(*) > 0
      ), written AS (
          INSERT INTO event_store.events
              (event_id, aggregate_id, aggregate_type, event_version, global_position, created_by, event_type,
               event_data, tags)
          SELECT neobank.uuid_v7(), $1, 'LedgerOpening', n, $2 + n - 1, $8, 'BalanceBroughtForward',
                 pg_catalog.jsonb_build_object('account_id', account_id, 'currency', currency_code, 'balance', balance,
                                               'postings', postings, 'tenant_no', tenant_no, 'publication', $5),
                 ARRAY['account:' || account_id]
          FROM next
      )
      SELECT n, account_id FROM next ORDER BY n DESC LIMIT 1",
    &[
        Type::Uuid, Type::BigInt, Type::Uuid, Type::BigInt, Type::Int, Type::BigInt, Type::BigInt, Type::Text,
    ],
);

static MARK: Statement = Statement::new(
    c"WITH marked AS (
          INSERT INTO event_store.streams (aggregate_id, aggregate_type, version, last_position)
          VALUES ($1, 'LedgerPublication', $2, $3)
          ON CONFLICT (aggregate_id) DO UPDATE SET version = excluded.version, last_position = excluded.last_position
      )
      INSERT INTO event_store.events
          (event_id, aggregate_id, aggregate_type, event_version, global_position, created_by, event_type, event_data)
      VALUES ($4, $1, 'LedgerPublication', $2, $3, $5, $6,
              pg_catalog.jsonb_build_object('publication', $7, 'accounts', $8))",
    &[
        Type::Uuid, Type::Int, Type::BigInt, Type::Uuid, Type::Text, Type::Text, Type::Int, Type::BigInt,
    ],
);

// Only publications that another one has followed lose events.
static OPENED_AT: Statement = Statement::new(
    c"SELECT p.opened_position,
             p.state = 'off' AND EXISTS (
                 SELECT FROM event_store.tombstones t
                 WHERE t.aggregate_type IN ('LedgerTransaction', 'LedgerOpening', 'LedgerPublication')
                   AND t.to_position >= p.first_position AND t.from_position <= $1)
      FROM event_store.ledger_publications p WHERE p.opened_position <= $1
      ORDER BY p.opened_position DESC LIMIT 1",
    &[Type::BigInt],
);

static FLOOR: Statement =
    Statement::new(c"SELECT (b.added + $1) << 20 FROM event_store.position_base b", &[Type::BigInt]);

static WATCH: Watch = Watch::new([c"event_store", c"ledger_publications"]);

thread_local! {
    static SINCE: Cell<Option<i64>> = const { Cell::new(None) };
}

/// The position above which postings are published; nothing where they are not. Call it with a lock on the movements,
/// as whoever has written some has it.
pub fn opened<'s>(session: impl FnOnce() -> &'s Session) -> Result<Option<i64>, Error> {
    if !WATCH.is_fresh()? {
        if !WATCH.is_there()? {
            return Ok(None);
        }
        let session = session();
        WATCH.begin()?;
        // An old snapshot would show what is kept here beyond its transaction.
        let rows = session.run_latest(&OPENED, &[]).inspect_err(|_| WATCH.forget())?;
        SINCE.set(rows.first().and_then(|row| row.bigint(1)));
    }
    Ok(SINCE.get())
}

/// The same as the session's snapshot shows it. Postings go by what is so at their moment: to a transaction that has
/// written, an older snapshot would tell of a publication that its own postings are not in.
pub fn seen(session: &Session) -> Result<Option<i64>, Error> {
    let read = |rows: Rows| rows.first().and_then(|row| row.bigint(1));
    let seen = read(session.run(&OPENED, &[])?);
    if !server::is_read_committed()
        && server::has_written()
        && read(session.run_latest(&OPENED, &[])?) != seen
    {
        return Err(Error::ConcurrentUpdate);
    }
    Ok(seen)
}

/// Where the last publication up to that position was opened, as the session's snapshot shows it.
pub fn opened_at(session: &Session, position: i64) -> Result<Option<i64>, Error> {
    let found = session.one(&OPENED_AT, &[Arg::BigInt(Some(position))], |row| {
        (row.bigint(1).expect(PRESENT), row.bool(2).expect(PRESENT))
    })?;
    match found {
        Some((opened, true)) => Err(Error::LedgerEventsDeleted { opened }),
        found => Ok(found.map(|(opened, _)| opened)),
    }
}

/// It was switched on or off.
pub fn announce() -> Result<(), Error> {
    WATCH.announce()
}

/// Appends the events of those movements above the position `opened`.
pub fn append(session: &Session, opened: Position, legs: &[Leg]) -> Result<(), Error> {
    let keys: Keys = legs.iter().flat_map(Leg::tags).map(|tag| key_of(&tag)).collect();
    boundary::enter(&keys, None)?;
    let first = positions(|| session, opened, legs.len())?;
    let ids: Vec<Uuid> = legs.iter().map(|_| Uuid::now_v7()).collect();
    let written = match legs {
        [leg] => append_one(session, first, ids[0], leg),
        legs => append_many(session, first, &ids, legs),
    };
    let written = written.map_err(|error| match error {
        Error::Server(error) if error.is("23505") => Error::LedgerStream { transactions: legs.len() },
        error => error,
    })?;
    if written < legs.len() {
        return Err(Error::Suppressed);
    }
    cqrs::appended(|| session, &ids)
}

fn append_one(session: &Session, first: Position, id: Uuid, leg: &Leg) -> Result<usize, Error> {
    let (event_type, data, [debit, credit]) = (leg.event_type(), leg.data(), leg.tags());
    let args = [
        Arg::BigInt(Some(first.0)),
        Arg::Uuid(Some(stream_of(leg.transaction))),
        Arg::Uuid(Some(id)),
        Arg::Text(Some(&event_type)),
        Arg::Text(Some(&data)),
        Arg::Timestamp(leg.effective_at),
        Arg::TextArray(&[Some(&debit), Some(&credit)]),
        Arg::Timestamp(Some(leg.created_at)),
        Arg::Text(Some(leg.created_by)),
    ];
    session.run(&APPEND_ONE, &args).map(|rows| rows.count())
}

fn given(texts: &[String]) -> Vec<Option<&str>> {
    texts.iter().map(|text| Some(text.as_str())).collect()
}

/// All of one caller.
fn append_many(session: &Session, first: Position, ids: &[Uuid], legs: &[Leg]) -> Result<usize, Error> {
    let places = Places::of(legs);
    let types: Vec<_> = legs.iter().map(Leg::event_type).collect();
    let data: Vec<_> = legs.iter().map(Leg::data).collect();
    let (debits, credits): (Vec<_>, Vec<_>) = legs.iter().map(|leg| leg.tags().into()).unzip();
    let effective: Vec<_> = legs.iter().map(|leg| leg.effective_at).collect();
    let created: Vec<_> = legs.iter().map(|leg| Some(leg.created_at)).collect();
    let args = [
        Arg::BigInt(Some(first.0)),
        Arg::UuidArray(&places.streams),
        Arg::IntArray(&places.versions),
        Arg::UuidArray(ids),
        Arg::TextArray(&given(&types)),
        Arg::TextArray(&given(&data)),
        Arg::TimestampArray(&effective),
        Arg::TextArray(&given(&debits)),
        Arg::TextArray(&given(&credits)),
        Arg::Text(legs.first().map(|leg| leg.created_by)),
        Arg::UuidArray(&places.opened),
        Arg::IntArray(&places.last),
        Arg::IntArray(&places.reached),
        Arg::TimestampArray(&created),
    ];
    session.run(&APPEND, &args).map(|rows| rows.count())
}

/// The last publication there is.
pub struct Publication {
    pub number: i32,
    pub state: State,
    pub stream: Uuid,
    pub accounts: i64,
    pub last_account: Uuid,
    /// Of what it has brought forward, the first and the last position.
    pub brought: Option<(i64, i64)>,
    pub opened: Option<i64>,
    pub closed: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Preparing,
    On,
    Off,
}

/// Waits for others who administer publishing.
pub fn lock_publications(session: &Session) -> Result<(), Error> {
    session.run(&LOCK_PUBLICATIONS, &[]).map(drop)
}

/// Waits for postings that are under way, and keeps new ones waiting until this transaction ends.
pub fn lock_movements(session: &Session) -> Result<(), Error> {
    session.run(&LOCK_MOVEMENTS, &[]).map(drop)
}

/// As it is now, whatever the transaction's snapshot shows.
pub fn last(session: &Session) -> Result<Option<Publication>, Error> {
    let row = session.run_latest(&LAST, &[])?.first();
    Ok(row.map(|row| Publication {
        number: row.int(1).expect(PRESENT),
        state: match row.text(2).expect(PRESENT).as_str() {
            "preparing" => State::Preparing,
            "on" => State::On,
            _ => State::Off,
        },
        stream: row.uuid(3).expect(PRESENT),
        accounts: row.bigint(4).expect(PRESENT),
        last_account: row.uuid(5).unwrap_or(Uuid::nil()),
        brought: row.bigint(6).zip(row.bigint(7)),
        opened: row.bigint(8),
        closed: row.bigint(9),
    }))
}

pub fn begin(session: &Session, number: i32, stream: Uuid, caller: &str) -> Result<(), Error> {
    let args = [Arg::Int(Some(number)), Arg::Uuid(Some(stream)), Arg::Text(Some(caller))];
    session.run(&BEGIN, &args).map(drop)
}

/// The first of `count` positions above all that were given out before, in whichever transaction.
pub fn youngest(session: &Session, count: usize) -> Result<Position, Error> {
    let now = undoable(|| Ok(Some(server::own_transaction())))?;
    let floor = session.one(&FLOOR, &[Arg::BigInt(now)], |row| row.bigint(1).expect(PRESENT))?;
    // What this transaction has in hand is below the floor, so it gets a range that is younger still.
    positions(|| session, Position(floor.unwrap_or_default()), count)
}

/// Writes what the next accounts after `after` hold, up to `most` of them, to a stream of its own; how many they were and
/// the last of them. Those that were brought forward with what they still hold are left out.
pub fn bring_forward(
    session: &Session,
    publication: &Publication,
    after: Uuid,
    most: usize,
    first: Position,
    compare: bool,
    caller: &str,
) -> Result<Option<(i64, Uuid)>, Error> {
    let (from, to) = publication.brought.filter(|_| compare).unwrap_or((1, 0));
    let args = [
        Arg::Uuid(Some(Uuid::now_v7())),
        Arg::BigInt(Some(first.0)),
        Arg::Uuid(Some(after)),
        Arg::BigInt(Some(most as i64)),
        Arg::Int(Some(publication.number)),
        Arg::BigInt(Some(from)),
        Arg::BigInt(Some(to)),
        Arg::Text(Some(caller)),
    ];
    let _plans = HashedPlans::prefer();
    let row = session.run_latest(&BRING_FORWARD, &args)?.first();
    Ok(row.and_then(|row| row.bigint(1).zip(row.uuid(2))))
}

/// So far it has come.
pub fn advance(
    session: &Session,
    publication: &mut Publication,
    count: i64,
    last: Uuid,
    first: Position,
) -> Result<(), Error> {
    let reached = first.0 + count - 1;
    let args = [
        Arg::Int(Some(publication.number)),
        Arg::BigInt(Some(count)),
        Arg::Uuid(Some(last)),
        Arg::BigInt(Some(first.0)),
        Arg::BigInt(Some(reached)),
    ];
    session.run(&ADVANCE, &args)?;
    publication.accounts += count;
    publication.last_account = last;
    Ok(())
}

/// Writes what the publication has come to, at that position, and the event that says so.
pub fn mark(
    session: &Session,
    publication: &Publication,
    state: State,
    at: Position,
    caller: &str,
) -> Result<(), Error> {
    let (statement, version, event_type) = match state {
        State::On => (&OPEN, 1, "PublicationOpened"),
        _ => (&CLOSE, 2, "PublicationClosed"),
    };
    let (number, caller) = (Arg::Int(Some(publication.number)), Arg::Text(Some(caller)));
    let position = Arg::BigInt(Some(at.0));
    let marked = [
        Arg::Uuid(Some(publication.stream)),
        Arg::Int(Some(version)),
        position,
        Arg::Uuid(Some(Uuid::now_v7())),
        caller,
        Arg::Text(Some(event_type)),
        number,
        Arg::BigInt(Some(publication.accounts)),
    ];
    if session.run(&MARK, &marked)?.count() == 0 {
        return Err(Error::EventSuppressed { aggregate: publication.stream });
    }
    session.run(statement, &[number, position, caller])?;
    announce()
}
