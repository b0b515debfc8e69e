CREATE TYPE txn_processing.txn_type AS ENUM (
    'deposit', 'withdrawal', 'transfer', 'payment', 'fee', 'interest', 'refund', 'reversal', 'adjustment'
);
COMMENT ON TYPE txn_processing.txn_type IS 'What a posting is for.';

CREATE TYPE txn_processing.txn_status AS ENUM (
    'pending', 'processing', 'completed', 'failed', 'reversed', 'disputed', 'on_hold'
);
COMMENT ON TYPE txn_processing.txn_status IS 'Where a transaction stands; for a posting it is derived, never stored.';

-- Fixed-width columns first, so that none of them is reached over a variable one. No CHECK: PostgreSQL parses each
-- anew for every insert; the posting engine is the only writer and refuses what a CHECK would.
CREATE TABLE txn_processing.movements (
    transaction_id uuid NOT NULL,
    debit_account uuid NOT NULL,
    credit_account uuid NOT NULL,
    debit_sequence bigint NOT NULL,
    credit_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL,
    tenant_no integer NOT NULL,
    transaction_type txn_processing.txn_type NOT NULL,
    leg smallint NOT NULL,
    amount numeric NOT NULL,
    debit_balance numeric NOT NULL,
    credit_balance numeric NOT NULL,
    currency_code char(3) NOT NULL,
    created_by text NOT NULL,
    effective_at timestamptz,
    reverses uuid,
    reference varchar(50),
    description text,
    metadata jsonb,
    PRIMARY KEY (transaction_id, leg)
);
CREATE UNIQUE INDEX movements_debit_key ON txn_processing.movements (debit_account, debit_sequence);
CREATE UNIQUE INDEX movements_credit_key ON txn_processing.movements (credit_account, credit_sequence);
CREATE INDEX movements_reverses_idx ON txn_processing.movements (reverses) WHERE reverses IS NOT NULL;
REVOKE ALL ON txn_processing.movements FROM PUBLIC;
COMMENT ON TABLE txn_processing.movements IS
    'The ledger, append-only (NB009): one row per leg, one debit and one credit of the same amount, so it cannot be uneven. Read it through txn_processing.ledger.';
COMMENT ON COLUMN txn_processing.movements.debit_sequence IS
    'Gap-free number of this posting on the debited account, counting both its debits and its credits. From 2^48 up: slot number * 2^48 and a gap-free number on that slot.';
COMMENT ON COLUMN txn_processing.movements.debit_balance IS
    'Balance of the debited account after this posting; where debit_sequence names a slot, that slot''s share.';
COMMENT ON COLUMN txn_processing.movements.effective_at IS 'When a backdated posting counts from; null: created_at.';
COMMENT ON COLUMN txn_processing.movements.reverses IS 'The transaction that this reversal or refund gives back.';
COMMENT ON COLUMN txn_processing.movements.created_at IS
    'When it was recorded, taken under the accounts'' locks: ascends with the sequence of each account.';

-- Kept apart, so that a posting that is not backdated pays nothing for those that are.
CREATE TABLE txn_processing.backdated_entries (
    account_id uuid NOT NULL,
    effective_at timestamptz NOT NULL,
    sequence bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    balance_change numeric NOT NULL,
    PRIMARY KEY (account_id, effective_at, sequence)
);
REVOKE ALL ON txn_processing.backdated_entries FROM PUBLIC;
COMMENT ON TABLE txn_processing.backdated_entries IS
    'Each account''s side of every backdated posting, by effective time: what txn_processing.balance_as_of and statement add to the recorded order. Append-only (NB009).';
COMMENT ON COLUMN txn_processing.backdated_entries.recorded_at IS 'created_at of the posting.';
COMMENT ON COLUMN txn_processing.backdated_entries.balance_change IS 'What the posting added to the account''s balance, signed.';

SELECT pg_catalog.pg_extension_config_dump('txn_processing.movements', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.backdated_entries', '');
