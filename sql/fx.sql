-- No foreign keys: set_fx_rate looks the currencies up, and TRUNCATE of them stays refused by banking.keep_in_use.
CREATE TABLE txn_processing.fx_rates (
    rate_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    base char(3) NOT NULL,
    quote char(3) NOT NULL,
    rate numeric NOT NULL CHECK (rate > 0),
    valid_from timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    set_by text NOT NULL,
    CHECK (base <> quote)
);
CREATE INDEX fx_rates_pair_idx ON txn_processing.fx_rates (base, quote, valid_from DESC, recorded_at DESC, rate_id DESC);
REVOKE ALL ON txn_processing.fx_rates FROM PUBLIC;
COMMENT ON TABLE txn_processing.fx_rates IS
    'Exchange rates of all tenants, written by txn_processing.set_fx_rate; a later row takes the place of an earlier one, none is changed.';
COMMENT ON COLUMN txn_processing.fx_rates.rate IS 'How much of quote one unit of base is worth.';
COMMENT ON COLUMN txn_processing.fx_rates.valid_from IS
    'It holds from then until the next valid_from of the pair; of equal ones, the row recorded last holds.';

CREATE TABLE txn_processing.fx_transfers (
    transaction_id uuid PRIMARY KEY,
    reverses uuid,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    tenant_no integer NOT NULL,
    base char(3) NOT NULL,
    quote char(3) NOT NULL,
    rate numeric NOT NULL,
    stored_rate numeric NOT NULL,
    asked_rate numeric,
    base_amount numeric NOT NULL,
    quote_amount numeric NOT NULL,
    residue numeric NOT NULL
);
REVOKE ALL ON txn_processing.fx_transfers FROM PUBLIC;
COMMENT ON TABLE txn_processing.fx_transfers IS
    'Every exchange with the rate it was made at: base_amount * rate = quote_amount + residue, exactly. A reversal has a row of its own with the figures negated. Append-only.';
COMMENT ON COLUMN txn_processing.fx_transfers.reverses IS 'The exchange that this reversal gives back.';
COMMENT ON COLUMN txn_processing.fx_transfers.stored_rate IS 'The bank''s rate then; rate is another where the caller gave one.';
COMMENT ON COLUMN txn_processing.fx_transfers.asked_rate IS 'The rate that the caller gave; null: none.';
COMMENT ON COLUMN txn_processing.fx_transfers.residue IS
    'What rounding left, in units of quote: at most half of a minor unit; above zero where less was paid out than the exact product.';

CREATE TABLE txn_processing.fx_residues (
    transaction_id uuid PRIMARY KEY,
    tenant_no integer NOT NULL,
    currency_code char(3) NOT NULL,
    residue numeric NOT NULL
);
REVOKE ALL ON txn_processing.fx_residues FROM PUBLIC;
COMMENT ON TABLE txn_processing.fx_residues IS
    'Residues that txn_processing.sweep_fx_residues has not posted yet. By tenant and currency, sum(fx_transfers.residue) = sum(fx_sweeps.amount) + sum(fx_residues.residue) at any moment.';
COMMENT ON COLUMN txn_processing.fx_residues.transaction_id IS
    'The exchange or reversal that left it, or the sweep whose remainder it is.';

CREATE TABLE txn_processing.fx_sweeps (
    transaction_id uuid PRIMARY KEY,
    reverses uuid,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    tenant_no integer NOT NULL,
    currency_code char(3) NOT NULL,
    amount numeric NOT NULL
);
REVOKE ALL ON txn_processing.fx_sweeps FROM PUBLIC;
COMMENT ON TABLE txn_processing.fx_sweeps IS
    'What txn_processing.sweep_fx_residues has posted between fx_position and fx_rounding; a reversal has a row of its own with the amount negated. Append-only.';
COMMENT ON COLUMN txn_processing.fx_sweeps.amount IS 'Whole minor units; above zero: credited to fx_rounding.';
COMMENT ON COLUMN txn_processing.fx_sweeps.reverses IS 'The sweep that this reversal gives back.';

CREATE VIEW txn_processing.fx_positions AS
SELECT
    p.tenant_no,
    p.currency_code,
    p.account_id,
    -p.current_balance AS net_position,
    r.current_balance AS rounding,
    coalesce((SELECT pg_catalog.sum(s.residue) FROM txn_processing.fx_residues s
              WHERE s.tenant_no = p.tenant_no AND s.currency_code = p.currency_code), 0) AS remainder
FROM banking.account_balances p
JOIN banking.account_balances r
    ON r.tenant_no = p.tenant_no AND r.currency_code = p.currency_code
   AND r.customer_id IS NULL AND r.account_type = 'fx_rounding'
WHERE p.customer_id IS NULL AND p.account_type = 'fx_position';
REVOKE ALL ON txn_processing.fx_positions FROM PUBLIC;
COMMENT ON VIEW txn_processing.fx_positions IS
    'By tenant and currency: what the bank holds (above zero) or owes (below) by exchanges, what rounding has earned, and what of it is not posted yet.';

CREATE FUNCTION txn_processing.fx_gains(reporting char(3), at timestamptz DEFAULT NULL)
RETURNS TABLE (tenant_no integer, currency_code char(3), net_position numeric, rate numeric, value numeric)
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    WITH positions AS MATERIALIZED (
        SELECT
            b.tenant_no, b.currency_code,
            CASE WHEN $2 IS NULL THEN -b.current_balance
                 ELSE -txn_processing.balance_as_of(b.account_id, $2) END AS held
        FROM banking.account_balances b
        WHERE b.customer_id IS NULL AND b.account_type = 'fx_position'
    ), valued AS MATERIALIZED (
        SELECT
            p.tenant_no, p.currency_code, p.held,
            txn_processing.fx_rate_at(p.currency_code, $1, coalesce($2, pg_catalog.now())) AS rate
        FROM positions p
        WHERE p.held <> 0
    )
    SELECT v.tenant_no, v.currency_code, v.held, v.rate, v.held * v.rate
    FROM valued v
    ORDER BY v.tenant_no, v.currency_code;
END;
REVOKE ALL ON FUNCTION txn_processing.fx_gains(char, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION txn_processing.fx_gains(char, timestamptz) IS
    'reporting: the currency to report in; at: effective time, inclusive, null: now. Every position that is not zero, with the rate of its currency in reporting at that time and its value, not rounded. The sum of value over a tenant is the gain of its exchanges, or the loss below zero: mark to market, as of a position account. NB016: currency; NB036: a position has no rate then; 22004: reporting null.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.fx_rates', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.fx_transfers', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.fx_residues', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.fx_sweeps', '');
