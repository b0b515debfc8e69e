SELECT format('%s %s', p.database, p.gid), format('prepared transaction %s', quote_literal(p.gid)),
       round(extract(epoch FROM clock_timestamp() - p.prepared), 1), NULL::text,
       format('Prepared at %s by %s in database %I; it keeps its locks and %s transactions from VACUUM until somebody ends it.',
              p.prepared, p.owner, p.database, age(p.transaction)),
       -- A line break in the name would end the comment.
           format('ROLLBACK PREPARED %L; -- in database %I, once its coordinator is known to have given it up', p.gid,
                  translate(p.database, E'\r\n', '  '))
FROM pg_prepared_xacts p WHERE extract(epoch FROM clock_timestamp() - p.prepared) >= $1
