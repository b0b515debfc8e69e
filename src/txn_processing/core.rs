//! The ledger's decisions and arithmetic: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::error::{Error, Role};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The largest amount of one posting: 10^18.
pub const MAX_AMOUNT: Decimal = Decimal::from_parts(2_808_348_672, 232_830_643, 0, false, 0);
/// The largest balance: 10^24, which leaves four decimals in 28 digits.
const MAX_BALANCE: Decimal = Decimal::from_parts(2_701_131_776, 466_537_709, 54_210, false, 0);

/// What a posting is for; `txn_processing.txn_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Deposit,
    Withdrawal,
    Transfer,
    Payment,
    Fee,
    Interest,
    Refund,
    Reversal,
    Adjustment,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Deposit => "deposit",
            Kind::Withdrawal => "withdrawal",
            Kind::Transfer => "transfer",
            Kind::Payment => "payment",
            Kind::Fee => "fee",
            Kind::Interest => "interest",
            Kind::Refund => "refund",
            Kind::Reversal => "reversal",
            Kind::Adjustment => "adjustment",
        }
    }

    /// Whether the debited and the credited account must be a customer's: what the caller names, lest anybody who
    /// may transfer could take from or give to the bank's own accounts.
    fn customer_sides(self) -> (bool, bool) {
        match self {
            Kind::Transfer => (true, true),
            Kind::Withdrawal | Kind::Payment | Kind::Fee => (true, false),
            Kind::Deposit | Kind::Interest => (false, true),
            Kind::Refund | Kind::Reversal | Kind::Adjustment => (false, false),
        }
    }

    /// A charge or a correction is posted whatever the balance is.
    pub fn ignores_limit(self) -> bool {
        matches!(self, Kind::Fee | Kind::Adjustment)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Debit,
    Credit,
}

/// An account as its row stood under the lock.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: Uuid,
    pub tenant_no: i32,
    pub currency: String,
    pub status: String,
    pub normal_side: Side,
    /// Signed by the normal side; its scale is the currency's exponent.
    pub balance: Decimal,
    pub available: Decimal,
    pub overdraft_limit: Decimal,
    pub version: i64,
    pub updated_at: i64,
    /// The bank's own: bounded by nothing.
    pub internal: bool,
}

impl Account {
    fn balance_after(&self, side: Side, amount: Decimal) -> Result<Decimal, Error> {
        let after = if side == self.normal_side {
            self.balance.checked_add(amount)
        } else {
            self.balance.checked_sub(amount)
        };
        after.filter(|balance| balance.abs() <= MAX_BALANCE).ok_or(Error::LimitExceeded { account: self.id })
    }

    /// What is available once the balance is `after`: what is reserved stays so.
    pub fn available_after(&self, after: Decimal) -> Decimal {
        self.available + (after - self.balance)
    }

    /// What a debit may take: for a deposit account its available balance, for a loan what may still be drawn.
    fn debitable(&self) -> Decimal {
        match self.normal_side {
            Side::Credit => self.available + self.overdraft_limit,
            Side::Debit => self.overdraft_limit - self.available,
        }
    }
}

/// What the caller asks for, apart from the accounts.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub kind: Kind,
    pub amount: Decimal,
    pub currency: Option<&'a str>,
    pub may_overdraw: bool,
}

/// What a posting that was not refused will write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    pub amount: Decimal,
    pub debit_balance: Decimal,
    pub credit_balance: Decimal,
}

/// A finite amount above zero that the ledger can hold.
pub fn exact_amount(amount: Decimal) -> Result<Decimal, Error> {
    let refuse = |why: String| Err(Error::InvalidAmount { why });
    if amount <= Decimal::ZERO {
        return refuse(format!("The amount is {amount}; it must be above zero."));
    }
    amount_of(amount)
}

/// A finite amount of either sign that the ledger can hold, without trailing zeros.
pub fn amount_of(amount: Decimal) -> Result<Decimal, Error> {
    if amount.is_zero() {
        return Err(Error::InvalidAmount { why: "The amount is zero.".into() });
    }
    if amount.abs() > MAX_AMOUNT {
        return Err(Error::InvalidAmount {
            why: format!("The amount is {amount}; the largest is {MAX_AMOUNT}."),
        });
    }
    Ok(amount.normalize())
}

/// `amount` with exactly the decimals that its currency has; more are refused, never rounded.
pub fn in_currency(amount: Decimal, exponent: u32, currency: &str) -> Result<Decimal, Error> {
    let mut scaled = amount.normalize();
    if scaled.scale() > exponent {
        return Err(Error::InvalidAmount {
            why: format!("The amount {amount} has more than the {exponent} decimals of {currency}."),
        });
    }
    scaled.rescale(exponent);
    Ok(scaled)
}

/// Decides a posting: its effect, or why it is refused.
pub fn decide(terms: &Terms, debit: &Account, credit: &Account) -> Result<Effect, Error> {
    if debit.tenant_no != credit.tenant_no {
        return Err(Error::TenantMismatch {
            why: format!("Accounts {} and {} belong to different tenants.", debit.id, credit.id),
        });
    }
    let (debits_customer, credits_customer) = terms.kind.customer_sides();
    for (account, must_be_customers) in [(debit, debits_customer), (credit, credits_customer)] {
        if must_be_customers && account.internal {
            return Err(Error::InternalAccount { account: account.id });
        }
    }
    let wanted = terms.currency.unwrap_or(&debit.currency);
    for account in [debit, credit] {
        if account.currency != wanted {
            return Err(Error::CurrencyMismatch {
                wanted: wanted.to_owned(),
                found: account.currency.clone(),
            });
        }
    }
    let amount = in_currency(terms.amount, debit.balance.scale(), &debit.currency)?;
    if debit.status != "active" {
        return Err(inactive(debit, Role::Sender));
    }
    if !matches!(credit.status.as_str(), "active" | "dormant") {
        return Err(inactive(credit, Role::Receiver));
    }
    if !debit.internal && !terms.may_overdraw && amount > debit.debitable() {
        return Err(Error::InsufficientFunds {
            account: debit.id,
            available: debit.debitable(),
            requested: amount,
        });
    }
    Ok(Effect {
        amount,
        debit_balance: debit.balance_after(Side::Debit, amount)?,
        credit_balance: credit.balance_after(Side::Credit, amount)?,
    })
}

fn inactive(account: &Account, role: Role) -> Error {
    Error::AccountNotActive { account: account.id, status: account.status.clone(), role }
}

/// The reference shown where the caller gave none: prefix, UTC day of recording, and the whole id, so it is as
/// unique as the id and needs no column.
///
/// `created_at` counts microseconds from 2000-01-01 UTC. Day to date: H. Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", civil_from_days.
pub fn generated_reference(transaction: Uuid, is_reversal: bool, created_at: i64) -> String {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    const DAYS_FROM_0000_03_01_TO_2000_01_01: i64 = 730_425;
    let day = created_at.div_euclid(MICROS_PER_DAY) + DAYS_FROM_0000_03_01_TO_2000_01_01;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let prefix = if is_reversal { "REV" } else { "TXN" };
    format!("{prefix}-{year:04}{month:02}{day_of_month:02}-{:X}", transaction.simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account(id: u128, balance: Decimal) -> Account {
        Account {
            id: Uuid::from_u128(id),
            tenant_no: 0,
            currency: "USD".into(),
            status: "active".into(),
            normal_side: Side::Credit,
            balance,
            available: balance,
            overdraft_limit: Decimal::ZERO,
            version: 1,
            updated_at: 0,
            internal: false,
        }
    }

    fn transfer(amount: Decimal) -> Terms<'static> {
        Terms { kind: Kind::Transfer, amount, currency: None, may_overdraw: false }
    }

    #[test]
    fn bounds_are_the_powers_of_ten_they_say() {
        assert_eq!(MAX_AMOUNT.to_string(), format!("1{}", "0".repeat(18)));
        assert_eq!(MAX_BALANCE.to_string(), format!("1{}", "0".repeat(24)));
    }

    #[test]
    fn references_carry_the_day_and_the_whole_id() {
        let id = Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001);
        assert_eq!(generated_reference(id, false, 0), "TXN-20000101-01930000000070008000000000000001");
        let leap_day = (59 + 24 * 366 + 76 * 365 - 18 * 365) * 86_400_000_000i64;
        assert!(generated_reference(id, true, leap_day).starts_with("REV-20"));
        assert!(generated_reference(id, true, 59 * 86_400_000_000).starts_with("REV-20000229-"));
        assert!(generated_reference(id, true, -1).starts_with("REV-19991231-"));
    }

    #[test]
    fn a_loan_is_drawn_up_to_its_limit_and_not_past_it() {
        let mut loan = account(1, Decimal::new(8_000, 2));
        loan.normal_side = Side::Debit;
        loan.overdraft_limit = Decimal::new(10_000, 2);
        let payee = account(2, Decimal::new(0, 2));
        let drawn = decide(&transfer(Decimal::from(20)), &loan, &payee).expect("within the limit");
        assert_eq!(drawn.debit_balance, Decimal::from(100));
        assert!(matches!(
            decide(&transfer(Decimal::new(2_001, 2)), &loan, &payee),
            Err(Error::InsufficientFunds { .. })
        ));
    }

    proptest! {
        #[test]
        fn money_is_neither_made_nor_lost(have in 0i64..10_000_000, other in 0i64..10_000_000, amount in 1i64..20_000_000) {
            let (debit, credit) = (account(1, Decimal::new(have, 2)), account(2, Decimal::new(other, 2)));
            match decide(&transfer(Decimal::new(amount, 2)), &debit, &credit) {
                Ok(effect) => {
                    prop_assert!(amount <= have);
                    prop_assert_eq!(effect.debit_balance + effect.credit_balance, debit.balance + credit.balance);
                    prop_assert_eq!(effect.debit_balance.scale(), 2);
                }
                Err(Error::InsufficientFunds { .. }) => prop_assert!(amount > have),
                Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }

        #[test]
        fn decimals_are_refused_or_kept(mantissa in 1i64..1_000_000_000, scale in 0u32..8, exponent in 0u32..=4) {
            let amount = Decimal::new(mantissa, scale);
            match in_currency(amount, exponent, "XYZ") {
                Ok(kept) => { prop_assert_eq!(kept, amount); prop_assert_eq!(kept.scale(), exponent); }
                Err(_) => prop_assert!(amount.normalize().scale() > exponent),
            }
        }
    }
}
