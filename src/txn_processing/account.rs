//! An account as a posting sees it: no server, no clock, no randomness.
#![forbid(unsafe_code)]

use crate::error::Error;
use rust_decimal::Decimal;
use uuid::Uuid;

/// The largest balance: 10^24, which leaves four decimals in 28 digits.
pub const MAX_BALANCE: Decimal = Decimal::from_parts(2_701_131_776, 466_537_709, 54_210, false, 0);
/// The largest balance in one slot: 10^22, so that all slots together stay below the largest balance.
pub const MAX_SLOT_BALANCE: Decimal = Decimal::from_parts(2_990_538_752, 434_162_106, 542, false, 0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Debit,
    Credit,
}

/// A currency's code: three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    /// Nothing where the code is none.
    pub fn of(code: &[u8]) -> Option<Self> {
        let letters: [u8; 3] = code.try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Currency(letters))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("letters of ASCII")
    }
}

/// `banking.account_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    Dormant,
    Frozen,
    Closed,
}

impl Status {
    pub fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"active" => Status::Active,
            b"dormant" => Status::Dormant,
            b"frozen" => Status::Frozen,
            b"closed" => Status::Closed,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Dormant => "dormant",
            Status::Frozen => "frozen",
            Status::Closed => "closed",
        }
    }
}

/// An account, and the row that a posting changes: its own, or one of its slots.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub id: Uuid,
    pub tenant_no: i32,
    pub currency: Currency,
    pub status: Status,
    pub normal_side: Side,
    /// Of the row; signed by the normal side; its scale is the currency's exponent.
    pub balance: Decimal,
    pub available: Decimal,
    /// What the other slots hold together, where all of them are locked; nothing where they are not.
    pub elsewhere: Option<Decimal>,
    pub overdraft_limit: Decimal,
    /// The number that the next posting gets in its chain: the account's postings, or the slot's.
    pub sequence: i64,
    pub updated_at: i64,
    /// The bank's own: bounded by nothing.
    pub internal: bool,
    pub slotted: bool,
    /// Its debits are counted against limits, its own or its type's.
    pub limited: bool,
    /// What this call has debited that counts against limits, and in how many postings.
    pub spent: Decimal,
    pub spent_times: i32,
}

impl Account {
    /// Whether something is held against the balance, as far as the row knows.
    pub fn is_reserved(&self) -> bool {
        self.balance != self.available
    }

    /// Holds `reserved` against the balance, and nothing else: an open hold is a debit to come.
    pub fn reserve(&mut self, reserved: Decimal) {
        self.available = match self.normal_side {
            Side::Credit => self.balance - reserved,
            Side::Debit => self.balance + reserved,
        };
    }

    /// What is held against the balance.
    pub fn reserved(&self) -> Decimal {
        (self.balance - self.available).abs()
    }

    pub fn balance_after(&self, side: Side, amount: Decimal) -> Result<Decimal, Error> {
        let after = if side == self.normal_side {
            self.balance.checked_add(amount)
        } else {
            self.balance.checked_sub(amount)
        };
        let most = if self.slotted { MAX_SLOT_BALANCE } else { MAX_BALANCE };
        after.filter(|balance| balance.abs() <= most).ok_or(Error::LimitExceeded { account: self.id, most })
    }

    /// What is there once the row's balance is `after`.
    pub fn whole(&self, row_balance: Decimal) -> Option<Decimal> {
        if self.slotted { self.elsewhere.map(|rest| rest + row_balance) } else { Some(row_balance) }
    }

    /// What a debit may take: for a deposit account its available balance, for a loan what may still be drawn.
    pub fn debitable(&self) -> Decimal {
        let available = self.available + self.elsewhere.unwrap_or_default();
        match self.normal_side {
            Side::Credit => available + self.overdraft_limit,
            Side::Debit => self.overdraft_limit - available,
        }
    }

    /// The account with the slot that is to change, and which of `slots` that is: the one that holds most of what a debit
    /// takes. `whole`: they are all that the account has.
    pub fn on_slot(self, slots: &[Slot], whole: bool) -> (Self, usize) {
        let debitable = |slot: &Slot| match self.normal_side {
            Side::Credit => slot.balance,
            Side::Debit => -slot.balance,
        };
        let most = slots.iter().enumerate().max_by_key(|(_, slot)| debitable(slot));
        let (at, chosen) = most.expect("at least one slot");
        let total: Decimal = slots.iter().map(|slot| slot.balance).sum();
        let account = Account {
            balance: chosen.balance,
            available: chosen.balance,
            elsewhere: whole.then(|| total - chosen.balance),
            sequence: chosen.sequence,
            updated_at: chosen.updated_at.max(self.updated_at),
            slotted: true,
            ..self
        };
        (account, at)
    }

    /// Takes a posting in: what is reserved stays so.
    pub fn apply(&mut self, balance: Decimal, at: i64) {
        self.available += balance - self.balance;
        self.balance = balance;
        self.sequence += 1;
        self.updated_at = at;
    }
}

/// One of the rows that an account's balance is spread over.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// From 1.
    pub no: i16,
    pub balance: Decimal,
    pub sequence: i64,
    pub updated_at: i64,
}

/// The numbers of a slot's postings begin above all that an account's own chain will ever reach.
const SLOT_SHIFT: u32 = 48;

/// The number before the first of a slot's postings; slots count from 1, and 0 is the account's own chain.
pub const fn chain_start(slot: i16) -> i64 {
    (slot as i64) << SLOT_SHIFT
}

/// The most rows that an account's balance is spread over.
pub const MAX_SLOTS: i16 = 32;
