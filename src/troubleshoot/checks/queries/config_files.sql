SELECT format('%s:%s', f.sourcefile, f.sourceline), coalesce(f.name, f.sourcefile), NULL::numeric, 'warning',
       format('Line %s of %s: %s. The next restart may fail on it.', f.sourceline, f.sourcefile, f.error),
       'Mend the line; then SELECT pg_reload_conf();'
FROM pg_file_settings f LEFT JOIN pg_settings s ON s.name = lower(f.name)
-- What only waits for a restart is told by the check of settings.
WHERE f.error IS NOT NULL AND NOT (s.context = 'postmaster' AND f.error = 'setting could not be applied')
