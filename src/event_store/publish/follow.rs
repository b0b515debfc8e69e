//! What hangs on appends hangs on those of a publication too: what it brings forward, its beginning and its end.

use crate::cqrs;
use crate::error::Error;
use crate::event_store::position::Position;
use crate::pg::{Arg, PRESENT, Session, Statement, Type};
use uuid::Uuid;

/// Events that are handed on in one go.
const PAGE: i64 = 1_000;

static WRITTEN: Statement = Statement::new(
    c"SELECT e.event_id FROM event_store.events e
      WHERE e.global_position >= $1 AND e.global_position < $2 ORDER BY e.global_position",
    &[Type::BigInt, Type::BigInt],
);

/// Hands on the events of these positions, which the transaction has just written.
pub fn appended(session: &Session, first: Position, count: i64) -> Result<(), Error> {
    let end = first.0 + count;
    let mut from = first.0;
    while from < end && cqrs::is_followed()? {
        let to = end.min(from + PAGE);
        let rows = session.run(&WRITTEN, &[Arg::BigInt(Some(from)), Arg::BigInt(Some(to))])?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.uuid(1).expect(PRESENT)).collect();
        cqrs::appended(|| session, &ids)?;
        from = to;
    }
    Ok(())
}
