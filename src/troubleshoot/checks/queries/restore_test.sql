SELECT 'restore', 'backups',
       round(extract(epoch FROM clock_timestamp() - t.tested_at) / 86400, 2),
       CASE WHEN t.tested_at IS NULL THEN 'unknown' END,
       CASE WHEN t.tested_at IS NULL THEN 'No restore was noted: whether the backups can be restored is not known.'
            ELSE format('The last restore that worked was at %s: %s', t.tested_at, t.note) END,
       'SELECT troubleshoot.note_restore_test(now(), ''what was restored, where, and how it was checked'');'
FROM (VALUES (1)) one
LEFT JOIN (SELECT r.tested_at, r.note FROM troubleshoot.restore_tests r ORDER BY r.tested_at DESC LIMIT 1) t ON true
