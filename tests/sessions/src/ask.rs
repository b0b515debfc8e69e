//! Questions put the way `psql -At` puts them: text in, text out. Money is read
//! as [`Decimal`], so that 10 and 10.00 are the same amount.

use crate::Refusal;
use postgres::{Client, SimpleQueryMessage};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The exact value of a decimal literal; panics on anything else.
pub fn dec(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap_or_else(|e| panic!("{text:?} is not money: {e}"))
}

pub trait Ask {
    /// Rows as lines, columns parted by `|`, NULL as nothing; the error as a [`Refusal`].
    fn try_lines(&mut self, sql: &str) -> Result<Vec<String>, Refusal>;

    fn lines(&mut self, sql: &str) -> Vec<String> {
        self.try_lines(sql).unwrap_or_else(|e| panic!("{e}\nwhile running: {sql}"))
    }

    fn run(&mut self, sql: &str) {
        self.lines(sql);
    }

    /// The only row.
    fn one(&mut self, sql: &str) -> String {
        let mut lines = self.lines(sql);
        assert_eq!(lines.len(), 1, "one row wanted: {sql}\n{lines:#?}");
        lines.remove(0)
    }

    fn id(&mut self, sql: &str) -> Uuid {
        let text = self.one(sql);
        text.parse().unwrap_or_else(|_| panic!("a uuid wanted, {text:?} came: {sql}"))
    }

    fn money(&mut self, sql: &str) -> Decimal {
        dec(&self.one(sql))
    }

    fn count(&mut self, sql: &str) -> i64 {
        let text = self.one(sql);
        text.parse().unwrap_or_else(|_| panic!("a count wanted, {text:?} came: {sql}"))
    }

    fn json(&mut self, sql: &str) -> serde_json::Value {
        let text = self.one(sql);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text:?}: {sql}"))
    }

    /// The statement must fail; what it left in the tables is not looked at.
    fn fails(&mut self, sql: &str) -> Refusal {
        match self.try_lines(sql) {
            Err(refusal) => refusal,
            Ok(lines) => panic!("an error wanted, this came: {lines:?}\nfrom: {sql}"),
        }
    }

    /// What the account holds, in its own row or over its slots.
    fn balance(&mut self, account: Uuid) -> Decimal {
        self.money(&format!(
            "select coalesce(a.current_balance, (select sum(s.balance) from banking.account_slots s \
             where s.account_id = a.account_id)) \
             from banking.accounts a where a.account_id = '{account}'"
        ))
    }
}

impl Ask for Client {
    fn try_lines(&mut self, sql: &str) -> Result<Vec<String>, Refusal> {
        let messages = self.simple_query(sql).map_err(|error| {
            // The error comes before the server has ended the transaction; others would still see its locks and its
            // state. An empty query is answered when it has, also in a failed transaction.
            let _ = self.simple_query("");
            Refusal::from(error)
        })?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|i| row.get(i).unwrap_or("")).collect::<Vec<_>>().join("|"))
                }
                _ => None,
            })
            .collect())
    }
}
