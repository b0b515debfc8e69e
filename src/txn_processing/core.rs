//! The ledger's decisions and arithmetic: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use super::account::{Account, Side, Status};
use super::calendar::{civil, day_of};
use crate::error::{Error, Role};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The largest amount of one posting: 10^18.
pub const MAX_AMOUNT: Decimal = Decimal::from_parts(2_808_348_672, 232_830_643, 0, false, 0);

/// What a posting is for; `txn_processing.txn_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

    pub fn of(name: &str) -> Option<Self> {
        const ALL: [Kind; 9] = [
            Kind::Deposit,
            Kind::Withdrawal,
            Kind::Transfer,
            Kind::Payment,
            Kind::Fee,
            Kind::Interest,
            Kind::Refund,
            Kind::Reversal,
            Kind::Adjustment,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The bank's own account on the other side of the customer's, and whether the customer is debited. Nothing for
    /// what is between two accounts that the caller names.
    pub fn other_side(self) -> Option<(&'static str, bool)> {
        match self {
            Kind::Deposit => Some(("cash", false)),
            Kind::Withdrawal => Some(("cash", true)),
            Kind::Payment => Some(("payments_clearing", true)),
            Kind::Fee => Some(("fee_income", true)),
            Kind::Interest => Some(("interest_expense", false)),
            Kind::Adjustment | Kind::Transfer | Kind::Refund | Kind::Reversal => None,
        }
    }

    /// The strict function that posts it.
    pub fn function(self) -> &'static str {
        match self {
            Kind::Deposit => "txn_processing.deposit",
            Kind::Withdrawal => "txn_processing.withdraw",
            Kind::Transfer => "txn_processing.transfer",
            Kind::Payment => "txn_processing.pay",
            Kind::Fee => "txn_processing.charge_fee",
            Kind::Interest => "txn_processing.credit_interest",
            Kind::Refund => "txn_processing.refund",
            Kind::Reversal => "txn_processing.reverse",
            Kind::Adjustment => "txn_processing.adjust",
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

/// What the caller asks for, apart from the accounts.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    pub kind: Kind,
    pub amount: Decimal,
    pub currency: Option<&'a str>,
    pub may_overdraw: bool,
    /// Both accounts may be the bank's own.
    pub by_the_bank: bool,
}

/// What a posting that was not refused will write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    pub amount: Decimal,
    /// Of the rows that are changed.
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
        if must_be_customers && account.internal && !terms.by_the_bank {
            return Err(Error::InternalAccount { account: account.id });
        }
    }
    let wanted = terms.currency.unwrap_or(debit.currency.as_str());
    for account in [debit, credit] {
        if account.currency.as_str() != wanted {
            return Err(Error::CurrencyMismatch {
                wanted: wanted.to_owned(),
                found: account.currency.as_str().to_owned(),
            });
        }
    }
    let amount = in_currency(terms.amount, debit.balance.scale(), debit.currency.as_str())?;
    if debit.status != Status::Active {
        return Err(inactive(debit, Role::Sender));
    }
    if !matches!(credit.status, Status::Active | Status::Dormant) {
        return Err(inactive(credit, Role::Receiver));
    }
    let bounded = !debit.internal && !terms.may_overdraw;
    assert!(!bounded || !debit.slotted || debit.elsewhere.is_some(), "a bound is held against all slots");
    if bounded && amount > debit.debitable() {
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
    Error::AccountNotActive { account: account.id, status: account.status.name(), role }
}

/// The reference shown where the caller gave none: prefix, UTC day of recording, and the whole id, so it is as
/// unique as the id and needs no column.
pub fn generated_reference(transaction: Uuid, is_reversal: bool, created_at: i64) -> String {
    let (year, month, day) = civil(day_of(created_at));
    let prefix = if is_reversal { "REV" } else { "TXN" };
    format!("{prefix}-{year:04}{month:02}{day:02}-{:X}", transaction.simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn_processing::account::{Currency, MAX_BALANCE, MAX_SLOT_BALANCE, MAX_SLOTS};
    use proptest::prelude::*;

    fn account(id: u128, balance: Decimal) -> Account {
        Account {
            id: Uuid::from_u128(id),
            tenant_no: 0,
            currency: Currency::of(b"USD").expect("a code"),
            status: Status::Active,
            normal_side: Side::Credit,
            balance,
            available: balance,
            elsewhere: None,
            overdraft_limit: Decimal::ZERO,
            sequence: 1,
            updated_at: 0,
            internal: false,
            slotted: false,
            limited: false,
            spent: Decimal::ZERO,
            spent_times: 0,
        }
    }

    fn transfer(amount: Decimal) -> Terms<'static> {
        Terms { kind: Kind::Transfer, amount, currency: None, may_overdraw: false, by_the_bank: false }
    }

    #[test]
    fn bounds_are_the_powers_of_ten_they_say() {
        assert_eq!(MAX_AMOUNT.to_string(), format!("1{}", "0".repeat(18)));
        assert_eq!(MAX_BALANCE.to_string(), format!("1{}", "0".repeat(24)));
        assert_eq!(MAX_SLOT_BALANCE.to_string(), format!("1{}", "0".repeat(22)));
        assert!(MAX_SLOT_BALANCE * Decimal::from(MAX_SLOTS) < MAX_BALANCE);
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
