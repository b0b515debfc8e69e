//! Rows handed on one by one while the server has them at hand: for reading many, of which nothing is kept.

use super::args::Arg;
use super::ereport::catch;
use super::memory;
use super::raw;
use super::spi::{OrderedPlans, Session, Statement};
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
}

impl Passing {
    /// An integer.
    pub fn int(&self, column: usize) -> i32 {
        self.values[column - 1].value() as i32
    }

    /// What follows the length of a value of variable length.
    pub fn bytes(&self, column: usize) -> &[u8] {
        // SAFETY: the receiver has made a plain value of it, which lives as long as the row passes by.
        unsafe {
            let value = self.values[column - 1].cast_mut_ptr::<pg_sys::varlena>();
            let start = pgrx::varlena::vardata_any(value).cast::<u8>();
            std::slice::from_raw_parts(start, pgrx::varlena::varsize_any_exhdr(value))
        }
    }
}

/// What the server calls with each row: its own part must come first.
#[repr(C)]
struct Receiver<'a> {
    server: pg_sys::DestReceiver,
    take: &'a mut dyn FnMut(&Passing) -> ControlFlow<()>,
    panicked: Option<Box<dyn Any + Send>>,
    is_short: bool,
}

impl Session {
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
        let mut values = [None; super::spi::MAX_ARGS];
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
        let mut receiver = Receiver { server, take: &mut take, panicked: None, is_short: false };
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
        if let Some(panic) = receiver.panicked {
            resume_unwind(panic);
        }
        if receiver.is_short { Err(Error::OutOfMemory { bytes: 0 }) } else { Ok(()) }
    }
}

unsafe extern "C-unwind" fn start(_: *mut pg_sys::DestReceiver, _: i32, _: pg_sys::TupleDesc) {}

unsafe extern "C-unwind" fn nothing(_: *mut pg_sys::DestReceiver) {}

/// Called by the server with each row; false ends the query.
///
/// An error of the server's jumps out of this function to the one that called [`catch`], so nothing here owns anything
/// while the server is called.
///
/// # Safety
/// `receiver` is a [`Receiver`], the slot has a row of its statement.
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: the caller's promise; values are read as their descriptions say, and copies are freed once.
    unsafe {
        let receiver = &mut *receiver.cast::<Receiver>();
        let shape = (*slot).tts_tupleDescriptor;
        let columns = ((*shape).natts as usize).min(MAX_COLUMNS);
        if ((*slot).tts_nvalid as usize) < columns {
            raw::slot_getsomeattrs_int(slot, columns as i32);
        }
        let mut row = Passing { values: [pg_sys::Datum::from(0usize); MAX_COLUMNS] };
        let mut copies = [std::ptr::null_mut::<std::ffi::c_void>(); MAX_COLUMNS];
        for at in 0..columns {
            let value = *(*slot).tts_values.add(at);
            row.values[at] = value;
            if (*super::compat::attribute(shape, at)).attlen == -1 {
                let stored = value.cast_mut_ptr::<pg_sys::varlena>();
                let plain = raw::pg_detoast_datum_packed(stored);
                row.values[at] = pg_sys::Datum::from(plain);
                if !std::ptr::eq(plain, stored) {
                    copies[at] = plain.cast();
                }
            }
        }
        let taken = catch_unwind(AssertUnwindSafe(|| (receiver.take)(&row)));
        for copy in copies.into_iter().filter(|copy| !copy.is_null()) {
            raw::pfree(copy);
        }
        match taken {
            Ok(flow) => {
                receiver.is_short = memory::is_short();
                flow.is_continue() && !receiver.is_short
            }
            Err(panic) => {
                receiver.panicked = Some(panic);
                false
            }
        }
    }
}
