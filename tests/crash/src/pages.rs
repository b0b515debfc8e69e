//! Whether tables and indexes are sound as files: what `amcheck` and `pg_visibility` say of every one of them.

use neobank_model::auditor::audit_all;
use neobank_sessions::{Ask, Client, skipped};

const OURS: &str = "select c.oid, c.oid::regclass as name, c.relkind, c.relam, c.relpersistence, c.reltoastrelid
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('banking', 'txn_processing', 'event_store', 'cqrs', 'saga', 'temporal', 'neobank', 'public', 'public_history')
      and c.relkind = 'r'";

fn available(db: &mut Client, extension: &str) -> bool {
    let there = db.count(&format!("select count(*) from pg_available_extensions where name = '{extension}'"));
    if there == 0 {
        skipped("what the files say", &format!("the server has no {extension}"));
        return false;
    }
    db.run(&format!("create extension if not exists {extension}"));
    true
}

/// What is wrong with any table or index of the extension, their TOAST tables included; nothing if all is well. The
/// server must be at rest: the strictest checks lock writers out.
pub fn unsound(db: &mut Client) -> Vec<String> {
    let mut faults = db.lines(&format!("select 'unlogged: ' || name from ({OURS}) t where relpersistence <> 'p'"));
    let all =
        format!("select oid from ({OURS}) t union all select reltoastrelid from ({OURS}) t where reltoastrelid <> 0");
    if available(db, "amcheck") {
        let indexes = db.lines(&format!(
            "select indexrelid::regclass from pg_index i join pg_class c on c.oid = i.indexrelid \
             join pg_am a on a.oid = c.relam where a.amname = 'btree' and indrelid in ({all})"
        ));
        assert!(indexes.len() > 60, "every index is looked at: {indexes:?}");
        for index in indexes {
            for check in ["bt_index_check($, true)", "bt_index_parent_check($, true, true)"] {
                let call = check.replace('$', &format!("'{index}'"));
                faults.extend(db.try_lines(&format!("select {call}")).err().map(|fault| format!("{index}: {fault}")));
            }
        }
        let heap = "select concat_ws(' ', t.oid::regclass, blkno, offnum, attnum, msg) from";
        faults.extend(db.lines(&format!("{heap} ({all}) t, verify_heapam(t.oid, check_toast => true)")));
    }
    if available(db, "pg_visibility") {
        for wrong in ["pg_check_visible", "pg_check_frozen"] {
            let rows =
                format!("select concat_ws(' ', '{wrong}', t.oid::regclass, tid) from ({all}) t, {wrong}(t.oid) tid");
            faults.extend(db.lines(&rows));
        }
    }
    faults
}

/// Panics unless files and books are in order.
pub fn all_sound(db: &mut Client) {
    let faults = unsound(db);
    assert!(faults.is_empty(), "the files: {faults:#?}");
    audit_all(db).unwrap_or_else(|broken| panic!("the books: {broken}"));
}
