//! Files of the server's data, looked at without a lock on what they belong to.
#![forbid(unsafe_code)]

use std::fs;

/// Whether it names the first file of a relation, as `pg_relation_filepath` does, and nothing else.
fn is_of_a_relation(path: &str) -> bool {
    let mut parts = path.split('/');
    let in_place = matches!(parts.next(), Some("base" | "global" | "pg_tblspc"));
    let is_name = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.')
    };
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_' || b == b't');
    let last = path.rsplit('/').next().unwrap_or_default();
    in_place && parts.all(is_name) && !path.contains("..") && !last.is_empty() && is_number(last)
}

/// As servers are built, unless told otherwise; the next file begins when this one is full.
const SEGMENT_BYTES: u64 = 1 << 30;

/// Bytes of a relation's main fork. None where there is no such file (any more).
pub fn relation_file_bytes(path: &str) -> Option<i64> {
    if !is_of_a_relation(path) {
        return None;
    }
    let mut bytes = fs::metadata(path).ok()?.len();
    let mut segment = 1;
    while bytes == segment * SEGMENT_BYTES {
        let Ok(more) = fs::metadata(format!("{path}.{segment}")) else { break };
        bytes += more.len();
        segment += 1;
    }
    i64::try_from(bytes).ok()
}

/// Files of multixact members that are not removed yet.
pub fn multixact_member_segments() -> Option<i64> {
    let entries = fs::read_dir("pg_multixact/members").ok()?;
    let is_segment =
        |name: &std::ffi::OsStr| name.to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_hexdigit()));
    i64::try_from(entries.flatten().filter(|entry| is_segment(&entry.file_name())).count()).ok()
}

#[cfg(test)]
mod tests {
    use super::is_of_a_relation;

    #[test]
    fn only_files_of_relations_are_looked_at() {
        for good in
            ["base/16384/2619", "global/1262", "base/5/t3_16400", "pg_tblspc/16401/PG_15_202209061/5/16402"]
        {
            assert!(is_of_a_relation(good), "{good}");
        }
        for bad in [
            "",
            "base",
            "base/",
            "/etc/passwd",
            "base/../postgresql.conf",
            "base/5/../../1",
            "postgresql.conf",
            "base/5/pg_filenode.map",
            "pg_wal/000000010000000000000001",
            "base//etc/passwd",
        ] {
            assert!(!is_of_a_relation(bad), "{bad}");
        }
    }
}
