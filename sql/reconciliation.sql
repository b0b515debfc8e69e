-- One row per account that is reconciled: what import, match and unmatch lock, so that they take turns per account.
CREATE TABLE txn_processing.reconciled_accounts (
    account_id uuid PRIMARY KEY,
    changes bigint NOT NULL
);
REVOKE ALL ON txn_processing.reconciled_accounts FROM PUBLIC;
COMMENT ON TABLE txn_processing.reconciled_accounts IS
    'Accounts that have external statements. Whoever changes statements or matches of an account locks its row here first.';
COMMENT ON COLUMN txn_processing.reconciled_accounts.changes IS
    'Grows with each change, so that at REPEATABLE READ a transaction that did not see the last one fails (40001).';

CREATE TABLE txn_processing.reconciliation_rules (
    source text NOT NULL CHECK (pg_catalog.length(source) BETWEEN 1 AND 100),
    priority integer NOT NULL CHECK (priority BETWEEN 1 AND 100),
    amount_tolerance numeric NOT NULL CHECK (amount_tolerance BETWEEN 0 AND 1e18),
    amount_tolerance_percent numeric NOT NULL CHECK (amount_tolerance_percent BETWEEN 0 AND 100),
    date_tolerance_days integer NOT NULL CHECK (date_tolerance_days BETWEEN 0 AND 366),
    reference_window_days integer NOT NULL CHECK (reference_window_days BETWEEN 0 AND 366),
    passes text[] NOT NULL CHECK (passes <@ ARRAY['reference', 'date', 'one_to_many', 'many_to_one', 'subset']),
    set_by text NOT NULL,
    set_at timestamptz NOT NULL,
    PRIMARY KEY (source, priority)
);
REVOKE ALL ON txn_processing.reconciliation_rules FROM PUBLIC;
COMMENT ON TABLE txn_processing.reconciliation_rules IS
    'What counts as the same line and posting, by source; tried in ascending priority. Set by txn_processing.set_reconciliation_rule.';
COMMENT ON COLUMN txn_processing.reconciliation_rules.amount_tolerance IS
    'In units of the account''s currency. The larger of this and the percentage of the line''s amount counts.';
COMMENT ON COLUMN txn_processing.reconciliation_rules.date_tolerance_days IS
    'How many calendar days, in the statement''s time zone, line and posting may be apart.';
COMMENT ON COLUMN txn_processing.reconciliation_rules.reference_window_days IS
    'The same for those that carry the same reference.';
COMMENT ON COLUMN txn_processing.reconciliation_rules.passes IS
    'Which ways to match are tried: reference, date, one_to_many, many_to_one, subset; always in this order. None: the rule is off.';

CREATE TABLE txn_processing.external_statements (
    statement_id uuid PRIMARY KEY,
    source text NOT NULL CHECK (pg_catalog.length(source) BETWEEN 1 AND 100),
    statement_ref text NOT NULL CHECK (pg_catalog.length(statement_ref) BETWEEN 1 AND 200),
    account_id uuid NOT NULL,
    currency_code char(3) NOT NULL,
    from_date date NOT NULL,
    to_date date NOT NULL CHECK (to_date >= from_date),
    time_zone text NOT NULL,
    opening_balance numeric NOT NULL,
    closing_balance numeric NOT NULL,
    line_count integer NOT NULL,
    continuity text NOT NULL CHECK (continuity IN ('first', 'continuous', 'gap')),
    opening_gap numeric NOT NULL,
    imported_by text NOT NULL,
    imported_at timestamptz NOT NULL,
    UNIQUE (source, statement_ref)
);
CREATE INDEX external_statements_account_idx ON txn_processing.external_statements (account_id, source, from_date);
REVOKE ALL ON txn_processing.external_statements FROM PUBLIC;
COMMENT ON TABLE txn_processing.external_statements IS
    'Statements of other books (a correspondent bank''s, a clearing house''s) that mirror one account each. Append-only (NB009). Balances and amounts are signed as the mirrored account''s balance: by its normal side.';
COMMENT ON COLUMN txn_processing.external_statements.from_date IS 'First day of the period, in time_zone.';
COMMENT ON COLUMN txn_processing.external_statements.to_date IS 'Last day of the period, included, in time_zone.';
COMMENT ON COLUMN txn_processing.external_statements.time_zone IS
    'TimeZone of the session that imported it: where its days begin and end.';
COMMENT ON COLUMN txn_processing.external_statements.continuity IS
    'As found at import: first (no earlier statement of source and account), continuous (opening balance and first day go on from the one before), or gap.';
COMMENT ON COLUMN txn_processing.external_statements.opening_gap IS
    'Opening balance less the closing balance of the statement before, as found at import; 0 for the first.';

CREATE TABLE txn_processing.external_lines (
    line_id uuid PRIMARY KEY,
    statement_id uuid NOT NULL,
    line_no integer NOT NULL CHECK (line_no > 0),
    booked_on date NOT NULL,
    booked_at timestamptz,
    amount numeric NOT NULL CHECK (amount <> 0),
    line_ref text,
    reference text,
    counterparty text,
    description text,
    UNIQUE (statement_id, line_no)
);
REVOKE ALL ON txn_processing.external_lines FROM PUBLIC;
COMMENT ON TABLE txn_processing.external_lines IS 'The lines of external statements. Append-only (NB009).';
COMMENT ON COLUMN txn_processing.external_lines.line_no IS 'Place in the statement, from 1.';
COMMENT ON COLUMN txn_processing.external_lines.booked_on IS 'The day, in the statement''s time zone.';
COMMENT ON COLUMN txn_processing.external_lines.amount IS
    'In units of the currency; above 0 where the mirrored account''s balance grows by it.';
COMMENT ON COLUMN txn_processing.external_lines.line_ref IS 'The other book''s name of the line, unique in its statement.';

CREATE TABLE txn_processing.reconciliation_matches (
    match_id uuid PRIMARY KEY,
    account_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('1:1', '1:n', 'n:1', 'n:m')),
    pass text NOT NULL CHECK (pass IN ('reference', 'date', 'one_to_many', 'many_to_one', 'subset', 'manual')),
    rule_priority integer,
    difference numeric NOT NULL,
    reason text,
    matched_by text NOT NULL,
    matched_at timestamptz NOT NULL,
    undone_by text,
    undone_at timestamptz,
    undo_reason text,
    CHECK ((undone_at IS NULL) = (undone_by IS NULL) AND (undone_at IS NULL) = (undo_reason IS NULL))
);
CREATE INDEX reconciliation_matches_account_idx ON txn_processing.reconciliation_matches (account_id);
REVOKE ALL ON txn_processing.reconciliation_matches FROM PUBLIC;
COMMENT ON TABLE txn_processing.reconciliation_matches IS
    'Which lines are which postings, found by a rule or said by a person. One that was undone stays, with who undid it, when and why. Written by the matching functions only (NB009).';
COMMENT ON COLUMN txn_processing.reconciliation_matches.kind IS 'Lines to postings.';
COMMENT ON COLUMN txn_processing.reconciliation_matches.rule_priority IS
    'The rule of the source that found it; null for a manual match and for the rule in force where the source has none.';
COMMENT ON COLUMN txn_processing.reconciliation_matches.difference IS 'The postings'' amounts less the lines''.';

CREATE TABLE txn_processing.reconciliation_match_lines (
    match_id uuid NOT NULL,
    line_id uuid NOT NULL,
    in_force boolean NOT NULL DEFAULT true,
    PRIMARY KEY (match_id, line_id)
);
CREATE UNIQUE INDEX reconciliation_match_lines_key ON txn_processing.reconciliation_match_lines (line_id) WHERE in_force;
REVOKE ALL ON txn_processing.reconciliation_match_lines FROM PUBLIC;
COMMENT ON TABLE txn_processing.reconciliation_match_lines IS
    'The lines of each match. A line is in one match that is in force at the most.';
COMMENT ON COLUMN txn_processing.reconciliation_match_lines.in_force IS 'False once the match is undone.';

CREATE TABLE txn_processing.reconciliation_match_postings (
    match_id uuid NOT NULL,
    transaction_id uuid NOT NULL,
    account_id uuid NOT NULL,
    amount numeric NOT NULL,
    leg smallint NOT NULL,
    in_force boolean NOT NULL DEFAULT true,
    PRIMARY KEY (match_id, transaction_id, leg)
);
CREATE UNIQUE INDEX reconciliation_match_postings_key
    ON txn_processing.reconciliation_match_postings (account_id, transaction_id, leg) WHERE in_force;
REVOKE ALL ON txn_processing.reconciliation_match_postings FROM PUBLIC;
COMMENT ON TABLE txn_processing.reconciliation_match_postings IS
    'The postings of each match, each one''s side on the account. That side is in one match that is in force at the most.';
COMMENT ON COLUMN txn_processing.reconciliation_match_postings.amount IS 'Signed as the account''s balance changed.';
COMMENT ON COLUMN txn_processing.reconciliation_match_postings.in_force IS 'False once the match is undone.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON txn_processing.external_statements
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON txn_processing.external_statements IS 'Keeps statements as they came (NB009).';
CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON txn_processing.external_lines
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON txn_processing.external_lines IS 'Keeps lines as they came (NB009).';
CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON txn_processing.reconciliation_matches
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON txn_processing.reconciliation_matches IS 'Keeps matches to the functions (NB009).';
CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON txn_processing.reconciliation_match_lines
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON txn_processing.reconciliation_match_lines IS 'Keeps matches to the functions (NB009).';
CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON txn_processing.reconciliation_match_postings
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON txn_processing.reconciliation_match_postings IS 'Keeps matches to the functions (NB009).';
ALTER TABLE txn_processing.external_statements ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE txn_processing.external_lines ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE txn_processing.reconciliation_matches ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE txn_processing.reconciliation_match_lines ENABLE ALWAYS TRIGGER guard_ledger;
ALTER TABLE txn_processing.reconciliation_match_postings ENABLE ALWAYS TRIGGER guard_ledger;

SELECT pg_catalog.pg_extension_config_dump('txn_processing.reconciled_accounts', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.reconciliation_rules', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.external_statements', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.external_lines', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.reconciliation_matches', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.reconciliation_match_lines', '');
SELECT pg_catalog.pg_extension_config_dump('txn_processing.reconciliation_match_postings', '');
