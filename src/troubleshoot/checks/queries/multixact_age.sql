SELECT 'database ' || d.datname, format('database %I', d.datname), round(100.0 * mxid_age(d.datminmxid) / 2147483648, 8), NULL::text,
       format('Its oldest multixact is %s multixacts old.', mxid_age(d.datminmxid)),
       format('vacuumdb --freeze --jobs 4 %I', d.datname)
FROM pg_database d WHERE 100.0 * mxid_age(d.datminmxid) / 2147483648 >= $1
UNION ALL
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname),
       round(100.0 * mxid_age(c.relminmxid) / 2147483648, 8), NULL,
       format('Its oldest multixact is %s multixacts old.', mxid_age(c.relminmxid)),
       format('VACUUM (FREEZE) %I.%I;', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relminmxid <> '0' AND c.relkind IN ('r', 'm', 't')
  AND mxid_age(c.relminmxid) >= (SELECT ceil($1 * 2147483648 / 100)::bigint)
