-- Plans in plain words.

REVOKE ALL ON FUNCTION troubleshoot.explain FROM PUBLIC;
COMMENT ON FUNCTION troubleshoot.explain IS
    'What is wrong with the plan of a query, the worst first, and what to do about it. query: one SELECT, INSERT, UPDATE, DELETE or MERGE, with $1, $2 ... for parameters, up to 100,000 characters; params: a text for each, read as the type that its place wants; analyze: also run it, which tells what came of the estimates. Planned and run with the caller''s rights and search_path, in a subtransaction that may not write and is always rolled back; what a function does outside of the database is done. Waits 1 s for a lock unless lock_timeout is set; statement_timeout holds. The first row is the plan itself. Where hypopg is installed, proposed indexes are tried with it. NB021: a bound; NB525: several statements, or one without a plan; NB526: number of parameters; 25006: analyze of a query that writes; 22004: null; and what the query itself raises.';
