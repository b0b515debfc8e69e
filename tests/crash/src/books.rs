//! The bank under test: accounts of every kind that behaves in its own way.

use neobank_model::world::{Place, World};
use neobank_sessions::{Ask, Client, Uuid};
use std::collections::HashMap;

pub const ACCOUNTS: usize = 12;
/// Of these, spread over slots.
pub const SLOTTED: usize = 2;
pub const EUROS: usize = 3;

/// What the runs of each day go by.
const RULES: [&str; 3] = [
    "set_interest_rule('savings', 'USD', 5, 'act/365', current_date - 20)",
    "set_fee_schedule('wire', 'transfer', 'USD', 'percentage', current_date - 20, percent => 0.5)",
    "set_fee_schedule('book', 'periodic', 'USD', 'fixed', current_date - 20, fixed_amount => 0.05, period => 'month')",
];

#[derive(Clone, Debug)]
pub struct Books {
    /// When it was founded, as a literal: a time that is content must be the same when it is sent again.
    pub day: String,
    /// In USD; the last ones are slotted, and the one before them has spending limits.
    pub accounts: Vec<Uuid>,
    pub euros: Vec<Uuid>,
    pub customer: Uuid,
    /// What the model's generator draws operations about: accounts of its own, and aggregates.
    pub world: World,
    /// The bank's accounts, by type and currency.
    own: HashMap<String, Uuid>,
}

impl Books {
    /// Founds the bank in a new database with the extension.
    pub fn found(db: &mut Client) -> Books {
        db.run("create extension neobank");
        // A table of the application, whose rows commit together with postings.
        db.run("create table public.receipts (receipt_id uuid primary key, note text)");
        let customer = db.id("select banking.create_customer('Ada', 'Lovelace')");
        let mut open = |currency: &str, opening: usize, overdraft: usize| {
            db.id(&format!(
                "select banking.open_account('{customer}', 'checking', '{currency}', {opening}, {overdraft})"
            ))
        };
        let accounts: Vec<_> = (0..ACCOUNTS).map(|n| open("USD", [20, 5_000][n % 2], [0, 50][n / 2 % 2])).collect();
        let euros = (0..EUROS).map(|_| open("EUR", 3_000, 0)).collect();
        for account in &accounts[ACCOUNTS - SLOTTED..] {
            db.run(&format!("select banking.set_balance_mode('{account}', 'slotted')"));
        }
        let limited = accounts[ACCOUNTS - SLOTTED - 1];
        db.run(&format!("select banking.set_account_limit('{limited}', 'day', 3000, 2000, 'a limit that is counted')"));
        let world = World::open(db);
        for rule in RULES {
            db.run(&format!("select txn_processing.{rule}"));
        }
        let own = db.lines(
            "select account_type || ' ' || currency_code, account_id from banking.accounts \
             where customer_id is null and tenant_no = 0",
        );
        let own = own.iter().filter_map(|line| line.split_once('|'));
        let own = own.map(|(name, id)| (name.to_owned(), id.parse().expect("an id"))).collect();
        Books { day: db.one("select now()"), euros, customer, world, own, accounts }
    }

    /// The bank's own account of that type and currency.
    pub fn own(&self, kind: &str, currency: &str) -> Uuid {
        self.own[&format!("{kind} {currency}")]
    }

    /// Of an account of the world; of any other one, dollars.
    pub fn currency(&self, account: Uuid) -> &'static str {
        self.world.places.iter().find(|place| place.id == account).map_or("USD", |place| place.currency)
    }

    pub fn grows_by_debits(&self, account: Uuid) -> bool {
        let owes = |place: &Place| place.id == account && place.account_type == "loan";
        account == self.world.cash || self.world.places.iter().any(owes)
    }
}
