-- A partitioned table has no rows, and so no age.
SELECT 'database ' || d.datname, format('database %I', d.datname), round(100.0 * age(d.datfrozenxid) / 2147483648, 8), NULL::text,
       format('Its oldest transaction id is %s transactions old. See xmin_horizon for what keeps VACUUM from freezing.',
              age(d.datfrozenxid)),
       format('vacuumdb --freeze --jobs 4 %I', d.datname)
FROM pg_database d WHERE 100.0 * age(d.datfrozenxid) / 2147483648 >= $1
UNION ALL
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       round(100.0 * age(c.relfrozenxid) / 2147483648, 8), NULL,
       format('Its oldest transaction id is %s transactions old.', age(c.relfrozenxid)),
       format('VACUUM (FREEZE) %I.%I;', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relfrozenxid <> '0' AND c.relkind IN ('r', 'm', 't')
  AND age(c.relfrozenxid) >= (SELECT ceil($1 * 2147483648 / 100)::bigint)
