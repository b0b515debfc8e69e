SELECT format('%I.%I %I', n.nspname, c.relname, k.conname), format('%I.%I', n.nspname, c.relname), NULL::numeric, 'info',
       format('Constraint %I is NOT VALID: rows from before it may break it.', k.conname),
       format('ALTER TABLE %I.%I VALIDATE CONSTRAINT %I;', n.nspname, c.relname, k.conname)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT k.convalidated AND k.contype IN ('c', 'f')
