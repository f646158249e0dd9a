//! Memory that is reused, so that a call after the first allocates nothing: scratch, one buffer a thread, grown to the
//! largest size ever asked for; and arenas, for what outlives a pass.

use std::cell::RefCell;
use std::sync::Mutex;

use aligned_vec::{AVec, RuntimeAlign};

use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::simd::CACHE_LINE;

/// Elements on a cache-line boundary; large arrays on the boundary of a huge page.
pub(crate) type Aligned<T> = AVec<T, RuntimeAlign>;

/// The usual size of a huge page. Arrays of at least two of them start on one and ask the kernel for them: each
/// spares 511 walks through the page tables. Measured in `linalg/gemv.rs`: 5 to 10 % of a pass.
const HUGE_PAGE: usize = 2 << 20;

/// `len` zeros.
///
/// # Errors
/// [`Error::OutOfMemory`], naming `argument`.
pub(crate) fn zeros<T: Copy + Default>(argument: &str, len: usize) -> Result<Aligned<T>> {
    let huge = len.saturating_mul(size_of::<T>()) >= 2 * HUGE_PAGE;
    let mut values = Aligned::new(if huge { HUGE_PAGE } else { CACHE_LINE });
    grow(argument, &mut values, len, T::default())?;
    Ok(values)
}

/// Makes `values` at least `len` long.
fn grow<T: Copy>(argument: &str, values: &mut Aligned<T>, len: usize, fill: T) -> Result<()> {
    if len > values.len() {
        let bytes = len as u128 * size_of::<T>() as u128;
        let out_of_memory = || Error::OutOfMemory { argument: argument.into(), bytes };
        // aligned-vec 0.6 does not check this: no allocation is larger than isize::MAX, rounding included.
        if bytes > (isize::MAX as usize - values.alignment()) as u128 {
            return Err(out_of_memory());
        }
        values.try_reserve_exact(len - values.len()).map_err(|_| out_of_memory())?;
        if values.alignment() == HUGE_PAGE {
            ask_for_huge_pages(values.as_ptr().cast(), bytes as usize);
        }
        values.resize(len, fill);
    }
    Ok(())
}

/// Before the memory is touched for the first time; a kernel that has none to give changes nothing.
fn ask_for_huge_pages(start: *const u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: advice about memory of our own, which starts on a page; it does not change what is in it.
    unsafe {
        libc::madvise(start.cast_mut().cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// Memory for one user at a time, handed out in parts, that the process keeps for the next one, which may be on another
/// thread, as every call of `fit` is: with fresh pages, and a copy of the optimizer's state, one step of 784-512-512-10,
/// batch 256, took 7.9 ms, and 5.4 so (two threads of Zen 4).
pub(crate) struct Arena(Option<Aligned<u64>>);

/// What a process keeps at most, in all, for as long as it lives.
const KEPT_BYTES: usize = 64 << 20;

/// Those not in use, the last one given back last. Nobody waits for it: after a fork it may be locked for ever.
static KEPT: Mutex<Vec<Aligned<u64>>> = Mutex::new(Vec::new());

impl Arena {
    /// At least `bytes` bytes, on the boundary of a cache line. They hold some number or other, in any element type.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], naming `argument`.
    pub(crate) fn new(argument: &str, bytes: usize) -> Result<Self> {
        let len = bytes.div_ceil(size_of::<u64>());
        let kept = KEPT.try_lock().ok().and_then(|mut kept| {
            // Not a large one for little, which somebody else may ask for.
            let fits = |memory: &Aligned<u64>| (len..=len.saturating_mul(4)).contains(&memory.len());
            let fitting = kept.iter().enumerate().filter(|(_, memory)| fits(memory));
            let smallest = fitting.min_by_key(|(_, memory)| memory.len()).map(|(place, _)| place);
            smallest.map(|place| kept.remove(place))
        });
        kept.map_or_else(|| zeros(argument, len), Ok).map(|memory| Arena(Some(memory)))
    }

    /// Where it begins.
    pub(crate) fn start<T: Scalar>(&mut self) -> *mut T {
        self.0.as_mut().map_or(std::ptr::null_mut(), |memory| memory.as_mut_ptr().cast())
    }

    /// All that it holds.
    pub(crate) fn as_slice<T: Scalar>(&self) -> &[T] {
        let memory = self.0.as_deref().unwrap_or_default();
        // SAFETY: every bit pattern is an f32 or f64, and both fit into whole u64s.
        unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), size_of_val(memory) / size_of::<T>()) }
    }

    /// All that it holds.
    pub(crate) fn as_mut_slice<T: Scalar>(&mut self) -> &mut [T] {
        let memory = self.0.as_deref_mut().unwrap_or_default();
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), size_of_val(memory) / size_of::<T>()) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let bytes = |memory: &Aligned<u64>| memory.len() * size_of::<u64>();
        // Given back to the system when nobody waits for it.
        let mut given_back = Vec::new();
        if let (Some(memory), Ok(mut kept)) = (self.0.take(), KEPT.try_lock()) {
            kept.push(memory);
            while kept.iter().map(bytes).sum::<usize>() > KEPT_BYTES {
                given_back.push(kept.remove(0));
            }
        }
    }
}

/// Calls `f` with this thread's scratch: `len` elements of any value.
///
/// # Errors
/// [`Error::OutOfMemory`], naming `argument`; else what `f` returns.
pub(crate) fn with_scratch<T: Scalar, R>(argument: &str, len: usize, f: impl FnOnce(&mut [T]) -> R) -> Result<R> {
    thread_local! {
        static SCRATCH: RefCell<Aligned<u64>> = RefCell::new(Aligned::new(CACHE_LINE));
    }
    SCRATCH.with_borrow_mut(|buffer| {
        grow(argument, buffer, (len * size_of::<T>()).div_ceil(size_of::<u64>()), 0)?;
        // SAFETY: the buffer holds at least len * size_of::<T>() bytes at a sufficient alignment, every bit pattern is
        // an f32 or f64, and it stays borrowed for as long as the slice lives.
        Ok(f(unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<T>(), len) }))
    })
}
