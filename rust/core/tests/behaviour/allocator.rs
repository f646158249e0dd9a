//! The allocator of the tests. It counts the allocations. In forked children it also finds accesses outside of buffers,
//! also those of SIMD intrinsics, which AddressSanitizer does not see: each buffer ends at, or begins behind, a page
//! that must not be accessed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

const PAGE: usize = 4096;
/// Address space for all buffers of a process; no address is used twice, so that use after free is found too.
const RESERVED: usize = 1 << 38;

/// Where the forbidden page of a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Guard {
    /// Behind the last byte.
    End = 1,
    /// In front of the first byte.
    Start = 2,
}

/// The system's allocator, until [`guard_new_buffers`] is called.
struct TestAllocator;

#[global_allocator]
static ALLOCATOR: TestAllocator = TestAllocator;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static GUARD: AtomicU8 = AtomicU8::new(0);
static FIRST: AtomicUsize = AtomicUsize::new(0);
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// The allocations of all threads so far.
pub fn allocations() -> usize {
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// From now on, all buffers of this process get a forbidden page.
fn guard_new_buffers(guard: Guard) {
    // SAFETY: the call reserves addresses, of which none can be accessed yet.
    let start = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        libc::mmap(null_mut(), RESERVED, libc::PROT_NONE, flags, -1, 0)
    };
    assert_ne!(start, libc::MAP_FAILED);
    FIRST.store(start as usize, Ordering::SeqCst);
    NEXT.store(start as usize + PAGE, Ordering::SeqCst);
    GUARD.store(guard as u8, Ordering::SeqCst);
}

/// The bytes of the pages that a buffer of `size` bytes lies in.
fn pages(size: usize) -> usize {
    size.next_multiple_of(PAGE)
}

fn is_guarded(address: usize) -> bool {
    let first = FIRST.load(Ordering::Relaxed);
    first != 0 && (first..first + RESERVED).contains(&address)
}

/// The alignment of a buffer.
///
/// The size of every Rust type is a multiple of its alignment. Another layout with the alignment of a cache line or more
/// is that of aligned-vec, whose alignment is for speed only: it is not kept, so that the buffer ends exactly at the page.
fn alignment(layout: Layout) -> usize {
    let is_for_speed = layout.align() >= 64 && !layout.size().is_multiple_of(layout.align());
    if is_for_speed { 1 << layout.size().trailing_zeros() } else { layout.align() }
}

// SAFETY: a guarded buffer is a part of pages that no other buffer uses, aligned as described; other calls are
// forwarded to the system's allocator.
unsafe impl GlobalAlloc for TestAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let guard = GUARD.load(Ordering::Relaxed);
        if guard == 0 || layout.align() > PAGE {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc(layout) };
        }
        let bytes = pages(layout.size());
        let start = NEXT.fetch_add(bytes + PAGE, Ordering::Relaxed);
        if start + bytes + PAGE > FIRST.load(Ordering::Relaxed) + RESERVED {
            return null_mut();
        }
        // SAFETY: the pages are reserved, and nothing else uses them.
        unsafe {
            if libc::mprotect(start as *mut _, bytes, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                return null_mut();
            }
            // NaN in both precisions: a value that is used before it is written shows up in the result.
            (start as *mut u8).write_bytes(0xff, bytes);
        }
        let offset = (bytes - layout.size()) & !(alignment(layout) - 1);
        (if guard == Guard::End as u8 { start + offset } else { start }) as *mut u8
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        if !is_guarded(p as usize) {
            // SAFETY: the caller's promise.
            return unsafe { System.dealloc(p, layout) };
        }
        let start = p as usize & !(PAGE - 1);
        // SAFETY: the pages hold this buffer alone.
        unsafe {
            libc::mprotect(start as *mut _, pages(layout.size()), libc::PROT_NONE);
            libc::madvise(start as *mut _, pages(layout.size()), libc::MADV_DONTNEED);
        }
    }
}

/// How a forked child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Its work is done.
    Done,
    /// Its work panicked, or it exited by itself.
    Panicked,
    /// A signal ended it: SIGSEGV after an access to a forbidden page.
    Signal(i32),
}

/// Runs `work` in a forked child whose new buffers have forbidden pages.
pub fn in_guarded_child(guard: Guard, work: impl FnOnce()) -> End {
    in_child(|| {
        guard_new_buffers(guard);
        work();
    })
}

/// Runs `work` in a forked child, without the threads of the tests that run at the same time.
pub fn in_child(work: impl FnOnce()) -> End {
    // SAFETY: the child runs only `work`, then ends without cleaning up. tinyrs supports forked children, and the
    // system's allocator is usable in them.
    unsafe {
        match libc::fork() {
            0 => {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
                libc::_exit(i32::from(result.is_err()))
            }
            child => {
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                match status {
                    0 => End::Done,
                    _ if libc::WIFSIGNALED(status) => End::Signal(libc::WTERMSIG(status)),
                    _ => End::Panicked,
                }
            }
        }
    }
}
