//! Scratch memory, one buffer a thread: grown to the largest size ever asked for, then reused, so that a call after
//! the first allocates nothing.

use std::cell::RefCell;

use aligned_vec::{AVec, ConstAlign};

use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Elements on a cache-line boundary.
pub(crate) type Aligned<T> = AVec<T, ConstAlign<64>>;

/// `len` zeros.
///
/// # Errors
/// [`Error::OutOfMemory`], naming `argument`.
pub(crate) fn zeros<T: Scalar>(argument: &str, len: usize) -> Result<Aligned<T>> {
    let mut values = Aligned::new(64);
    grow(argument, &mut values, len, T::ZERO)?;
    Ok(values)
}

fn grow<T: Copy>(argument: &str, values: &mut Aligned<T>, len: usize, fill: T) -> Result<()> {
    if len > values.len() {
        let bytes = len as u128 * size_of::<T>() as u128;
        let out_of_memory = || Error::OutOfMemory { argument: argument.into(), bytes };
        // aligned-vec 0.6 does not check this: no allocation is larger than isize::MAX, rounding included.
        if bytes > (isize::MAX - 64) as u128 {
            return Err(out_of_memory());
        }
        values.try_reserve_exact(len - values.len()).map_err(|_| out_of_memory())?;
        values.resize(len, fill);
    }
    Ok(())
}

/// Calls `f` with this thread's scratch: `len` elements of any value.
///
/// # Errors
/// [`Error::OutOfMemory`], naming `argument`; else what `f` returns.
pub(crate) fn with_scratch<T: Scalar, R>(argument: &str, len: usize, f: impl FnOnce(&mut [T]) -> R) -> Result<R> {
    thread_local! {
        static SCRATCH: RefCell<Aligned<u64>> = RefCell::new(Aligned::new(64));
    }
    SCRATCH.with_borrow_mut(|buffer| {
        grow(argument, buffer, (len * size_of::<T>()).div_ceil(size_of::<u64>()), 0)?;
        // SAFETY: the buffer holds at least len * size_of::<T>() bytes at a sufficient alignment, every bit pattern is
        // an f32 or f64, and it stays borrowed for as long as the slice lives.
        Ok(f(unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<T>(), len) }))
    })
}
