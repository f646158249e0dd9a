//! Checks that arrays are finite.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::linalg::elementwise::AllFinite;
use crate::matrix::Matrix;
use crate::parallel::with_team;
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Kernels};

/// Several threads check arrays of at least this many bytes. See rust/core/TUNING.md, "Finite check on all threads".
const PARALLEL_MIN_BYTES: usize = 2 << 20;

/// The number of pieces of each thread's share; another thread takes those that a late thread has not started.
const PIECES_PER_THREAD: usize = 8;

/// Checks that no value is NaN or infinite; `argument` names the array in the error.
///
/// # Errors
/// [`Error::NonFinite`] with the first such value.
pub(crate) fn check_finite<T: Scalar>(argument: &str, values: Matrix<T>) -> Result<()> {
    match values.data().iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(non_finite(argument, values, index)),
    }
}

/// The same check with SIMD kernels, on at most `n_threads` threads.
///
/// # Errors
/// As [`check_finite`].
pub(crate) fn check_finite_parallel<T: Dispatch>(
    kernels: &Kernels<T>,
    argument: &str,
    values: Matrix<T>,
    n_threads: usize,
) -> Result<()> {
    let data = values.data();
    let n_threads = if size_of_val(data) < PARALLEL_MIN_BYTES { 1 } else { n_threads };
    let all_finite = AtomicBool::new(true);
    with_team(n_threads, |team| {
        team.open();
        team.for_each_range(data.len(), 1, PIECES_PER_THREAD, |_, range| {
            if !kernels.run(AllFinite { z: &data[range] }) {
                all_finite.store(false, Ordering::Relaxed);
            }
        });
    });
    if all_finite.into_inner() { Ok(()) } else { check_finite(argument, values) }
}

/// The error for element `index` of `values`, counted row after row.
pub(crate) fn non_finite<T: Scalar>(argument: &str, values: Matrix<T>, index: usize) -> Error {
    Error::NonFinite {
        argument: argument.into(),
        precision: T::NAME,
        value: values.data()[index].to_f64(),
        row: index / values.cols(),
        column: index % values.cols(),
    }
}
