//! The few accounts that everything happens on.

use crate::tables;
use neobank_sessions::{Ask, Client, Decimal, Uuid, dec};

/// One account of a customer as it was opened.
#[derive(Clone, Debug)]
pub struct Place {
    pub id: Uuid,
    pub account_type: &'static str,
    pub currency: &'static str,
    pub decimals: u32,
    pub opening: Decimal,
    pub limit: Decimal,
    pub slotted: bool,
}

/// What no operation of a run changes, but for balances and settings of its accounts.
#[derive(Clone, Debug)]
pub struct World {
    pub places: Vec<Place>,
    /// Stays empty, so that there is an account that can be closed.
    pub spare: Place,
    /// An account of the bank itself, which nobody may name.
    pub cash: Uuid,
    /// What events are about; the first ones are busier. The last one gets figures that are none.
    pub aggregates: Vec<Uuid>,
    /// Three times in the past that a posting may count from.
    pub past: Vec<String>,
    /// When the histories of tables begin, in microseconds.
    pub recorded_since: i64,
}

pub const CURRENCIES: [(&str, u32); 3] = [("USD", 2), ("EUR", 2), ("JPY", 0)];
pub const RATES: [(&str, &str, &str); 2] = [("EUR", "USD", "1.0837"), ("USD", "JPY", "150.255")];
/// In percent of the hold, of accounts of this type.
pub const OVERCAPTURE: (&str, u32) = ("savings", 20);
/// Disputes of accounts of this type bring no provisional credit, and are charged back.
pub const PLAIN_DISPUTES: &str = "business";

const CASH: &str = "select account_id from banking.accounts where customer_id is null and tenant_no = 0 \
                    and account_type = 'cash' and currency_code = 'USD'";
const AGGREGATES: u128 = 6;

const OPENED: [(&str, &str, &str, &str, bool); 8] = [
    ("checking", "USD", "500", "0", false),
    ("checking", "USD", "200", "100", false),
    ("savings", "USD", "300", "0", false),
    ("business", "USD", "1000", "0", true),
    ("business", "USD", "400", "50", false),
    ("loan", "USD", "0", "800", false),
    ("checking", "EUR", "500", "20", false),
    ("savings", "JPY", "50000", "0", false),
];

pub fn decimals_of(currency: &str) -> u32 {
    CURRENCIES.iter().find(|(code, _)| *code == currency).expect("a currency of the world").1
}

impl World {
    /// Its accounts, rates and rules in a database with the extension.
    pub fn open(db: &mut Client) -> World {
        let customer = db.id("select banking.create_customer('Ada', 'Lovelace')");
        let mut account = |account_type: &str, currency: &str, opening: &str, limit: &str| {
            db.id(&format!(
                "select banking.open_account('{customer}', '{account_type}', '{currency}', {opening}, {limit})"
            ))
        };
        let places = OPENED.iter().map(|&(account_type, currency, opening, limit, slotted)| {
            let id = account(account_type, currency, opening, limit);
            let (opening, limit) = (dec(opening), dec(limit));
            Place { id, account_type, currency, decimals: decimals_of(currency), opening, limit, slotted }
        });
        let places: Vec<Place> = places.collect();
        let (account_type, currency) = ("checking", "USD");
        let id = account(account_type, currency, "0", "0");
        let (opening, limit, decimals) = (Decimal::ZERO, Decimal::ZERO, decimals_of(currency));
        let spare = Place { id, account_type, currency, decimals, opening, limit, slotted: false };
        for place in places.iter().filter(|place| place.slotted) {
            db.run(&format!("select banking.set_balance_mode('{}', 'slotted')", place.id));
        }
        for (base, quote, rate) in RATES {
            db.run(&format!("select txn_processing.set_fx_rate('{base}', '{quote}', {rate}, clock_timestamp())"));
        }
        db.run(&format!("select txn_processing.set_hold_rule('{}', {})", OVERCAPTURE.0, OVERCAPTURE.1));
        db.run(&format!(
            "select txn_processing.set_dispute_policy('{PLAIN_DISPUTES}', false, 30, charge_back => true)"
        ));
        db.run(crate::cqrs::SETUP);
        db.run(crate::subscriptions::SETUP);
        db.run(crate::sagas::SETUP);
        let recorded_since = tables::set_up(db);
        let past = "select (date_trunc('hour', now()) - days * interval '1 day')::text from generate_series(1, 3) days";
        let aggregates = (1..=AGGREGATES).map(|n| Uuid::from_u128(0xA66 << 64 | n)).collect();
        World { places, spare, cash: db.id(CASH), aggregates, past: db.lines(past), recorded_since }
    }
}
