-- Two arms, not one join over both sides: a condition on account_id then reaches the index of each side.
CREATE VIEW txn_processing.ledger AS
SELECT
    pg_catalog.md5(m.transaction_id::text || m.leg || 'debit')::uuid AS ledger_id,
    m.transaction_id,
    m.debit_account AS account_id,
    'debit'::varchar(10) AS entry_type,
    m.amount,
    m.currency_code,
    CASE WHEN m.debit_sequence < 1::bigint << 48 THEN m.debit_balance END AS running_balance,
    m.transaction_type,
    (CASE
        WHEN r.transaction_id IS NOT NULL THEN 'reversed'
        WHEN EXISTS (SELECT FROM txn_processing.disputes d WHERE d.transaction_id = m.transaction_id AND d.state = 'open')
            THEN 'disputed'
        ELSE 'completed'
    END)::txn_processing.txn_status AS status,
    coalesce(m.reference, txn_processing.generated_reference(m.transaction_id, m.transaction_type = 'reversal', m.created_at)) AS reference_number,
    CASE
        WHEN m.transaction_type = 'reversal' THEN 'Reversal: ' || m.description
        WHEN m.description IS NULL AND m.transaction_type = 'transfer' THEN 'Transfer to ' || other.account_number
        ELSE m.description
    END AS description,
    coalesce(m.metadata, '{}') || CASE m.transaction_type
        WHEN 'transfer' THEN pg_catalog.jsonb_build_object('to_account', m.credit_account)
        WHEN 'reversal' THEN pg_catalog.jsonb_build_object('original_txn', m.reverses, 'reason', m.description)
        WHEN 'refund' THEN pg_catalog.jsonb_build_object('original_txn', m.reverses)
        ELSE '{}'
    END AS metadata,
    m.created_at,
    m.created_at AS processed_at,
    r.created_at AS reversed_at,
    r.transaction_id AS reversed_by,
    m.leg,
    m.debit_sequence AS sequence,
    coalesce(m.effective_at, m.created_at) AS effective_at,
    m.created_by,
    m.tenant_no,
    m.credit_account AS counterparty
FROM txn_processing.movements m
LEFT JOIN txn_processing.movements r
    ON r.reverses = m.transaction_id AND r.leg = m.leg AND r.tenant_no = m.tenant_no AND r.transaction_type = 'reversal'
LEFT JOIN banking.accounts other ON other.account_id = m.credit_account
UNION ALL
SELECT
    pg_catalog.md5(m.transaction_id::text || m.leg || 'credit')::uuid,
    m.transaction_id,
    m.credit_account,
    'credit'::varchar(10),
    m.amount,
    m.currency_code,
    CASE WHEN m.credit_sequence < 1::bigint << 48 THEN m.credit_balance END,
    m.transaction_type,
    (CASE
        WHEN r.transaction_id IS NOT NULL THEN 'reversed'
        WHEN EXISTS (SELECT FROM txn_processing.disputes d WHERE d.transaction_id = m.transaction_id AND d.state = 'open')
            THEN 'disputed'
        ELSE 'completed'
    END)::txn_processing.txn_status,
    coalesce(m.reference, txn_processing.generated_reference(m.transaction_id, m.transaction_type = 'reversal', m.created_at)),
    CASE
        WHEN m.transaction_type = 'reversal' THEN 'Reversal: ' || m.description
        WHEN m.description IS NULL AND m.transaction_type = 'transfer' THEN 'Transfer from ' || other.account_number
        ELSE m.description
    END,
    coalesce(m.metadata, '{}') || CASE m.transaction_type
        WHEN 'transfer' THEN pg_catalog.jsonb_build_object('from_account', m.debit_account)
        WHEN 'reversal' THEN pg_catalog.jsonb_build_object('original_txn', m.reverses, 'reason', m.description)
        WHEN 'refund' THEN pg_catalog.jsonb_build_object('original_txn', m.reverses)
        ELSE '{}'
    END,
    m.created_at,
    m.created_at,
    r.created_at,
    r.transaction_id,
    m.leg,
    m.credit_sequence,
    coalesce(m.effective_at, m.created_at),
    m.created_by,
    m.tenant_no,
    m.debit_account
FROM txn_processing.movements m
LEFT JOIN txn_processing.movements r
    ON r.reverses = m.transaction_id AND r.leg = m.leg AND r.tenant_no = m.tenant_no AND r.transaction_type = 'reversal'
LEFT JOIN banking.accounts other ON other.account_id = m.debit_account;
REVOKE ALL ON txn_processing.ledger FROM PUBLIC;
COMMENT ON VIEW txn_processing.ledger IS
    'The ledger as two entries per leg, a debit and a credit, each with its account''s running balance (null where the account''s balance was spread over slots). Status is derived: reversed once a reversal points back, else disputed while a dispute is open.';

CREATE VIEW banking.transactions AS
SELECT
    l.transaction_id,
    l.account_id,
    l.entry_type AS transaction_type,
    l.amount,
    l.currency_code,
    l.running_balance,
    l.description,
    l.reference_number,
    l.effective_at AS transaction_date,
    l.created_at,
    l.status,
    l.transaction_type AS posting_type,
    l.sequence,
    l.metadata
FROM txn_processing.ledger l;
REVOKE ALL ON banking.transactions FROM PUBLIC;
COMMENT ON VIEW banking.transactions IS
    'The ledger from each account''s side; transaction_type is ''debit'' or ''credit'', transaction_date the effective time.';

CREATE FUNCTION txn_processing.transaction(transaction_id uuid)
RETURNS TABLE (
    leg smallint,
    transaction_type txn_processing.txn_type,
    debit_account uuid,
    credit_account uuid,
    amount numeric,
    currency_code char(3),
    debit_balance numeric,
    credit_balance numeric,
    reference_number varchar(50),
    description text,
    metadata jsonb,
    status txn_processing.txn_status,
    reverses uuid,
    effective_at timestamptz,
    created_at timestamptz,
    created_by text
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT
        m.leg, m.transaction_type, m.debit_account, m.credit_account, m.amount, m.currency_code,
        CASE WHEN m.debit_sequence < 1::bigint << 48 THEN m.debit_balance END,
        CASE WHEN m.credit_sequence < 1::bigint << 48 THEN m.credit_balance END,
        coalesce(m.reference, txn_processing.generated_reference(m.transaction_id, m.transaction_type = 'reversal', m.created_at)),
        m.description, m.metadata,
        (CASE
        WHEN r.transaction_id IS NOT NULL THEN 'reversed'
        WHEN EXISTS (SELECT FROM txn_processing.disputes d WHERE d.transaction_id = m.transaction_id AND d.state = 'open')
            THEN 'disputed'
        ELSE 'completed'
    END)::txn_processing.txn_status,
        m.reverses, coalesce(m.effective_at, m.created_at), m.created_at, m.created_by
    FROM txn_processing.movements m
    LEFT JOIN txn_processing.movements r
        ON r.reverses = m.transaction_id AND r.leg = m.leg AND r.tenant_no = m.tenant_no AND r.transaction_type = 'reversal'
    WHERE m.transaction_id = $1
    ORDER BY m.leg;
END;
REVOKE ALL ON FUNCTION txn_processing.transaction(uuid) FROM PUBLIC;
COMMENT ON FUNCTION txn_processing.transaction(uuid) IS
    'transaction_id: the posting to show. All its legs in order, with accounts, balances after (null for a slotted account), texts and status; no row for an unknown id.';

CREATE FUNCTION txn_processing.trial_balance(at timestamptz DEFAULT NULL)
RETURNS TABLE (
    currency_code char(3),
    account_type varchar(30),
    account_class text,
    accounts bigint,
    debits numeric,
    credits numeric,
    tenant_no integer
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Each side is added up where it is read, so that parallel workers share both the reading and the adding.
    WITH sides AS (
        SELECT m.debit_account AS account_id, pg_catalog.sum(m.amount) AS net_debit
        FROM txn_processing.movements m
        WHERE $1 IS NOT NULL AND coalesce(m.effective_at, m.created_at) <= $1
        GROUP BY m.debit_account
        UNION ALL
        SELECT m.credit_account, -pg_catalog.sum(m.amount)
        FROM txn_processing.movements m
        WHERE $1 IS NOT NULL AND coalesce(m.effective_at, m.created_at) <= $1
        GROUP BY m.credit_account
    ), history AS (
        SELECT s.account_id, pg_catalog.sum(s.net_debit) AS net_debit FROM sides s GROUP BY s.account_id
    ), position AS (
        SELECT
            a.tenant_no, a.currency_code, a.account_type,
            CASE
                WHEN $1 IS NOT NULL THEN coalesce(h.net_debit, 0)
                WHEN a.normal_side = 'D' THEN a.current_balance
                ELSE -a.current_balance
            END AS net_debit
        FROM banking.account_balances a
        LEFT JOIN history h ON h.account_id = a.account_id
    )
    SELECT
        p.currency_code, p.account_type, t.account_class, pg_catalog.count(*),
        pg_catalog.sum(greatest(p.net_debit, 0)), pg_catalog.sum(greatest(-p.net_debit, 0)), p.tenant_no
    FROM position p
    JOIN banking.account_types t ON t.account_type = p.account_type
    GROUP BY p.tenant_no, p.currency_code, p.account_type, t.account_class
    ORDER BY p.tenant_no, p.currency_code, t.account_class, p.account_type;
END;
REVOKE ALL ON FUNCTION txn_processing.trial_balance(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION txn_processing.trial_balance(timestamptz) IS
    'at: effective time, inclusive; null: now, from the balances that the accounts carry. Net balances by tenant, currency and account type, each on its side; debits equal credits per currency, or money was made or lost.';

CREATE FUNCTION txn_processing.daily_reconciliation(p_date date DEFAULT CURRENT_DATE)
RETURNS TABLE (
    account_id uuid,
    account_number varchar(50),
    ledger_balance numeric,
    account_balance numeric,
    difference numeric,
    status text
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Both sides at the same instant: what the ledger adds up to until then, and what the account carries now less
    -- what the ledger added since. Debits and credits are added up where they are read, so that parallel workers share
    -- both the reading and the adding; the day's end is worked out once, not per posting.
    WITH day AS (
        -- No posting is as late as the latest day that a timestamp can have, and the day after that is none.
        SELECT (least(coalesce(p_date, CURRENT_DATE), DATE '9999-12-31') + 1)::timestamptz AS ends
    ), sides AS (
        SELECT
            m.credit_account AS account_id,
            pg_catalog.sum(m.amount) AS total,
            pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d)) AS since
        FROM txn_processing.movements m
        GROUP BY m.credit_account
        UNION ALL
        SELECT
            m.debit_account,
            -pg_catalog.sum(m.amount),
            -pg_catalog.sum(m.amount) FILTER (WHERE coalesce(m.effective_at, m.created_at) >= (SELECT d.ends FROM day d))
        FROM txn_processing.movements m
        GROUP BY m.debit_account
    ), sums AS (
        SELECT s.account_id, pg_catalog.sum(s.total) AS total, coalesce(pg_catalog.sum(s.since), 0) AS since
        FROM sides s
        GROUP BY s.account_id
    ), slots AS (
        SELECT t.account_id, pg_catalog.sum(t.balance) AS balance FROM banking.account_slots t GROUP BY t.account_id
    ), carried AS (
        SELECT
            a.account_id, a.account_number, a.normal_side,
            CASE WHEN a.slots > 0 THEN t.balance ELSE a.current_balance END AS balance
        FROM banking.accounts a
        LEFT JOIN slots t ON t.account_id = a.account_id
    ), balances AS (
        -- FULL: postings on an account that is not there are a discrepancy too.
        SELECT
            coalesce(a.account_id, s.account_id) AS account_id, a.account_number,
            CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * (coalesce(s.total, 0) - coalesce(s.since, 0)) AS ledger_balance,
            coalesce(a.balance, 0) - CASE a.normal_side WHEN 'D' THEN -1 ELSE 1 END * coalesce(s.since, 0) AS account_balance
        FROM carried a
        FULL JOIN sums s ON s.account_id = a.account_id
    )
    SELECT
        b.account_id, b.account_number, b.ledger_balance, b.account_balance, b.ledger_balance - b.account_balance,
        CASE WHEN b.ledger_balance = b.account_balance THEN 'Balanced' ELSE 'Discrepancy' END
    FROM balances b
    ORDER BY pg_catalog.abs(b.ledger_balance - b.account_balance) DESC, b.account_number, b.account_id;
END;
REVOKE ALL ON FUNCTION txn_processing.daily_reconciliation(date) FROM PUBLIC;
COMMENT ON FUNCTION txn_processing.daily_reconciliation(date) IS
    'p_date: the day, null for today, at whose end (in the session''s time zone) every account''s balance is held against the sum of its postings, by effective time. Discrepancies first, those of postings on an account that is not there with account_number null; an honest ledger has none. Reads all postings.';
