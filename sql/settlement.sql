-- Written by the functions of the extension only: every privilege to write is withheld, and no row is ever deleted. So
-- no foreign keys, which would bind a restore to an order of the tables.
CREATE TABLE txn_processing.clearing_items (
    transaction_id uuid NOT NULL,
    settlement_id uuid,
    effective_at timestamptz NOT NULL,
    tenant_no integer NOT NULL,
    leg smallint NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0),
    currency_code char(3) NOT NULL,
    direction text NOT NULL CHECK (direction IN ('outgoing', 'incoming')),
    counterparty_bank text NOT NULL,
    counterparty_account text,
    PRIMARY KEY (transaction_id, leg)
);
CREATE INDEX clearing_items_open_idx
    ON txn_processing.clearing_items (tenant_no, currency_code, counterparty_bank, effective_at)
    WHERE settlement_id IS NULL;
CREATE INDEX clearing_items_settlement_idx ON txn_processing.clearing_items (settlement_id)
    WHERE settlement_id IS NOT NULL;
REVOKE ALL ON txn_processing.clearing_items FROM PUBLIC;
COMMENT ON TABLE txn_processing.clearing_items IS
    'What payments to and from other banks, and what gives them back, put into payments_clearing or took out of it, per counterparty bank. txn_processing.settle nets them.';
COMMENT ON COLUMN txn_processing.clearing_items.counterparty_bank IS
    'The other bank as the caller named it; empty where the posting named none (txn_processing.pay).';
COMMENT ON COLUMN txn_processing.clearing_items.direction IS
    'outgoing: the posting credited payments_clearing, the money is owed to the other bank; incoming: it debited it.';
COMMENT ON COLUMN txn_processing.clearing_items.settlement_id IS 'Null until it is settled.';
COMMENT ON COLUMN txn_processing.clearing_items.effective_at IS 'When the posting counts from: its day is the first on which it can be settled.';

CREATE TABLE txn_processing.settlement_runs (
    tenant_no integer NOT NULL,
    currency_code char(3) NOT NULL,
    settlement_date date NOT NULL,
    cut_off timestamptz NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    settled_by text NOT NULL,
    PRIMARY KEY (tenant_no, currency_code, settlement_date)
);
REVOKE ALL ON txn_processing.settlement_runs FROM PUBLIC;
COMMENT ON TABLE txn_processing.settlement_runs IS
    'The dates that txn_processing.settle has settled, each once per tenant and currency, also where there was nothing to settle.';
COMMENT ON COLUMN txn_processing.settlement_runs.cut_off IS
    'Items that count from before it were settled: the end of the date in UTC.';

CREATE TABLE txn_processing.settlements (
    settlement_id uuid PRIMARY KEY,
    transaction_id uuid,
    tenant_no integer NOT NULL,
    currency_code char(3) NOT NULL,
    settlement_date date NOT NULL,
    counterparty_bank text NOT NULL,
    payments bigint NOT NULL,
    outgoing numeric NOT NULL,
    incoming numeric NOT NULL,
    net numeric NOT NULL,
    UNIQUE (tenant_no, currency_code, settlement_date, counterparty_bank),
    CHECK (net = outgoing - incoming),
    CHECK ((net = 0) = (transaction_id IS NULL))
);
CREATE UNIQUE INDEX settlements_transaction_key ON txn_processing.settlements (transaction_id)
    WHERE transaction_id IS NOT NULL;
REVOKE ALL ON txn_processing.settlements FROM PUBLIC;
COMMENT ON TABLE txn_processing.settlements IS
    'One row per settled date and counterparty bank. Read it through txn_processing.settlement_report.';
COMMENT ON COLUMN txn_processing.settlements.net IS
    'outgoing less incoming: above zero it was paid out of nostro, below zero it came in.';
COMMENT ON COLUMN txn_processing.settlements.transaction_id IS
    'The posting between payments_clearing and nostro; null where net is zero.';

CREATE TABLE txn_processing.clearing_positions (
    account_id uuid NOT NULL,
    chain smallint NOT NULL,
    next_sequence bigint NOT NULL,
    PRIMARY KEY (account_id, chain)
);
REVOKE ALL ON txn_processing.clearing_positions FROM PUBLIC;
COMMENT ON TABLE txn_processing.clearing_positions IS
    'How far txn_processing.settle has looked through the postings of each payments_clearing account for those that name no counterparty.';
COMMENT ON COLUMN txn_processing.clearing_positions.chain IS
    '0: the account''s own row; else the number of one of its slots.';
COMMENT ON COLUMN txn_processing.clearing_positions.next_sequence IS
    'The first sequence number of txn_processing.movements that it has not looked at.';

CREATE VIEW txn_processing.settlement_report AS
SELECT
    r.settlement_date,
    r.tenant_no,
    r.currency_code,
    CASE s.counterparty_bank WHEN '' THEN 'unassigned' ELSE s.counterparty_bank END AS counterparty_bank,
    s.payments,
    s.outgoing,
    s.incoming,
    s.net,
    s.transaction_id,
    s.settlement_id,
    r.cut_off,
    r.settled_at,
    r.settled_by
FROM txn_processing.settlement_runs r
JOIN txn_processing.settlements s USING (tenant_no, currency_code, settlement_date);
REVOKE ALL ON txn_processing.settlement_report FROM PUBLIC;
COMMENT ON VIEW txn_processing.settlement_report IS
    'What was settled: per date, tenant, currency and counterparty bank the number of items, what went out and came in, and the posting of the net. unassigned: postings that named no bank.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.clearing_items', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.settlement_runs', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.settlements', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.clearing_positions', '');
