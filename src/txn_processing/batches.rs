//! `post_transfers` and `post_batch`: arrays in, one row per item out.

use super::batch::{BYTES_PER_ITEM, Outcome, all_or_first_refusal, post_all};
use super::core::{Kind, exact_amount};
use super::engine::{Desk, Order};
use super::store;
use super::strict::{finite, id, required, sql_id};
use crate::error::Error;
use crate::neobank::access::check_execute;
use crate::pg::{Many, Numeric, finish, memory};
use pgrx::prelude::*;
use rust_decimal::Decimal;
use std::collections::HashMap;
use uuid::Uuid;

/// The most items of one call.
const MAX_ITEMS: usize = 10_000;

/// An array argument, each element of which may be null.
type Array<T> = Option<Many<T>>;

/// The arrays that both functions have.
struct Columns {
    from: Vec<Option<pgrx::Uuid>>,
    to: Vec<Option<pgrx::Uuid>>,
    amounts: Vec<Option<Numeric>>,
    ids: Array<pgrx::Uuid>,
    references: Array<String>,
    linked: Array<bool>,
    atomic: bool,
}

fn of_length<T>(argument: &'static str, array: &Array<T>, items: usize) -> Result<(), Error> {
    match array.as_ref().map(|array| array.0.len()) {
        Some(length) if length != items => Err(Error::ArgumentBounds {
            argument,
            why: format!("It has {length} elements; from_accounts has {items}."),
        }),
        _ => Ok(()),
    }
}

impl Columns {
    fn checked(
        from: Array<pgrx::Uuid>,
        to: Array<pgrx::Uuid>,
        amounts: Array<Numeric>,
        ids: Array<pgrx::Uuid>,
        references: Array<String>,
        linked: Array<bool>,
        atomic: Option<bool>,
    ) -> Result<Self, Error> {
        let from = required("from_accounts", from)?.0;
        let items = from.len();
        if items > MAX_ITEMS {
            let why = format!("It has {items} elements; a call takes up to {MAX_ITEMS}.");
            return Err(Error::ArgumentBounds { argument: "from_accounts", why });
        }
        memory::need(items, BYTES_PER_ITEM)?;
        of_length("to_accounts", &to, items)?;
        of_length("amounts", &amounts, items)?;
        of_length("transaction_ids", &ids, items)?;
        of_length("refs", &references, items)?;
        of_length("linked", &linked, items)?;
        if linked.as_ref().and_then(|linked| linked.0.last()) == Some(&Some(true)) {
            let why = "The last item is tied to a next one, and there is none.".into();
            return Err(Error::ArgumentBounds { argument: "linked", why });
        }
        Ok(Columns {
            from,
            to: required("to_accounts", to)?.0,
            amounts: required("amounts", amounts)?.0,
            ids,
            references,
            linked,
            atomic: required("atomic", atomic)?,
        })
    }

    fn amount(&self, at: usize) -> Result<Decimal, Error> {
        exact_amount(finite(required("amounts", self.amounts[at])?)?)
    }

    fn order(&self, at: usize, kind: Kind, debit: Uuid, credit: Uuid) -> Result<Order<'_>, Error> {
        let id_of = |ids: &Many<pgrx::Uuid>| ids.0[at].map(id);
        Ok(Order {
            transaction_id: self.ids.as_ref().and_then(id_of),
            reference: self.references.as_ref().and_then(|references| references.0[at].as_deref()),
            ..Order::of(kind, debit, credit, Some(self.amount(at)?))
        })
    }

    fn transfer(&self, at: usize) -> Result<Order<'_>, Error> {
        let from = id(required("from_accounts", self.from[at])?);
        let to = id(required("to_accounts", self.to[at])?);
        self.order(at, Kind::Transfer, from, to)
    }

    /// The argument that names the customer's account and the one of the bank's side, each with its element; nothing
    /// for what is between two customers.
    fn sides(&self, at: usize, kind: Kind) -> Option<[(&'static str, Option<pgrx::Uuid>); 2]> {
        let (_, customer_is_debited) = kind.other_side()?;
        let (from, to) = (("from_accounts", self.from[at]), ("to_accounts", self.to[at]));
        Some(if customer_is_debited { [from, to] } else { [to, from] })
    }

    fn post(&self, desk: &Desk, orders: Vec<Result<Order<'_>, Error>>) -> Result<Vec<Outcome>, Error> {
        let tied = |at: usize| self.linked.as_ref().is_some_and(|linked| linked.0[at] == Some(true));
        let outcomes = post_all(desk, orders, |at| self.atomic || tied(at))?;
        if !self.atomic {
            return Ok(outcomes);
        }
        Ok(all_or_first_refusal(outcomes)?.into_iter().map(Ok).collect())
    }
}

/// What the caller may post, and the bank's own accounts that it needs.
struct Bank<'a> {
    columns: &'a Columns,
    caller: &'a str,
    /// By kind: the bank's side for each customer's account; nothing where the caller may not post that.
    accounts: HashMap<Kind, Option<HashMap<Uuid, Uuid>>>,
}

fn kind_of(name: Option<&str>) -> Result<Kind, Error> {
    let name = required("types", name)?;
    let kind = Kind::of(name).filter(|kind| *kind == Kind::Transfer || kind.other_side().is_some());
    kind.ok_or_else(|| Error::ArgumentBounds {
        argument: "types",
        why: format!(
            "It has {name:?}; a batch takes transfer, deposit, withdrawal, payment, fee and interest."
        ),
    })
}

impl<'a> Bank<'a> {
    fn find(desk: &'a Desk, columns: &'a Columns, kinds: &[Result<Kind, Error>]) -> Result<Self, Error> {
        let mut customers: HashMap<Kind, Vec<Uuid>> = HashMap::new();
        for (at, kind) in kinds.iter().enumerate() {
            if let Ok(kind) = kind {
                let named = columns.sides(at, *kind).and_then(|[(_, named), _]| named);
                customers.entry(*kind).or_default().extend(named.map(id));
            }
        }
        let mut accounts = HashMap::new();
        for (kind, customers) in customers {
            let internal = match check_execute(desk.session(), &desk.caller, kind.function()) {
                Err(Error::NotPermitted { .. }) => None,
                Err(error) => return Err(error),
                Ok(()) => Some(match kind.other_side() {
                    None => HashMap::new(),
                    Some((of_type, _)) => store::internal_accounts(desk.session(), &customers, of_type)?,
                }),
            };
            accounts.insert(kind, internal);
        }
        Ok(Bank { columns, caller: &desk.caller, accounts })
    }

    fn order(&self, at: usize, kind: Kind) -> Result<Order<'a>, Error> {
        let not_permitted =
            || Error::NotPermitted { role: self.caller.to_owned(), function: kind.function() };
        let internal = self.accounts[&kind].as_ref().ok_or_else(not_permitted)?;
        let Some([named, banks]) = self.columns.sides(at, kind) else { return self.columns.transfer(at) };
        let account = id(required(named.0, named.1)?);
        if banks.1.is_some() {
            return Err(Error::ArgumentBounds {
                argument: banks.0,
                why: format!("It is the bank's side of a {}, which is left null.", kind.name()),
            });
        }
        let internal = *internal.get(&account).ok_or(Error::AccountNotFound { account })?;
        let (_, customer_is_debited) = kind.other_side().expect("it has sides");
        let (debit, credit) = if customer_is_debited { (account, internal) } else { (internal, account) };
        self.columns.order(at, kind, debit, credit)
    }
}

/// One row of the result.
type Line = (i32, Option<pgrx::Uuid>, &'static str, Option<Numeric>, Option<Numeric>);

fn line((at, outcome): (usize, Outcome)) -> Line {
    let ordinal = at as i32 + 1;
    match outcome {
        Ok(posted) => (
            ordinal,
            Some(sql_id(posted.transaction_id)),
            "ok",
            posted.debit_balance.map(Numeric::from),
            posted.credit_balance.map(Numeric::from),
        ),
        Err(refusal) => (ordinal, None, refusal.word(), None, None),
    }
}

fn lines(outcomes: Result<Vec<Outcome>, Error>) -> Vec<Line> {
    finish(outcomes.map(|outcomes| outcomes.into_iter().enumerate().map(line).collect()))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn post_transfers(
    from_accounts: Array<pgrx::Uuid>,
    to_accounts: Array<pgrx::Uuid>,
    amounts: Array<Numeric>,
    transaction_ids: default!(Option<Many<pgrx::Uuid>>, "NULL"),
    refs: default!(Option<Many<String>>, "NULL"),
    linked: default!(Option<Many<bool>>, "NULL"),
    atomic: default!(Option<bool>, false),
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(transaction_id, Option<pgrx::Uuid>),
        name!(code, &'static str),
        name!(from_balance, Option<Numeric>),
        name!(to_balance, Option<Numeric>),
    ),
> {
    let outcomes = (|| {
        let columns =
            Columns::checked(from_accounts, to_accounts, amounts, transaction_ids, refs, linked, atomic)?;
        let desk = Desk::open();
        columns.post(&desk, (0..columns.from.len()).map(|at| columns.transfer(at)).collect())
    })();
    TableIterator::new(lines(outcomes))
}

#[pg_extern(schema = "txn_processing", volatile, parallel_unsafe)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn post_batch(
    types: Array<String>,
    from_accounts: Array<pgrx::Uuid>,
    to_accounts: Array<pgrx::Uuid>,
    amounts: Array<Numeric>,
    transaction_ids: default!(Option<Many<pgrx::Uuid>>, "NULL"),
    refs: default!(Option<Many<String>>, "NULL"),
    linked: default!(Option<Many<bool>>, "NULL"),
    atomic: default!(Option<bool>, false),
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(transaction_id, Option<pgrx::Uuid>),
        name!(code, &'static str),
        name!(from_balance, Option<Numeric>),
        name!(to_balance, Option<Numeric>),
    ),
> {
    let outcomes = (|| {
        let columns =
            Columns::checked(from_accounts, to_accounts, amounts, transaction_ids, refs, linked, atomic)?;
        of_length("types", &types, columns.from.len())?;
        let types = required("types", types)?.0;
        let desk = Desk::open();
        let kinds: Vec<_> = types.iter().map(|name| kind_of(name.as_deref())).collect();
        let bank = Bank::find(&desk, &columns, &kinds)?;
        let order = |(at, kind): (usize, Result<Kind, Error>)| bank.order(at, kind?);
        columns.post(&desk, kinds.into_iter().enumerate().map(order).collect())
    })();
    TableIterator::new(lines(outcomes))
}
