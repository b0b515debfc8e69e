//! Rows in the order of an index, taken page by page without the executor: for reading a hundred thousand of them.
//!
//! An index's entries are read some hundred at a time. The rows of neighbours are mostly in one page of the table, which
//! is locked once for all of them while they are looked up, and pinned while they are read: so they stay where they are.
//! That is what the executor does for each row by itself.

use super::each::{Passing, Taking};
use super::ereport::catch;
use super::table::FreshSnapshot;
use super::{compat, raw, server};
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ops::ControlFlow;
use uuid::Uuid;

/// Entries of the index that are read at a time.
const RUN: usize = 256;

/// A table whose rows are read by a uuid and a number that are an index of it.
pub struct Ordered {
    pub schema: &'static CStr,
    pub name: &'static CStr,
    /// The first columns, which are never null.
    pub columns: &'static [(&'static CStr, pg_sys::Oid)],
    /// Counted from 1.
    pub key: [i16; 2],
    /// What is handed on, ascending, counted from 1: the number, other integers, and then values of variable length.
    pub wanted: &'static [usize],
}

/// Rows of that key with numbers above the first and up to the second.
#[derive(Clone, Copy)]
pub struct Span {
    pub key: Uuid,
    pub above: i32,
    pub up_to: i32,
}

impl Ordered {
    /// Hands the rows to `take` in their order until that has had enough; false, and nothing handed on, where the table is
    /// not one that may be read this way. `take` may not call the server.
    pub fn each(
        &self,
        span: Span,
        sees_own: bool,
        mut take: impl FnMut(&Passing) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let _snapshot = sees_own.then(FreshSnapshot::take);
        let mut key = *span.key.as_bytes();
        let key = pg_sys::Datum::from(key.as_mut_ptr());
        let mut taking = Taking::by(&mut take);
        let target = &mut taking;
        // SAFETY: what the closure owns needs no dropping; what it opens it closes, or the transaction's abort does.
        let done = unsafe {
            catch(|| {
                let schema = raw::get_namespace_oid(self.schema.as_ptr(), false);
                let oid = raw::get_relname_relid(self.name.as_ptr(), schema);
                let table = raw::table_open(oid, pg_sys::AccessShareLock as i32);
                let index = if self.is_readable(table) { self.find_index(table) } else { None };
                if let Some(index) = index {
                    self.scan(table, index, (key, span), target);
                    raw::index_close(index, pg_sys::NoLock as i32);
                }
                pg_sys::relation_close(table, pg_sys::NoLock as i32);
                index.is_some()
            })
        };
        let done = done.map_err(Error::Server)?;
        taking.end()?;
        Ok(done)
    }

    /// Whether SQL would read the same rows, in these columns.
    ///
    /// # Safety
    /// The table is open. Nothing here raises.
    unsafe fn is_readable(&self, table: pg_sys::Relation) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            let form = &*(*table).rd_rel;
            let is_plain = form.relkind == pg_sys::RELKIND_RELATION as i8
                && form.relam == pg_sys::HEAP_TABLE_AM_OID
                && !form.relforcerowsecurity
                && !form.relhassubclass;
            let shape = (*table).rd_att;
            is_plain
                && (*shape).natts as usize >= self.columns.len()
                && self.columns.iter().enumerate().all(|(at, (name, oid))| {
                    let column = &*compat::attribute(shape, at);
                    column.atttypid == *oid
                        && column.attnotnull
                        && !column.attisdropped
                        && CStr::from_ptr(column.attname.data.as_ptr()) == *name
                })
        }
    }

    /// # Safety
    /// Called inside `catch`, the table is open.
    unsafe fn find_index(&self, table: pg_sys::Relation) -> Option<pg_sys::Relation> {
        // SAFETY: the caller's promise; the list is ours to free.
        unsafe {
            let list = raw::RelationGetIndexList(table);
            let count = list.as_ref().map_or(0, |list| list.length as usize);
            let mut found = None;
            for at in 0..count {
                let oid = (*(*list).elements.add(at)).oid_value;
                let index = raw::index_open(oid, pg_sys::AccessShareLock as i32);
                let form = &*(*index).rd_index;
                let keys = form.indkey.values.as_slice(form.indnatts as usize);
                let fits = (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                    && keys == self.key
                    && form.indnkeyatts == 2
                    && form.indisvalid
                    && (*(*index).rd_indoption) == 0
                    && *(*index).rd_indoption.add(1) == 0
                    && raw::RelationGetIndexPredicate(index).is_null();
                if fits {
                    found = Some(index);
                    break;
                }
                raw::index_close(index, pg_sys::NoLock as i32);
            }
            pg_sys::list_free(list);
            found
        }
    }

    /// # Safety
    /// Called inside `catch`, both are open, and the key's bytes live as long.
    unsafe fn scan(
        &self,
        table: pg_sys::Relation,
        index: pg_sys::Relation,
        (key, span): (pg_sys::Datum, Span),
        taking: &mut Taking,
    ) {
        // SAFETY: the caller's promise; the snapshot is active as long as the scan lasts.
        unsafe {
            let snapshot = raw::GetActiveSnapshot();
            let mut conditions = [pg_sys::ScanKeyData::default(); 2];
            let [equal, above] = [pg_sys::BTEqualStrategyNumber, pg_sys::BTGreaterStrategyNumber]
                .map(|strategy| strategy as u16);
            raw::ScanKeyInit(&mut conditions[0], 1, equal, pg_sys::F_UUID_EQ.into(), key);
            raw::ScanKeyInit(&mut conditions[1], 2, above, pg_sys::F_INT4GT.into(), span.above.into());
            // Each condition is looked at for each entry: where none is needed, and for the end, which is seen by the rows,
            // there is none.
            let count = if span.above > 0 { 2 } else { 1 };
            let scan = compat::index_begin(table, index, snapshot, count);
            raw::index_rescan(scan, conditions.as_mut_ptr(), count, std::ptr::null_mut(), 0);
            let layout = self.layout((*table).rd_att);
            let mut places = [pg_sys::ItemPointerData::default(); RUN];
            let mut buffer = 0;
            loop {
                let mut count = 0;
                while count < RUN {
                    let place = raw::index_getnext_tid(scan, pg_sys::ScanDirection::ForwardScanDirection);
                    if place.is_null() {
                        break;
                    }
                    places[count] = *place;
                    count += 1;
                }
                let more = self.read(
                    (table, &layout),
                    snapshot,
                    &mut places[..count],
                    &mut buffer,
                    (taking, span.up_to),
                );
                if !more || count < RUN {
                    break;
                }
            }
            if buffer != 0 {
                raw::ReleaseBuffer(buffer);
            }
            pg_sys::index_endscan(scan);
        }
    }

    /// Hands on the rows at these places; false where that has been enough.
    ///
    /// # Safety
    /// As `scan`; the buffer is none or pinned.
    unsafe fn read(
        &self,
        (table, layout): (pg_sys::Relation, &Layout),
        snapshot: pg_sys::Snapshot,
        places: &mut [pg_sys::ItemPointerData],
        buffer: &mut pg_sys::Buffer,
        (taking, up_to): (&mut Taking, i32),
    ) -> bool {
        let mut rows = [std::ptr::null::<u8>(); RUN];
        // A serializable transaction notes each row that it reads, and on a standby the note of VACUUM may be newer than
        // what a snapshot sees.
        // SAFETY: the snapshot is active.
        let settled = !server::is_serializable() && !unsafe { (*snapshot).takenDuringRecovery };
        let mut from = 0;
        while from < places.len() {
            let block = block_of(&places[from]);
            let same = places[from..].iter().take_while(|place| block_of(place) == block).count();
            let mut count = 0;
            // SAFETY: the caller's promise. A row stays where it is as long as its page is pinned, and what is read of it
            // does not change.
            unsafe {
                *buffer = raw::ReleaseAndReadBuffer(*buffer, table, block);
                raw::LockBuffer(*buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                let page = page_of(*buffer);
                let is_settled = settled && page.is_some_and(is_all_visible);
                if let Some(page) = page {
                    let rows = places[from..from + same].iter();
                    rows.for_each(|place| bring_near(page.add(pointer(page, place).lp_off() as usize)));
                }
                for place in &mut places[from..from + same] {
                    if let Some(page) = page.filter(|_| is_settled) {
                        let pointer = pointer(page, place);
                        if pointer.lp_flags() == pg_sys::LP_NORMAL {
                            rows[count] = page.add(pointer.lp_off() as usize);
                            count += 1;
                            continue;
                        }
                    }
                    let mut tuple = pg_sys::HeapTupleData::default();
                    let none = std::ptr::null_mut();
                    if raw::heap_hot_search_buffer(place, table, *buffer, snapshot, &mut tuple, none, true) {
                        rows[count] = tuple.t_data.cast::<u8>();
                        count += 1;
                    }
                }
                raw::LockBuffer(*buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
                for row in &rows[..count] {
                    let mut values = Passing::empty();
                    layout.deform(*row, &mut values);
                    if values.int(1) > up_to || !taking.take(&mut values, self.wanted.len()) {
                        return false;
                    }
                }
            }
            from += same;
        }
        true
    }

    /// # Safety
    /// The table's shape.
    unsafe fn layout(&self, shape: pg_sys::TupleDesc) -> Layout {
        let mut layout = Layout {
            fixed: [None; MAX_COLUMNS],
            given: 0,
            begin: 0,
            rest: [Step::default(); MAX_STEPS],
            steps: 0,
        };
        let last = *self.wanted.last().expect("something is wanted");
        for at in 0..last {
            // SAFETY: the table has these columns.
            let column = unsafe { &*compat::attribute(shape, at) };
            let align = match column.attalign as u8 {
                b'd' => 8,
                b'i' => 4,
                b's' => 2,
                _ => 1,
            };
            let is_wanted = self.wanted.contains(&(at + 1));
            if layout.steps == 0 && column.attlen > 0 {
                let offset = layout.begin.next_multiple_of(align);
                if is_wanted {
                    layout.fixed[layout.given] = Some(offset);
                    layout.given += 1;
                }
                layout.begin = offset + column.attlen as usize;
            } else {
                layout.rest[layout.steps] = Step { align, length: column.attlen, is_wanted };
                layout.steps += 1;
            }
        }
        layout
    }
}

const MAX_COLUMNS: usize = 4;
const MAX_STEPS: usize = 8;

/// Where the wanted columns of a row are: those after others of a fixed length in a fixed place, the others where those
/// before them end.
struct Layout {
    fixed: [Option<usize>; MAX_COLUMNS],
    given: usize,
    begin: usize,
    rest: [Step; MAX_STEPS],
    steps: usize,
}

#[derive(Clone, Copy, Default)]
struct Step {
    align: usize,
    length: i16,
    is_wanted: bool,
}

impl Layout {
    /// The wanted columns of a row, as they are stored: integers first, then values of variable length.
    ///
    /// # Safety
    /// A row of the table, whose first columns are not null.
    unsafe fn deform(&self, row: *const u8, values: &mut Passing) {
        // SAFETY: the caller's promise; each column begins where the one before it ends, aligned as the server aligns it:
        // a value of variable length with a short length not at all.
        unsafe {
            let start = row.add(usize::from((*row.cast::<pg_sys::HeapTupleHeaderData>()).t_hoff));
            for (at, place) in self.fixed[..self.given].iter().enumerate() {
                let place = start.add(place.expect("as many as were given"));
                values.put(at, pg_sys::Datum::from(place.cast::<i32>().read_unaligned() as usize), false);
            }
            let (mut offset, mut given) = (self.begin, self.given);
            for step in &self.rest[..self.steps] {
                if step.length > 0 || start.add(offset).read() == 0 {
                    offset = offset.next_multiple_of(step.align);
                }
                let place = start.add(offset);
                if step.is_wanted {
                    values.put(given, pg_sys::Datum::from(place.cast_mut()), true);
                    given += 1;
                }
                offset += match usize::try_from(step.length) {
                    Ok(length) => length,
                    Err(_) => pgrx::varlena::varsize_any(place.cast()),
                };
            }
        }
    }
}

/// A page in shared memory; a temporary table's is elsewhere.
///
/// # Safety
/// The buffer is pinned.
unsafe fn page_of(buffer: pg_sys::Buffer) -> Option<*const u8> {
    let number = usize::try_from(buffer).ok().filter(|number| *number > 0)?;
    // SAFETY: shared buffers lie one after the other, the first one has the number 1.
    Some(unsafe { pg_sys::BufferBlocks.add((number - 1) * pg_sys::BLCKSZ as usize).cast::<u8>() })
}

/// Whether everybody sees all rows of the page, as VACUUM has noted in it.
fn is_all_visible(page: *const u8) -> bool {
    // SAFETY: a page begins with its header, and is locked.
    let flags = unsafe { (*page.cast::<pg_sys::PageHeaderData>()).pd_flags };
    u32::from(flags) & pg_sys::PD_ALL_VISIBLE != 0
}

/// # Safety
/// The page is locked, the place is one of it.
unsafe fn pointer(page: *const u8, place: &pg_sys::ItemPointerData) -> pg_sys::ItemIdData {
    // SAFETY: the caller's promise: line pointers follow the header, from number 1.
    unsafe {
        let header = page.cast::<pg_sys::PageHeaderData>();
        *(*header).pd_linp.as_ptr().add(usize::from(place.ip_posid) - 1)
    }
}

/// Asks the processor for a row that is soon looked at: it takes longer to fetch one than to fold it.
fn bring_near(row: *const u8) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..4 {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: to ask for a place reads nothing, wherever it is.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(line * 64).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

fn block_of(place: &pg_sys::ItemPointerData) -> pg_sys::BlockNumber {
    (u32::from(place.ip_blkid.bi_hi) << 16) | u32::from(place.ip_blkid.bi_lo)
}
