-- Locks, versions and isolation: shown; and locks with a name for applications.

CREATE VIEW concurrency.v_lock_analysis AS
SELECT w.waiter_pid AS blocked_pid, d.usename AS blocked_user, d.application_name AS blocked_app,
    d.query AS blocked_query, w.wanted_mode AS blocked_mode,
    w.blocker_pid AS blocking_pid, coalesce(g.usename, w.prepared_owner) AS blocking_user,
    g.application_name AS blocking_app, coalesce(g.query, w.prepared_gid) AS blocking_query,
    w.held_mode AS blocking_mode,
    pg_catalog.clock_timestamp() - coalesce(w.waiting_since, d.state_change) AS blocked_duration,
    w.lock_type, w.object, w.queued AS blocking_is_queued
FROM troubleshoot.lock_waits() w
LEFT JOIN pg_catalog.pg_stat_activity d ON d.pid = w.waiter_pid
LEFT JOIN pg_catalog.pg_stat_activity g ON g.pid = w.blocker_pid AND w.blocker_pid <> 0
ORDER BY blocked_duration DESC, blocked_pid, blocking_pid;
REVOKE ALL ON concurrency.v_lock_analysis FROM PUBLIC;
COMMENT ON VIEW concurrency.v_lock_analysis IS
    'Each session that waits for a lock with each one that it waits for, by pg_blocking_pids. blocked_mode: wanted; blocking_mode: held or, where blocking_is_queued, wanted as well by one that is ahead in the queue; object: what the lock is on; blocking_pid 0: a prepared transaction, with its gid in blocking_query. blocked_duration: since the wait began.';

CREATE FUNCTION concurrency.detect_deadlock_risk() RETURNS TABLE (
    session1_pid integer,
    session1_locks text,
    session2_pid integer,
    session2_locks text,
    risk_level text
)
LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
SET jit = off
BEGIN ATOMIC
    WITH RECURSIVE waits AS MATERIALIZED (
        SELECT w.* FROM troubleshoot.lock_waits() w WHERE w.lock_type <> 'snapshot'
    ), reach (from_pid, to_pid) AS (
        SELECT w.waiter_pid, w.blocker_pid FROM waits w WHERE NOT w.queued AND w.blocker_pid <> 0
        UNION
        SELECT r.from_pid, w.blocker_pid FROM reach r JOIN waits w ON w.waiter_pid = r.to_pid
        WHERE NOT w.queued AND w.blocker_pid <> 0
    ), held AS MATERIALIZED (
        SELECT DISTINCT l.pid, l.relation, l.mode, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_catalog.pg_locks l
        JOIN pg_catalog.pg_class c ON c.oid = l.relation
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'm')
          AND l.mode NOT IN ('AccessShareLock', 'SIReadLock') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                            WHERE d.datname = pg_catalog.current_database())
    ), texts AS (
        SELECT h.pid, pg_catalog.string_agg(h.name || ' (' || h.mode || ')', ', ' ORDER BY h.name, h.mode) AS locks
        FROM held h GROUP BY h.pid
    ), wanted AS (
        -- The table of the row, or the table itself, that a session waits for.
        SELECT DISTINCT w.waiter_pid AS pid, pg_catalog.regexp_replace(w.object, '^row \([0-9,]+\) of ', '') AS name
        FROM waits w WHERE w.lock_type IN ('transactionid', 'tuple', 'relation')
    ), pairs AS (
        SELECT r.from_pid AS one, r.to_pid AS two, 1 AS rank, 'DEADLOCK - each waits for the other' AS risk
        FROM reach r
        WHERE r.from_pid < r.to_pid AND EXISTS (SELECT FROM reach b WHERE b.from_pid = r.to_pid AND b.to_pid = r.from_pid)
        UNION ALL
        SELECT a.pid, b.pid, 2, 'HIGH - opposite order: each has locked what the other waits to lock more of'
        FROM wanted a JOIN wanted b ON b.pid > a.pid AND a.name <> b.name
        WHERE EXISTS (SELECT FROM held h WHERE h.pid = a.pid AND h.name = b.name)
          AND EXISTS (SELECT FROM held h WHERE h.pid = b.pid AND h.name = a.name)
        UNION ALL
        SELECT w.waiter_pid, w.blocker_pid, 3, 'HIGH - Both sessions hold locks'
        FROM waits w
        WHERE NOT w.queued AND w.holds_others AND w.blocker_pid <> 0
          AND NOT EXISTS (SELECT FROM waits b WHERE b.waiter_pid = w.blocker_pid)
          AND EXISTS (SELECT FROM wanted t JOIN held h ON h.pid = t.pid AND h.name <> t.name
                      WHERE t.pid = w.waiter_pid)
        UNION ALL
        SELECT w.waiter_pid, w.blocker_pid, 4, 'MEDIUM'
        FROM waits w WHERE NOT w.queued AND w.holds_others AND w.blocker_pid <> 0
    ), worst AS (
        SELECT DISTINCT ON (least(p.one, p.two), greatest(p.one, p.two)) p.*
        FROM pairs p ORDER BY least(p.one, p.two), greatest(p.one, p.two), p.rank
    )
    SELECT p.one, coalesce(a.locks, 'none'), p.two, coalesce(b.locks, 'none'), p.risk
    FROM worst p
    LEFT JOIN texts a ON a.pid = p.one
    LEFT JOIN texts b ON b.pid = p.two
    ORDER BY p.rank, p.one, p.two;
END;
REVOKE ALL ON FUNCTION concurrency.detect_deadlock_risk() FROM PUBLIC;
COMMENT ON FUNCTION concurrency.detect_deadlock_risk() IS
    'Pairs of sessions that wait, or make wait, in a way that may end in a deadlock, by what is waited for at this moment. risk_level: DEADLOCK: a circle, which the server breaks after deadlock_timeout; HIGH - opposite order: each has written to the table that the other waits for, so it is luck that they are not at the same rows; HIGH - Both sessions hold locks: one waits for the other, and has written elsewhere before: let that one touch it and there is a deadlock; MEDIUM: the same within one table. session1_locks, session2_locks: tables of this database that are locked for writing. No row where nobody who has written waits.';

CREATE FUNCTION concurrency.widen_xid(narrow xid, next_xid xid8) RETURNS xid8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    -- The latest number below next_xid with these last 32 bits; what is not below it has wrapped around, or is none.
    SELECT CASE
        WHEN narrow::text::bigint < 3 THEN narrow::text::xid8
        WHEN next_xid::text::numeric - distance.back >= 3 THEN (next_xid::text::numeric - distance.back)::text::xid8
    END
    FROM (SELECT ((next_xid::text::numeric % 4294967296 - narrow::text::numeric - 1 + 4294967296) % 4294967296) + 1)
        distance (back);
END;
REVOKE ALL ON FUNCTION concurrency.widen_xid(xid, xid8) FROM PUBLIC;
COMMENT ON FUNCTION concurrency.widen_xid(xid, xid8) IS
    'A transaction id of 32 bits with its epoch: the latest one below next_xid. Null where there is none.';

CREATE FUNCTION concurrency.show_mvcc_info(p_table_name regclass, p_max_rows integer DEFAULT 1000) RETURNS TABLE (
    ctid tid,
    xmin xid8,
    xmax xid8,
    xmin_committed boolean,
    xmax_committed boolean,
    current_snapshot text,
    xmin_status text,
    xmax_status text
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind "char";
    frozen_below xid;
BEGIN
    IF p_table_name IS NULL OR p_max_rows IS NULL THEN
        RAISE EXCEPTION 'argument "%" must not be null',
            CASE WHEN p_table_name IS NULL THEN 'p_table_name' ELSE 'p_max_rows' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Give a value.';
    END IF;
    SELECT c.relkind, c.relfrozenxid INTO kind, frozen_below FROM pg_class c WHERE c.oid = p_table_name;
    IF kind IS NULL OR kind NOT IN ('r', 'm', 'p') THEN
        RAISE EXCEPTION 'argument "p_table_name" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('%s has no rows with versions of its own.', p_table_name),
                  HINT = 'Name a table or a materialized view.';
    END IF;
    IF p_max_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'argument "p_max_rows" is out of bounds'
            USING ERRCODE = 'NB021', DETAIL = format('It is %s; it must be 1 to 100000.', p_max_rows),
                  HINT = 'See the argument''s bounds in docs/errors.md.';
    END IF;
    -- Rather an error than a place in the queue behind somebody who alters the table.
    EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE NOWAIT', p_table_name);
    RETURN QUERY EXECUTE format($query$
        SELECT v.ctid, v.xmin8, v.xmax8,
            v.xmin_status IN ('committed', 'frozen', 'own'), coalesce(v.xmax_status = 'committed', false),
            v.snapshot, v.xmin_status, v.xmax_status
        FROM (
            SELECT r.ctid, r.snapshot, r.xmin8, r.xmax8,
                CASE WHEN r.narrow_xmin::text::bigint < 3 OR r.xmin8 IS NULL OR r.xmin8 < r.frozen8 THEN 'frozen'
                     WHEN r.xmin8 >= r.seen_below THEN 'own'
                     ELSE coalesce(nullif(pg_xact_status(r.xmin8), 'in progress'),
                                   CASE WHEN pg_xact_status(r.xmin8) IS NULL THEN 'frozen' ELSE 'own' END)
                     END AS xmin_status,
                CASE WHEN r.narrow_xmax = '0'::xid THEN NULL
                     WHEN r.xmax8 >= r.seen_below THEN 'in progress'
                     WHEN r.xmax8 IS NULL OR r.xmax8 < r.frozen8 THEN 'a multixact, or long past'
                     ELSE coalesce(pg_xact_status(r.xmax8), 'long past') END AS xmax_status
            FROM (
                SELECT t.ctid, t.xmin AS narrow_xmin, t.xmax AS narrow_xmax, s.snapshot::text AS snapshot,
                    concurrency.widen_xid(t.xmin, s.bound) AS xmin8,
                    CASE WHEN t.xmax <> '0'::xid THEN concurrency.widen_xid(t.xmax, s.bound) END AS xmax8,
                    concurrency.widen_xid($1, s.bound) AS frozen8, pg_snapshot_xmax(s.snapshot) AS seen_below
                FROM %s t
                -- Transactions that began since: this one's own parts, or those who lock and delete.
                CROSS JOIN (SELECT c.snapshot, (pg_snapshot_xmax(c.snapshot)::text::bigint + 1048576)::text::xid8 AS bound
                            FROM (SELECT pg_current_snapshot() AS snapshot) c) s
                LIMIT $2
            ) r
        ) v
    $query$, p_table_name) USING frozen_below, p_max_rows;
END
$$;
REVOKE ALL ON FUNCTION concurrency.show_mvcc_info(regclass, integer) FROM PUBLIC;
COMMENT ON FUNCTION concurrency.show_mvcc_info(regclass, integer) IS
    'The versions of rows that the caller sees in a table, as they lie in it. p_table_name: one that the caller may read; p_max_rows: the most rows to show, 1 to 100,000. xmin, xmax: the transactions that made and that deleted, changed or locked the row, in 64 bits; xmin_status: committed, frozen (older than any transaction that is looked up) or own; xmax_status: null (nobody), in progress, aborted, or committed, which in a row that is seen means that it was only locked. A multixact in xmax cannot be told from a transaction here. NB021: no table, or p_max_rows; 42501: may not read it; 55P03: somebody has it locked; 22004: null.';

CREATE FUNCTION concurrency.demonstrate_isolation_levels() RETURNS TABLE (
    isolation_level text,
    phenomenon text,
    allowed boolean,
    example text
)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT l.level, p.phenomenon, l.rank >= p.allowed_from, CASE WHEN l.rank >= p.allowed_from THEN p.happens ELSE p.kept END
    FROM (VALUES ('READ UNCOMMITTED', 1, 3), ('READ COMMITTED', 2, 3), ('REPEATABLE READ', 3, 2), ('SERIALIZABLE', 4, 1))
        l (level, place, rank)
    CROSS JOIN (VALUES
        ('Dirty Read', 1, 4, NULL,
         'Nobody sees what is not committed: READ UNCOMMITTED is READ COMMITTED in PostgreSQL'),
        ('Non-repeatable Read', 2, 3, 'The same row, read again, shows what others have committed meanwhile',
         'All statements see the snapshot of the first one'),
        ('Phantom Read', 3, 3, 'The same condition, asked again, finds rows that others have committed meanwhile',
         'All statements see the snapshot of the first one, which the standard does not ask of REPEATABLE READ'),
        ('Serialization Anomaly', 4, 2,
         'Two transactions each decide upon what the other is changing, and both commit (write skew)',
         'One of the two fails with 40001 and is to be repeated')
    ) p (phenomenon, place, allowed_from, happens, kept)
    ORDER BY l.place, p.place;
END;
REVOKE ALL ON FUNCTION concurrency.demonstrate_isolation_levels() FROM PUBLIC;
COMMENT ON FUNCTION concurrency.demonstrate_isolation_levels() IS
    'What each isolation level of PostgreSQL lets happen (allowed), and how that looks. The tests of the extension do each of it with two sessions.';

CREATE TABLE concurrency.deadlock_log (
    log_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    deadlock_time timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    process_id integer,
    transaction_id xid8,
    query_text text,
    lock_info jsonb,
    resolution text,
    source text NOT NULL DEFAULT 'client' CHECK (source IN ('client', 'server log', 'counter')),
    reported_by text
);
CREATE INDEX deadlock_log_time_idx ON concurrency.deadlock_log (deadlock_time);
REVOKE ALL ON concurrency.deadlock_log FROM PUBLIC;
REVOKE ALL ON SEQUENCE concurrency.deadlock_log_log_id_seq FROM PUBLIC;
COMMENT ON TABLE concurrency.deadlock_log IS
    'Deadlocks of this database. PostgreSQL calls nobody when it breaks one, so they come from those who were told (source client: concurrency.record_deadlock), from the server''s log where it is JSON and the caller may read it (server log), and from the server''s counter, which says how many there were and nothing else (counter): concurrency.collect_deadlocks.';
COMMENT ON COLUMN concurrency.deadlock_log.process_id IS 'The session whose transaction the server ended.';
COMMENT ON COLUMN concurrency.deadlock_log.lock_info IS
    'waits: who waited for which lock, and for whom, as far as the text could be read; detail: that text; deadlocks: how many, where they were only counted.';
COMMENT ON COLUMN concurrency.deadlock_log.resolution IS 'What came of it: what the client says it did, or ended by the server.';
COMMENT ON SEQUENCE concurrency.deadlock_log_log_id_seq IS 'Numbers of rows of concurrency.deadlock_log; gaps are possible.';

CREATE TABLE concurrency.deadlock_collection (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    deadlocks bigint NOT NULL,
    counted_since timestamptz,
    collected_at timestamptz NOT NULL,
    log_file text,
    log_offset bigint NOT NULL DEFAULT 0
);
REVOKE ALL ON concurrency.deadlock_collection FROM PUBLIC;
COMMENT ON TABLE concurrency.deadlock_collection IS
    'How far concurrency.collect_deadlocks has come in the server''s counter and log. Of this server, so it is in no dump.';

CREATE TABLE concurrency.leases (
    name text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL,
    taken_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    taken_by text NOT NULL,
    holder text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
REVOKE ALL ON concurrency.leases FROM PUBLIC;
COMMENT ON TABLE concurrency.leases IS
    'Named locks that outlive transactions and sessions, until they expire: the row is the lock, and stays when the lease has ended. Written by concurrency.acquire_leases and its siblings.';
COMMENT ON COLUMN concurrency.leases.token IS 'A later lease of the same name has a higher one.';
COMMENT ON COLUMN concurrency.leases.expires_at IS 'By the server''s clock; -infinity: released.';
COMMENT ON COLUMN concurrency.leases.taken_by IS 'The role that took it: no other one extends or releases it.';
COMMENT ON COLUMN concurrency.leases.holder IS 'Who has it, in the words of whoever took it.';

CREATE SEQUENCE concurrency.lease_token_seq;
REVOKE ALL ON SEQUENCE concurrency.lease_token_seq FROM PUBLIC;
COMMENT ON SEQUENCE concurrency.lease_token_seq IS 'Tokens of leases; gaps are possible.';

CREATE FUNCTION concurrency.lock_key(name text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT ('x' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(name, 'UTF8')), 1, 8),
                                     'hex'))::bit(64)::bigint;
END;
REVOKE ALL ON FUNCTION concurrency.lock_key(text) FROM PUBLIC;
COMMENT ON FUNCTION concurrency.lock_key(text) IS
    'The key of a named lock: the first 64 bits of the name''s SHA-256. Two names with one key would wait for each other and do no other harm; among a million names that has a chance of one in thirty-seven million. Null for null.';

CREATE VIEW concurrency.held_locks AS
SELECT CASE WHEN l.pid IS NULL THEN 'prepared transaction' ELSE 'session or transaction' END
        AS scope,
    NULL::text AS name, (l.classid::bigint << 32) | l.objid::bigint AS lock_key, a.application_name AS holder, l.pid,
    a.usename::text AS user_name, coalesce(a.state, 'unknown') AS state, NULL::timestamptz AS taken_at,
    NULL::timestamptz AS expires_at, NULL::bigint AS token,
    (SELECT count(*) FROM pg_catalog.pg_locks w
     WHERE w.locktype = 'advisory' AND w.database = l.database AND w.classid = l.classid AND w.objid = l.objid
       AND w.objsubid = l.objsubid AND NOT w.granted)::integer AS waiters
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.objsubid = 20035 AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
UNION ALL
SELECT 'lease', s.name, concurrency.lock_key(s.name), s.holder, NULL, s.taken_by, NULL, s.taken_at, s.expires_at,
    s.token, NULL
FROM concurrency.leases s
WHERE s.expires_at > pg_catalog.clock_timestamp();
REVOKE ALL ON concurrency.held_locks FROM PUBLIC;
COMMENT ON VIEW concurrency.held_locks IS
    'Named locks of this database that somebody has: leases with their name, token and end; those of sessions and transactions with their key (concurrency.lock_key tells a name''s) and how many wait for it. See concurrency.lock_holders.';

CREATE FUNCTION concurrency.lock_holders(name text) RETURNS SETOF concurrency.held_locks
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT h.scope, coalesce(h.name, lock_holders.name), h.lock_key, h.holder, h.pid, h.user_name, h.state, h.taken_at,
        h.expires_at, h.token, h.waiters
    FROM concurrency.held_locks h
    WHERE h.lock_key = concurrency.lock_key(lock_holders.name);
END;
REVOKE ALL ON FUNCTION concurrency.lock_holders(text) FROM PUBLIC;
COMMENT ON FUNCTION concurrency.lock_holders(text) IS
    'Who has the named lock or lease of that name, as concurrency.held_locks shows it. name: of a customer''s lock it is customer: and the id.';

SELECT pg_catalog.pg_extension_config_dump('concurrency.deadlock_log', '');
SELECT pg_catalog.pg_extension_config_dump('concurrency.deadlock_log_log_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('concurrency.leases', '');
SELECT pg_catalog.pg_extension_config_dump('concurrency.lease_token_seq', '');
