WITH sessions AS (
    SELECT a.datid, a.usesysid FROM pg_stat_activity a WHERE a.backend_type = 'client backend'
), used AS (
    SELECT 'server' AS identity, 'the server' AS object, (SELECT count(*) FROM sessions) AS taken,
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
             - coalesce(current_setting('reserved_connections', true)::int, 0) AS most
    UNION ALL
    SELECT 'database ' || d.datname, format('database %I', d.datname), (SELECT count(*) FROM sessions s WHERE s.datid = d.oid),
           d.datconnlimit
    FROM pg_database d WHERE d.datconnlimit > 0
    UNION ALL
    SELECT 'role ' || r.rolname, format('role %I', r.rolname), (SELECT count(*) FROM sessions s WHERE s.usesysid = r.oid),
           r.rolconnlimit
    FROM pg_roles r WHERE r.rolconnlimit > 0
)
SELECT u.identity, u.object, round(100.0 * u.taken / greatest(u.most, 1), 1), NULL::text,
       format('%s of %s connections are taken.', u.taken, u.most),
       'SELECT * FROM pooling.v_connection_analysis;'
FROM used u WHERE u.identity = 'server' OR 100.0 * u.taken / greatest(u.most, 1) >= $1
