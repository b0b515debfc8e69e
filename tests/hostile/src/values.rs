//! Values that a call may get past the first check with: ids and words that the tables hold under the argument's name,
//! amounts and times of everyday size.

use crate::json;
use crate::world::Pools;
use neobank_sessions::Dice;
use std::collections::BTreeMap;

pub struct Maker<'a> {
    pub dice: &'a mut Dice,
    pub pools: &'a Pools,
    /// Of the arrays of one call.
    pub length: usize,
    /// What is called or written, without its schema.
    pub subject: &'a str,
}

/// A literal of that text which can be read and pasted: what is not plain is escaped.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| (' '..='~').contains(&c) && c != '\\';
    let doubled = text.replace('\'', "''");
    if text.chars().all(plain) {
        return format!("'{doubled}'");
    }
    let escaped: String = doubled
        .chars()
        .map(|c| match c {
            '\\' => "\\\\".to_owned(),
            c if plain(c) => c.to_string(),
            c if u32::from(c) > 0xFFFF => format!("\\U{:08x}", u32::from(c)),
            c => format!("\\u{:04x}", u32::from(c)),
        })
        .collect();
    format!("E'{escaped}'")
}

/// The values of the column of the argument's name.
fn exact<'p>(pools: &'p BTreeMap<String, Vec<String>>, argument: &str) -> Vec<&'p String> {
    pools.get(argument.trim_start_matches("p_")).into_iter().flatten().collect()
}

/// The values of every column whose name is a part of the argument's, or the other way round.
fn akin<'p>(pools: &'p BTreeMap<String, Vec<String>>, argument: &str) -> Vec<&'p String> {
    let argument = argument.trim_start_matches("p_");
    let stem = argument.trim_end_matches('s');
    let akin = |column: &str| {
        let column = column.trim_end_matches("_id").trim_end_matches('s');
        column.len() > 2 && stem.len() > 2 && (column.contains(stem) || stem.contains(column))
    };
    pools.iter().filter(|(column, _)| akin(column)).flat_map(|(_, values)| values).collect()
}

fn related<'p>(pools: &'p BTreeMap<String, Vec<String>>, argument: &str) -> Vec<&'p String> {
    let found = exact(pools, argument);
    if found.is_empty() { akin(pools, argument) } else { found }
}

impl Maker<'_> {
    pub fn chance(&mut self, percent: usize) -> bool {
        self.dice.below(100) < percent
    }

    pub fn pick<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.dice.below(values.len())]
    }

    pub fn one_of<'v>(&mut self, texts: &[&'v str]) -> &'v str {
        texts[self.dice.below(texts.len())]
    }

    fn uuid(&mut self, argument: &str) -> String {
        if self.chance(8) {
            return "gen_random_uuid()".to_owned();
        }
        let mut candidates = match self.dice.below(20) {
            0 => Vec::new(),
            1..=9 => akin(&self.pools.uuids, argument),
            _ => related(&self.pools.uuids, argument),
        };
        if candidates.is_empty() {
            candidates = related(&self.pools.uuids, "account_id");
        }
        if candidates.is_empty() {
            return "gen_random_uuid()".to_owned();
        }
        format!("'{}'::uuid", self.pick(&candidates))
    }

    pub fn account(&mut self) -> String {
        let accounts = related(&self.pools.uuids, "account_id");
        (*self.pick(&accounts)).clone()
    }

    pub fn currency(&mut self) -> String {
        let codes = related(&self.pools.words, "currency_code");
        if self.chance(75) || codes.is_empty() { "USD".to_owned() } else { (*self.pick(&codes)).clone() }
    }

    pub fn word(&mut self, argument: &str) -> String {
        let words = match self.dice.below(20) {
            0..=11 => related(&self.pools.words, argument),
            12 => akin(&self.pools.words, argument),
            13..=15 => akin(&self.pools.words_by_table, self.subject),
            16..=17 => self.pools.vocabulary.iter().collect(),
            _ => Vec::new(),
        };
        if words.is_empty() {
            let n = self.dice.below(1_000);
            return self.one_of(&["because", "rent", "Ada", "R-7", "north"]).to_owned() + &format!(" {n}");
        }
        (*self.pick(&words)).clone()
    }

    /// A number as digits.
    pub fn amount(&mut self, argument: &str) -> String {
        let has = |part: &str| argument.contains(part);
        if has("balance") && self.chance(80) {
            return "100".to_owned();
        }
        if has("percent") {
            return format!("{}.{}", self.dice.below(20), self.dice.below(10));
        }
        if has("rate") {
            return format!("1.{:02}", self.dice.below(20));
        }
        let whole = if self.chance(80) { self.dice.below(60) } else { self.dice.below(20_000) };
        if self.chance(50) { format!("{}", whole + 1) } else { format!("{whole}.{:02}", self.dice.below(99) + 1) }
    }

    fn time(&mut self, argument: &str) -> String {
        let minutes = self.dice.below(20_000) + 1;
        let ahead = argument.contains("expire") || self.chance(5);
        format!("now() {} interval '{minutes} minutes'", if ahead { '+' } else { '-' })
    }

    /// An expression of that type which makes sense for an argument or column of that name.
    pub fn good(&mut self, argument: &str, kind: &str) -> String {
        if let Some(element) = kind.strip_suffix("[]") {
            return self.good_array(argument, element);
        }
        match kind {
            "uuid" => self.uuid(argument),
            "name" | "regrole" => {
                format!("{}::{kind}", quoted(&self.pools.roles[self.dice.below(self.pools.roles.len())]))
            }
            "character" => format!("{}::char(3)", quoted(&self.currency())),
            "text" | "character varying" => format!("{}::text", quoted(&self.word(argument))),
            "numeric" => format!("{}::numeric", self.amount(argument)),
            "double precision" | "real" => format!("{}::{kind}", self.amount(argument)),
            "integer" | "bigint" | "smallint" => format!("{}::{kind}", self.dice.below(30) + 1),
            "boolean" => self.one_of(&["true", "false"]).to_owned(),
            "date" => format!("current_date - {}", self.dice.below(40)),
            "timestamp with time zone" | "timestamp without time zone" => format!("({})::{kind}", self.time(argument)),
            "interval" => format!("interval '{} minutes'", self.dice.below(9_000)),
            "jsonb" | "json" => format!("{}::{kind}", quoted(&json::example(self, argument).to_string())),
            "bytea" => "'\\x00ff'::bytea".to_owned(),
            "oid" | "xid" | "xid8" => format!("'{}'::{kind}", self.dice.below(2_000)),
            // Any row type will do, and an untyped null is none.
            "anyelement" => "null::banking.currencies".to_owned(),
            _ => self.of_other_type(argument, kind),
        }
    }

    /// Enums by their labels; what nobody has thought of yet, as null.
    fn of_other_type(&mut self, argument: &str, kind: &str) -> String {
        let words = related(&self.pools.words, argument);
        if words.is_empty() || kind.starts_with("reg") {
            return format!("null::{kind}");
        }
        format!("{}::{kind}", quoted(words[self.dice.below(words.len())]))
    }

    fn good_array(&mut self, argument: &str, element: &str) -> String {
        let elements: Vec<String> = if element == "numeric" {
            // Ascending, which bounds of tiers must be.
            let step = self.dice.below(90) + 1;
            (1..=self.length).map(|n| format!("{}", n * step)).collect()
        } else {
            (0..self.length).map(|_| self.good(argument, element)).collect()
        };
        format!("array[{}]::{element}[]", elements.join(", "))
    }
}
