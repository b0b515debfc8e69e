SELECT s.subname::text, format('subscription %I', s.subname), coalesce(e.apply_error_count + e.sync_error_count, 0)::numeric,
       CASE WHEN NOT s.subenabled OR NOT EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.pid IS NOT NULL)
            THEN 'warning' END,
       format('%s; %s errors since %s.',
              CASE WHEN NOT s.subenabled THEN 'It is disabled, and its slot keeps WAL on the publisher'
                   WHEN NOT EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.pid IS NOT NULL)
                   THEN 'No worker of it runs' ELSE 'It runs' END,
              coalesce(e.apply_error_count + e.sync_error_count, 0), e.stats_reset),
       format('ALTER SUBSCRIPTION %I ENABLE; -- and look at the server''s log', s.subname)
FROM pg_subscription s LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid
WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
