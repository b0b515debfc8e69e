-- A saga drawn for people.
CREATE FUNCTION saga.step_does(plan jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN plan IS NULL THEN 'the client does it'
    WHEN plan ? 'signal' THEN 'waits for signal ' || (plan ->> 'signal')
    WHEN plan ? 'delay_ms' THEN 'waits ' || (plan ->> 'delay_ms') || ' ms'
    WHEN plan ? 'child' THEN 'starts saga ' || (plan ->> 'child')
    WHEN plan -> 'action' = '"external"'::jsonb THEN 'external: ' || coalesce(plan ->> 'type', plan ->> 'name')
    ELSE 'calls ' || (plan -> 'action' ->> 'schema') || '.' || (plan -> 'action' ->> 'name')
END;
REVOKE ALL ON FUNCTION saga.step_does(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION saga.step_does(jsonb) IS 'What a step of a definition does, in words. plan: an element of saga.definitions.steps; null: a step that has no definition.';

-- What saga.describe draws, a row for each step.
CREATE VIEW saga.step_plans AS
SELECT p.saga_id, p.step_number, p.step_name, p.status, p.attempts, p.claimed_by, p.leased_until, p.next_attempt_at,
       p.timeout_at, p.child_saga_id, p.started_at, p.completed_at,
       saga.step_does(d.plan) AS does,
       CASE WHEN d.plan -> 'compensation' = '"external"'::jsonb THEN 'external'
            ELSE (d.plan -> 'compensation' ->> 'schema') || '.' || (d.plan -> 'compensation' ->> 'name') END AS undone_by,
       coalesce((d.plan ->> 'point_of_no_return')::boolean, false) AS point_of_no_return,
       c.status AS compensation_status, c.attempts AS compensation_attempts,
       coalesce(c.error_code, p.error_code) AS error_code, coalesce(c.error_message, p.error_message) AS error_message
FROM saga.saga_steps p
JOIN saga.sagas s USING (saga_id)
LEFT JOIN saga.definitions f ON f.saga_type = s.saga_type AND f.version = s.definition_version
LEFT JOIN saga.compensations c USING (saga_id, step_number)
CROSS JOIN LATERAL (SELECT f.steps -> (p.step_number - 1) AS plan) d;
REVOKE ALL ON saga.step_plans FROM PUBLIC;
COMMENT ON VIEW saga.step_plans IS
    'Every step of every saga with what its definition says of it (does, undone_by, point_of_no_return), how far it and its compensation are, and what went wrong last.';

CREATE FUNCTION saga.describe_as_text(saga_id uuid) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
BEGIN ATOMIC
    WITH steps AS MATERIALIZED (
        SELECT p.*, max(pg_catalog.length(p.step_name)) OVER () AS name_width,
               max(pg_catalog.length(p.does)) OVER () AS does_width
        FROM saga.step_plans p WHERE p.saga_id = $1
    ), lines (place, line) AS (
        SELECT 0, pg_catalog.format('%s %s: %s', s.saga_type, s.saga_id, s.status)
        FROM saga.sagas s WHERE s.saga_id = $1
        UNION ALL
        SELECT 1, '  because ' || s.error_message || coalesce(' (' || s.error_code || ')', '')
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.error_message IS NOT NULL
        UNION ALL
        SELECT 2, '  parked: ' || s.parked_reason FROM saga.sagas s WHERE s.saga_id = $1 AND s.parked_reason IS NOT NULL
        UNION ALL
        SELECT 3, '  waits for ' || s.waits_for
                  || coalesce(', due ' || pg_catalog.to_char(s.due_at, 'YYYY-MM-DD HH24:MI:SS TZ'), '')
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.waits_for IS NOT NULL
        UNION ALL
        SELECT 4, '  deadline ' || pg_catalog.to_char(s.deadline_at, 'YYYY-MM-DD HH24:MI:SS TZ')
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.deadline_at IS NOT NULL
        UNION ALL
        SELECT 5, '  child of ' || s.parent_saga_id::text || ', step ' || s.parent_step::text
        FROM saga.sagas s WHERE s.saga_id = $1 AND s.parent_saga_id IS NOT NULL
        UNION ALL
        SELECT 10 + p.step_number, pg_catalog.rtrim(pg_catalog.format('  %s %s %s  %s  %s',
            pg_catalog.lpad(p.step_number::text, 3),
            CASE p.status WHEN 'completed' THEN '[x]' WHEN 'compensated' THEN '[<]' WHEN 'failed' THEN '[!]'
                          WHEN 'running' THEN '[>]' WHEN 'waiting' THEN '[.]' ELSE '[ ]' END,
            pg_catalog.rpad(p.step_name, p.name_width), pg_catalog.rpad(p.does, p.does_width),
            pg_catalog.concat_ws(', ',
                p.status,
                CASE WHEN p.attempts > 1 THEN p.attempts::text || ' attempts' END,
                'by ' || CASE WHEN p.status = 'running' THEN p.claimed_by END,
                'saga ' || p.child_saga_id::text,
                CASE WHEN p.compensation_status IS NOT NULL AND p.compensation_status <> 'completed'
                     THEN 'undoing is ' || p.compensation_status END,
                CASE WHEN p.point_of_no_return THEN 'point of no return' END,
                CASE WHEN p.status = 'compensated' AND p.undone_by IS NOT NULL THEN 'by ' || p.undone_by END,
                p.error_message || coalesce(' (' || p.error_code || ')', ''))))
        FROM steps p
    )
    SELECT l.line FROM lines l ORDER BY l.place;
END;
REVOKE ALL ON FUNCTION saga.describe_as_text(uuid) FROM PUBLIC;
COMMENT ON FUNCTION saga.describe_as_text(uuid) IS
    'A saga as lines of text: its status and why, what it waits for, and a line for each step. saga_id. No line: there is no such saga.';

-- Names may hold anything. Between quotation marks Mermaid still finds directives, formulas, line breaks, Markdown and HTML,
-- so of ASCII only what cannot begin any of them stays as it is; the rest is written as a character reference. Two things it
-- finds all the same: icons (fa:fa-car), once references are read, and "direction TB", anywhere in a line.
CREATE FUNCTION saga.mermaid_text(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN name IS NOT NULL THEN pg_catalog.replace(pg_catalog.replace(coalesce((
    SELECT pg_catalog.string_agg(
        CASE WHEN c.letter ~ '[[:cntrl:]]' THEN ' '
             WHEN pg_catalog.ascii(c.letter) > 127 OR c.letter ~ '[A-Za-z0-9 _.,()/-]' THEN c.letter
             ELSE '#' || pg_catalog.ascii(c.letter)::text || ';' END, '' ORDER BY c.place)
    FROM pg_catalog.string_to_table(name, NULL) WITH ORDINALITY AS c (letter, place)), ''),
    '#58;fa-', '#58;#8203;fa-'), 'direction', 'directio#110;') END;
REVOKE ALL ON FUNCTION saga.mermaid_text(text) FROM PUBLIC;
COMMENT ON FUNCTION saga.mermaid_text(text) IS 'A text as it may stand between quotation marks in a Mermaid diagram. name; null for null.';

CREATE FUNCTION saga.describe_as_mermaid(saga_id uuid) RETURNS SETOF text
LANGUAGE sql STABLE PARALLEL SAFE ROWS 20
BEGIN ATOMIC
    WITH steps AS MATERIALIZED (
        SELECT p.*, pg_catalog.lag(p.step_number) OVER (ORDER BY p.step_number) AS before
        FROM saga.step_plans p WHERE p.saga_id = $1
    ), lines (place, line) AS (
        SELECT 0, 'flowchart LR' FROM saga.sagas s WHERE s.saga_id = $1
        UNION ALL
        SELECT 1, pg_catalog.format('    start(["%s"]):::%s', saga.mermaid_text(s.saga_type), s.status)
        FROM saga.sagas s WHERE s.saga_id = $1
        UNION ALL
        SELECT 10 * p.step_number, pg_catalog.format('    s%s["%s %s<br/>%s<br/>%s"]:::%s', p.step_number, p.step_number,
            saga.mermaid_text(p.step_name), saga.mermaid_text(p.does), p.status, p.status)
        FROM steps p
        UNION ALL
        SELECT 10 * p.step_number + 1, pg_catalog.format('    %s %s s%s', coalesce('s' || p.before::text, 'start'),
            CASE WHEN p.status = 'pending' THEN '-.->' ELSE '-->' END, p.step_number)
        FROM steps p
        UNION ALL
        SELECT 10 * p.step_number + 2, pg_catalog.format('    u%s["undo %s<br/>%s<br/>%s"]:::%s', p.step_number,
            saga.mermaid_text(p.step_name), saga.mermaid_text(coalesce(p.undone_by, '')), p.compensation_status,
            CASE p.compensation_status WHEN 'completed' THEN 'compensated' ELSE p.compensation_status END)
        FROM steps p WHERE p.compensation_status IS NOT NULL
        UNION ALL
        SELECT 10 * p.step_number + 3, pg_catalog.format('    s%s -- undone --> u%s', p.step_number, p.step_number)
        FROM steps p WHERE p.compensation_status IS NOT NULL
        UNION ALL
        SELECT 100000, '    classDef ' || c.style
        FROM saga.sagas s, pg_catalog.unnest(ARRAY[
            'completed fill:#d9f2dd,stroke:#2e7d32,color:#12351a', 'compensated fill:#e8e3f3,stroke:#5e4b8b,color:#2b2145',
            'compensating fill:#e8e3f3,stroke:#5e4b8b,color:#2b2145', 'failed fill:#fbdcdc,stroke:#b3261e,color:#4a0f0c',
            'parked fill:#ffe8c7,stroke:#b26a00,color:#4a2c00', 'running fill:#dbe9fb,stroke:#1f5fa8,color:#0e2b4d',
            'waiting fill:#fff6d6,stroke:#8a7300,color:#3d3300', 'started fill:#f2f2f2,stroke:#777777,color:#222222',
            'pending fill:#f2f2f2,stroke:#999999,color:#444444']) AS c (style)
        WHERE s.saga_id = $1
    )
    SELECT l.line FROM lines l ORDER BY l.place, l.line;
END;
REVOKE ALL ON FUNCTION saga.describe_as_mermaid(uuid) FROM PUBLIC;
COMMENT ON FUNCTION saga.describe_as_mermaid(uuid) IS
    'A saga as the lines of a Mermaid flowchart: its steps and what undid them, coloured by their states. saga_id. No line: there is no such saga.';

CREATE FUNCTION saga.describe(saga_id uuid, format text DEFAULT 'text') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    drawn text;
BEGIN
    IF saga_id IS NULL OR format IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN saga_id IS NULL THEN 'saga_id' ELSE 'format' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass a value.';
    ELSIF format = 'text' THEN
        SELECT string_agg(d.line, E'\n') INTO drawn FROM saga.describe_as_text(describe.saga_id) AS d (line);
    ELSIF format = 'mermaid' THEN
        SELECT string_agg(d.line, E'\n') INTO drawn FROM saga.describe_as_mermaid(describe.saga_id) AS d (line);
    ELSE
        RAISE EXCEPTION 'argument "format" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = pg_catalog.format('%L is none.', pg_catalog.left(format, 100)), HINT = 'Use text or mermaid.';
    END IF;
    IF drawn IS NULL THEN
        RAISE EXCEPTION 'saga not found'
            USING ERRCODE = 'NB200', DETAIL = pg_catalog.format('There is no saga %s.', describe.saga_id),
                  HINT = 'See saga.sagas.';
    END IF;
    RETURN drawn;
END
$$;
REVOKE ALL ON FUNCTION saga.describe(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION saga.describe(uuid, text) IS
    'Draws a saga: each step with what it does and how far it is, what went wrong, what undid it. saga_id; format: text, or mermaid for a Mermaid flowchart. NB200: no such saga; NB021: format; 22004: null.';
