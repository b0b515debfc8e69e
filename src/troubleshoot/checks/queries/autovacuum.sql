SELECT 'server ' || s.name, s.name, NULL::numeric, 'critical',
       format('It is %s for the server: tables fill with dead rows, and transaction ids run out.', s.reset_val),
       format('ALTER SYSTEM SET %I = on; SELECT pg_reload_conf();', s.name)
FROM pg_settings s WHERE s.name IN ('autovacuum', 'track_counts') AND s.reset_val = 'off'
UNION ALL
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname), greatest(c.reltuples, 0)::numeric, 'warning',
       'Autovacuum is switched off for the table.',
       format('ALTER TABLE %I.%I RESET (autovacuum_enabled);', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.reloptions IS NOT NULL AND c.relpersistence <> 't'
  AND EXISTS (SELECT FROM pg_options_to_table(c.reloptions) o
              WHERE o.option_name = 'autovacuum_enabled' AND lower(o.option_value) IN ('off', 'false', 'no', '0', 'f', 'of', 'n', 'fa', 'fal', 'fals'))
