-- One that is being built is not broken, and a partitioned one is invalid until each partition has its part.
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname), NULL::numeric, 'warning',
       format('On %s; writes keep it up, and no query uses it. %s', i.indrelid::regclass,
              CASE WHEN i.indisready THEN 'CREATE INDEX CONCURRENTLY was interrupted, or failed.'
                   ELSE 'DROP INDEX CONCURRENTLY or a build was interrupted.' END),
       CASE WHEN c.relname ~ '_ccnew\d*$' OR c.relname ~ '_ccold\d*$' OR NOT i.indislive
            THEN format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname)
            ELSE format('REINDEX INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname) END
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p
                  WHERE p.relid = i.indrelid AND (p.index_relid = i.indexrelid OR p.index_relid = 0
                        OR p.command LIKE 'REINDEX%'))
  -- DROP INDEX CONCURRENTLY is under way.
  AND NOT EXISTS (SELECT FROM pg_locks l
                  WHERE l.locktype = 'relation' AND l.relation = i.indexrelid AND l.mode = 'ShareUpdateExclusiveLock'
                    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
