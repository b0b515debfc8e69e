//! The one posting engine: every way to move money ends here.
//!
//! The order of things is the design: lock both accounts, decide on what the locks show, then write. Whatever can be
//! refused is refused before the first write, so a refusal needs no savepoint and leaves nothing behind.

use super::account::Account;
use super::books::{Books, Held, Want};
use super::bounds::bounded_texts;
use super::calendar::MICROS_PER_DAY;
use super::core::{self, Kind, Terms, decide};
use super::give_back;
use super::holds::{self, Capture};
use super::limits::{self, Allowance};
use super::slots::{self, Added};
use super::store::{self, Movement};
use crate::error::Error;
use crate::guc;
use crate::pg::{JsonDatum, OwnerRights, Session, server};
use rust_decimal::Decimal;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use uuid::Uuid;

/// A transaction that is given back, and how much it moved.
#[derive(Clone, Copy)]
pub struct GivenBack {
    pub id: Uuid,
    pub amount: Decimal,
}

/// One posting as it is asked for: one leg of a transaction, mostly its only one.
pub struct Order<'a> {
    pub kind: Kind,
    /// From 1.
    pub leg: i16,
    pub debit: Uuid,
    pub credit: Uuid,
    /// `None`: all that is left of the transaction that it gives back.
    pub amount: Option<Decimal>,
    pub currency: Option<&'a str>,
    pub transaction_id: Option<Uuid>,
    pub reference: Option<&'a str>,
    pub description: Option<&'a str>,
    pub metadata: Option<JsonDatum>,
    pub effective_at: Option<i64>,
    /// The transaction that a reversal or refund gives back.
    pub reverses: Option<GivenBack>,
    pub may_overdraw: bool,
    /// Neither account was named by the caller as the other side of a customer's, so both may be the bank's own.
    pub by_the_bank: bool,
    /// The hold on the debited account that it captures.
    pub capture: Option<Capture>,
}

impl<'a> Order<'a> {
    /// One leg, and nothing but what every posting has.
    pub fn of(kind: Kind, debit: Uuid, credit: Uuid, amount: Option<Decimal>) -> Order<'a> {
        Order {
            kind,
            leg: 1,
            debit,
            credit,
            amount,
            currency: None,
            transaction_id: None,
            reference: None,
            description: None,
            metadata: None,
            effective_at: None,
            reverses: None,
            may_overdraw: false,
            by_the_bank: false,
            capture: None,
        }
    }

    /// Whether a retry may ask for this in place of `other`; for what an item of a batch can carry.
    pub fn asks_the_same(&self, other: &Order) -> bool {
        let content = |order: &Order| (order.kind, order.leg, order.debit, order.credit, order.amount);
        content(self) == content(other)
            && (self.currency, self.reference, self.description)
                == (other.currency, other.reference, other.description)
    }
}

/// What stands in the ledger after a posting, whether this call or an earlier one with the same id wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Posted {
    pub transaction_id: Uuid,
    /// Nothing for a slotted account: no one row knows its balance.
    pub debit_balance: Option<Decimal>,
    pub credit_balance: Option<Decimal>,
    /// Whether the debited account is below zero, as far as one row knows.
    pub overdrawn: bool,
    pub created_at: i64,
    /// It was posted before, by the call that this one repeats.
    pub is_repeat: bool,
}

/// Who called, and SPI with the owner's rights for those who need it.
pub struct Desk {
    pub caller: String,
    /// Slots that were added for this call.
    pub added: RefCell<Vec<Added>>,
    /// What accounts with limits may spend, as it was found by this call.
    pub allowances: RefCell<HashMap<Uuid, Allowance>>,
    opened: OnceCell<Opened>,
    calls_others: bool,
}

struct Opened {
    session: Session,
    // Dropped after the session: fields drop in the order of their declaration.
    _rights: OwnerRights,
}

impl Desk {
    pub fn open() -> Self {
        Desk {
            caller: server::role_name(server::current_user()),
            added: RefCell::default(),
            allowances: RefCell::default(),
            opened: OnceCell::new(),
            calls_others: false,
        }
    }

    /// Whose session calls functions of others.
    pub fn open_around_calls() -> Self {
        Desk { calls_others: true, ..Self::open() }
    }

    pub fn session(&self) -> &Session {
        let open = || {
            let rights = if self.calls_others {
                OwnerRights::to_write_around_calls()
            } else {
                OwnerRights::to_write()
            };
            Opened { session: Session::write(), _rights: rights }
        };
        &self.opened.get_or_init(open).session
    }
}

fn bounded_effective_at(effective_at: Option<i64>, now: i64) -> Result<(), Error> {
    let Some(at) = effective_at else { return Ok(()) };
    if at > now {
        return Err(Error::EffectiveAt { why: "It lies in the future.".into() });
    }
    let days = guc::max_backdate_days();
    if at < now - i64::from(days) * MICROS_PER_DAY {
        return Err(Error::EffectiveAt { why: format!("It lies more than {days} days back.") });
    }
    Ok(())
}

/// What can be said about an order before any account is looked at.
pub fn validate(order: &Order, now: i64) -> Result<(), Error> {
    if order.debit == order.credit {
        return Err(Error::SameAccount { account: order.debit });
    }
    if let Some(amount) = order.amount {
        core::exact_amount(amount)?;
    }
    bounded_texts(order.reference, order.description, order.metadata)?;
    bounded_effective_at(order.effective_at, now)
}

/// Posts `order`, or answers why not. Nothing has been written when it is refused.
pub fn post(desk: &Desk, order: &Order) -> Result<Posted, Error> {
    match validate(order, server::clock_micros()).and_then(|()| attempt(desk, order)) {
        Ok(Some(posted)) => Ok(posted),
        // The id was taken before us, by a retry of the same or by something else.
        Ok(None) => earlier(desk, order)?.ok_or(Error::Suppressed),
        Err(error) if !error.is_refusal() => Err(error),
        // A retry of what succeeded must hear of its success, though the account may be empty or closed by now
        // and a backdated time out of its window.
        Err(refusal) => {
            slots::take_back(desk)?;
            let posted = earlier(desk, order)?.ok_or(refusal)?;
            store::acknowledge_again(desk.session()).map(|()| posted)
        }
    }
}

/// Nothing where the id is there already.
fn attempt(desk: &Desk, order: &Order) -> Result<Option<Posted>, Error> {
    let books = Books::open(desk)?;
    let wants = Want::of(order);
    let mut in_vain = None;
    // To meet others who bring the same id, give back the same transaction or capture the same hold takes locks.
    if order.transaction_id.is_none() && order.reverses.is_none() && order.capture.is_none() {
        match post_unlocked(desk, &books, order, &wants)? {
            Unlocked::Posted(posted) => return Ok(Some(posted)),
            Unlocked::Nothing => {}
            Unlocked::InVain(account) => in_vain = Some(account),
        }
    }
    let (mut debit, mut credit) = both(order, books.hold(&wants)?)?;
    if let Some(account) = in_vain {
        let written = if account.id == order.debit { &mut debit } else { &mut credit };
        written.account = account;
    }
    holds::refresh(desk, &mut debit.account)?;
    holds::refresh(desk, &mut credit.account)?;
    let now = server::clock_micros();
    let movement = match enter(desk, order, &mut debit.account, &mut credit.account, now) {
        Ok(movement) => movement,
        Err(refusal) => {
            if let Some(account) = in_vain {
                books.write(if account.id == order.debit { &debit } else { &credit })?;
            }
            return Err(refusal);
        }
    };
    if order.transaction_id.is_none() {
        books.append(std::slice::from_ref(&movement))?;
    } else if !books.append_unless_taken(&movement)? {
        return Ok(None);
    }
    books.write(&debit)?;
    books.write(&credit)?;
    keep_beside(desk, &movement)?;
    limits::record(desk, &debit.account)?;
    Ok(Some(posted(&movement, &debit.account, &credit.account)))
}

/// What came of an attempt without locks.
enum Unlocked {
    Posted(Posted),
    /// Nothing is written: somebody else was at the first account, or what was read would refuse. A refusal is
    /// answered under locks.
    Nothing,
    /// Somebody else was at the second account: the first is written, and was as it is here.
    InVain(Account),
}

/// Replaces both accounts in the order of their ids, each if it is still as it was read.
fn post_unlocked(desk: &Desk, books: &Books, order: &Order, wants: &[Want; 2]) -> Result<Unlocked, Error> {
    let Some([mut first, mut second]) = books.read(wants)? else { return Ok(Unlocked::Nothing) };
    let before = first.account;
    // What is held or counted beside the row is read under its lock.
    if [&first, &second].iter().any(|held| held.account.is_reserved() || held.account.limited) {
        return Ok(Unlocked::Nothing);
    }
    let now = server::clock_micros();
    let [debit, credit] = by_side(order, [&mut first.account, &mut second.account]);
    let Ok(movement) = enter(desk, order, debit, credit, now) else { return Ok(Unlocked::Nothing) };
    if !books.replace(&first)? {
        return Ok(Unlocked::Nothing);
    }
    if !books.replace(&second)? {
        return Ok(Unlocked::InVain(before));
    }
    books.append(std::slice::from_ref(&movement))?;
    keep_beside(desk, &movement)?;
    let [debit, credit] = by_side(order, [&first, &second]);
    Ok(Unlocked::Posted(posted(&movement, &debit.account, &credit.account)))
}

/// Debit first, of what belongs to the accounts in the order of their ids.
fn by_side<T>(order: &Order, [first, second]: [T; 2]) -> [T; 2] {
    if order.debit < order.credit { [first, second] } else { [second, first] }
}

/// The debited and the credited account, which were wanted in the order of their ids.
fn both<'b>(order: &Order, held: Vec<Option<Held<'b>>>) -> Result<(Held<'b>, Held<'b>), Error> {
    let [debit, credit] = by_side(order, <[_; 2]>::try_from(held).ok().expect("two were wanted"));
    let debit = debit.ok_or(Error::AccountNotFound { account: order.debit })?;
    Ok((debit, credit.ok_or(Error::AccountNotFound { account: order.credit })?))
}

/// Decides the order and takes it into both accounts, or answers why not; then their balances are as they were. What
/// was not read without locks is asked under them.
pub fn enter<'a>(
    desk: &'a Desk,
    order: &'a Order,
    debit: &mut Account,
    credit: &mut Account,
    now: i64,
) -> Result<Movement<'a>, Error> {
    let take = |capture: Capture| holds::take(desk, capture, order.amount, debit);
    let taken = order.capture.map(take).transpose()?;
    let amount = match (order.reverses, &taken) {
        (Some(original), _) => give_back::still_to_give(desk.session(), order, original)?,
        (None, Some(taken)) => taken.amount,
        (None, None) => order.amount.expect("only what gives back or captures leaves the amount open"),
    };
    let terms = Terms {
        kind: order.kind,
        amount,
        currency: order.currency,
        by_the_bank: order.by_the_bank,
        may_overdraw: order.may_overdraw || order.kind.ignores_limit(),
    };
    let effect = decide(&terms, debit, credit)?;
    // A clock set back may not undo the order of an account's postings.
    let created_at = now.max(debit.updated_at).max(credit.updated_at);
    if debit.limited && limits::counts(order.kind) {
        limits::check(desk, debit, effect.amount, created_at)?;
        debit.spent += effect.amount;
        debit.spent_times += 1;
    }
    let movement = Movement {
        order,
        // Ids are drawn under the locks.
        id: order.transaction_id.unwrap_or_else(Uuid::now_v7),
        created_at,
        created_by: &desk.caller,
        tenant_no: debit.tenant_no,
        currency: debit.currency,
        effect,
        changes: [effect.debit_balance - debit.balance, effect.credit_balance - credit.balance],
        debit_sequence: debit.sequence,
        credit_sequence: credit.sequence,
        taken,
    };
    debit.apply(effect.debit_balance, created_at);
    credit.apply(effect.credit_balance, created_at);
    Ok(movement)
}

/// What a posting answers, given its accounts after it.
pub fn posted(movement: &Movement, debit: &Account, credit: &Account) -> Posted {
    let known = |account: &Account, balance| (!account.slotted).then_some(balance);
    Posted {
        transaction_id: movement.id,
        debit_balance: known(debit, movement.effect.debit_balance),
        credit_balance: known(credit, movement.effect.credit_balance),
        overdrawn: debit.whole(movement.effect.debit_balance).is_some_and(|total| is_below_zero(&total)),
        created_at: movement.created_at,
        is_repeat: false,
    }
}

fn is_below_zero(balance: &Decimal) -> bool {
    balance.is_sign_negative() && !balance.is_zero()
}

/// Keeps what few postings have, in tables of its own: a time before, a hold.
pub fn keep_beside(desk: &Desk, movement: &Movement) -> Result<(), Error> {
    if let Some(effective_at) = movement.order.effective_at {
        store::record_backdated(desk.session(), effective_at, movement)?;
    }
    match &movement.taken {
        Some(taken) => holds::record(desk.session(), taken, movement.id),
        None => Ok(()),
    }
}

/// The first answer to the same id, or the conflict; nothing where the id is free.
pub fn earlier(desk: &Desk, order: &Order) -> Result<Option<Posted>, Error> {
    let Some(transaction_id) = order.transaction_id else { return Ok(None) };
    match store::find(desk.session(), transaction_id, order)? {
        None => Ok(None),
        Some(recorded) if !recorded.same_content => Err(Error::IdConflict { transaction: transaction_id }),
        Some(recorded) => Ok(Some(Posted {
            transaction_id,
            debit_balance: recorded.debit_balance,
            credit_balance: recorded.credit_balance,
            overdrawn: recorded.debit_balance.as_ref().is_some_and(is_below_zero),
            created_at: recorded.created_at,
            is_repeat: true,
        })),
    }
}
