-- Rows deleted since the oldest of these began cannot be removed by any VACUUM.
WITH held AS (
    SELECT format('%s@%s', a.pid, extract(epoch FROM a.backend_start)) AS identity,
           format('pid %s (%s@%s %s)', a.pid, a.usename, a.datname, a.application_name) AS object,
           greatest(age(a.backend_xmin), age(a.backend_xid)) AS held_age,
           format('A session, %s since %s: %s', a.state, a.state_change, left(a.query, 200)) AS detail,
           format('SELECT pg_terminate_backend(%s);', a.pid) AS remedy
    FROM pg_stat_activity a
    WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
      AND a.backend_type <> 'walsender' AND a.pid <> pg_backend_pid()
    UNION ALL
    SELECT 'standby ' || r.application_name, format('standby %s', r.application_name), age(r.backend_xmin),
           format('A query on a standby, by hot_standby_feedback, at %s.', coalesce(r.client_addr::text, 'the local socket')),
           'Look at pg_stat_activity on that standby.'
    FROM pg_stat_replication r WHERE r.backend_xmin IS NOT NULL
    UNION ALL
    SELECT 'slot ' || s.slot_name, format('slot %s', s.slot_name), greatest(age(s.xmin), age(s.catalog_xmin)),
           format('A replication slot, %s.', CASE WHEN s.active THEN 'in use' ELSE 'which nobody reads' END),
           format('SELECT pg_drop_replication_slot(%L);', s.slot_name)
    FROM pg_replication_slots s WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
    UNION ALL
    SELECT 'prepared ' || p.gid, format('prepared transaction %s', quote_literal(p.gid)), age(p.transaction),
           format('Prepared at %s by %s in database %I.', p.prepared, p.owner, p.database),
           -- A line break in the name would end the comment.
           format('ROLLBACK PREPARED %L; -- in database %I, once its coordinator is known to have given it up', p.gid,
                  translate(p.database, E'\r\n', '  '))
    FROM pg_prepared_xacts p
)
SELECT h.identity, h.object, h.held_age::numeric, NULL::text, h.detail, h.remedy
FROM held h WHERE h.held_age >= $1
