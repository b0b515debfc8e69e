CREATE TABLE txn_processing.hold_rules (
    account_type varchar(30) PRIMARY KEY,
    overcapture_percent numeric NOT NULL CHECK (overcapture_percent BETWEEN 0 AND 1000),
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
REVOKE ALL ON txn_processing.hold_rules FROM PUBLIC;
COMMENT ON TABLE txn_processing.hold_rules IS
    'How far past its amount a hold on an account of the type may be captured; a type without a row: not at all. Set by txn_processing.set_hold_rule.';
COMMENT ON COLUMN txn_processing.hold_rules.overcapture_percent IS 'In percent of the hold''s amount, for all its captures together.';

CREATE TABLE txn_processing.holds (
    hold_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    to_account uuid,
    group_id uuid,
    expires_at timestamptz,
    placed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    closed_at timestamptz,
    amount numeric NOT NULL CHECK (amount > 0),
    captured numeric NOT NULL DEFAULT 0,
    currency_code char(3) NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'captured', 'released', 'expired')),
    reference varchar(50),
    description text,
    metadata jsonb,
    placed_by text NOT NULL,
    closing_reason text
);
CREATE INDEX holds_open_idx ON txn_processing.holds (account_id) WHERE state = 'open';
CREATE INDEX holds_expires_idx ON txn_processing.holds (expires_at) WHERE state = 'open' AND expires_at IS NOT NULL;
CREATE INDEX holds_group_idx ON txn_processing.holds (group_id) WHERE group_id IS NOT NULL;
REVOKE ALL ON txn_processing.holds FROM PUBLIC;
COMMENT ON TABLE txn_processing.holds IS
    'Money set aside on accounts. A hold that is open and past expires_at counts no more, though its state still says open until the account is next looked at: read txn_processing.account_holds.';
COMMENT ON COLUMN txn_processing.holds.to_account IS 'To whom a capture goes that names nobody; null: payments_clearing.';
COMMENT ON COLUMN txn_processing.holds.captured IS 'What was captured so far, of amount or past it.';

CREATE TABLE txn_processing.hold_captures (
    hold_id uuid NOT NULL,
    transaction_id uuid PRIMARY KEY,
    amount numeric NOT NULL
);
CREATE INDEX hold_captures_hold_id_idx ON txn_processing.hold_captures (hold_id);
REVOKE ALL ON txn_processing.hold_captures FROM PUBLIC;
COMMENT ON TABLE txn_processing.hold_captures IS 'The postings that captured holds.';

CREATE VIEW txn_processing.account_holds AS
SELECT
    h.hold_id,
    h.account_id,
    h.amount,
    h.captured,
    CASE WHEN s.state = 'open' THEN greatest(h.amount - h.captured, 0) ELSE 0 END AS remaining,
    h.currency_code,
    s.state,
    h.expires_at,
    h.placed_at,
    CASE s.state WHEN 'expired' THEN h.expires_at ELSE h.closed_at END AS closed_at,
    h.to_account,
    h.group_id,
    h.reference,
    h.description,
    h.metadata,
    h.placed_by,
    h.closing_reason
FROM txn_processing.holds h
CROSS JOIN LATERAL (
    SELECT CASE WHEN h.state = 'open' AND h.expires_at <= pg_catalog.clock_timestamp() THEN 'expired' ELSE h.state END AS state
) s;
REVOKE ALL ON txn_processing.account_holds FROM PUBLIC;
COMMENT ON VIEW txn_processing.account_holds IS
    'Every hold as it is at this moment: state open, captured, released or expired, and remaining, what it still sets aside.';

CREATE VIEW banking.account_balances AS
SELECT
    a.account_id,
    a.account_number,
    a.tenant_no,
    a.customer_id,
    a.account_type,
    a.account_status,
    a.currency_code,
    a.normal_side,
    coalesce(a.current_balance, s.balance) AS current_balance,
    CASE
        WHEN a.slots > 0 THEN s.balance
        WHEN a.available_balance = a.current_balance THEN a.available_balance
        WHEN a.normal_side = 'D' THEN a.current_balance + h.reserved
        ELSE a.current_balance - h.reserved
    END AS available_balance,
    a.overdraft_limit,
    CASE a.slots WHEN 0 THEN 'exclusive' ELSE 'slotted' END AS balance_mode,
    a.slots
FROM banking.accounts a
LEFT JOIN LATERAL (
    SELECT pg_catalog.sum(t.balance) AS balance FROM banking.account_slots t WHERE t.account_id = a.account_id
) s ON a.slots > 0
LEFT JOIN LATERAL (
    SELECT coalesce(pg_catalog.sum(greatest(o.amount - o.captured, 0)), 0) AS reserved FROM txn_processing.holds o
    WHERE o.account_id = a.account_id AND o.state = 'open'
      AND (o.expires_at IS NULL OR o.expires_at > pg_catalog.clock_timestamp())
) h ON a.available_balance <> a.current_balance;
REVOKE ALL ON banking.account_balances FROM PUBLIC;
COMMENT ON VIEW banking.account_balances IS
    'Every account with its exact balances at the reader''s snapshot, whether they are in its row (balance_mode exclusive) or spread over slots (slotted). available_balance: less what open holds set aside at this moment, for an asset account with it.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.hold_rules', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.holds', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.hold_captures', '');
