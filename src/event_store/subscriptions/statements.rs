//! The statements of a fetch.

use super::store::{event_columns, passes};
use crate::pg::spi::c_text;
use crate::pg::{Statement, Type};

// The try of a lock of its own keeps two sessions of one consumer's name from waiting for each other. Should a name's
// hash be taken by another, it is noted another time.
pub static FIRST_SEEN: Statement = Statement::new(
    c"INSERT INTO event_store.subscription_consumers (subscription, consumer, seen_at)
      SELECT $1, $2, $3
      WHERE pg_catalog.pg_try_advisory_xact_lock(
          'event_store.subscription_consumers'::pg_catalog.regclass::oid::int, pg_catalog.hashtext($1 || ' ' || $2))
      ON CONFLICT DO NOTHING",
    &[Type::Text, Type::Text, Type::Timestamp],
);

pub static SEEN_AGAIN: Statement = Statement::new(
    c"UPDATE event_store.subscription_consumers c
      SET seen_at = $3
      FROM (SELECT n.ctid FROM event_store.subscription_consumers n
            WHERE n.subscription = $1 AND n.consumer = $2 FOR NO KEY UPDATE SKIP LOCKED) n
      WHERE c.ctid = n.ctid
      RETURNING true",
    &[Type::Text, Type::Text, Type::Timestamp],
);

pub static FORGET_LEASES: Statement = Statement::new(
    c"DELETE FROM event_store.subscription_leases l
      USING (SELECT o.lease_token FROM event_store.subscription_leases o
             WHERE o.subscription = $1 AND o.lease_token < $2 AND o.done
             ORDER BY o.lease_token LIMIT 200 FOR UPDATE SKIP LOCKED) o
      WHERE l.subscription = $1 AND l.lease_token = o.lease_token",
    &[Type::Text, Type::BigInt],
);

pub static FORGET_CONSUMERS: Statement = Statement::new(
    c"DELETE FROM event_store.subscription_consumers c
      USING (SELECT o.consumer FROM event_store.subscription_consumers o
             WHERE o.subscription = $1 AND o.seen_at < $2 LIMIT 200 FOR UPDATE SKIP LOCKED) o
      WHERE c.subscription = $1 AND c.consumer = o.consumer",
    &[Type::Text, Type::Timestamp],
);

// $4: whether only a stream whose next event is to be alone.
pub static DUE: Statement = Statement::new(
    c"SELECT h.aggregate_id, h.next_version, h.attempts, h.failed_version, p.position
      FROM event_store.subscription_streams h
      JOIN event_store.subscription_partitions p
        ON p.subscription = h.subscription AND p.partition_no = h.partition_no
      WHERE h.subscription = $1 AND h.lease_token IS NULL AND NOT h.blocked AND h.alone = ($4 = 1) AND h.retry_at <= $2
      ORDER BY h.retry_at LIMIT $3 FOR NO KEY UPDATE OF h SKIP LOCKED",
    &[Type::Text, Type::Timestamp, Type::Int, Type::Int],
);

const REPLAY_SQL: &str = concat!(
    "SELECT ",
    event_columns!(),
    "FROM event_store.subscription_parked k JOIN event_store.events e ON e.global_position = k.global_position \
     WHERE k.subscription = $1 AND k.aggregate_id = $2 AND k.replaying ORDER BY k.event_version LIMIT 1\0"
);
pub static REPLAY: Statement = Statement::new(c_text(REPLAY_SQL), &[Type::Text, Type::Uuid]);

const PENDING_SQL: &str = concat!(
    "SELECT ",
    event_columns!(),
    "FROM (SELECT * FROM event_store.events a \
           WHERE a.aggregate_id = $1 AND a.event_version >= $2 AND a.global_position <= $3 \
           ORDER BY a.event_version LIMIT $5) e WHERE ",
    passes!("$6", "$7", "$8"),
    " ORDER BY e.event_version LIMIT $4\0"
);
pub static PENDING: Statement = Statement::new(
    c_text(PENDING_SQL),
    &[
        Type::Uuid,
        Type::Int,
        Type::BigInt,
        Type::BigInt,
        Type::BigInt,
        Type::TextArray,
        Type::TextArray,
        Type::TextArray,
    ],
);

pub static PENDING_END: Statement = Statement::new(
    c"SELECT max(a.event_version), count(*) FROM (
          SELECT e.event_version FROM event_store.events e
          WHERE e.aggregate_id = $1 AND e.event_version >= $2 AND e.global_position <= $3
          ORDER BY e.event_version LIMIT $4) a",
    &[Type::Uuid, Type::Int, Type::BigInt, Type::BigInt],
);

pub static TAKE_STREAMS: Statement = Statement::new(
    c"UPDATE event_store.subscription_streams
      SET lease_token = $3 WHERE subscription = $1 AND aggregate_id = ANY ($2)",
    &[Type::Text, Type::UuidArray, Type::BigInt],
);

pub static REST_STREAM: Statement = Statement::new(
    c"UPDATE event_store.subscription_streams
      SET next_version = greatest(next_version, $3), retry_at = $4, alone = false
      WHERE subscription = $1 AND aggregate_id = $2",
    &[Type::Text, Type::Uuid, Type::Int, Type::Timestamp],
);

pub static CLAIM: Statement = Statement::new(
    c"SELECT p.partition_no, p.position FROM event_store.subscription_partitions p
      WHERE p.subscription = $1 AND p.lease_token IS NULL AND p.partition_no <> ALL ($2)
      ORDER BY p.position, p.partition_no LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
    &[Type::Text, Type::IntArray, Type::Int],
);

// Streams that have caught up go back to their partition, which this fetch holds.
const REJOIN_SQL: &str = concat!(
    "DELETE FROM event_store.subscription_streams d \
     USING (SELECT h.aggregate_id FROM event_store.subscription_streams h \
            JOIN event_store.subscription_partitions p \
              ON p.subscription = h.subscription AND p.partition_no = h.partition_no \
            WHERE h.subscription = $1 AND h.partition_no = ANY ($2) AND h.lease_token IS NULL AND NOT h.blocked \
              AND h.attempts = 0 \
              AND NOT EXISTS (SELECT FROM event_store.subscription_parked k \
                              WHERE k.subscription = h.subscription AND k.aggregate_id = h.aggregate_id AND k.replaying) \
              AND NOT EXISTS (SELECT FROM event_store.events e \
                              WHERE e.aggregate_id = h.aggregate_id AND e.event_version >= h.next_version \
                                AND e.global_position <= p.position AND ",
    passes!("$3", "$4", "$5"),
    ") LIMIT 1000 FOR UPDATE OF h SKIP LOCKED) h \
     WHERE d.subscription = $1 AND d.aggregate_id = h.aggregate_id\0"
);
pub static REJOIN: Statement = Statement::new(
    c_text(REJOIN_SQL),
    &[Type::Text, Type::IntArray, Type::TextArray, Type::TextArray, Type::TextArray],
);

// A parked event of a stream that has gone on takes the stream out of its partition while it is replayed.
pub static LEAVE: Statement = Statement::new(
    c"INSERT INTO event_store.subscription_streams
          (subscription, aggregate_id, partition_no, next_version, attempts, retry_at)
      SELECT k.subscription, k.aggregate_id, k.partition_no,
             coalesce((SELECT max(e.event_version) FROM event_store.events e
                       WHERE e.aggregate_id = k.aggregate_id AND e.global_position <= p.position), 0) + 1, 0, $3
      FROM (SELECT DISTINCT r.subscription, r.aggregate_id, r.partition_no FROM event_store.subscription_parked r
            WHERE r.subscription = $1 AND r.partition_no = ANY ($2) AND r.replaying) k
      JOIN event_store.subscription_partitions p
        ON p.subscription = k.subscription AND p.partition_no = k.partition_no
      WHERE NOT EXISTS (SELECT FROM event_store.subscription_streams h
                        WHERE h.subscription = k.subscription AND h.aggregate_id = k.aggregate_id)
      LIMIT 1000
      ON CONFLICT DO NOTHING",
    &[Type::Text, Type::IntArray, Type::Timestamp],
);

// $6: the position of each partition, null where it is not ours; $7: whether all are ours and at $2. Which streams are
// apart from their partition is asked here and not before: until the partition was locked it could change.
const SCAN_SQL: &str = concat!(
    "SELECT ",
    event_columns!(),
    "FROM (SELECT * FROM event_store.events a WHERE a.global_position > $2 AND a.global_position < $3 \
           ORDER BY a.global_position LIMIT $4) e WHERE ",
    passes!("$8", "$9", "$10"),
    " AND ($7 = 1 OR e.global_position > \
           ($6)[event_store.stream_partition(e.aggregate_id, pg_catalog.cardinality($6)) + 1]) \
      AND (NOT EXISTS (SELECT FROM event_store.subscription_streams h WHERE h.subscription = $1) \
           OR NOT EXISTS (SELECT FROM event_store.subscription_streams h \
                          WHERE h.subscription = $1 AND h.aggregate_id = e.aggregate_id)) \
     ORDER BY e.global_position LIMIT $5\0"
);
pub static SCAN: Statement = Statement::new(
    c_text(SCAN_SQL),
    &[
        Type::Text,
        Type::BigInt,
        Type::BigInt,
        Type::BigInt,
        Type::BigInt,
        Type::BigIntArray,
        Type::Int,
        Type::TextArray,
        Type::TextArray,
        Type::TextArray,
    ],
);

pub static SCAN_END: Statement = Statement::new(
    c"SELECT max(a.global_position), count(*) FROM (
          SELECT e.global_position FROM event_store.events e
          WHERE e.global_position > $1 AND e.global_position < $2
          ORDER BY e.global_position LIMIT $3) a",
    &[Type::BigInt, Type::BigInt, Type::BigInt],
);

pub static ADVANCE: Statement = Statement::new(
    c"UPDATE event_store.subscription_partitions
      SET position = $3, lease_token = CASE WHEN partition_no = ANY ($4) THEN $5 END
      WHERE subscription = $1 AND partition_no = ANY ($2) AND position < $3",
    &[Type::Text, Type::IntArray, Type::BigInt, Type::IntArray, Type::BigInt],
);

pub static TOKEN: Statement =
    Statement::new(c"SELECT pg_catalog.nextval('event_store.lease_token_seq'::pg_catalog.regclass)", &[]);

pub static LEASE: Statement = Statement::new(
    c"INSERT INTO event_store.subscription_leases
          (subscription, lease_token, consumer, leased_until, taken_at, taken_in, open_positions)
      VALUES ($1, $2, $3, $4, $5, pg_catalog.pg_current_xact_id(), $6)",
    &[Type::Text, Type::BigInt, Type::Text, Type::Timestamp, Type::Timestamp, Type::BigIntArray],
);
