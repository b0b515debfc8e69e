-- Indexes were sorted by the rules of another version: searches miss rows, unique ones let doubles in.
SELECT 'database ' || d.datname, format('database %I', d.datname), NULL::numeric, 'critical',
       format('Its default collation was version %s and is %s now.', d.datcollversion, pg_database_collation_actual_version(d.oid)),
       format('REINDEX DATABASE %I; ALTER DATABASE %I REFRESH COLLATION VERSION;', d.datname, d.datname)
FROM pg_database d
WHERE d.datname = current_database() AND d.datcollversion IS DISTINCT FROM pg_database_collation_actual_version(d.oid)
UNION ALL
SELECT format('collation %I.%I', n.nspname, c.collname), format('collation %I.%I', n.nspname, c.collname), u.indexes, 'critical',
       format('It was version %s and is %s now; %s indexes are sorted by it.', c.collversion, pg_collation_actual_version(c.oid), u.indexes),
       format('REINDEX DATABASE CONCURRENTLY %I; ALTER COLLATION %I.%I REFRESH VERSION;', current_database(), n.nspname, c.collname)
FROM (SELECT k.of_collation, count(*)::numeric AS indexes
      FROM (SELECT DISTINCT i.indexrelid, x.of_collation
            FROM pg_index i CROSS JOIN LATERAL unnest(i.indcollation::oid[]) x(of_collation)
            WHERE x.of_collation > 950) k
      GROUP BY k.of_collation) u
JOIN pg_collation c ON c.oid = u.of_collation AND c.collversion IS NOT NULL
JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid)
