-- No foreign key: set_dispute_policy looks the type up, and TRUNCATE of the types stays refused by banking.keep_in_use.
CREATE TABLE txn_processing.dispute_policies (
    account_type varchar(30) NOT NULL,
    provisional_credit boolean NOT NULL,
    charge_back boolean NOT NULL,
    window_days integer NOT NULL CHECK (window_days BETWEEN 1 AND 3650),
    minimum_amount numeric NOT NULL CHECK (minimum_amount >= 0),
    maximum_amount numeric CHECK (maximum_amount >= minimum_amount),
    changed_at timestamptz DEFAULT pg_catalog.now(),
    changed_by text NOT NULL,
    shipped boolean NOT NULL DEFAULT false,
    PRIMARY KEY (account_type, shipped),
    CHECK (shipped OR changed_at IS NOT NULL)
);
REVOKE ALL ON txn_processing.dispute_policies FROM PUBLIC;
COMMENT ON TABLE txn_processing.dispute_policies IS
    'How disputes of each account type go. A row of the bank (shipped false, by txn_processing.set_dispute_policy) stands before the one that CREATE EXTENSION made; a type without a row has no disputes.';
COMMENT ON COLUMN txn_processing.dispute_policies.account_type IS 'Of the account that the disputed transaction debited.';
COMMENT ON COLUMN txn_processing.dispute_policies.provisional_credit IS 'Whether the amount is credited as soon as the dispute is opened.';
COMMENT ON COLUMN txn_processing.dispute_policies.charge_back IS
    'Whether a dispute that is won is charged to the customer who was credited, if there is one; else the bank bears it.';
COMMENT ON COLUMN txn_processing.dispute_policies.changed_at IS 'Null in a row that CREATE EXTENSION made, which a dump leaves out and a restore makes anew.';
COMMENT ON COLUMN txn_processing.dispute_policies.window_days IS 'For how many days after its recording a transaction can be disputed.';
COMMENT ON COLUMN txn_processing.dispute_policies.minimum_amount IS 'The least disputed amount, in units of the account''s currency.';
COMMENT ON COLUMN txn_processing.dispute_policies.maximum_amount IS 'The largest disputed amount, in units of the account''s currency; null: none.';

INSERT INTO txn_processing.dispute_policies
    (account_type, provisional_credit, charge_back, window_days, minimum_amount, changed_at, changed_by, shipped)
SELECT t.account_type, true, false, 120, 0, NULL, 'neobank', true FROM banking.account_types t WHERE NOT t.internal;

CREATE TABLE txn_processing.disputes (
    dispute_id uuid PRIMARY KEY,
    transaction_id uuid NOT NULL,
    account_id uuid NOT NULL,
    counterparty uuid NOT NULL,
    tenant_no integer NOT NULL,
    currency_code char(3) NOT NULL,
    amount numeric NOT NULL CHECK (amount > 0),
    asked_amount numeric,
    provisional boolean NOT NULL,
    charge_back boolean NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'won', 'lost', 'partial', 'withdrawn')),
    final_amount numeric CHECK (final_amount BETWEEN 0 AND amount),
    reason text NOT NULL,
    note text,
    opened_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    opened_by text NOT NULL,
    resolved_at timestamptz,
    resolved_by text,
    CHECK ((state = 'open') = (final_amount IS NULL) AND (state = 'open') = (resolved_at IS NULL))
);
CREATE UNIQUE INDEX disputes_open_key ON txn_processing.disputes (transaction_id) WHERE state = 'open';
CREATE INDEX disputes_transaction_id_idx ON txn_processing.disputes (transaction_id);
CREATE INDEX disputes_account_id_idx ON txn_processing.disputes (account_id, opened_at);
REVOKE ALL ON txn_processing.disputes FROM PUBLIC;
COMMENT ON TABLE txn_processing.disputes IS
    'Disputed transactions, written by txn_processing.open_dispute and resolve_dispute. A transaction has one open dispute at the most.';
COMMENT ON COLUMN txn_processing.disputes.account_id IS 'The customer''s account that the transaction debited.';
COMMENT ON COLUMN txn_processing.disputes.counterparty IS 'The account that the transaction credited.';
COMMENT ON COLUMN txn_processing.disputes.asked_amount IS 'As the caller gave it; null: all that was left.';
COMMENT ON COLUMN txn_processing.disputes.provisional IS 'Whether the amount was credited when the dispute was opened.';
COMMENT ON COLUMN txn_processing.disputes.charge_back IS
    'Open: whether the policy charges the counterparty if the dispute is won. Resolved: whether it was charged.';
COMMENT ON COLUMN txn_processing.disputes.final_amount IS 'What the customer keeps: 0 if lost or withdrawn; null while open.';

CREATE TABLE txn_processing.dispute_postings (
    transaction_id uuid NOT NULL,
    leg smallint NOT NULL,
    dispute_id uuid NOT NULL,
    purpose text NOT NULL
        CHECK (purpose IN ('provisional_credit', 'final_credit', 'clawback', 'charge_back', 'write_off')),
    PRIMARY KEY (transaction_id, leg)
);
CREATE INDEX dispute_postings_dispute_id_idx ON txn_processing.dispute_postings (dispute_id);
REVOKE ALL ON txn_processing.dispute_postings FROM PUBLIC;
COMMENT ON TABLE txn_processing.dispute_postings IS 'Every posting of a dispute. They are not reversed by themselves (NB008).';
COMMENT ON COLUMN txn_processing.dispute_postings.purpose IS
    'provisional_credit, final_credit: disputes to the customer; clawback: back again; charge_back: the counterparty pays; write_off: the bank bears it.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.dispute_policies', 'WHERE NOT shipped');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.disputes', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.dispute_postings', '');
