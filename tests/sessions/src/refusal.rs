//! Errors as the tests read them, and the rule every refusal keeps: a stable
//! code, a lower-case message, a hint, and not one byte changed in any table.

use crate::Ask;
use postgres::Client;
use std::fmt;

#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

impl From<postgres::Error> for Refusal {
    fn from(error: postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => Refusal {
                code: db.code().code().to_owned(),
                message: db.message().to_owned(),
                detail: db.detail().unwrap_or("").to_owned(),
                hint: db.hint().unwrap_or("").to_owned(),
            },
            None => Refusal {
                code: "client".to_owned(),
                message: error.to_string(),
                detail: String::new(),
                hint: String::new(),
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (detail: {:?}, hint: {:?})", self.code, self.message, self.detail, self.hint)
    }
}

/// One line per table of the extension: its name, its number of rows and the
/// digest of all of them. Needs a session that may read them.
pub fn snapshot(admin: &mut Client) -> Vec<String> {
    let one_table = "select string_agg(format($q$select %L, count(*), \
        md5(coalesce(string_agg(t::text, E'\\n' order by t::text), '')) from %s t$q$, \
        c.oid::regclass, c.oid::regclass), ' union all ' order by c.oid::regclass::text) \
        from pg_class c join pg_namespace n on n.oid = c.relnamespace \
        where n.nspname in ('banking', 'txn_processing', 'event_store', 'cqrs', 'neobank', 'pooling') and c.relkind in ('r', 'p')";
    let sql = admin.one(one_table);
    admin.lines(&format!("{sql} order by 1"))
}

/// The statement is refused with exactly this code, says so properly, and
/// leaves every table of the extension byte-identical.
pub fn refused(session: &mut Client, sql: &str, code: &str) -> Refusal {
    let before = snapshot(session);
    let refusal = session.fails(sql);
    assert_eq!(refusal.code, code, "{refusal}\nfrom: {sql}");
    let first = refusal.message.chars().next().unwrap_or('X');
    assert!(
        !first.is_uppercase() && !refusal.message.ends_with('.'),
        "not a message in house style: {refusal}\nfrom: {sql}"
    );
    assert!(!refusal.hint.is_empty(), "no hint says what to do: {refusal}\nfrom: {sql}");
    assert_eq!(before, snapshot(session), "the refusal left something: {sql}");
    refusal
}

/// For refusals that PostgreSQL itself words (missing privilege and the like).
pub fn refused_with_code_only(session: &mut Client, sql: &str, code: &str) -> Refusal {
    let refusal = session.fails(sql);
    assert_eq!(refusal.code, code, "{refusal}\nfrom: {sql}");
    refusal
}

/// A contract function answers a refusal as JSON: it does not raise, names the
/// code in words and as SQLSTATE, gives no transaction id, and changes nothing.
pub fn answers_refusal(session: &mut Client, sql: &str, word: &str, sqlstate: &str) -> String {
    let before = snapshot(session);
    let answer = session.json(sql);
    assert_eq!(answer["success"], false, "{answer}\nfrom: {sql}");
    assert_eq!(answer["code"], word, "{answer}\nfrom: {sql}");
    assert_eq!(answer["sqlstate"], sqlstate, "{answer}\nfrom: {sql}");
    for id in ["transaction_id", "reversal_transaction_id", "reference"] {
        assert!(answer.get(id).is_none(), "{id} for what did not happen: {answer}");
    }
    assert_eq!(before, snapshot(session), "the refusal left something: {sql}");
    answer["error"].as_str().unwrap_or_else(|| panic!("no error text: {answer}\nfrom: {sql}")).to_owned()
}
