-- What the history of a table costs, all in turns within each of :rounds rounds, so that what else the machine does meets
-- them alike. Prints what is measured, of which table, round, figure:
--   update_us, insert_us, delete_us: processor time of a statement of that kind on one row by its key, 8,000 of them, the
--     updates scattered over the table; plain: on a plain table, history: on one with a history, log: on a plain one, and
--     an INSERT with constants into a table with the columns, indexes and constraints of the rows that ended in a history
--   update_many_us, insert_many_us, delete_many_us: the same of 8,000 rows by one statement, and by one INSERT
--   report_ms, parallel_ms: a report on a table of :rows rows of which a tenth has changed: plain, and as of a day before
--     (as_of), serial and with two parallel workers
-- By a superuser, in a database with the extension: psql -XAtq -v rows=1000000 -v rounds=15 -f bench/temporal_tables.sql
\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;

CREATE SCHEMA bench_history;
CREATE TABLE bench_history.figures (no int GENERATED ALWAYS AS IDENTITY, measure text, subject text, round int, value numeric);
CREATE TABLE bench_history.plain (id int PRIMARY KEY, customer int NOT NULL, status text NOT NULL, amount numeric NOT NULL, note text);
INSERT INTO bench_history.plain
    SELECT n, n % 1000, (ARRAY['open', 'paid', 'late'])[n % 3 + 1], n % 977, 'note ' || n FROM generate_series(1, 100000) n;
CREATE TABLE bench_history.history (LIKE bench_history.plain INCLUDING ALL);
CREATE TABLE bench_history.log (LIKE bench_history.plain INCLUDING ALL);
INSERT INTO bench_history.history SELECT * FROM bench_history.plain;
INSERT INTO bench_history.log SELECT * FROM bench_history.plain;
SELECT temporal.enable('bench_history.history', p_valid_from => '2020-01-01') \g /dev/null
CREATE TABLE bench_history.logged (LIKE bench_history_history.history_past INCLUDING ALL);
VACUUM ANALYZE;

-- Processor time of this process in nanoseconds, which is counted up to when it last gave way.
CREATE FUNCTION bench_history.used() RETURNS bigint LANGUAGE sql VOLATILE AS
    $$SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint FROM pg_sleep(0.0001)$$;

-- A function for each kind of statement, on one row or many, and each table.
DO $$
DECLARE
    kept CONSTANT text := 'INSERT INTO bench_history.logged (id, customer, status, amount, note, history_valid_from, history_valid_to,
        history_known_from, history_ended_live, history_by, history_transaction, history_closed_by, history_closed_transaction) ';
    known CONSTANT text := ', ''2020-01-01'', clock_timestamp(), ''2020-01-01'', true, current_user, pg_current_xact_id(),
        current_user, pg_current_xact_id()';
    row_values CONSTANT text := '%s, i %% 1000, ''paid'', i %% 977, ''note '' || i';
    new_row CONSTANT text := format(row_values, '100000 + i');
    entry record;
    statement text;
    extra text;
BEGIN
    FOR entry IN
        SELECT *, CASE kind WHEN 'update' THEN 'i::bigint * 7919 % 100000 + 1' ELSE '100000 + i' END AS key,
               CASE kind WHEN 'update' THEN 'id BETWEEN a AND z' ELSE 'id BETWEEN 100000 + a AND 100000 + z' END AS keys
        FROM unnest(ARRAY['update', 'insert', 'delete']) kind, unnest(ARRAY[false, true]) AS many,
             unnest(ARRAY['plain', 'history', 'log']) subject
    LOOP
        statement := CASE entry.kind
            WHEN 'update' THEN format('UPDATE bench_history.%s SET amount = amount + 1 WHERE ', entry.subject)
            WHEN 'delete' THEN format('DELETE FROM bench_history.%s WHERE ', entry.subject)
            ELSE format('INSERT INTO bench_history.%s SELECT %s', entry.subject, new_row) END;
        statement := statement || CASE WHEN entry.kind = 'insert' AND entry.many THEN ' FROM generate_series(a, z) i'
            WHEN entry.kind = 'insert' THEN '' WHEN entry.many THEN entry.keys ELSE 'id = ' || entry.key END;
        extra := CASE
            WHEN entry.subject = 'log' THEN kept || 'SELECT ' || format(row_values, CASE
                     WHEN entry.many AND entry.kind = 'update' THEN 'i' WHEN entry.many THEN '100000 + i' ELSE entry.key END)
                 || known || CASE WHEN entry.many THEN ' FROM generate_series(a, z) i;' ELSE ';' END
            ELSE '' END;
        EXECUTE format('CREATE FUNCTION bench_history.%I(a int, z int) RETURNS void LANGUAGE plpgsql AS %L',
                       concat_ws('_', entry.kind, CASE WHEN entry.many THEN 'many' END, entry.subject),
                       CASE WHEN entry.many THEN format('BEGIN %s %s; END', extra, statement)
                            ELSE format('BEGIN FOR i IN a .. z LOOP %s; %s END LOOP; END', statement, extra) END);
    END LOOP;
END $$;
CREATE PROCEDURE bench_history.updates(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    began bigint;
    a int;
    kind text;
    subject text;
    turn int := 0;
BEGIN
    -- The first three warm up.
    FOR r IN -2 .. rounds LOOP
        a := (r + 3) * 8000 % 92000 + 1;
        FOREACH kind IN ARRAY ARRAY['update', 'update_many', 'insert', 'delete', 'insert_many', 'delete_many'] LOOP
            turn := turn + 1;
            FOR subject IN
                SELECT s FROM unnest(ARRAY['plain', 'history', 'log']) WITH ORDINALITY x (s, n) ORDER BY (n + turn) % 3
            LOOP
                began := bench_history.used();
                EXECUTE format('SELECT bench_history.%I($1, $2)', kind || '_' || subject) USING a, a + 7999;
                INSERT INTO bench_history.figures (measure, subject, round, value)
                SELECT kind || '_us', subject, r, (bench_history.used() - began) / 8000 / 1000.0
                WHERE r > 0;
                COMMIT;
            END LOOP;
        END LOOP;
    END LOOP;
END $$;
CALL bench_history.updates(:rounds);
DROP TABLE bench_history.logged, bench_history.log;
SELECT temporal.disable('bench_history.history', false) \g /dev/null
DROP TABLE bench_history.history, bench_history.plain;

CREATE TABLE bench_history.plain (id int PRIMARY KEY, customer int NOT NULL, status text NOT NULL, amount numeric NOT NULL, note text);
INSERT INTO bench_history.plain
    SELECT n, n % 1000, (ARRAY['open', 'paid', 'late'])[n % 3 + 1], n % 977, 'note ' || n FROM generate_series(1, :rows) n;
CREATE TABLE bench_history.kept (LIKE bench_history.plain INCLUDING ALL);
INSERT INTO bench_history.kept SELECT * FROM bench_history.plain;
SELECT temporal.enable('bench_history.kept', p_valid_from => '2020-01-01') \g /dev/null
UPDATE bench_history.plain SET amount = amount + 1 WHERE id % 10 = 0;
UPDATE bench_history.kept SET amount = amount + 1 WHERE id % 10 = 0;
VACUUM ANALYZE;

CREATE PROCEDURE bench_history.reports(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
    workers int;
    subject text;
BEGIN
    PERFORM set_config('neobank.as_of', '2021-05-05', false);
    FOR r IN 0 .. rounds LOOP
        FOREACH workers IN ARRAY ARRAY[0, 2] LOOP
            PERFORM set_config('max_parallel_workers_per_gather', workers::text, false);
            FOREACH subject IN ARRAY CASE r % 2 WHEN 0 THEN ARRAY['plain', 'as_of'] ELSE ARRAY['as_of', 'plain'] END LOOP
                began := clock_timestamp();
                EXECUTE format('SELECT count(*) FROM (SELECT status, count(*), sum(amount) FROM %s GROUP BY 1) x',
                               CASE subject WHEN 'plain' THEN 'bench_history.plain' ELSE 'bench_history_as_of.kept' END);
                INSERT INTO bench_history.figures (measure, subject, round, value)
                SELECT CASE workers WHEN 0 THEN 'report_ms' ELSE 'parallel_ms' END, subject, r, extract(epoch FROM clock_timestamp() - began) * 1000
                WHERE r > 0;
                COMMIT;
            END LOOP;
        END LOOP;
    END LOOP;
END $$;
CALL bench_history.reports(:rounds);
SELECT measure, subject, round, round(value, 3) FROM bench_history.figures ORDER BY no;
