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

-- No foreign key: it would cost every change of a customer a trigger, and a parallel restore its order.
CREATE TABLE cqrs.risk_scores (
    customer_id uuid PRIMARY KEY,
    set_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    risk_score integer NOT NULL,
    set_by text NOT NULL
);
REVOKE ALL ON cqrs.risk_scores FROM PUBLIC;
COMMENT ON TABLE cqrs.risk_scores IS
    'What the application thinks of a customer, shown in cqrs.customer_summary. Set by cqrs.set_risk_score; the row of a customer who is deleted is shown nowhere.';

-- A function's name, not its oid: it is found again after a dump and a restore.
CREATE TABLE cqrs.command_handlers (
    command_type varchar(100) PRIMARY KEY,
    handler_schema text NOT NULL,
    handler_name text NOT NULL,
    max_attempts integer NOT NULL CHECK (max_attempts BETWEEN 1 AND 100),
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    registered_by text NOT NULL
);
REVOKE ALL ON cqrs.command_handlers FROM PUBLIC;
COMMENT ON TABLE cqrs.command_handlers IS
    'Which function carries out the commands of a type. Written by cqrs.register_handler.';
COMMENT ON COLUMN cqrs.command_handlers.max_attempts IS 'Of commands that do not say it themselves.';

CREATE TABLE cqrs.commands (
    command_id uuid PRIMARY KEY DEFAULT neobank.uuid_v7(),
    command_type varchar(100) NOT NULL,
    aggregate_type varchar(100) NOT NULL,
    aggregate_id uuid,
    payload jsonb NOT NULL,
    status varchar(20) NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'completed', 'failed')),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    processed_at timestamptz,
    result jsonb,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer CHECK (max_attempts BETWEEN 1 AND 100),
    next_attempt_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    submitted_by text NOT NULL DEFAULT CURRENT_USER,
    correlation_id text,
    error_code text,
    error_message text,
    error_detail text
) WITH (fillfactor = 70);
-- In the order in which commands are taken; the last column lets those that wait for a retry be passed over in the index.
CREATE INDEX commands_pending_idx ON cqrs.commands (created_at, command_id, next_attempt_at) WHERE status = 'pending';
REVOKE ALL ON cqrs.commands FROM PUBLIC;
COMMENT ON TABLE cqrs.commands IS
    'What somebody wants done, and what became of it. Submit with cqrs.submit_command; cqrs.process_commands and the background workers carry out what is pending.';
COMMENT ON COLUMN cqrs.commands.command_id IS 'The caller''s, so that a retry answers the first result, or drawn.';
COMMENT ON COLUMN cqrs.commands.status IS
    'pending (also while it waits for another attempt), completed or failed. A claim and its outcome commit together, so nothing between is ever seen.';
COMMENT ON COLUMN cqrs.commands.result IS 'What the handler answered.';
COMMENT ON COLUMN cqrs.commands.attempts IS 'How often the handler was called.';
COMMENT ON COLUMN cqrs.commands.max_attempts IS 'Null: as the handler was registered with.';
COMMENT ON COLUMN cqrs.commands.next_attempt_at IS 'cqrs.process_commands leaves the command alone until then.';
COMMENT ON COLUMN cqrs.commands.submitted_by IS 'The role that wants it: the handler runs with its rights.';
COMMENT ON COLUMN cqrs.commands.error_code IS 'The SQLSTATE of the last attempt where that failed; null after a success.';

CREATE TABLE cqrs.command_events (
    event_id uuid PRIMARY KEY,
    command_id uuid NOT NULL,
    global_position bigint NOT NULL
);
CREATE INDEX command_events_command_id_idx ON cqrs.command_events (command_id);
REVOKE ALL ON cqrs.command_events FROM PUBLIC;
COMMENT ON TABLE cqrs.command_events IS
    'Which command appended an event: every event that a handler, or what it called, has appended. Its row stays when retention deletes the event.';
COMMENT ON COLUMN cqrs.command_events.global_position IS 'The event''s.';

CREATE FUNCTION cqrs.command_result(command_id uuid) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        pg_catalog.jsonb_build_object(
            'command_id', c.command_id, 'command_type', c.command_type, 'status', c.status, 'result', c.result,
            'attempts', c.attempts,
            'events', coalesce(
                (SELECT pg_catalog.jsonb_agg(l.event_id ORDER BY l.global_position)
                 FROM cqrs.command_events l
                 WHERE l.command_id = c.command_id), '[]'))
        || CASE WHEN c.error_code IS NULL THEN '{}'
           ELSE pg_catalog.jsonb_build_object('error', pg_catalog.jsonb_build_object(
               'code', c.error_code, 'message', c.error_message, 'detail', c.error_detail)) END
    FROM cqrs.commands c
    WHERE c.command_id = $1;
END;
REVOKE ALL ON FUNCTION cqrs.command_result(uuid) FROM PUBLIC;
COMMENT ON FUNCTION cqrs.command_result(uuid) IS
    'What became of a command: its status, the handler''s result, attempts, the ids of the events that it appended, in their order, and the error of the last attempt. command_id; null for an unknown one.';

SELECT pg_catalog.pg_extension_config_dump('cqrs.command_handlers', '');
SELECT pg_catalog.pg_extension_config_dump('cqrs.commands', '');
SELECT pg_catalog.pg_extension_config_dump('cqrs.command_events', '');
SELECT pg_catalog.pg_extension_config_dump('cqrs.activity_marks', '');
SELECT pg_catalog.pg_extension_config_dump('cqrs.risk_scores', '');
