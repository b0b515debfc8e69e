SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname), greatest(c.reltuples, 0)::numeric, 'warning',
       'The table is unlogged: after a crash it is empty, and standbys and backups have none of it.',
       format('ALTER TABLE %I.%I SET LOGGED; -- rewrites the table', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'u'
