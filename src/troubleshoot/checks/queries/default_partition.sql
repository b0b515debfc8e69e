SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0)::numeric, NULL::text,
       format('Default partition of %s: no new partition can be made for the keys that it holds.', p.partrelid::regclass),
       format('SELECT * FROM %I.%I;', n.nspname, c.relname)
FROM pg_partitioned_table p
JOIN pg_class c ON c.oid = p.partdefid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE greatest(c.reltuples, pg_stat_get_live_tuples(c.oid)) >= $1
