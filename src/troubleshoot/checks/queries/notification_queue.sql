SELECT 'queue', 'the notification queue', round((100 * pg_notification_queue_usage())::numeric, 6), NULL::text,
       'A session that listens and stays in a transaction keeps it from shrinking; when it is full, commits with NOTIFY fail.',
       'SELECT pid, xact_start, query FROM pg_stat_activity WHERE state LIKE ''idle in transaction%'' ORDER BY xact_start;'
