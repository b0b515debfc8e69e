SELECT 'backlog', 'pg_wal/archive_status', count(*)::numeric, NULL::text,
       format('%s WAL segments wait to be archived%s.', count(*), ', the oldest since ' || min(f.modification)),
       'SELECT * FROM pg_stat_archiver;'
FROM pg_ls_archive_statusdir() f WHERE f.name LIKE '%.ready'
