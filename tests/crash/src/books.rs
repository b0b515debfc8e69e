//! The bank under test: accounts of every kind that behaves in its own way.

use neobank_sessions::{Ask, Client, Uuid};

pub const ACCOUNTS: usize = 12;
/// Of these, spread over slots.
pub const SLOTTED: usize = 2;
pub const EUROS: usize = 3;

#[derive(Clone, Debug)]
pub struct Books {
    /// When it was founded, as a literal: a time that is content must be the same when it is sent again.
    pub day: String,
    /// In USD; the last ones are slotted, and the one before them has spending limits.
    pub accounts: Vec<Uuid>,
    pub euros: Vec<Uuid>,
    pub customer: Uuid,
    pub cash: Uuid,
    pub clearing: Uuid,
    pub fee_income: Uuid,
    pub interest_expense: Uuid,
    pub suspense: Uuid,
    /// Of USD and of EUR.
    pub positions: [Uuid; 2],
}

fn internal(db: &mut Client, kind: &str, currency: &str) -> Uuid {
    db.id(&format!(
        "select account_id from banking.accounts where customer_id is null and tenant_no = 0 \
         and account_type = '{kind}' and currency_code = '{currency}'"
    ))
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
        db.run("select txn_processing.set_fx_rate('USD', 'EUR', 0.5)");
        Books {
            day: db.one("select now()"),
            euros,
            customer,
            cash: internal(db, "cash", "USD"),
            clearing: internal(db, "payments_clearing", "USD"),
            fee_income: internal(db, "fee_income", "USD"),
            interest_expense: internal(db, "interest_expense", "USD"),
            suspense: internal(db, "suspense", "USD"),
            positions: [internal(db, "fx_position", "USD"), internal(db, "fx_position", "EUR")],
            accounts,
        }
    }
}
