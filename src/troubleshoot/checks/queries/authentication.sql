SELECT format('line %s %s', h.line_number, h.error), format('pg_hba.conf line %s', h.line_number), NULL::numeric,
       CASE WHEN h.error IS NOT NULL THEN 'critical' WHEN h.auth_method = 'trust' THEN 'critical' ELSE 'warning' END,
       CASE WHEN h.error IS NOT NULL THEN format('%s: it is not in force, and the server will not start with it.', h.error)
            WHEN h.auth_method = 'trust' THEN format('%s from %s is let in without a password.', array_to_string(h.user_name, ', '), h.address)
            ELSE format('The password of %s from %s goes over the network as it is.', array_to_string(h.user_name, ', '), h.address) END,
       'Mend the line; then SELECT pg_reload_conf();'
FROM pg_hba_file_rules h
WHERE h.error IS NOT NULL
   OR h.auth_method = 'trust' AND h.type <> 'local' AND h.address NOT IN ('127.0.0.1', '::1', 'samehost', 'localhost')
   OR h.auth_method = 'password' AND h.type IN ('host', 'hostnossl') AND h.address NOT IN ('127.0.0.1', '::1', 'samehost', 'localhost')
