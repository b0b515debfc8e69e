//! A database with its path, and what of it can be compared with another's: ids by the order in which they came up.

use neobank_sessions::*;
use std::collections::HashMap;

pub struct World {
    pub bank: Bank,
    session: Client,
    accounts: Vec<Uuid>,
    names: HashMap<Uuid, String>,
    posted: Vec<Uuid>,
}

impl World {
    pub fn new(bank: Bank, path: &str, accounts: Vec<Uuid>) -> World {
        let session = bank.session_on(path);
        let names = accounts.iter().enumerate().map(|(at, id)| (*id, format!("account {at}"))).collect();
        World { bank, session, accounts, names, posted: Vec::new() }
    }

    /// The answer, or the refusal with all its texts; ids by their names.
    pub fn run(&mut self, statement: &str) -> String {
        let sql = self.filled(statement);
        match self.session.try_lines(&sql) {
            Ok(lines) => {
                let text = lines.join("\n");
                self.posted.extend(ids(&text).filter(|id| !self.accounts.contains(id)));
                format!("answered {}", self.masked(&text))
            }
            Err(refusal) => {
                // In a transaction the savepoint is what is left.
                let _ = self.session.try_lines("rollback to s");
                format!("refused {}", self.masked(&refusal.to_string()))
            }
        }
    }

    fn filled(&self, statement: &str) -> String {
        let mut sql = statement.to_owned();
        for (at, id) in self.accounts.iter().enumerate() {
            sql = sql.replace(&format!("{{a{at}}}"), &id.to_string());
        }
        if let Some((before, after)) = sql.split_once("{p") {
            let (at, after) = after.split_once('}').expect("a placeholder ends");
            let at: usize = at.parse().expect("a number");
            let id = if self.posted.is_empty() { Uuid::nil() } else { self.posted[at % self.posted.len()] };
            sql = format!("{before}{id}{after}");
        }
        sql
    }

    /// Every id by the name it has here, a new one by the order in which it came up.
    fn masked(&mut self, text: &str) -> String {
        let mut masked = text.to_owned();
        for id in ids(text).collect::<Vec<_>>() {
            let next = format!("id {}", self.names.len());
            let name = self.names.entry(id).or_insert(next).clone();
            masked = masked.replace(&id.to_string(), &name);
            masked = masked.replace(&id.simple().to_string().to_uppercase(), &name);
        }
        masked
    }

    /// The same for rows, whose ids may never have come up.
    fn known(&self, text: &str) -> String {
        let name = |id: &Uuid| self.names.get(id).map_or("unknown", String::as_str);
        ids(text).fold(text.to_owned(), |text, id| text.replace(&id.to_string(), name(&id)))
    }
}

/// The ids in a text, as they are written and as generated references have them.
fn ids(text: &str) -> impl Iterator<Item = Uuid> {
    (0..text.len()).filter_map(|at| {
        let piece = |length: usize| text.get(at..at + length);
        let dashed = piece(36).filter(|piece| piece.as_bytes()[8] == b'-');
        let plain = piece(32).filter(|_| at > 0 && text.as_bytes()[at - 1] == b'-');
        dashed.and_then(|piece| piece.parse().ok()).or_else(|| plain.and_then(|piece| piece.parse().ok()))
    })
}

/// Gives the account that many slots: a posting that finds those there are held by others adds one.
pub fn grow(world: &mut World, at: usize, slots: usize) {
    let deposit = format!("select txn_processing.deposit('{}', 1)", world.accounts[at]);
    let path = world.session.one("show neobank.posting_path");
    let mut holders: Vec<Client> = (1..slots).map(|_| world.bank.session_on(&path)).collect();
    for holder in &mut holders {
        holder.run(&format!("begin; {deposit}"));
        world.session.run(&format!("set statement_timeout = '10s'; {deposit}; reset statement_timeout"));
    }
    holders.iter_mut().for_each(|holder| holder.run("commit"));
    let found = format!("select slots from banking.accounts where account_id = '{}'", world.accounts[at]);
    assert_eq!(world.bank.db.count(&found), slots as i64);
}

/// All rows of the ledger without their times. Which of several slots was taken is each backend's own choice.
pub fn dump(world: &mut World) -> Vec<String> {
    let label = "case when customer_id is null then account_type || currency_code else account_number end";
    let accounts = format!(
        "select a.account_id, {label} as label, exists (select from banking.account_slots s \
             where s.account_id = a.account_id and s.slot_no > 1) as spread from banking.accounts a"
    );
    let queries = [
        format!(
            "select 'account', {label}, version, slots, account_status, current_balance, available_balance, \
             overdraft_limit, closed_at is null from banking.accounts order by 2"
        ),
        format!(
            "with a as ({accounts}) select 'slots', a.label, count(*), sum(s.balance), \
             sum(s.sequence & ((1::bigint << 48) - 1)) from banking.account_slots s join a using (account_id) \
             group by a.label order by 2"
        ),
        format!(
            "with a as ({accounts}) select 'movement', m.transaction_id, d.label, c.label, \
             case when not d.spread or m.debit_sequence < 1::bigint << 48 then (m.debit_sequence, m.debit_balance) end, \
             case when not c.spread or m.credit_sequence < 1::bigint << 48 then (m.credit_sequence, m.credit_balance) end, \
             m.transaction_type, m.leg, m.amount, m.currency_code, m.tenant_no, m.created_by, m.effective_at, \
             m.reverses, m.reference, m.description, m.metadata \
             from txn_processing.movements m join a d on d.account_id = m.debit_account \
             join a c on c.account_id = m.credit_account"
        ),
        format!(
            "with a as ({accounts}) select 'backdated', a.label, b.effective_at, \
             case when not a.spread or b.sequence < 1::bigint << 48 then b.sequence end, b.balance_change, \
             (select count(*) from txn_processing.movements m where m.created_at = b.recorded_at \
                 and b.account_id in (m.debit_account, m.credit_account)) > 0 \
             from txn_processing.backdated_entries b join a using (account_id)"
        ),
        format!(
            "with a as ({accounts}) select 'mode', a.label, c.balance_mode, c.balance, \
             row_number() over (partition by account_id order by changed_at) \
             from banking.balance_mode_changes c join a using (account_id)"
        ),
        "select 'count', (select count(*) from txn_processing.movements), \
         (select count(*) from banking.account_status_changes), \
         (select sum(current_balance) from banking.account_balances)"
            .to_owned(),
    ];
    let mut rows = Vec::new();
    for query in queries {
        let mut lines: Vec<String> = world.bank.db.lines(&query).iter().map(|line| world.known(line)).collect();
        lines.sort_unstable();
        rows.extend(lines);
    }
    rows
}

/// Every index entry is where a search finds it, every row has its entries, and the rows themselves are sound.
pub fn check_indexes(bank: &mut Bank) {
    let tables = "('banking.accounts'::regclass, 'banking.account_slots'::regclass, \
                  'txn_processing.movements'::regclass, 'txn_processing.backdated_entries'::regclass)";
    let there = bank.db.count("select count(*) from pg_available_extensions where name = 'amcheck'");
    if there == 0 {
        skipped("the check of indexes", "the server has no amcheck");
        return;
    }
    bank.db.run("create extension if not exists amcheck");
    let indexes = format!(
        "select i.indexrelid::regclass from pg_index i join pg_class c on c.oid = i.indexrelid \
         join pg_am m on m.oid = c.relam where m.amname = 'btree' and i.indrelid in {tables}"
    );
    let indexes = bank.db.lines(&indexes);
    assert!(indexes.len() >= 9, "{indexes:?}");
    for index in indexes {
        bank.db.run(&format!("select bt_index_check('{index}', true)"));
        bank.db.run(&format!("select bt_index_parent_check('{index}', true, true)"));
    }
    let heap = format!("select r.oid::regclass, h.* from pg_class r, verify_heapam(r.oid) h where r.oid in {tables}");
    assert_eq!(bank.db.lines(&heap), Vec::<String>::new());
}
