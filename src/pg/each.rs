//! Rows handed on one by one while the server has them at hand: for reading many, of which nothing is kept.

use super::args::Arg;
use super::ereport::catch;
use super::memory;
use super::plans::OrderedPlans;
use super::raw;
use super::spi::{MAX_ARGS, Session, Statement};
use crate::error::Error;
use pgrx::pg_sys;
use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Columns of the widest statement.
const MAX_COLUMNS: usize = 4;

/// A row as it passes by, without nulls; columns count from 1. Its values are gone when the next one comes.
pub struct Passing {
    values: [pg_sys::Datum; MAX_COLUMNS],
    varying: [bool; MAX_COLUMNS],
}

impl Passing {
    pub(super) fn empty() -> Self {
        Passing { values: [pg_sys::Datum::from(0usize); MAX_COLUMNS], varying: [false; MAX_COLUMNS] }
    }

    /// A column, counted from 0, as it is stored.
    pub(super) fn put(&mut self, at: usize, value: pg_sys::Datum, is_varying: bool) {
        self.values[at] = value;
        self.varying[at] = is_varying;
    }

    /// An integer.
    pub fn int(&self, column: usize) -> i32 {
        self.values[column - 1].value() as i32
    }

    /// What follows the length of a value of variable length.
    pub fn bytes(&self, column: usize) -> &[u8] {
        assert!(self.varying[column - 1], "column {column} has a fixed length");
        // SAFETY: a plain value was made of it, which lives as long as the row passes by.
        unsafe {
            let value = self.values[column - 1].cast_mut_ptr::<pg_sys::varlena>();
            let start = pgrx::varlena::vardata_any(value).cast::<u8>();
            std::slice::from_raw_parts(start, pgrx::varlena::varsize_any_exhdr(value))
        }
    }
}

/// Whoever takes the rows, and how that ended.
pub(super) struct Taking<'a> {
    by: &'a mut dyn FnMut(&Passing) -> ControlFlow<()>,
    panicked: Option<Box<dyn Any + Send>>,
    is_short: bool,
}

impl<'a> Taking<'a> {
    pub(super) fn by(by: &'a mut dyn FnMut(&Passing) -> ControlFlow<()>) -> Self {
        Taking { by, panicked: None, is_short: false }
    }

    /// Hands on a row, with its values as they are stored; false where that has been enough.
    ///
    /// An error of the server's jumps out of this function to the one that called [`catch`], so nothing here owns
    /// anything while the server is called.
    ///
    /// # Safety
    /// Called inside `catch`; the first columns of the row are set.
    pub(super) unsafe fn take(&mut self, row: &mut Passing, columns: usize) -> bool {
        // SAFETY: the caller's promise; copies are freed once.
        unsafe {
            let mut copies = [std::ptr::null_mut::<std::ffi::c_void>(); MAX_COLUMNS];
            for at in (0..columns).filter(|at| row.varying[*at]) {
                let stored = row.values[at].cast_mut_ptr::<pg_sys::varlena>();
                if is_plain(stored) {
                    continue;
                }
                let plain = raw::pg_detoast_datum_packed(stored);
                if !std::ptr::eq(plain, stored) {
                    row.values[at] = pg_sys::Datum::from(plain);
                    copies[at] = plain.cast();
                }
            }
            let taken = catch_unwind(AssertUnwindSafe(|| (self.by)(row)));
            for copy in copies.into_iter().filter(|copy| !copy.is_null()) {
                raw::pfree(copy);
            }
            self.is_short = memory::is_short();
            match taken {
                Ok(flow) => flow.is_continue() && !self.is_short,
                Err(panic) => {
                    self.panicked = Some(panic);
                    false
                }
            }
        }
    }

    /// Goes on with what went wrong.
    pub(super) fn end(self) -> Result<(), Error> {
        if let Some(panic) = self.panicked {
            resume_unwind(panic);
        }
        if self.is_short { Err(Error::OutOfMemory { bytes: 0 }) } else { Ok(()) }
    }
}

/// Whether a value of variable length is stored as it is: in its place and not compressed.
///
/// # Safety
/// It is one.
unsafe fn is_plain(stored: *const pg_sys::varlena) -> bool {
    use pgrx::varlena::{varatt_is_1b, varatt_is_1b_e, varatt_is_4b_u};
    // SAFETY: the caller's promise.
    unsafe { (varatt_is_1b(stored) && !varatt_is_1b_e(stored)) || varatt_is_4b_u(stored) }
}

/// What the server calls with each row: its own part must come first.
#[repr(C)]
struct Receiver<'a> {
    server: pg_sys::DestReceiver,
    taking: Taking<'a>,
}

impl Session {
    /// Whether its statements see what this transaction has just written.
    pub fn writes(&self) -> bool {
        !self.read_only
    }

    /// Hands each row of a query to `take`, in the order that an index of the query's has, until that has had enough.
    /// `take` may not call the server.
    pub fn each(
        &self,
        statement: &Statement,
        args: &[Arg],
        mut take: impl FnMut(&Passing) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        statement.check(args);
        let _plans = OrderedPlans::prefer();
        let plan = statement.plan().map_err(Error::Server)?;
        let mut values = [None; MAX_ARGS];
        for (value, arg) in values.iter_mut().zip(args) {
            *value = arg.datum();
        }
        let (count, read_only) = (args.len(), self.read_only);
        let server = pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(start),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            mydest: pg_sys::CommandDest::DestNone,
        };
        let mut receiver = Receiver { server, taking: Taking::by(&mut take) };
        let destination = (&raw mut receiver).cast::<pg_sys::DestReceiver>();
        // SAFETY: as many values as the plan has parameters, of the declared types; the closure only calls the server,
        // and the receiver outlives it.
        let outcome = unsafe {
            catch(|| {
                let params = raw::makeParamList(count as i32);
                let list = (*params).params.as_mut_ptr();
                for (at, value) in values[..count].iter().enumerate() {
                    *list.add(at) = pg_sys::ParamExternData {
                        value: value.unwrap_or(pg_sys::Datum::from(0usize)),
                        isnull: value.is_none(),
                        pflags: pg_sys::PARAM_FLAG_CONST as u16,
                        ptype: statement.type_oid(at),
                    };
                }
                let options = pg_sys::SPIExecuteOptions {
                    params,
                    read_only,
                    must_return_tuples: true,
                    dest: destination,
                    ..Default::default()
                };
                raw::SPI_execute_plan_extended(plan, &options)
            })
        };
        let code = outcome.map_err(Error::Server)?;
        assert!(code >= 0, "SPI_execute_plan_extended answered {code}");
        receiver.taking.end()
    }
}

unsafe extern "C-unwind" fn start(_: *mut pg_sys::DestReceiver, _: i32, _: pg_sys::TupleDesc) {}

unsafe extern "C-unwind" fn nothing(_: *mut pg_sys::DestReceiver) {}

/// Called by the server with each row; false ends the query.
///
/// # Safety
/// `receiver` is a [`Receiver`], the slot has a row of its statement.
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: the caller's promise; the server was called from within `catch`.
    unsafe {
        let receiver = &mut *receiver.cast::<Receiver>();
        let shape = (*slot).tts_tupleDescriptor;
        let columns = ((*shape).natts as usize).min(MAX_COLUMNS);
        if ((*slot).tts_nvalid as usize) < columns {
            raw::slot_getsomeattrs_int(slot, columns as i32);
        }
        let mut row = Passing::empty();
        for at in 0..columns {
            let is_varying = (*super::compat::attribute(shape, at)).attlen == -1;
            row.put(at, *(*slot).tts_values.add(at), is_varying);
        }
        receiver.taking.take(&mut row, columns)
    }
}
