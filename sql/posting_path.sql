CREATE VIEW neobank.posting_path AS
SELECT p.setting, p.path, p.reason FROM neobank.posting_path_in_force() p;
REVOKE ALL ON neobank.posting_path FROM PUBLIC;
COMMENT ON VIEW neobank.posting_path IS
    'How postings of this session reach the tables: setting is neobank.posting_path, path what is in force (direct or spi; none where every posting is refused), reason why.';
