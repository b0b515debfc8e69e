CREATE TABLE txn_processing.fee_schedules (
    schedule_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_no integer NOT NULL,
    fee_code text NOT NULL,
    applies_to text NOT NULL CHECK (applies_to IN ('deposit', 'withdrawal', 'transfer', 'payment', 'periodic')),
    period text CHECK (period IN ('month', 'quarter', 'year')),
    account_type varchar(30),
    currency_code char(3) NOT NULL,
    method text NOT NULL CHECK (method IN ('fixed', 'percentage', 'tiered')),
    fixed_amount numeric NOT NULL,
    percent numeric NOT NULL,
    floor_amount numeric,
    cap_amount numeric,
    valid_from date NOT NULL,
    valid_to date,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    created_by text NOT NULL,
    CHECK ((period IS NOT NULL) = (applies_to = 'periodic'))
);
CREATE INDEX fee_schedules_key_idx
    ON txn_processing.fee_schedules (tenant_no, applies_to, currency_code, fee_code, valid_from, schedule_id);
CREATE INDEX fee_schedules_tenant_idx ON txn_processing.fee_schedules (tenant_no, schedule_id);
REVOKE ALL ON txn_processing.fee_schedules FROM PUBLIC;
COMMENT ON TABLE txn_processing.fee_schedules IS
    'What a fee is, by code. Of the schedules of one code that hold on a day, one for the account''s type goes before one for any, then the latest valid_from, then the highest schedule_id. Rows are only added.';
COMMENT ON COLUMN txn_processing.fee_schedules.applies_to IS
    'The type of posting that it is charged on, or periodic: once per account and period.';
COMMENT ON COLUMN txn_processing.fee_schedules.account_type IS 'Null: accounts of any type.';
COMMENT ON COLUMN txn_processing.fee_schedules.fixed_amount IS 'Charged whatever the amount is; the rest comes on top.';
COMMENT ON COLUMN txn_processing.fee_schedules.percent IS
    'Percent of the amount: 1.5 is 1.5 %. With tiers: of what lies below the first of them.';
COMMENT ON COLUMN txn_processing.fee_schedules.floor_amount IS 'The least fee, taken after rounding.';
COMMENT ON COLUMN txn_processing.fee_schedules.cap_amount IS 'The highest fee, taken after rounding.';
COMMENT ON COLUMN txn_processing.fee_schedules.valid_to IS 'The last day on which it holds; null: for good.';

CREATE TABLE txn_processing.fee_tiers (
    schedule_id integer NOT NULL,
    from_amount numeric NOT NULL,
    fixed_amount numeric NOT NULL,
    percent numeric NOT NULL,
    PRIMARY KEY (schedule_id, from_amount)
);
REVOKE ALL ON txn_processing.fee_tiers FROM PUBLIC;
COMMENT ON TABLE txn_processing.fee_tiers IS
    'Marginal tiers of a fee: percent holds for the part of an amount above from_amount, up to the next tier; fixed_amount is added once the amount is above from_amount.';

CREATE TABLE txn_processing.fees_charged (
    fee_transaction uuid NOT NULL,
    fee_leg smallint NOT NULL,
    transaction_id uuid,
    account_id uuid NOT NULL,
    fee_code text NOT NULL,
    schedule_id integer NOT NULL,
    period_start date,
    amount numeric NOT NULL,
    charged_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (fee_transaction, fee_leg),
    CHECK ((transaction_id IS NULL) <> (period_start IS NULL))
);
CREATE UNIQUE INDEX fees_charged_transaction_key ON txn_processing.fees_charged (transaction_id, fee_code)
    WHERE transaction_id IS NOT NULL;
CREATE UNIQUE INDEX fees_charged_period_key ON txn_processing.fees_charged (account_id, fee_code, period_start)
    WHERE period_start IS NOT NULL;
REVOKE ALL ON txn_processing.fees_charged FROM PUBLIC;
COMMENT ON TABLE txn_processing.fees_charged IS
    'Fees charged by rule: once per transaction and code, or per account, code and period. Rows are only added.';
COMMENT ON COLUMN txn_processing.fees_charged.fee_transaction IS 'The posting of the fee, with its leg.';
COMMENT ON COLUMN txn_processing.fees_charged.transaction_id IS
    'The transaction that it was charged on; the fee''s own where both were posted as one. Null: periodic.';
COMMENT ON COLUMN txn_processing.fees_charged.period_start IS 'The first day of the period that it was charged for.';

-- No search_path of its own: a procedure that has one cannot commit. Every name is written with its schema.
CREATE PROCEDURE txn_processing.run_periodic_fees(p_date date, max_accounts integer DEFAULT 10000, tenant uuid DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    is_done boolean := false;
BEGIN
    WHILE NOT is_done LOOP
        SET LOCAL search_path = pg_catalog, pg_temp;
        SELECT r.done INTO STRICT is_done FROM txn_processing.charge_periodic_fees(p_date, max_accounts, tenant) r;
        COMMIT;
    END LOOP;
END
$$;
REVOKE ALL ON PROCEDURE txn_processing.run_periodic_fees(date, integer, uuid) FROM PUBLIC;
COMMENT ON PROCEDURE txn_processing.run_periodic_fees(date, integer, uuid) IS
    'Calls txn_processing.charge_periodic_fees until it is done, and commits after each call. p_date, max_accounts, tenant, errors: as there. Call it outside a transaction block; a run that was ended goes on where its last commit was.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.fee_schedules', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.fee_schedules_schedule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.fee_tiers', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.fees_charged', '');
