SELECT coalesce(d.datname::text, 'shared'), coalesce(format('database %I', d.datname), 'shared catalogs'), d.checksum_failures::numeric, 'critical',
       format('%s pages did not match their checksum, the last at %s: the disk gives back what was not written.',
              d.checksum_failures, d.checksum_last_failure),
       'pg_basebackup fails on them too: restore from a backup on another disk.'
FROM pg_stat_database d WHERE d.checksum_failures > 0
