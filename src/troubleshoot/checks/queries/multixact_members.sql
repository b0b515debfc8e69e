-- 1636 members in a page of 8 kB, 32 pages in a segment, and 2^32 members until writes stop.
SELECT 'members', 'pg_multixact/members', round(100.0 * m.segments * 32 * (current_setting('block_size')::int / 20 * 4) / 4294967296, 6),
       NULL::text,
       format('%s segments of members are in use. Rows locked by many transactions at once fill them, long before ids run out.',
              m.segments),
       'vacuumdb --all --freeze --jobs 4'
FROM (SELECT troubleshoot.multixact_member_segments() AS segments) m
