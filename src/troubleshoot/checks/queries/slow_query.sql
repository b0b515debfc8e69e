SELECT s.queryid::text, format('query %s', s.queryid), s.mean_ms, NULL::text,
       format('%s calls, %s ms in all: %s', s.calls, s.total_ms, left(s.query, 300)),
       format('SELECT * FROM troubleshoot.v_slow_queries WHERE queryid = %s;', s.queryid)
FROM troubleshoot.slow_statements($1, $2) s
