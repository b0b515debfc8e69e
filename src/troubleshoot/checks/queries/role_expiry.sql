SELECT r.rolname::text, format('role %I', r.rolname), round(extract(epoch FROM r.rolvaliduntil - clock_timestamp()) / 86400, 2), NULL::text,
       format('Its password %s at %s.', CASE WHEN r.rolvaliduntil > clock_timestamp() THEN 'ends' ELSE 'ended' END, r.rolvaliduntil),
       format('ALTER ROLE %I PASSWORD ... VALID UNTIL ...;', r.rolname)
FROM pg_roles r
WHERE r.rolcanlogin AND r.rolvaliduntil BETWEEN clock_timestamp() - interval '7 days' AND clock_timestamp() + $1 * interval '1 day'
