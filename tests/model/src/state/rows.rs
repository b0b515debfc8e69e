//! What the model knows of an account, a posting, a hold, a dispute and a request.

use crate::op::{Posting, Request};
use crate::world::Place;
use neobank_sessions::{Decimal, Uuid};

/// A side of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Customer(Uuid),
    /// The bank's own account of this type.
    Own(&'static str),
}

#[derive(Clone, Debug)]
pub struct Account {
    pub account_type: &'static str,
    pub currency: &'static str,
    pub balance: Decimal,
    /// What open holds set aside.
    pub held: Decimal,
    pub limit: Decimal,
    pub slotted: bool,
    pub status: &'static str,
    /// In a transaction, a day, a month: at most so much, and so many.
    pub limits: [Option<(Option<Decimal>, Option<i64>)>; 3],
    /// Today, which is as long as the bank is there.
    pub spent: Decimal,
    pub spendings: i64,
}

impl Account {
    pub fn opened(place: &Place) -> Account {
        Account {
            account_type: place.account_type,
            currency: place.currency,
            balance: place.opening,
            held: Decimal::ZERO,
            limit: place.limit,
            slotted: place.slotted,
            status: "active",
            limits: [None; 3],
            spent: Decimal::ZERO,
            spendings: 0,
        }
    }

    /// A loan's balance is what is owed: it grows by debits.
    pub fn owes(&self) -> bool {
        matches!(self.account_type, "loan" | "credit_card")
    }

    pub fn change(&mut self, debit: bool, amount: Decimal) {
        if debit == self.owes() { self.balance += amount } else { self.balance -= amount }
    }

    /// What a debit that is bounded may take, were nothing held.
    pub fn funds(&self) -> Decimal {
        if self.owes() { self.limit - self.balance } else { self.balance + self.limit }
    }

    /// The same with what is held.
    pub fn available(&self) -> Decimal {
        self.funds() - self.held
    }

    pub fn available_balance(&self) -> Decimal {
        if self.owes() { self.balance + self.held } else { self.balance - self.held }
    }

    pub fn may_spend(&self, amount: Decimal) -> bool {
        let within = |most: Option<Decimal>, sum: Decimal| most.is_none_or(|most| sum <= most);
        self.limits.iter().enumerate().all(|(period, limit)| match limit {
            None => true,
            Some((most, _)) if period == 0 => within(*most, amount),
            Some((most, postings)) => {
                within(*most, self.spent + amount) && postings.is_none_or(|postings| self.spendings < postings)
            }
        })
    }

    /// The balance that a posting on it answers.
    pub fn shown(&self) -> Option<Decimal> {
        (!self.slotted).then_some(self.balance)
    }
}

#[derive(Clone, Debug)]
pub struct Leg {
    pub debit: Party,
    pub credit: Party,
    pub amount: Decimal,
    pub currency: &'static str,
}

/// What the caller gave, to tell a retry from another call.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Post(Posting),
    Adjust {
        account: Uuid,
        amount: Decimal,
    },
    Refund {
        original: Uuid,
        amount: Option<Decimal>,
    },
    Reverse {
        original: Uuid,
    },
    Capture {
        hold: Uuid,
        amount: Option<Decimal>,
        to: Option<Uuid>,
    },
    Exchange {
        from: Uuid,
        to: Uuid,
        amount: Decimal,
        rate: Option<Decimal>,
    },
    /// The id was drawn by the bank.
    Drawn,
}

/// Whether a call repeats another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    Yes,
    No,
    /// An amount is written out that was left open, and it is the same. The documents do not say.
    Unclear,
}

#[derive(Clone, Debug)]
pub struct Posted {
    pub content: Content,
    pub posted_as: &'static str,
    pub legs: Vec<Leg>,
    pub reverses: Option<Uuid>,
    pub reversed: bool,
    /// By refunds.
    pub refunded: Decimal,
    /// Of disputes that have ended.
    pub kept: Decimal,
    pub disputed: bool,
    /// Posted by a dispute.
    pub of_dispute: bool,
    /// Of an exchange, in the second leg's currency.
    pub residue: Decimal,
    pub exchange: bool,
    pub bank: Option<&'static str>,
    /// Of the first leg: what the two accounts held after it, where that is one figure.
    pub balances: (Option<Decimal>, Option<Decimal>),
}

impl Posted {
    pub fn new(content: Content, posted_as: &'static str, legs: Vec<Leg>) -> Posted {
        Posted {
            content,
            posted_as,
            legs,
            reverses: None,
            reversed: false,
            refunded: Decimal::ZERO,
            kept: Decimal::ZERO,
            disputed: false,
            of_dispute: false,
            residue: Decimal::ZERO,
            exchange: false,
            bank: None,
            balances: (None, None),
        }
    }

    pub fn amount(&self) -> Decimal {
        self.legs[0].amount
    }

    /// What refunds and disputes have left of it.
    pub fn left(&self) -> Decimal {
        self.amount() - self.refunded - self.kept
    }
}

/// A leg as it took effect.
#[derive(Clone, Debug)]
pub struct Applied {
    /// None where the bank drew it and no answer told which it was.
    pub transaction: Option<Uuid>,
    pub leg: usize,
    pub debit: (Party, Option<Decimal>),
    pub credit: (Party, Option<Decimal>),
    pub amount: Decimal,
    pub posted_as: &'static str,
    /// As an event, too.
    pub published: bool,
}

#[derive(Clone, Debug)]
pub struct Hold {
    pub account: Uuid,
    pub amount: Decimal,
    pub to: Option<Uuid>,
    pub group: Option<Uuid>,
    pub captured: Decimal,
    pub open: bool,
    /// Placed to be over at once: its time is content, and never the same twice.
    pub short: bool,
    /// In the order of placing.
    pub number: usize,
    /// Its transaction.
    pub turn: u64,
}

impl Hold {
    pub fn remaining(&self) -> Decimal {
        (self.amount - self.captured).max(Decimal::ZERO)
    }
}

/// Outcome, amount and charge_back as they were given, and the answer.
pub type Resolved = (&'static str, Option<Decimal>, Option<bool>, Vec<String>);

#[derive(Clone, Debug)]
pub struct Dispute {
    pub transaction: Uuid,
    pub account: Uuid,
    pub counterparty: Party,
    pub asked: Option<Decimal>,
    pub amount: Decimal,
    pub provisional: bool,
    pub charge_back: bool,
    pub resolved: Option<Resolved>,
}

#[derive(Clone, Debug)]
pub struct Queued {
    pub request: Request,
    pub priority: usize,
    /// Its transaction: those of one are of one age.
    pub turn: u64,
    pub status: &'static str,
}
