SELECT format('%I.%I %I', n.nspname, c.relname, t.tgname), format('%I.%I', n.nspname, c.relname), NULL::numeric, 'warning',
       CASE WHEN t.tgisinternal THEN format('The trigger of foreign key %I is disabled: it is not checked.', k.conname)
            ELSE format('Trigger %I is disabled, as some migrations leave it.', t.tgname) END,
       format('ALTER TABLE %I.%I ENABLE TRIGGER %s;', n.nspname, c.relname,
              CASE WHEN t.tgisinternal THEN 'ALL' ELSE quote_ident(t.tgname) END)
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
WHERE t.tgenabled = 'D'
