CREATE TABLE cqrs.activity_marks (
    account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    last_effective timestamptz NOT NULL,
    amount_total numeric NOT NULL,
    PRIMARY KEY (account_id, sequence)
);
REVOKE ALL ON cqrs.activity_marks FROM PUBLIC;
COMMENT ON TABLE cqrs.activity_marks IS
    'What the first 256, 512, 768 ... postings of an account, or of one of its slots, add up to: so that readers need not add up a long history. Made by cqrs.refresh_activity; a missing row makes reading slower and nothing else, so all may be deleted.';
COMMENT ON COLUMN cqrs.activity_marks.sequence IS
    'The number of the last posting that is in it, as txn_processing.movements counts them.';
COMMENT ON COLUMN cqrs.activity_marks.amount_total IS
    'The amounts of the account''s postings up to that one, or of the slot''s, debits and credits alike.';
COMMENT ON COLUMN cqrs.activity_marks.last_effective IS 'The latest time from which any of them counts.';

CREATE TABLE cqrs.risk_scores (
    customer_id uuid PRIMARY KEY REFERENCES banking.customers ON DELETE CASCADE,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    risk_score integer NOT NULL,
    set_by text NOT NULL
);
REVOKE ALL ON cqrs.risk_scores FROM PUBLIC;
COMMENT ON TABLE cqrs.risk_scores IS
    'What the application thinks of a customer, shown in cqrs.customer_summary. Set by cqrs.set_risk_score.';

SELECT pg_catalog.pg_extension_config_dump('cqrs.activity_marks', '');
SELECT pg_catalog.pg_extension_config_dump('cqrs.risk_scores', '');
