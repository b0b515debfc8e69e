-- The last label is ours; an application that knows the first five meets it only where somebody has to decide.
CREATE TYPE saga.saga_status AS ENUM ('started', 'running', 'completed', 'compensating', 'failed', 'parked');
REVOKE ALL ON TYPE saga.saga_status FROM PUBLIC;
COMMENT ON TYPE saga.saga_status IS
    'started (no step has begun), running, completed, compensating (what was done is being undone), failed (it has ended, and all that it did is undone), parked (somebody has to decide: see saga.parked_sagas).';

CREATE TABLE saga.definitions (
    saga_type varchar(100) NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    steps jsonb NOT NULL,
    defined_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    defined_by text NOT NULL DEFAULT CURRENT_USER,
    PRIMARY KEY (saga_type, version)
);
REVOKE ALL ON saga.definitions FROM PUBLIC;
COMMENT ON TABLE saga.definitions IS
    'The steps of each type of saga, every version that there was: a saga keeps the one that it was started with. Written by saga.define.';
COMMENT ON COLUMN saga.definitions.version IS 'From 1, without gap, within its type; the highest is the one that is started.';
COMMENT ON COLUMN saga.definitions.steps IS
    'As given to saga.define, with every key that was left out filled in, and functions as schema and name.';

-- The columns of the contract first, ours after them. What a saga waits for is in its own row, so that whoever looks for
-- work reads one partial index and locks one row.
CREATE TABLE saga.sagas (
    saga_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_type varchar(100) NOT NULL,
    status saga.saga_status NOT NULL DEFAULT 'started',
    current_step integer NOT NULL DEFAULT 0,
    context jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    completed_at timestamptz,
    error_message text,
    definition_version integer,
    idempotency_key varchar(200),
    started_by text NOT NULL DEFAULT CURRENT_USER,
    deadline_at timestamptz,
    due_at timestamptz,
    work_type varchar(100),
    work_at timestamptz,
    waits_for text CHECK (waits_for IN ('runner', 'worker', 'signal', 'delay', 'child', 'client', 'person')),
    error_code text,
    parked_reason text,
    past_return boolean NOT NULL DEFAULT false,
    parent_saga_id uuid,
    parent_step integer,
    transitions integer NOT NULL DEFAULT 0,
    CHECK (status NOT IN ('completed', 'failed') OR (due_at IS NULL AND work_type IS NULL AND completed_at IS NOT NULL))
) WITH (fillfactor = 70);
-- Sagas that have ended are in none of these but the second, the fifth and the last.
CREATE INDEX sagas_due_idx ON saga.sagas (due_at, saga_id) WHERE due_at IS NOT NULL;
CREATE UNIQUE INDEX sagas_idempotency_key_idx ON saga.sagas (saga_type, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX sagas_work_idx ON saga.sagas (work_type, work_at, saga_id) WHERE work_type IS NOT NULL;
CREATE INDEX sagas_open_idx ON saga.sagas (started_at) WHERE status NOT IN ('completed', 'failed');
CREATE INDEX sagas_parent_idx ON saga.sagas (parent_saga_id) WHERE parent_saga_id IS NOT NULL;
-- What saga.prune takes: children go with their parents.
CREATE INDEX sagas_ended_idx ON saga.sagas (saga_type, completed_at)
    WHERE status IN ('completed', 'failed') AND parent_saga_id IS NULL;
REVOKE ALL ON saga.sagas FROM PUBLIC;
COMMENT ON TABLE saga.sagas IS
    'Sagas: whoever changes one locks its row here first. Start with saga.start, or saga.create_saga where the client drives the steps itself.';
COMMENT ON COLUMN saga.sagas.current_step IS 'The step that has begun last; 0: none.';
COMMENT ON COLUMN saga.sagas.context IS 'As given at the start; it does not change. What steps answered is in saga.saga_steps.output_data.';
COMMENT ON COLUMN saga.sagas.completed_at IS 'When it ended, completed or failed.';
COMMENT ON COLUMN saga.sagas.error_message IS 'Why it is being undone, or was; the first reason stays.';
COMMENT ON COLUMN saga.sagas.error_code IS 'The SQLSTATE of that reason; null while nothing has failed for good.';
COMMENT ON COLUMN saga.sagas.definition_version IS 'Of saga.definitions; null: made by saga.create_saga, and driven by saga.execute_step.';
COMMENT ON COLUMN saga.sagas.started_by IS 'The role that started it: its functions run with the rights of this role.';
COMMENT ON COLUMN saga.sagas.deadline_at IS 'If it is not completed or past its point of no return by then, it is undone.';
COMMENT ON COLUMN saga.sagas.due_at IS 'When saga.run_ready has something to do for it; null: nothing, until somebody else acts.';
COMMENT ON COLUMN saga.sagas.work_type IS 'What saga.claim_step may hand out of it; null: nothing.';
COMMENT ON COLUMN saga.sagas.work_at IS 'From when on it may: while a worker has it, when the lease runs out.';
COMMENT ON COLUMN saga.sagas.waits_for IS 'runner (saga.run_ready), worker (of an external step), signal, delay, child, client (saga.execute_step) or person (parked); null: it has ended.';
COMMENT ON COLUMN saga.sagas.parked_reason IS 'Why somebody has to decide; null: nobody has to.';
COMMENT ON COLUMN saga.sagas.past_return IS 'The step of no return is completed: from here it goes on, or is parked.';
COMMENT ON COLUMN saga.sagas.parent_saga_id IS 'The saga whose step parent_step it is; null: none.';
COMMENT ON COLUMN saga.sagas.transitions IS 'Rows of saga.transitions about it.';

-- No foreign keys among these tables: a restore in several jobs loads them in whatever order. Nobody else writes them.
CREATE TABLE saga.saga_steps (
    step_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_id uuid NOT NULL,
    step_number integer NOT NULL,
    step_name varchar(100) NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'compensated')),
    input_data jsonb,
    output_data jsonb,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    compensation_needed boolean NOT NULL DEFAULT false,
    compensated_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    put_off integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    timeout_at timestamptz,
    lease_token bigint,
    leased_until timestamptz,
    claimed_by text,
    error_code text,
    child_saga_id uuid,
    effect_possible boolean NOT NULL DEFAULT false,
    UNIQUE (saga_id, step_number)
) WITH (fillfactor = 50);
REVOKE ALL ON saga.saga_steps FROM PUBLIC;
COMMENT ON TABLE saga.saga_steps IS 'The steps of sagas, each with its action. Their compensations are in saga.compensations.';
COMMENT ON COLUMN saga.saga_steps.step_id IS 'Also the key of its effect: the same for all attempts.';
COMMENT ON COLUMN saga.saga_steps.status IS
    'pending (not reached), running (a worker or client has it), waiting (for a worker, a signal, a time, a child, or another attempt), completed, failed (given up), compensated.';
COMMENT ON COLUMN saga.saga_steps.input_data IS
    'What saga.execute_step was given when the step began; null in a saga with a definition.';
COMMENT ON COLUMN saga.saga_steps.output_data IS 'What the action answered, the worker reported, or the signal brought.';
COMMENT ON COLUMN saga.saga_steps.compensation_needed IS
    'If the saga fails, this step is to be undone: set with its start where it has a compensation, taken back where it surely had no effect.';
COMMENT ON COLUMN saga.saga_steps.attempts IS 'How often the action was begun.';
COMMENT ON COLUMN saga.saga_steps.put_off IS 'How often a lock stood in the way since then, which counts as no attempt.';
COMMENT ON COLUMN saga.saga_steps.timeout_at IS 'No attempt begins after that, no wait lasts longer, and a function that has not ended is interrupted; null: no limit.';
COMMENT ON COLUMN saga.saga_steps.lease_token IS
    'The fencing token under which a worker has it, or had it when it answered: of two leases the later has the higher one.';
COMMENT ON COLUMN saga.saga_steps.claimed_by IS 'The worker that had it last.';
COMMENT ON COLUMN saga.saga_steps.error_code IS 'The SQLSTATE of the last attempt that failed; null after a success.';

COMMENT ON COLUMN saga.saga_steps.effect_possible IS
    'An attempt ended without an answer, so it may have had its effect; then the step is undone though it failed.';
COMMENT ON COLUMN saga.saga_steps.child_saga_id IS 'The saga that it has started and waits for.';

CREATE TABLE saga.compensations (
    compensation_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_id uuid NOT NULL,
    step_number integer NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed')),
    output_data jsonb,
    error_message text,
    started_at timestamptz,
    completed_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    put_off integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    lease_token bigint,
    leased_until timestamptz,
    claimed_by text,
    error_code text,
    UNIQUE (saga_id, step_number)
) WITH (fillfactor = 50);
REVOKE ALL ON saga.compensations FROM PUBLIC;
COMMENT ON TABLE saga.compensations IS
    'What undoes a step: one row for each that has to be undone, made when its turn comes.';
COMMENT ON COLUMN saga.compensations.compensation_id IS 'Also the key of its effect: the same for all attempts, another than the step''s.';
COMMENT ON COLUMN saga.compensations.status IS
    'pending, running (a worker has it), waiting (for a worker or another attempt), completed, failed (attempts are used up: the saga is parked).';

CREATE SEQUENCE saga.lease_token_seq;
REVOKE ALL ON SEQUENCE saga.lease_token_seq FROM PUBLIC;
COMMENT ON SEQUENCE saga.lease_token_seq IS 'Fencing tokens: of two leases of a step the later has the higher one.';

CREATE TABLE saga.signals (
    signal_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    saga_id uuid NOT NULL,
    name varchar(100) NOT NULL,
    payload jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    sent_by text NOT NULL DEFAULT CURRENT_USER,
    consumed_by integer,
    consumed_at timestamptz
);
-- Numbers in the order of the saga's lock, which is the order of sending.
ALTER TABLE saga.signals ADD signal_no bigint GENERATED ALWAYS AS IDENTITY;
CREATE INDEX signals_saga_idx ON saga.signals (saga_id, name, signal_no);
REVOKE ALL ON saga.signals FROM PUBLIC;
REVOKE ALL ON SEQUENCE saga.signals_signal_no_seq FROM PUBLIC;
COMMENT ON TABLE saga.signals IS
    'What sagas were told from outside: kept until a step waits for it, each for one step. Sent with saga.signal.';
COMMENT ON COLUMN saga.signals.consumed_by IS 'The number of the step that took it; null: none yet.';
COMMENT ON COLUMN saga.signals.signal_no IS 'Steps take signals of a name in this order.';
COMMENT ON SEQUENCE saga.signals_signal_no_seq IS 'Numbers of signals; gaps are possible.';

CREATE TABLE saga.transitions (
    saga_id uuid NOT NULL,
    transition_no integer NOT NULL,
    recorded_at timestamptz NOT NULL,
    step_number integer,
    attempt integer,
    subject text NOT NULL CHECK (subject IN ('saga', 'step', 'compensation')),
    from_state text,
    to_state text NOT NULL,
    actor text NOT NULL,
    code text,
    message text,
    PRIMARY KEY (saga_id, transition_no),
    CHECK (from_state IS DISTINCT FROM to_state)
);
REVOKE ALL ON saga.transitions FROM PUBLIC;
COMMENT ON TABLE saga.transitions IS
    'Everything that happened to every saga that is not pruned, append-only (NB009): each change of state of a saga, its steps and their compensations, in its order.';
COMMENT ON COLUMN saga.transitions.transition_no IS 'From 1, without gap, within its saga.';
COMMENT ON COLUMN saga.transitions.recorded_at IS 'The clock''s time when it was decided.';
COMMENT ON COLUMN saga.transitions.attempt IS 'Of a step or compensation: which attempt began or ended.';
COMMENT ON COLUMN saga.transitions.from_state IS 'Null: it begins.';
COMMENT ON COLUMN saga.transitions.actor IS 'The role that did it, or the worker under its lease.';
COMMENT ON COLUMN saga.transitions.code IS 'Why, where something failed: an SQLSTATE.';

CREATE TRIGGER guard_ledger
    BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON saga.transitions
    FOR EACH STATEMENT EXECUTE FUNCTION neobank.guard_ledger();
COMMENT ON TRIGGER guard_ledger ON saga.transitions IS 'Keeps the log append-only (NB009).';
ALTER TABLE saga.transitions ENABLE ALWAYS TRIGGER guard_ledger;

-- Sagas that are not at their end, each with what it waits for.
CREATE VIEW saga.running_sagas AS
SELECT s.saga_id, s.saga_type, s.definition_version, s.status, s.current_step, p.step_name, p.status AS step_status,
       p.attempts, s.waits_for, s.due_at, s.work_type, p.claimed_by, p.leased_until, p.timeout_at, s.deadline_at,
       s.started_at, pg_catalog.clock_timestamp() - s.started_at AS age, s.error_code, s.error_message,
       p.error_code AS step_error_code, p.error_message AS step_error_message, s.started_by, s.parent_saga_id
FROM saga.sagas s
LEFT JOIN saga.saga_steps p ON p.saga_id = s.saga_id AND p.step_number = s.current_step
WHERE s.status NOT IN ('completed', 'failed');
REVOKE ALL ON saga.running_sagas FROM PUBLIC;
COMMENT ON VIEW saga.running_sagas IS
    'Sagas that have not ended, parked ones too: the step they are at, what they wait for (see saga.sagas), their age, why they are being undone (error_code, error_message) and what went wrong with the step last (step_error_code, step_error_message).';

CREATE VIEW saga.parked_sagas AS
SELECT s.saga_id, s.saga_type, CASE WHEN s.error_code IS NULL THEN 'forward' ELSE 'compensating' END AS direction,
       s.parked_reason, u.step_number, u.step_name, u.code AS error_code, u.message AS error_message, u.attempts,
       s.error_code AS saga_error_code, s.error_message AS saga_error_message, s.started_at,
       (SELECT max(t.recorded_at) FROM saga.transitions t
        WHERE t.saga_id = s.saga_id AND t.subject = 'saga' AND t.to_state = 'parked') AS parked_at
FROM saga.sagas s
LEFT JOIN LATERAL (
    SELECT c.step_number, p.step_name, c.error_code AS code, c.error_message AS message, c.attempts
    FROM saga.compensations c
    JOIN saga.saga_steps p ON p.saga_id = c.saga_id AND p.step_number = c.step_number
    WHERE c.saga_id = s.saga_id AND c.status = 'failed' AND s.error_code IS NOT NULL
    UNION ALL
    SELECT p.step_number, p.step_name, p.error_code, p.error_message, p.attempts
    FROM saga.saga_steps p
    WHERE p.saga_id = s.saga_id AND p.status = 'failed' AND s.error_code IS NULL
    LIMIT 1
) u ON true
WHERE s.status = 'parked';
REVOKE ALL ON saga.parked_sagas FROM PUBLIC;
COMMENT ON VIEW saga.parked_sagas IS
    'Sagas on which somebody has to decide: direction (forward: past the point of no return, or its outcome is not known; compensating), parked_reason, the step with its last error, and why the saga is being undone (saga_error_code, saga_error_message). See saga.retry_step, saga.retry_compensation and saga.resolve.';

CREATE VIEW saga.failed_sagas AS
SELECT s.saga_id, s.saga_type, s.definition_version, s.error_code, s.error_message, s.current_step, p.step_name,
       (SELECT count(*) FROM saga.compensations c WHERE c.saga_id = s.saga_id AND c.status = 'completed')
           AS compensated_steps,
       s.started_at, s.completed_at, s.started_by
FROM saga.sagas s
LEFT JOIN saga.saga_steps p ON p.saga_id = s.saga_id AND p.step_number = s.current_step
WHERE s.status = 'failed';
REVOKE ALL ON saga.failed_sagas FROM PUBLIC;
COMMENT ON VIEW saga.failed_sagas IS
    'Sagas that have ended without success, with the reason, the last step that had begun, and how many steps were undone.';

-- Nobody does anything for these, though something is to be done.
CREATE VIEW saga.stuck_sagas AS
SELECT s.saga_id, s.saga_type, s.status, s.waits_for, p.step_number, p.step_name, r.reason, r.since,
       pg_catalog.clock_timestamp() - r.since AS waiting
FROM saga.sagas s
LEFT JOIN saga.saga_steps p ON p.saga_id = s.saga_id AND p.step_number = s.current_step
CROSS JOIN LATERAL (
    SELECT 'parked: ' || s.parked_reason AS reason,
           (SELECT max(t.recorded_at) FROM saga.transitions t
            WHERE t.saga_id = s.saga_id AND t.subject = 'saga' AND t.to_state = 'parked') AS since
    WHERE s.status = 'parked'
    UNION ALL
    SELECT 'it is due, and nobody calls saga.run_ready', s.due_at
    WHERE s.due_at < pg_catalog.clock_timestamp() - interval '1 minute'
    UNION ALL
    SELECT 'no worker claims steps of type ' || s.work_type, s.work_at
    WHERE s.work_at < pg_catalog.clock_timestamp() - interval '5 minutes'
) r
WHERE s.status NOT IN ('completed', 'failed');
REVOKE ALL ON saga.stuck_sagas FROM PUBLIC;
COMMENT ON VIEW saga.stuck_sagas IS
    'Sagas for which nobody does what is to be done: parked ones, those due for more than a minute, and those whose external step no worker has claimed for five; with the reason and since when.';

SELECT pg_catalog.pg_extension_config_dump('saga.definitions', '');
SELECT pg_catalog.pg_extension_config_dump('saga.sagas', '');
SELECT pg_catalog.pg_extension_config_dump('saga.saga_steps', '');
SELECT pg_catalog.pg_extension_config_dump('saga.compensations', '');
SELECT pg_catalog.pg_extension_config_dump('saga.signals', '');
SELECT pg_catalog.pg_extension_config_dump('saga.signals_signal_no_seq', '');
SELECT pg_catalog.pg_extension_config_dump('saga.transitions', '');
SELECT pg_catalog.pg_extension_config_dump('saga.lease_token_seq', '');
