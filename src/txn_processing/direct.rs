//! The ledger's rows by direct access.

use super::account::{Account, Currency, Slot, Status};
use super::books::Want;
use super::core::Kind;
use super::engine::Desk;
use super::holding::{self, Found, Rows};
use super::limits::has_limits;
use super::shapes::{ACCOUNTS, MOVEMENTS, SLOTS, account, movement, slot};
use super::slots;
use super::store::{Movement, side};
use crate::error::Error;
use crate::pg::append::NewRow;
use crate::pg::rows::{Locked, Reader, Replaced, Row, Wait, follows};
use crate::pg::server::enum_label;
use crate::pg::table::{FreshSnapshot, Table, refuse_read_only};
use crate::pg::{Arg, Numeric, PRESENT, Time};
use pgrx::pg_sys::Datum;
use rust_decimal::Decimal;
use std::cell::{Cell, OnceCell};
use std::ffi::CString;
use uuid::Uuid;

/// The three tables that every posting touches.
pub struct DirectBooks {
    accounts: Table,
    movements: Table,
    /// Opened when the first slot is wanted.
    slots: OnceCell<Table>,
    /// The type of the last movement, as it is stored: those of a batch are mostly of one.
    label: Cell<Option<(Kind, Datum)>>,
}

impl DirectBooks {
    /// Nothing where something hangs on the tables that direct access would pass by.
    pub fn open() -> Result<Option<Self>, Error> {
        let (accounts, movements) = (Table::open(&ACCOUNTS)?, Table::open(&MOVEMENTS)?);
        if !accounts.is_plain() || !movements.is_plain() || !SLOTS.is_plain()? {
            return Ok(None);
        }
        refuse_read_only(c"a posting")?;
        Ok(Some(DirectBooks { accounts, movements, slots: OnceCell::new(), label: Cell::new(None) }))
    }

    fn slots(&self) -> Result<&Table, Error> {
        if self.slots.get().is_none() {
            let slots = Table::open(&SLOTS)?;
            // It may have got a trigger since it was known to be plain; the next attempt will know.
            if !slots.is_plain() {
                return Err(Error::ConcurrentUpdate);
            }
            let _ = self.slots.set(slots);
        }
        Ok(self.slots.get().expect("opened above"))
    }

    /// What stands in the way of direct access.
    pub fn obstacle() -> Result<Option<String>, Error> {
        for shape in [&ACCOUNTS, &SLOTS, &MOVEMENTS] {
            if let Some(obstacle) = Table::open_to_read(shape)?.obstacle()? {
                return Ok(Some(obstacle));
            }
        }
        Ok(None)
    }

    /// Locks the rows that a posting on the account changes, and reads them as they are then. An account that does
    /// not exist gives nothing. `accounts` reads `banking.accounts`.
    fn hold_one<'b>(
        &'b self,
        desk: &Desk,
        accounts: &mut Reader<'b>,
        want: &Want,
    ) -> Result<Option<Held<'b>>, Error> {
        let found = lock_exclusive(accounts, want.account)?;
        if matches!(found, Found::Elsewhere) {
            // Opened before a subtransaction that may be rolled back.
            self.slots()?;
        }
        holding::hold(&self, desk, want, found)
    }

    /// Locks what postings on the accounts change, in the order given.
    pub fn hold<'b, T>(
        &'b self,
        desk: &Desk,
        wants: &[Want],
        with: impl Fn(Held<'b>) -> T,
    ) -> Result<Vec<Option<T>>, Error> {
        let _snapshot = FreshSnapshot::take();
        let mut accounts = Reader::open(&self.accounts)?;
        let mut all = Vec::with_capacity(wants.len());
        for want in wants {
            all.push(self.hold_one(desk, &mut accounts, want)?.map(&with));
        }
        Ok(all)
    }

    /// Reads what a posting on two accounts changes, without a lock: to replace it, if it is still the newest version,
    /// saves one. Nothing where it is not as simple as that.
    pub fn read(&self, wants: [&Want; 2]) -> Result<Option<[Held<'_>; 2]>, Error> {
        let _snapshot = FreshSnapshot::take();
        let mut accounts = Reader::open(&self.accounts)?;
        if !accounts.find(wants[0].account, None)? || accounts.found::<i16>(account::SLOTS) != Some(0) {
            return Ok(None);
        }
        let row = accounts.take()?;
        let first = (exclusive(&row), row);
        if !accounts.find(wants[1].account, None)? {
            return Ok(None);
        }
        let row = accounts.take()?;
        let count = row.get::<i16>(account::SLOTS).expect(PRESENT);
        if count == 0 {
            return Ok(Some([first, (exclusive(&row), row)]));
        }
        if wants[1].whole && !row.is_null(account::CUSTOMER_ID) {
            return Ok(None);
        }
        let mut reader = Reader::open(self.slots()?)?;
        let found = reader.find(wants[1].account, Some(slots::preferred(count, false)))?;
        assert!(found, "an account has as many slots as it says");
        let slot = reader.take()?;
        let (account, _) = read(&row).on_slot(&[slot_of(&slot)], false);
        Ok(Some([first, (account, slot)]))
    }

    fn label(&self, kind: Kind) -> Datum {
        if let Some((_, label)) = self.label.get().filter(|(last, _)| *last == kind) {
            return label;
        }
        let name = CString::new(kind.name()).expect("no label has a zero byte");
        let label = enum_label(self.movements.column_type(movement::TRANSACTION_TYPE), &name);
        self.label.set(Some((kind, label)));
        label
    }

    /// The movement's columns in their order.
    fn fill(&self, movement: &Movement, row: &mut NewRow) {
        let Movement { order, effect, .. } = movement;
        row.fill([
            Arg::Uuid(Some(movement.id)).datum(),
            Arg::Uuid(Some(order.debit)).datum(),
            Arg::Uuid(Some(order.credit)).datum(),
            Arg::BigInt(Some(movement.debit_sequence)).datum(),
            Arg::BigInt(Some(movement.credit_sequence)).datum(),
            Arg::Timestamp(Some(movement.created_at)).datum(),
            Arg::Int(Some(movement.tenant_no)).datum(),
            Some(self.label(order.kind)),
            Arg::Int(Some(i32::from(order.leg))).datum(),
            Arg::Numeric(Some(effect.amount)).datum(),
            Arg::Numeric(Some(effect.debit_balance)).datum(),
            Arg::Numeric(Some(effect.credit_balance)).datum(),
            Arg::Text(Some(movement.currency.as_str())).datum(),
            Arg::Text(Some(movement.created_by)).datum(),
            Arg::Timestamp(order.effective_at).datum(),
            Arg::Uuid(order.reverses.map(|original| original.id)).datum(),
            Arg::Text(order.reference).datum(),
            Arg::Text(order.description).datum(),
            Arg::Jsonb(order.metadata).datum(),
        ]);
    }

    pub fn append(&self, movements: &[Movement]) -> Result<(), Error> {
        self.movements.append(movements.len(), |at, row| self.fill(&movements[at], row))
    }

    /// False where the movement's id is there already.
    pub fn append_unless_taken(&self, movement: &Movement) -> Result<bool, Error> {
        if self.movements.append_unless_taken(|row| self.fill(movement, row))? {
            return Ok(true);
        }
        // At REPEATABLE READ and above it may be there without being visible, and then nothing can be said of it.
        let _snapshot = FreshSnapshot::take();
        let is_visible =
            follows() || Reader::open(&self.movements)?.find(movement.id, Some(movement.order.leg))?;
        if is_visible { Ok(false) } else { Err(Error::ConcurrentUpdate) }
    }
}

/// An account and the row that a posting on it changes.
pub type Held<'b> = (Account, Row<'b>);

impl<'b> Rows for &'b DirectBooks {
    type Place = Row<'b>;

    fn lock_row(&self, id: Uuid) -> Result<Found<Row<'b>>, Error> {
        let _snapshot = FreshSnapshot::take();
        lock_exclusive(&mut Reader::open(&self.accounts)?, id)
    }

    fn glance(&self, id: Uuid) -> Result<Option<(Account, i16)>, Error> {
        let _snapshot = FreshSnapshot::take();
        let mut accounts = Reader::open(&self.accounts)?;
        if !accounts.find(id, None)? {
            return Ok(None);
        }
        let row = accounts.take()?;
        Ok(Some((read(&row), row.get(account::SLOTS).expect(PRESENT))))
    }

    fn refuse_if_changed(&self, id: Uuid) -> Result<(), Error> {
        let _snapshot = FreshSnapshot::take();
        let mut accounts = Reader::open(&self.accounts)?;
        match (accounts.find(id, None)?).then(|| accounts.lock(Wait::Yes)).transpose()? {
            None | Some(Locked::Row(_)) => Ok(()),
            Some(_) => Err(Error::ConcurrentUpdate),
        }
    }

    fn lock_slot(&self, id: Uuid, no: i16) -> Result<(Slot, Row<'b>), Error> {
        let _snapshot = FreshSnapshot::take();
        match find_slot(self, id, no)?.lock(Wait::Yes)? {
            Locked::Row(row) => Ok((slot_of(&row), row)),
            Locked::Busy | Locked::Changed | Locked::Missing => Err(Error::ConcurrentUpdate),
        }
    }

    fn try_slot(&self, id: Uuid, no: i16) -> Result<Option<Found<Row<'b>>>, Error> {
        let _snapshot = FreshSnapshot::take();
        let mut slot = find_slot(self, id, no)?;
        let Some((account, _)) = self.glance(id)?.filter(|(_, count)| *count >= no) else {
            return Ok(Some(Found::Elsewhere));
        };
        Ok(match slot.lock(Wait::No)? {
            Locked::Row(row) => Some(Found::Held(account.on_slot(&[slot_of(&row)], false).0, row)),
            Locked::Busy | Locked::Changed | Locked::Missing => None,
        })
    }
}

fn find_slot<'b>(books: &'b DirectBooks, id: Uuid, no: i16) -> Result<Reader<'b>, Error> {
    let mut reader = Reader::open(books.slots()?)?;
    assert!(reader.find(id, Some(no))?, "an account has as many slots as it says");
    Ok(reader)
}

/// Locks the account's own row, unless its balance is in slots.
fn lock_exclusive<'b>(accounts: &mut Reader<'b>, id: Uuid) -> Result<Found<Row<'b>>, Error> {
    if !accounts.find(id, None)? {
        return Ok(Found::Missing);
    }
    if accounts.found::<i16>(account::SLOTS) != Some(0) {
        return Ok(Found::Elsewhere);
    }
    match accounts.lock(Wait::Yes)? {
        // The mode may have been switched while we waited.
        Locked::Row(row) if row.get::<i16>(account::SLOTS) != Some(0) => Ok(Found::Elsewhere),
        Locked::Row(row) => Ok(Found::Held(exclusive(&row), row)),
        Locked::Missing => Ok(Found::Missing),
        Locked::Busy | Locked::Changed => Err(Error::ConcurrentUpdate),
    }
}

fn figure(row: &Row, column: usize) -> Decimal {
    let numeric: Numeric = row.get(column).expect(PRESENT);
    numeric.0.expect("the ledger bounds every figure that it stores")
}

/// What every account has; its balance is still to come.
fn read(row: &Row) -> Account {
    let letter = row.get::<i8>(account::NORMAL_SIDE).map(|letter| letter as u8);
    Account {
        id: Uuid::from_bytes(*row.get::<pgrx::Uuid>(1).expect(PRESENT).as_bytes()),
        tenant_no: row.get(account::TENANT_NO).expect(PRESENT),
        currency: Currency::of(row.bytes(account::CURRENCY_CODE)).expect("a code of banking.currencies"),
        status: Status::of(row.bytes(account::ACCOUNT_STATUS)).expect("a status of the domain"),
        normal_side: side(letter),
        balance: Decimal::ZERO,
        available: Decimal::ZERO,
        elsewhere: None,
        overdraft_limit: figure(row, account::OVERDRAFT_LIMIT),
        sequence: row.get(account::VERSION).expect(PRESENT),
        updated_at: row.get::<Time>(account::UPDATED_AT).expect(PRESENT).0,
        internal: row.is_null(account::CUSTOMER_ID),
        slotted: false,
        limited: row.get(account::LIMITED) == Some(true) || has_limits(row.bytes(account::ACCOUNT_TYPE)),
        spent: Decimal::ZERO,
        spent_times: 0,
    }
}

fn exclusive(row: &Row) -> Account {
    Account {
        balance: figure(row, account::CURRENT_BALANCE),
        available: figure(row, account::AVAILABLE_BALANCE),
        ..read(row)
    }
}

fn slot_of(row: &Row) -> Slot {
    Slot {
        no: row.get(slot::SLOT_NO).expect(PRESENT),
        balance: figure(row, slot::BALANCE),
        sequence: row.get(slot::SEQUENCE).expect(PRESENT),
        updated_at: row.get::<Time>(slot::UPDATED_AT).expect(PRESENT).0,
    }
}

/// Writes the account as it is after its postings.
pub fn write(row: &Row, account: &Account, wait: Wait) -> Result<Replaced, Error> {
    let datum = |arg: Arg| arg.datum().expect("a value that is not null");
    let sequence = datum(Arg::BigInt(Some(account.sequence)));
    let updated_at = datum(Arg::Timestamp(Some(account.updated_at)));
    let balance = datum(Arg::Numeric(Some(account.balance)));
    if account.slotted {
        let changes = [(slot::SEQUENCE, sequence), (slot::UPDATED_AT, updated_at), (slot::BALANCE, balance)];
        return row.replace(&changes, wait);
    }
    let available = datum(Arg::Numeric(Some(account.available)));
    let changes = [
        (account::VERSION, sequence),
        (account::UPDATED_AT, updated_at),
        (account::CURRENT_BALANCE, balance),
        (account::AVAILABLE_BALANCE, available),
    ];
    row.replace(&changes, wait)
}
