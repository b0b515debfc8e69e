//! Handing in a batch: its shape is checked and its items are stored, set by set.

use super::core::check_items;
use crate::error::Error;
use crate::pg::{Arg, JsonDatum, Session, Statement, Type};
use crate::txn_processing::bounds::{bounded_text, given_text};
use crate::txn_processing::engine::Desk;
use crate::txn_processing::store::acknowledge_again;
use uuid::Uuid;

const MAX_KEY: usize = 100;
const MAX_TEXT: usize = 1_000;

static LENGTH: Statement = Statement::new(
    c"SELECT CASE jsonb_typeof($1) WHEN 'array' THEN jsonb_array_length($1)::bigint END",
    &[Type::Jsonb],
);

// The first item with a fault, which key of it, and what is wrong. Whether accounts exist and can be debited is asked
// when the item is posted; here it is asked whether the item says what to post.
static FAULT: Statement = Statement::new(
    c"SELECT f.ordinality, f.fault[1], f.fault[2]
      FROM (
          SELECT e.ordinality, CASE
              WHEN jsonb_typeof(e.item) <> 'object' THEN ARRAY['', 'It is not an object']
              WHEN e.item - '{from_account,to_account,counterparty_bank,counterparty_account,amount,currency,reference,description,external_id}'::text[] <> '{}'
                  THEN ARRAY[(SELECT min(k) FROM jsonb_object_keys(e.item - '{from_account,to_account,counterparty_bank,counterparty_account,amount,currency,reference,description,external_id}'::text[]) k),
                             'There is no such key']
              WHEN e.item ->> 'from_account' IS NULL THEN ARRAY['from_account', 'It is missing']
              WHEN e.item ->> 'from_account' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                  THEN ARRAY['from_account', 'It is not a uuid']
              WHEN e.item ->> 'to_account' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                  THEN ARRAY['to_account', 'It is not a uuid']
              WHEN (e.item ->> 'to_account' IS NULL) = (e.item ->> 'counterparty_bank' IS NULL)
                  THEN ARRAY['to_account', 'An item has either to_account or counterparty_bank']
              WHEN (e.item ->> 'counterparty_account' IS NULL) <> (e.item ->> 'counterparty_bank' IS NULL)
                  THEN ARRAY['counterparty_account', 'An item has counterparty_bank and counterparty_account, or neither']
              WHEN e.item ->> 'amount' IS NULL THEN ARRAY['amount', 'It is missing']
              WHEN jsonb_typeof(e.item -> 'amount') <> 'number'
                   AND e.item ->> 'amount' !~ '^[0-9]{1,20}([.][0-9]{1,20})?$' THEN ARRAY['amount', 'It is not a number']
              WHEN (e.item ->> 'amount')::numeric <= 0 THEN ARRAY['amount', 'It must be above zero']
              WHEN (e.item ->> 'amount')::numeric > 1e18 THEN ARRAY['amount', 'It is above 10^18']
              WHEN scale(trim_scale((e.item ->> 'amount')::numeric)) > 4
                  THEN ARRAY['amount', 'It has more decimals than any currency']
              WHEN e.item ->> 'currency' !~ '^[A-Z]{3}$' THEN ARRAY['currency', 'It is not three capital letters']
              WHEN btrim(e.item ->> 'counterparty_bank') = '' OR length(e.item ->> 'counterparty_bank') > 50
                  THEN ARRAY['counterparty_bank', 'It must have 1 to 50 characters']
              WHEN e.item ->> 'counterparty_bank' = 'unassigned'
                  THEN ARRAY['counterparty_bank', 'The word stands in reports for payments that name no bank']
              WHEN btrim(e.item ->> 'counterparty_account') = '' OR length(e.item ->> 'counterparty_account') > 50
                  THEN ARRAY['counterparty_account', 'It must have 1 to 50 characters']
              WHEN length(e.item ->> 'reference') > 50 THEN ARRAY['reference', 'It has more than 50 characters']
              WHEN length(e.item ->> 'description') > 1000 THEN ARRAY['description', 'It has more than 1000 characters']
              WHEN length(e.item ->> 'external_id') > 100 THEN ARRAY['external_id', 'It has more than 100 characters']
          END AS fault
          FROM jsonb_array_elements($1) WITH ORDINALITY e(item, ordinality)
      ) f
      WHERE f.fault IS NOT NULL
      ORDER BY f.ordinality
      LIMIT 1",
    &[Type::Jsonb],
);

static DOUBLE: Statement = Statement::new(
    c"SELECT n.ordinality, 'external_id', 'It is that of an item before it'
      FROM (
          SELECT e.ordinality, row_number() OVER (PARTITION BY e.item ->> 'external_id' ORDER BY e.ordinality) AS nth
          FROM jsonb_array_elements($1) WITH ORDINALITY e(item, ordinality)
          WHERE e.item ->> 'external_id' IS NOT NULL
      ) n
      WHERE n.nth > 1
      ORDER BY n.ordinality
      LIMIT 1",
    &[Type::Jsonb],
);

// Over values, not over how they were written: 10 and 10.00 are the same amount, and an id has no capitals.
static INSERT_BATCH: Statement = Statement::new(
    c"WITH content AS (
          SELECT sha256(convert_to(coalesce($5, '') || E'\\n' || string_agg(
                     jsonb_build_array(
                         (e.item ->> 'from_account')::uuid, (e.item ->> 'to_account')::uuid,
                         e.item ->> 'counterparty_bank', e.item ->> 'counterparty_account',
                         trim_scale((e.item ->> 'amount')::numeric), e.item ->> 'currency', e.item ->> 'reference',
                         e.item ->> 'description', e.item ->> 'external_id')::text,
                     E'\\n' ORDER BY e.ordinality), 'UTF8')) AS digest
          FROM jsonb_array_elements($1) WITH ORDINALITY e(item, ordinality)
      ), made AS (
          INSERT INTO txn_processing.payment_batches
              (batch_id, items, idempotency_key, content_digest, requested_by, description)
          SELECT $2, $3, $4, c.digest, $6, $5 FROM content c
          ON CONFLICT (idempotency_key) DO NOTHING
          RETURNING batch_id
      )
      SELECT (SELECT batch_id FROM made), encode(digest, 'hex') FROM content",
    &[Type::Jsonb, Type::Uuid, Type::Int, Type::Text, Type::Text, Type::Text],
);

static EARLIER: Statement = Statement::new(
    c"SELECT batch_id, content_digest = decode($2, 'hex')
      FROM txn_processing.payment_batches
      WHERE idempotency_key = $1",
    &[Type::Text, Type::Text],
);

static INSERT_ITEMS: Statement = Statement::new(
    c"INSERT INTO txn_processing.payment_batch_items
          (batch_id, transaction_id, from_account, to_account, item_no, amount, currency_code, counterparty_bank,
           counterparty_account, reference, description, external_id)
      SELECT $2, neobank.uuid_v7(), i.from_account, (i.item ->> 'to_account')::uuid, i.ordinality,
             CASE WHEN scale(i.amount) <= c.exponent THEN round(i.amount, c.exponent) ELSE i.amount END,
             coalesce(i.item ->> 'currency', a.currency_code, 'XXX'), i.item ->> 'counterparty_bank',
             i.item ->> 'counterparty_account', i.item ->> 'reference', i.item ->> 'description',
             i.item ->> 'external_id'
      FROM (
          SELECT e.item, e.ordinality, (e.item ->> 'from_account')::uuid AS from_account,
                 trim_scale((e.item ->> 'amount')::numeric) AS amount
          FROM jsonb_array_elements($1) WITH ORDINALITY e(item, ordinality)
      ) i
      LEFT JOIN banking.accounts a ON a.account_id = i.from_account
      LEFT JOIN banking.currencies c ON c.currency_code = coalesce(i.item ->> 'currency', a.currency_code)::char(3)",
    &[Type::Jsonb, Type::Uuid],
);

static INSERT_TOTALS: Statement = Statement::new(
    c"INSERT INTO txn_processing.payment_batch_totals (batch_id, items, currency_code, amount)
      SELECT batch_id, count(*), currency_code, sum(amount)
      FROM txn_processing.payment_batch_items
      WHERE batch_id = $1
      GROUP BY batch_id, currency_code",
    &[Type::Uuid],
);

fn check_shape(session: &Session, items: JsonDatum) -> Result<i32, Error> {
    let json = Arg::Jsonb(Some(items));
    let length = session.run(&LENGTH, &[json])?.first().and_then(|row| row.bigint(1));
    let length = check_items(length)?;
    for check in [&FAULT, &DOUBLE] {
        if let Some(row) = session.run(check, &[json])?.first() {
            let present = "a fault names its item, its key and what is wrong";
            return Err(Error::BatchItem {
                item: row.bigint(1).expect(present),
                key: row.text(2).expect(present),
                why: row.text(3).expect(present),
            });
        }
    }
    Ok(length)
}

/// Stores the batch, or finds the one that was handed in with the same key and content.
pub fn create(desk: &Desk, items: JsonDatum, key: &str, description: Option<&str>) -> Result<Uuid, Error> {
    given_text("idempotency_key", key, MAX_KEY)?;
    bounded_text("description", description, MAX_TEXT)?;
    let session = desk.session();
    let length = check_shape(session, items)?;
    let batch = Uuid::now_v7();
    let (json, id) = (Arg::Jsonb(Some(items)), Arg::Uuid(Some(batch)));
    let row = session
        .run(
            &INSERT_BATCH,
            &[
                json,
                id,
                Arg::Int(Some(length)),
                Arg::Text(Some(key)),
                Arg::Text(description),
                Arg::Text(Some(&desk.caller)),
            ],
        )?
        .first()
        .expect("content is one row");
    if row.uuid(1).is_some() {
        session.run(&INSERT_ITEMS, &[json, id])?;
        session.run(&INSERT_TOTALS, &[id])?;
        return Ok(batch);
    }
    let digest = row.text(2).expect("sha256 of a text");
    let first = session.run(&EARLIER, &[Arg::Text(Some(key)), Arg::Text(Some(&digest))])?.first();
    match first.and_then(|row| row.uuid(1).zip(row.bool(2))) {
        Some((first, true)) => acknowledge_again(session).map(|()| first),
        _ => Err(Error::BatchKeyConflict { key: key.to_owned() }),
    }
}
