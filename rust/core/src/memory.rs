//! Allocation, which fails with an error, and memory that is reused, so that only the first call allocates: a growing
//! scratch buffer per thread for forward passes, and arenas for training and for large scratch buffers.

use std::cell::RefCell;
use std::sync::Mutex;

use aligned_vec::{AVec, RuntimeAlign};

use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::simd::CACHE_LINE;

/// A vector that starts on a cache line, or on a huge page if it is large.
pub(crate) type Aligned<T> = AVec<T, RuntimeAlign>;

/// The usual size of a huge page. Arrays of at least one huge page start on one and ask the kernel for them, which
/// saves 511 page-table walks a page. Measured: rust/core/TUNING.md, "Huge pages".
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// A vector of `len` zeros.
///
/// # Errors
/// [`Error::OutOfMemory`] for `argument`.
pub(crate) fn zeros<T: Copy + Default>(argument: &str, len: usize) -> Result<Aligned<T>> {
    let mut values = with_capacity(argument, len)?;
    values.resize(len, T::default());
    Ok(values)
}

/// A copy of `values`.
///
/// # Errors
/// [`Error::OutOfMemory`] for `argument`.
pub(crate) fn copy_of<T: Copy>(argument: &str, values: &[T]) -> Result<Aligned<T>> {
    let mut copy = with_capacity(argument, values.len())?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// All `items` in a vector, for arrays whose alignment does not matter.
///
/// # Errors
/// [`Error::OutOfMemory`] for `argument`.
pub fn collect<T>(argument: &str, items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(items.len()).map_err(|_| out_of_memory::<T>(argument, items.len()))?;
    values.extend(items);
    Ok(values)
}

/// An empty vector with room for `len` elements.
fn with_capacity<T>(argument: &str, len: usize) -> Result<Aligned<T>> {
    let huge = len.saturating_mul(size_of::<T>()) >= HUGE_PAGE;
    let mut values = Aligned::new(if huge { HUGE_PAGE } else { CACHE_LINE });
    reserve(argument, &mut values, len)?;
    Ok(values)
}

/// Makes room for `len` elements in all. Every allocation that grows with the data or the network goes through this or
/// [`collect`].
fn reserve<T>(argument: &str, values: &mut Aligned<T>, len: usize) -> Result<()> {
    // An allocation is at most isize::MAX bytes, rounded up to the alignment. aligned-vec 0.6 does not check this.
    if len > (isize::MAX as usize - values.alignment()) / size_of::<T>() {
        return Err(out_of_memory::<T>(argument, len));
    }
    let additional = len.saturating_sub(values.len());
    values.try_reserve_exact(additional).map_err(|_| out_of_memory::<T>(argument, len))?;
    if values.alignment() == HUGE_PAGE {
        request_huge_pages(values.as_ptr().cast(), len * size_of::<T>());
    }
    Ok(())
}

/// The error for an allocation of `len` elements.
pub(crate) fn out_of_memory<T>(argument: &str, len: usize) -> Error {
    Error::OutOfMemory { argument: argument.into(), bytes: len as u128 * size_of::<T>() as u128 }
}

/// Asks the kernel for huge pages, before the memory is touched for the first time. The request may have no effect.
fn request_huge_pages(start: *const u8, bytes: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: the memory is allocated and starts on a page; the advice does not change its contents.
    unsafe {
        libc::madvise(start.cast_mut().cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (start, bytes);
}

/// A block of memory that returns to a process-wide pool when it is dropped. The next owner may be on another thread,
/// as each call of `fit` is. Measured against fresh memory: rust/core/TUNING.md, "Arenas".
pub(crate) struct Arena(Option<Aligned<u64>>);

/// The most memory that the pool keeps.
const KEPT_BYTES: usize = 64 << 20;

/// The pool: unused blocks, the last returned last. Only `try_lock` is used, since the lock may be held for ever after
/// a fork.
static KEPT: Mutex<Vec<Aligned<u64>>> = Mutex::new(Vec::new());

impl Arena {
    /// A block of at least `bytes` bytes that starts on a cache line. Its contents are initialised but arbitrary.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for `argument`.
    pub(crate) fn new(argument: &str, bytes: usize) -> Result<Self> {
        let len = bytes.div_ceil(size_of::<u64>());
        let kept = KEPT.try_lock().ok().filter(|_| reuses_memory()).and_then(|mut kept| {
            // A block more than four times as large is left for a larger request.
            let fits = |memory: &Aligned<u64>| (len..=len.saturating_mul(4)).contains(&memory.len());
            let fitting = kept.iter().enumerate().filter(|(_, memory)| fits(memory));
            let smallest = fitting.min_by_key(|(_, memory)| memory.len()).map(|(place, _)| place);
            smallest.map(|place| kept.remove(place))
        });
        kept.map_or_else(|| zeros(argument, len), Ok).map(|memory| Arena(Some(memory)))
    }

    /// The start of the block.
    pub(crate) fn as_mut_ptr<T: Scalar>(&mut self) -> *mut T {
        self.0.as_mut().map_or(std::ptr::null_mut(), |memory| memory.as_mut_ptr().cast())
    }

    /// The whole block.
    pub(crate) fn as_slice<T: Scalar>(&self) -> &[T] {
        let memory = self.0.as_deref().unwrap_or_default();
        // SAFETY: every bit pattern is a valid f32 or f64, and the alignment of u64 suffices for both.
        unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), size_of_val(memory) / size_of::<T>()) }
    }

    /// The whole block.
    pub(crate) fn as_mut_slice<T: Scalar>(&mut self) -> &mut [T] {
        let memory = self.0.as_deref_mut().unwrap_or_default();
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), size_of_val(memory) / size_of::<T>()) }
    }
}

/// Whether a block may come from the pool; not while tests make allocations fail.
fn reuses_memory() -> bool {
    #[cfg(all(test, not(miri)))]
    return !crate::allocation_fault_tests::are_wanted();
    #[cfg(not(all(test, not(miri))))]
    true
}

impl Drop for Arena {
    fn drop(&mut self) {
        let bytes = |memory: &Aligned<u64>| memory.len() * size_of::<u64>();
        // Freed after the lock is released.
        let mut evicted = Vec::new();
        if let (Some(memory), Ok(mut kept)) = (self.0.take(), KEPT.try_lock()) {
            kept.push(memory);
            while kept.iter().map(bytes).sum::<usize>() > KEPT_BYTES {
                evicted.push(kept.remove(0));
            }
        }
    }
}

/// The most scratch memory that a thread keeps. Larger buffers are rare, and threads share them: see [`Arena`].
const KEPT_SCRATCH_BYTES: usize = 2 << 20;

/// Calls `f` with `len` elements of scratch memory, whose values are arbitrary.
///
/// # Errors
/// [`Error::OutOfMemory`] for `argument`.
pub(crate) fn with_scratch<T: Scalar, R>(argument: &str, len: usize, f: impl FnOnce(&mut [T]) -> R) -> Result<R> {
    thread_local! {
        static SCRATCH: RefCell<Aligned<u64>> = RefCell::new(Aligned::new(CACHE_LINE));
    }
    let bytes = len.saturating_mul(size_of::<T>());
    if bytes > KEPT_SCRATCH_BYTES {
        return Ok(f(&mut Arena::new(argument, bytes)?.as_mut_slice()[..len]));
    }
    SCRATCH.with_borrow_mut(|buffer| {
        let words = bytes.div_ceil(size_of::<u64>());
        if words > buffer.len() {
            reserve(argument, buffer, words)?;
            buffer.resize(words, 0);
        }
        // SAFETY: the buffer holds at least `bytes` bytes at a sufficient alignment, every bit pattern is a valid f32 or
        // f64, and the buffer stays borrowed for as long as the slice lives.
        Ok(f(unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<T>(), len) }))
    })
}
