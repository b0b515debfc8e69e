//! A bank with a bit of everything, and what its tables hold: the values with which a call gets past the first check.

use crate::catalog::{Relation, relations};
use neobank_sessions::{Ask, Bank, Client};
use std::collections::BTreeMap;

const WORLD: &str = include_str!("world.sql");
const AT_MOST: usize = 40;

pub struct World {
    pub bank: Bank,
    /// Roles of this database alone, by level; a superuser's session is the bank's own.
    pub roles: Vec<String>,
    pub pools: Pools,
}

/// Values by the name of the column that holds them, ready to be quoted.
#[derive(Default)]
pub struct Pools {
    pub uuids: BTreeMap<String, Vec<String>>,
    pub words: BTreeMap<String, Vec<String>>,
    /// The words that checks and enums know.
    pub vocabulary: Vec<String>,
    /// Those of one table, by its name without the schema.
    pub words_by_table: BTreeMap<String, Vec<String>>,
    pub roles: Vec<String>,
}

impl World {
    pub fn new() -> World {
        let mut bank = Bank::new();
        bank.db.run("set synchronous_commit = off");
        bank.db.run(WORLD);
        let roles: Vec<String> = ["reader", "teller", "operator"]
            .iter()
            .map(|level| {
                let role = bank.role(level);
                bank.db.run(&format!("select neobank.grant_usage('{role}', '{level}')"));
                role
            })
            .collect();
        let mut world = World { bank, roles, pools: Pools::default() };
        world.look();
        world
    }

    pub fn operator(&self) -> &str {
        &self.roles[2]
    }

    /// Reads the pools anew; calls that were committed have made more.
    pub fn look(&mut self) {
        let relations = relations(&mut self.bank.db, &self.roles[2]);
        let mut pools = Pools { roles: self.roles.clone(), ..Pools::default() };
        for relation in relations.iter().filter(|relation| relation.is_table) {
            for (column, kind) in &relation.columns {
                if kind == "uuid" {
                    pools.uuids.entry(column.clone()).or_default().extend(stored(&mut self.bank.db, relation, column));
                } else if let Some(words) = words(&mut self.bank.db, relation, column, kind) {
                    let table = relation.name.split('.').next_back().unwrap_or_default().to_owned();
                    pools.words_by_table.entry(table).or_default().extend(words.known.iter().cloned());
                    pools.vocabulary.extend(words.known.iter().cloned());
                    let words = words.known.into_iter().chain(words.held);
                    pools.words.entry(column.clone()).or_default().extend(words);
                }
            }
        }
        for pool in pools.uuids.values_mut().chain(pools.words.values_mut()) {
            pool.sort();
            pool.dedup();
        }
        pools.vocabulary.sort();
        pools.vocabulary.dedup();
        // Every tenant and currency has a dozen internal accounts; what happens mostly happens to customers' ones.
        let customers =
            self.bank.db.lines("select account_id from banking.accounts where customer_id is not null order by 1");
        pools.uuids.entry("account_id".to_owned()).or_default().extend((0..5).flat_map(|_| customers.iter().cloned()));
        pools.uuids.retain(|_, pool| !pool.is_empty());
        pools.words.retain(|_, pool| !pool.is_empty());
        self.pools = pools;
    }
}

impl Default for World {
    fn default() -> Self {
        World::new()
    }
}

/// The oldest and the newest.
fn stored(db: &mut Client, relation: &Relation, column: &str) -> Vec<String> {
    let half = AT_MOST / 2;
    let some = |order: &str| {
        format!(
            "(select distinct {column}::text as value from {} where {column} is not null order by 1 {order} limit {half})",
            relation.name
        )
    };
    db.lines(&format!("select value from {} a union select value from {} b order by 1", some("asc"), some("desc")))
}

struct Words {
    known: Vec<String>,
    held: Vec<String>,
}

/// What a column of text holds, and what its checks and type name.
fn words(db: &mut Client, relation: &Relation, column: &str, kind: &str) -> Option<Words> {
    let list = kind.ends_with("[]");
    let is_text = matches!(kind.trim_end_matches("[]"), "text" | "character varying" | "character" | "name");
    let labels = db.lines(&format!("select enumlabel from pg_enum where enumtypid = to_regtype('{kind}') order by 1"));
    if !is_text && labels.is_empty() && !kind.starts_with("banking.") {
        return None;
    }
    let checked = db.lines(&format!(
        "select distinct w[1] from pg_attribute a \
         join pg_constraint k on k.conrelid = a.attrelid and a.attnum = any (k.conkey) or k.contypid = a.atttypid, \
         regexp_matches(pg_get_constraintdef(k.oid), $re$'([^']*)'$re$, 'g') w \
         where k.contype = 'c' and a.attrelid = '{}'::regclass and quote_ident(a.attname) = '{column}'",
        relation.name
    ));
    let value = if list { format!("unnest({column})") } else { format!("{column}::text") };
    let held = db.lines(&format!(
        "select value from (select distinct {value} as value from {}) v \
         where value !~ '[\\n|]' and length(value) between 1 and 100 order by 1 limit {AT_MOST}",
        relation.name
    ));
    Some(Words { known: labels.into_iter().chain(checked).collect(), held })
}
