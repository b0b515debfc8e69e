CREATE TABLE txn_processing.interest_rules (
    rule_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_no integer NOT NULL,
    account_type varchar(30),
    account_id uuid,
    currency_code char(3) NOT NULL,
    valid_from date NOT NULL,
    day_count text CHECK (day_count IN ('act/365', 'act/360', '30/360')),
    annual_percent numeric,
    debit_percent numeric,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by text NOT NULL,
    CHECK ((account_type IS NULL) <> (account_id IS NULL)),
    CHECK ((annual_percent IS NULL) = (day_count IS NULL) AND (annual_percent IS NULL) = (debit_percent IS NULL)),
    CHECK (annual_percent IS NOT NULL OR account_id IS NOT NULL)
);
CREATE INDEX interest_rules_type_idx
    ON txn_processing.interest_rules (tenant_no, account_type, currency_code, valid_from, rule_id) WHERE account_id IS NULL;
CREATE INDEX interest_rules_account_idx
    ON txn_processing.interest_rules (account_id, valid_from, rule_id) WHERE account_id IS NOT NULL;
CREATE INDEX interest_rules_tenant_idx ON txn_processing.interest_rules (tenant_no, rule_id);
REVOKE ALL ON txn_processing.interest_rules FROM PUBLIC;
COMMENT ON TABLE txn_processing.interest_rules IS
    'What balances earn and cost, per account type and currency or for one account. The latest valid_from by a day holds for that day, and of several with one valid_from the highest rule_id. Rows are only added.';
COMMENT ON COLUMN txn_processing.interest_rules.account_id IS 'The account that has a rule of its own, which goes before its type''s; null: a type''s rule.';
COMMENT ON COLUMN txn_processing.interest_rules.day_count IS
    'act/365 (fixed), act/360, or 30/360 (30E/360, Eurobond basis): 2006 ISDA Definitions, 4.16 (d), (e), (g).';
COMMENT ON COLUMN txn_processing.interest_rules.annual_percent IS
    'Percent a year on a balance above zero: 4.25 is 4.25 %. Null: from that day the account follows its type''s rule again.';
COMMENT ON COLUMN txn_processing.interest_rules.debit_percent IS 'Percent a year on a balance below zero.';

CREATE TABLE txn_processing.interest_tiers (
    rule_id integer NOT NULL,
    from_balance numeric NOT NULL,
    annual_percent numeric NOT NULL,
    PRIMARY KEY (rule_id, from_balance)
);
REVOKE ALL ON txn_processing.interest_tiers FROM PUBLIC;
COMMENT ON TABLE txn_processing.interest_tiers IS
    'Marginal tiers of an interest rule: annual_percent holds for the part of a balance that lies above from_balance, up to the next tier.';

-- Half of each page stays free for HOT updates: every account's row changes every night.
CREATE TABLE txn_processing.interest_positions (
    account_id uuid PRIMARY KEY,
    tenant_no integer NOT NULL,
    first_day date NOT NULL,
    accrued_through date NOT NULL,
    capitalised_through date,
    backdated_until timestamptz,
    backdated_count bigint NOT NULL,
    balance numeric NOT NULL,
    units numeric NOT NULL
) WITH (fillfactor = 50);
REVOKE ALL ON txn_processing.interest_positions FROM PUBLIC;
COMMENT ON TABLE txn_processing.interest_positions IS
    'Each account''s interest that is accrued and not posted. txn_processing.interest_accrued shows it in units of currency.';
COMMENT ON COLUMN txn_processing.interest_positions.first_day IS 'The first day that was accrued.';
COMMENT ON COLUMN txn_processing.interest_positions.accrued_through IS 'Every day from first_day to this one is accrued.';
COMMENT ON COLUMN txn_processing.interest_positions.capitalised_through IS
    'The last day to whose end interest was posted, or was found too little to post.';
COMMENT ON COLUMN txn_processing.interest_positions.balance IS 'The balance at the end of accrued_through, as it was used.';
COMMENT ON COLUMN txn_processing.interest_positions.units IS
    'Whole units of which 26,280,000,000,000,000 are one unit of currency; what capitalisation could not post is in it. Signed as the balance: above zero adds to it.';
COMMENT ON COLUMN txn_processing.interest_positions.backdated_count IS
    'How many of the account''s backdated entries were there: more of them now, and days are accrued anew.';
COMMENT ON COLUMN txn_processing.interest_positions.backdated_until IS 'The latest recorded_at among them.';

CREATE TABLE txn_processing.interest_accruals (
    account_id uuid NOT NULL,
    accrual_date date NOT NULL,
    rule_id integer NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    revision smallint NOT NULL,
    days smallint NOT NULL,
    balance numeric NOT NULL,
    units numeric NOT NULL,
    PRIMARY KEY (account_id, accrual_date, revision)
);
REVOKE ALL ON txn_processing.interest_accruals FROM PUBLIC;
COMMENT ON TABLE txn_processing.interest_accruals IS
    'One row per account and day that earned or cost interest, and one more for each later correction of that day. Days without interest have no row. Rows are only added.';
COMMENT ON COLUMN txn_processing.interest_accruals.revision IS
    '0: the first accrual of the day. Above: a correction, whose units are the difference to what was accrued before.';
COMMENT ON COLUMN txn_processing.interest_accruals.days IS
    'Days of interest that the day counts for: 1, or by 30/360 also 0, 2 or 3 at a month''s end.';
COMMENT ON COLUMN txn_processing.interest_accruals.balance IS 'The balance at the day''s end, in neobank.business_time_zone.';
COMMENT ON COLUMN txn_processing.interest_accruals.units IS
    'Whole units of which 26,280,000,000,000,000 are one unit of currency.';

CREATE TABLE txn_processing.interest_capitalisations (
    account_id uuid NOT NULL,
    capitalisation_date date NOT NULL,
    transaction_id uuid NOT NULL,
    posted_at timestamptz NOT NULL,
    amount numeric NOT NULL,
    units_before numeric NOT NULL,
    units_after numeric NOT NULL,
    PRIMARY KEY (account_id, capitalisation_date)
);
REVOKE ALL ON txn_processing.interest_capitalisations FROM PUBLIC;
COMMENT ON TABLE txn_processing.interest_capitalisations IS
    'Interest that was posted, once per account and day. Rows are only added.';
COMMENT ON COLUMN txn_processing.interest_capitalisations.amount IS 'What it added to the balance; below zero took from it.';
COMMENT ON COLUMN txn_processing.interest_capitalisations.units_before IS 'What was accrued to the end of the day.';
COMMENT ON COLUMN txn_processing.interest_capitalisations.units_after IS
    'What was left after rounding and goes on with the account: units_before less amount * 26,280,000,000,000,000.';

CREATE TABLE txn_processing.daily_runs (
    tenant_no integer NOT NULL,
    run_kind text NOT NULL CHECK (run_kind IN ('interest accrual', 'interest capitalisation', 'periodic fees')),
    run_date date NOT NULL,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    next_account uuid NOT NULL,
    accounts bigint NOT NULL DEFAULT 0,
    posted bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_no, run_kind, run_date)
);
REVOKE ALL ON txn_processing.daily_runs FROM PUBLIC;
COMMENT ON TABLE txn_processing.daily_runs IS
    'How far the runs over all accounts have come, as far as their calls are committed.';
COMMENT ON COLUMN txn_processing.daily_runs.next_account IS 'Accounts with a lower id are dealt with.';
COMMENT ON COLUMN txn_processing.daily_runs.finished_at IS
    'When the last account was dealt with; a call after that looks through all of them again for what was left or refused.';
COMMENT ON COLUMN txn_processing.daily_runs.accounts IS 'Accounts dealt with; of an accrual, account-days.';

CREATE TABLE txn_processing.run_refusals (
    tenant_no integer NOT NULL,
    run_kind text NOT NULL,
    run_date date NOT NULL,
    account_id uuid NOT NULL,
    fee_code text,
    refused_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    sqlstate text NOT NULL,
    code text NOT NULL,
    amount numeric NOT NULL
);
CREATE INDEX run_refusals_run_idx ON txn_processing.run_refusals (tenant_no, run_kind, run_date);
CREATE INDEX run_refusals_account_idx ON txn_processing.run_refusals (account_id, refused_at);
REVOKE ALL ON txn_processing.run_refusals FROM PUBLIC;
COMMENT ON TABLE txn_processing.run_refusals IS
    'What a run over all accounts could not post, with the code of docs/errors.md: one row per attempt. Interest stays accrued. Rows are only added.';

CREATE VIEW txn_processing.interest_accrued AS
SELECT
    p.account_id,
    a.currency_code,
    p.first_day,
    p.accrued_through,
    p.capitalised_through,
    pg_catalog.round(p.units / 26280000000000000, 10) AS accrued,
    p.units
FROM txn_processing.interest_positions p
JOIN banking.accounts a ON a.account_id = p.account_id;
REVOKE ALL ON txn_processing.interest_accrued FROM PUBLIC;
COMMENT ON VIEW txn_processing.interest_accrued IS
    'Interest that is accrued and not posted, per account: in units of currency to ten decimals, and exactly in units of which 26,280,000,000,000,000 are one. Signed as the balance.';

-- No search_path of their own: a procedure that has one cannot commit. Every name is written with its schema.
CREATE PROCEDURE txn_processing.run_interest_accrual(p_date date, max_accounts integer DEFAULT 10000, tenant uuid DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    is_done boolean := false;
BEGIN
    WHILE NOT is_done LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT r.done INTO STRICT is_done FROM txn_processing.accrue_interest(p_date, max_accounts, tenant) r;
        COMMIT;
    END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE txn_processing.run_interest_accrual(date, integer, uuid) FROM PUBLIC;
COMMENT ON PROCEDURE txn_processing.run_interest_accrual(date, integer, uuid) IS
    'Calls txn_processing.accrue_interest until it is done, and commits after each call. p_date, max_accounts, tenant, errors: as there. Call it outside a transaction block; a run that was ended goes on where its last commit was.';

CREATE PROCEDURE txn_processing.run_interest_capitalisation(p_date date, max_accounts integer DEFAULT 10000, tenant uuid DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    is_done boolean := false;
BEGIN
    WHILE NOT is_done LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT r.done INTO STRICT is_done FROM txn_processing.capitalise_interest(p_date, max_accounts, tenant) r;
        COMMIT;
    END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE txn_processing.run_interest_capitalisation(date, integer, uuid) FROM PUBLIC;
COMMENT ON PROCEDURE txn_processing.run_interest_capitalisation(date, integer, uuid) IS
    'Calls txn_processing.capitalise_interest until it is done, and commits after each call. p_date, max_accounts, tenant, errors: as there. Call it outside a transaction block; a run that was ended goes on where its last commit was.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.interest_rules', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.interest_rules_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.interest_tiers', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.interest_positions', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.interest_accruals', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.interest_capitalisations', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.daily_runs', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.run_refusals', '');
