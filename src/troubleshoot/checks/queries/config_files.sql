SELECT format('%s:%s', f.sourcefile, f.sourceline), coalesce(f.name, f.sourcefile), NULL::numeric, 'warning',
       format('Line %s of %s: %s. The next restart may fail on it.', f.sourceline, f.sourcefile, f.error),
       'Mend the line; then SELECT pg_reload_conf();'
FROM pg_file_settings f
WHERE f.error IS NOT NULL AND f.error <> 'setting could not be applied'
