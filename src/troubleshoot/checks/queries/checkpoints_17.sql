SELECT 'checkpoints', 'checkpoints', round(100.0 * b.num_requested / (b.num_requested + b.num_timed), 1), NULL::text,
       format('%s of %s since %s were asked for, mostly because max_wal_size (%s) was reached: each writes all pages anew.',
              b.num_requested, b.num_requested + b.num_timed, b.stats_reset, current_setting('max_wal_size')),
       'ALTER SYSTEM SET max_wal_size = ...; SELECT pg_reload_conf();'
FROM pg_stat_checkpointer b WHERE b.num_requested + b.num_timed >= greatest($2, 1)
