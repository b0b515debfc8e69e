CREATE TABLE banking.account_limits (
    account_id uuid,
    account_type varchar(30),
    currency_code char(3) NOT NULL,
    period text NOT NULL CHECK (period IN ('transaction', 'day', 'month')),
    max_amount numeric,
    max_postings integer,
    reason text NOT NULL,
    set_by text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CHECK ((account_id IS NULL) <> (account_type IS NULL)),
    CHECK (max_amount IS NOT NULL OR max_postings IS NOT NULL)
);
CREATE UNIQUE INDEX account_limits_account_key ON banking.account_limits (account_id, period) WHERE account_id IS NOT NULL;
CREATE UNIQUE INDEX account_limits_type_key ON banking.account_limits (account_type, currency_code, period)
    WHERE account_type IS NOT NULL;
-- Its rows are deleted, and no key of it is free of nulls: without this a publication of the table would refuse that.
ALTER TABLE banking.account_limits REPLICA IDENTITY FULL;
REVOKE ALL ON banking.account_limits FROM PUBLIC;
COMMENT ON TABLE banking.account_limits IS
    'What an account, or each account of a type and currency, may spend in one transaction, in a day and in a month (UTC). What is set for the account goes before what is set for its type. Set by banking.set_account_limit and set_type_limit.';
COMMENT ON COLUMN banking.account_limits.max_amount IS 'In units of the currency; null: not limited.';
COMMENT ON COLUMN banking.account_limits.max_postings IS 'Number of withdrawals, transfers and payments; null: not limited.';

CREATE TABLE banking.limit_changes (
    account_id uuid,
    account_type varchar(30),
    currency_code char(3) NOT NULL,
    period text NOT NULL,
    max_amount numeric,
    max_postings integer,
    reason text NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX limit_changes_account_id_idx ON banking.limit_changes (account_id, changed_at);
REVOKE ALL ON banking.limit_changes FROM PUBLIC;
COMMENT ON TABLE banking.limit_changes IS
    'Every limit that was set, and taken away where both figures are null: when, by whom and why.';

CREATE TABLE txn_processing.limit_usage (
    account_id uuid PRIMARY KEY,
    counted_to bigint NOT NULL,
    day_start timestamptz NOT NULL,
    day_postings bigint NOT NULL,
    month_start timestamptz NOT NULL,
    month_postings bigint NOT NULL,
    day_amount numeric NOT NULL,
    month_amount numeric NOT NULL
) WITH (fillfactor = 50);
REVOKE ALL ON txn_processing.limit_usage FROM PUBLIC;
COMMENT ON TABLE txn_processing.limit_usage IS
    'What accounts with limits have spent in the day and the month of their last counted posting (UTC). Kept with that posting; a posting that finds it behind counts what is missing from the ledger.';
COMMENT ON COLUMN txn_processing.limit_usage.counted_to IS 'All postings of the account below this number are counted.';

SELECT pg_catalog.pg_extension_config_dump('banking.account_limits', '');
SELECT pg_catalog.pg_extension_config_dump('banking.limit_changes', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.limit_usage', '');
