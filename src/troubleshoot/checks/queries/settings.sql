WITH risks (name, bad, good, level, why) AS (VALUES
    ('fsync', 'off', 'on', 'critical', 'A crash of the machine destroys the database.'),
    ('full_page_writes', 'off', 'on', 'critical', 'A page half written when the machine stops is lost.'),
    ('zero_damaged_pages', 'on', 'off', 'critical', 'Damaged pages are emptied without a word.'),
    ('ignore_checksum_failure', 'on', 'off', 'critical', 'Damaged pages are read as if they were whole.'),
    ('synchronous_commit', 'off', 'on', 'warning', 'The last committed transactions are lost in a crash.'),
    ('session_replication_role', 'replica', 'origin', 'critical', 'Triggers and foreign keys do not act.'),
    ('wal_level', 'minimal', 'replica', 'warning', 'There can be no standby and no recovery to a point in time.'),
    ('track_activities', 'off', 'on', 'warning', 'What sessions do cannot be seen.'),
    ('password_encryption', 'md5', 'scram-sha-256', 'warning', 'Passwords are kept in a form that can be replayed.'),
    ('data_checksums', 'off', 'on', 'info', 'Pages that the disk damages go unnoticed.'),
    ('archive_mode', 'off', 'on', 'info', 'There is no archive to recover to a point in time from.'),
    ('idle_in_transaction_session_timeout', '0', '15min', 'info', 'A forgotten transaction stays for ever.'),
    ('restart_after_crash', 'off', 'on', 'info', 'The server stays down when one process of it dies.')
)
SELECT s.name, s.name, NULL::numeric, r.level, format('It is %s. %s', s.reset_val, r.why),
       CASE s.context WHEN 'internal' THEN 'pg_checksums --enable -- with the server stopped'
                      WHEN 'postmaster' THEN
                          -- An archive that nothing fills would keep WAL until the disk is full.
                          format('%sALTER SYSTEM SET %I = %L; -- and restart the server',
                                 CASE s.name WHEN 'archive_mode' THEN 'ALTER SYSTEM SET archive_command = ...; ' END, s.name, r.good)
                      ELSE format('ALTER SYSTEM SET %I = %L; SELECT pg_reload_conf();', s.name, r.good) END
FROM risks r JOIN pg_settings s ON s.name = r.name AND s.reset_val = r.bad
WHERE s.source NOT IN ('session', 'database', 'user', 'database user', 'client') OR s.name IN ('fsync', 'full_page_writes')
UNION ALL
SELECT 'pending ' || s.name, s.name, NULL, 'warning', 'It was changed, and waits for a restart: the next one brings more than who does it expects.',
       'Restart the server at a time of your choice.'
FROM pg_settings s WHERE s.pending_restart
UNION ALL
-- Kept as they were typed.
SELECT format('%s of %s %s', r.name, coalesce(d.datname, 'all databases'), coalesce(o.rolname, 'all roles')),
       format('%s of %s', r.name,
              coalesce(nullif(concat_ws(', ', 'database ' || quote_ident(d.datname), 'role ' || quote_ident(o.rolname)), ''), 'all roles')),
       NULL, r.level,
       format('It is %s there. %s', r.bad, r.why),
       CASE WHEN d.datname IS NULL AND o.rolname IS NULL THEN format('ALTER ROLE ALL RESET %I;', r.name)
            WHEN d.datname IS NULL THEN format('ALTER ROLE %I RESET %I;', o.rolname, r.name)
            WHEN o.rolname IS NULL THEN format('ALTER DATABASE %I RESET %I;', d.datname, r.name)
            ELSE format('ALTER ROLE %I IN DATABASE %I RESET %I;', o.rolname, d.datname, r.name) END
FROM pg_db_role_setting x
CROSS JOIN LATERAL unnest(x.setconfig) c(entry)
CROSS JOIN LATERAL (SELECT split_part(c.entry, '=', 1) AS name, lower(substr(c.entry, strpos(c.entry, '=') + 1)) AS value) v
JOIN risks r ON r.name = v.name AND r.level <> 'info'
 AND r.bad = CASE WHEN r.bad NOT IN ('on', 'off') THEN v.value
                  WHEN v.value ~ '^(of|off|f|fa|fal|fals|false|n|no|0)$' THEN 'off'
                  WHEN v.value ~ '^(on|t|tr|tru|true|y|ye|yes|1)$' THEN 'on' END
LEFT JOIN pg_database d ON d.oid = x.setdatabase
LEFT JOIN pg_roles o ON o.oid = x.setrole
-- What is left of a database or role that is dropped at this moment is nobody's.
WHERE (x.setdatabase = 0 OR d.oid IS NOT NULL) AND (x.setrole = 0 OR o.oid IS NOT NULL)
