//! Memory that runs out: an error of one statement, never the end of the server.
//!
//! The server's allocator raises 53200 when the system gives nothing more. Rust's ends the process instead, and with one
//! backend that aborts the server restarts all of them. So what grows with an argument or with rows is asked for
//! beforehand ([`need`]), and small things are taken from a reserve when nothing else is left: enough to come to the
//! next call of the server, which fails with 53200 then ([`super::ereport::catch`]).

use crate::error::Error;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Untouched until it is needed, so it costs address space and no memory.
const RESERVE_BYTES: usize = 1 << 20;

/// What fits into the reserve with room to spare is not asked for beforehand.
const SMALL_BYTES: usize = RESERVE_BYTES / 8;

/// What the server's own allocator may take before ours comes to what was asked for.
const SERVER_BYTES: usize = 4 << 20;

#[global_allocator]
static ALLOCATOR: WithReserve = WithReserve::new();

#[repr(align(4096))]
struct Page(UnsafeCell<[u8; RESERVE_BYTES]>);

/// The system's allocator, with a reserve behind it that is handed out from its start to its end, and anew once all of
/// it has come back.
struct WithReserve {
    reserve: Page,
    used: AtomicUsize,
    live: AtomicUsize,
    locked: AtomicBool,
    is_short: AtomicBool,
}

// SAFETY: the counters of the reserve are changed under its lock only, and no two pieces of it overlap.
unsafe impl Sync for WithReserve {}

impl WithReserve {
    const fn new() -> Self {
        WithReserve {
            reserve: Page(UnsafeCell::new([0; RESERVE_BYTES])),
            used: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
            locked: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
        }
    }

    /// A backend has one thread; the tests of the cores, which have several, share this too.
    fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        let done = work();
        self.locked.store(false, Ordering::Release);
        done
    }

    fn take_reserve(&self, layout: Layout) -> *mut u8 {
        self.is_short.store(true, Ordering::Relaxed);
        self.locked(|| {
            let start = self.used.load(Ordering::Relaxed).next_multiple_of(layout.align());
            let end = start.saturating_add(layout.size());
            if end > RESERVE_BYTES || layout.align() > 4096 {
                return std::ptr::null_mut();
            }
            self.used.store(end, Ordering::Relaxed);
            self.live.fetch_add(1, Ordering::Relaxed);
            // SAFETY: within the reserve, and past all that was handed out.
            unsafe { self.reserve.0.get().cast::<u8>().add(start) }
        })
    }

    fn give_back(&self) {
        self.locked(|| {
            if self.live.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.used.store(0, Ordering::Relaxed);
                self.is_short.store(false, Ordering::Relaxed);
            }
        });
    }

    fn is_ours(&self, memory: *mut u8) -> bool {
        (memory as usize).wrapping_sub(self.reserve.0.get() as usize) < RESERVE_BYTES
    }
}

// SAFETY: what the system gives goes back to the system, what the reserve gives to the reserve.
unsafe impl GlobalAlloc for WithReserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() { self.take_reserve(layout) } else { memory }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise; a piece of the reserve is as large as was asked for.
        unsafe {
            let memory = System.alloc_zeroed(layout);
            if !memory.is_null() {
                return memory;
            }
            let memory = self.take_reserve(layout);
            if !memory.is_null() {
                memory.write_bytes(0, layout.size());
            }
            memory
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if self.is_ours(memory) {
            return self.give_back();
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: `size` with this alignment is a layout, and both pieces hold what is copied.
        unsafe {
            if !self.is_ours(memory) {
                let moved = System.realloc(memory, layout, size);
                if !moved.is_null() {
                    return moved;
                }
            }
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(memory, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}

/// Whether something had to be taken from the reserve since [`recovered`].
pub(super) fn is_short() -> bool {
    ALLOCATOR.is_short.load(Ordering::Relaxed)
}

/// An error is on its way to the client, or was answered.
pub(super) fn recovered() {
    ALLOCATOR.is_short.store(false, Ordering::Relaxed);
}

/// Refuses what would take more than the system gives now: `count` things of about so many bytes each.
pub fn need(count: usize, bytes_each: usize) -> Result<(), Error> {
    let bytes = count.saturating_mul(bytes_each);
    if bytes <= SMALL_BYTES {
        return Ok(());
    }
    let (mut probe, was_short) = (Vec::<u8>::new(), is_short());
    // More than the reserve, so that it cannot answer.
    let refused = probe.try_reserve_exact(bytes.saturating_add(SERVER_BYTES)).is_err();
    // Or the compiler leaves out what is never used.
    std::hint::black_box(&probe);
    if refused && !was_short {
        // Nothing was taken: what fails is this call, not the next one of the server.
        recovered();
    }
    if refused { Err(Error::OutOfMemory { bytes }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_handed_out_once_and_anew_when_all_has_come_back() {
        // Too large for the stack of a test.
        static OF_THE_TEST: WithReserve = WithReserve::new();
        let allocator = &OF_THE_TEST;
        let layout = |size: usize| Layout::from_size_align(size, 16).expect("a power of two");
        let quarter = layout(RESERVE_BYTES / 4);
        for _ in 0..3 {
            let pieces: Vec<usize> = (0..4).map(|_| allocator.take_reserve(quarter) as usize).collect();
            assert!(pieces.windows(2).all(|two| two[1] - two[0] == quarter.size()), "{pieces:?}");
            assert!(pieces.iter().all(|piece| allocator.is_ours(*piece as *mut u8)));
            assert!(allocator.take_reserve(layout(1)).is_null(), "nothing is left");
            assert!(allocator.is_short.load(Ordering::Relaxed));
            // SAFETY: a piece of the reserve, given back with the layout that it was taken with.
            pieces.iter().for_each(|piece| unsafe { allocator.dealloc(*piece as *mut u8, quarter) });
            assert!(!allocator.is_short.load(Ordering::Relaxed));
        }
        // SAFETY: as above; what was written is still there where the piece grows.
        unsafe {
            let small = allocator.take_reserve(layout(8));
            small.write_bytes(7, 8);
            let grown = allocator.realloc(small, layout(8), 4096);
            assert!((0..8).all(|at| grown.add(at).read() == 7) && !allocator.is_ours(grown));
            allocator.dealloc(grown, layout(4096));
        }
        assert_eq!(allocator.live.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn more_than_there_can_be_is_refused_and_little_is_not_asked_for() {
        assert!(need(10, 100).is_ok());
        assert!(need(1_000, 10_000).is_ok());
        assert!(matches!(need(usize::MAX, 2), Err(Error::OutOfMemory { .. })));
        assert!(matches!(need(1 << 40, 1 << 20), Err(Error::OutOfMemory { .. })));
    }
}
