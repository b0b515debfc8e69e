-- UPDATE and DELETE fail on a published table whose rows cannot be told apart. What is published of a partitioned table are
-- its partitions, whether or not their changes are told as its own: each one needs an identity.
WITH RECURSIVE published (relation, pubname) AS (
    SELECT pr.prrelid, p.pubname
    FROM pg_publication_rel pr JOIN pg_publication p ON p.oid = pr.prpubid WHERE p.pubupdate OR p.pubdelete
    UNION
    SELECT c.oid, p.pubname
    FROM pg_publication p CROSS JOIN pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.puballtables AND (p.pubupdate OR p.pubdelete) AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    UNION
    SELECT c.oid, p.pubname
    FROM pg_publication_namespace s JOIN pg_publication p ON p.oid = s.pnpubid
    JOIN pg_class c ON c.relnamespace = s.pnnspid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
    WHERE p.pubupdate OR p.pubdelete
), parts AS (
    SELECT p.relation, p.pubname FROM published p
    UNION
    SELECT i.inhrelid, p.pubname
    FROM parts p
    JOIN pg_class c ON c.oid = p.relation AND c.relkind = 'p'
    JOIN pg_inherits i ON i.inhparent = p.relation
)
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', n.nspname, c.relname), NULL::numeric, 'critical',
       format('Published by %I, without a primary key or another replica identity: UPDATE and DELETE fail on it.', min(p.pubname)),
       format('ALTER TABLE %I.%I REPLICA IDENTITY FULL; -- or give it a primary key', n.nspname, c.relname)
FROM parts p
JOIN pg_class c ON c.oid = p.relation AND c.relkind = 'r' AND c.relpersistence = 'p'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relreplident = 'n'
   OR c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate)
   OR c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)
GROUP BY n.nspname, c.relname
