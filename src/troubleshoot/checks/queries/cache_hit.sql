SELECT 'cache', format('database %I', d.datname), round(100.0 * d.blks_hit / (d.blks_hit + d.blks_read), 2), NULL::text,
       format('%s blocks were found in shared buffers, %s were read, since %s.', d.blks_hit, d.blks_read,
              coalesce(d.stats_reset, pg_postmaster_start_time())),
       NULL::text
FROM pg_stat_database d
WHERE d.datname = current_database() AND d.blks_hit + d.blks_read >= greatest($2, 1)
