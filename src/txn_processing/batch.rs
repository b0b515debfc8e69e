//! Many postings in one call: each account is locked once and written once, and an item that is refused answers its
//! code beside the others.

use super::books::{Books, Held, Want};
use super::engine::{Desk, Order, Posted, earlier, enter, keep_beside, posted, validate};
use super::slots;
use super::store::{self, Movement};
use super::{holds, limits};
use crate::error::Error;
use crate::pg::{memory, server};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What a batch keeps of an item, and of its accounts, until it is written.
pub const BYTES_PER_ITEM: usize = 2_048;

/// What became of an item.
pub type Outcome = Result<Posted, Error>;

/// Posts `orders`, of which some may be refused before they got here. `linked[i]` ties item i to the next one: a chain
/// stands or falls as one.
pub fn post_all(
    desk: &Desk,
    orders: Vec<Result<Order, Error>>,
    linked: impl Fn(usize) -> bool,
) -> Result<Vec<Outcome>, Error> {
    memory::need(orders.len(), BYTES_PER_ITEM)?;
    let books = Books::open(desk)?;
    let wants = wanted(&orders);
    let (items, mut refused): (Vec<_>, Vec<_>) = orders.into_iter().map(apart).unzip();
    let mut outcomes = Vec::with_capacity(items.len());
    let mut held = books.hold(&wants)?;
    held.iter_mut().flatten().try_for_each(|held| holds::refresh(desk, &mut held.account))?;
    let mut batch = Batch {
        desk,
        now: server::clock_micros(),
        taken: taken(desk, &items)?,
        wants: &wants,
        held,
        movements: Vec::with_capacity(items.len()),
        given: HashMap::new(),
        undo: Vec::new(),
    };
    while outcomes.len() < items.len() {
        let first = outcomes.len();
        let ties = (first..items.len() - 1).take_while(|item| linked(*item)).count();
        let chain = first..first + ties + 1;
        batch.chain(&items[chain.clone()], &mut refused[chain], &mut outcomes)?;
    }
    batch.write(&books)?;
    Ok(outcomes)
}

/// Posts the legs of one transaction: all of them, or none and the first refusal.
pub fn post_legs(desk: &Desk, legs: Vec<Order>) -> Result<Vec<Posted>, Error> {
    let outcomes = post_all(desk, legs.into_iter().map(Ok).collect(), |_| true)?;
    all_or_first_refusal(outcomes)
}

/// What a chain answers whose first refusal is to be raised.
pub fn all_or_first_refusal(outcomes: Vec<Outcome>) -> Result<Vec<Posted>, Error> {
    let mut all = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        match outcome {
            Ok(posted) => all.push(posted),
            // The others of the chain fell with the one that was refused.
            Err(Error::LinkedFailed) => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(all)
}

fn apart<'a>(order: Result<Order<'a>, Error>) -> (Option<Order<'a>>, Option<Error>) {
    match order {
        Ok(order) => (Some(order), None),
        Err(refusal) => (None, Some(refusal)),
    }
}

/// Every account of the orders once, ascending.
fn wanted(orders: &[Result<Order, Error>]) -> Vec<Want> {
    let mut wants: Vec<Want> = orders.iter().flatten().flat_map(Want::of).collect();
    wants.sort_unstable_by_key(|want| want.account);
    wants.dedup_by(|next, kept| {
        let same = next.account == kept.account;
        kept.whole |= same && next.whole;
        same
    });
    wants
}

/// The ids given that stand in the ledger, looked for under the accounts' locks.
fn taken(desk: &Desk, items: &[Option<Order>]) -> Result<HashSet<Uuid>, Error> {
    let ids: Vec<Uuid> = items.iter().flatten().filter_map(|order| order.transaction_id).collect();
    if ids.is_empty() { Ok(HashSet::new()) } else { store::taken(desk.session(), &ids) }
}

struct Batch<'a, 'b> {
    desk: &'a Desk,
    now: i64,
    taken: HashSet<Uuid>,
    wants: &'a [Want],
    /// In the order of `wants`.
    held: Vec<Option<Held<'b>>>,
    movements: Vec<Movement<'a>>,
    /// Ids that items of this call brought, and what they answered.
    given: HashMap<(Uuid, i16), (&'a Order<'a>, Posted)>,
    /// How the accounts of the chain under way were before, in the order of the changes.
    undo: Vec<(usize, super::account::Account)>,
}

impl<'a> Batch<'a, '_> {
    fn chain(
        &mut self,
        items: &'a [Option<Order<'a>>],
        refused: &mut [Option<Error>],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), Error> {
        let (first, movements) = (outcomes.len(), self.movements.len());
        self.undo.clear();
        let mut failed = None;
        for (at, item) in items.iter().enumerate() {
            let outcome = match (item, refused[at].take()) {
                (_, Some(refusal)) => Err(refusal),
                (Some(order), None) => self.item(order),
                (None, None) => unreachable!("an item is an order or a refusal"),
            };
            match outcome {
                Ok(posted) => outcomes.push(Ok(posted)),
                Err(error) if !error.is_refusal() => return Err(error),
                Err(refusal) => {
                    failed = Some(refusal);
                    break;
                }
            }
        }
        let Some(refusal) = failed else { return Ok(()) };
        // The ones before it are taken back; they and the ones behind it fell with it.
        let at = outcomes.len() - first;
        for (index, account) in self.undo.drain(..).rev() {
            self.held[index].as_mut().expect("it was changed").account = account;
        }
        for movement in self.movements.drain(movements..) {
            self.given.remove(&(movement.id, movement.order.leg));
        }
        outcomes.truncate(first);
        outcomes.extend((0..at).map(|_| Err(Error::LinkedFailed)));
        outcomes.push(Err(refusal));
        outcomes.extend((at + 1..items.len()).map(|_| Err(Error::LinkedFailed)));
        Ok(())
    }

    fn item(&mut self, order: &'a Order<'a>) -> Outcome {
        if let Some(id) = order.transaction_id {
            if let Some((first, posted)) = self.given.get(&(id, order.leg)) {
                return if first.asks_the_same(order) {
                    Ok(*posted)
                } else {
                    Err(Error::IdConflict { transaction: id })
                };
            }
            if self.taken.contains(&id)
                && let Some(posted) = earlier(self.desk, order)?
            {
                return Ok(posted);
            }
        }
        validate(order, self.now)?;
        let index = |account: Uuid| {
            let found = self.wants.binary_search_by_key(&account, |want| want.account);
            found.expect("every account of an order is wanted")
        };
        let (debit_at, credit_at) = (index(order.debit), index(order.credit));
        let account = |at: usize, id: Uuid| match &self.held[at] {
            Some(held) => Ok(held.account),
            None => Err(Error::AccountNotFound { account: id }),
        };
        let before = [account(debit_at, order.debit)?, account(credit_at, order.credit)?];
        let [mut debit, mut credit] = before;
        let movement = enter(self.desk, order, &mut debit, &mut credit, self.now)?;
        let posted = posted(&movement, &debit, &credit);
        for (at, before, after) in [(debit_at, before[0], debit), (credit_at, before[1], credit)] {
            self.undo.push((at, before));
            self.held[at].as_mut().expect("it was read").account = after;
        }
        if let Some(id) = order.transaction_id {
            self.given.insert((id, order.leg), (order, posted));
        }
        self.movements.push(movement);
        Ok(posted)
    }

    fn write(&mut self, books: &Books) -> Result<(), Error> {
        if self.movements.is_empty() {
            return slots::take_back(self.desk);
        }
        books.append(&self.movements).map_err(|error| match error {
            // All ids were free under the accounts' locks: a session with other accounts brought one of them since.
            Error::Server(error) if !self.given.is_empty() && error.is("23505") => Error::IdInFlight,
            error => error,
        })?;
        for held in self.held.iter().flatten().filter(|held| held.has_changed()) {
            books.write(held)?;
            limits::record(self.desk, &held.account)?;
        }
        self.movements.iter().try_for_each(|movement| keep_beside(self.desk, movement))
    }
}
