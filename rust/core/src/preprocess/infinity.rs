//! Finds infinities, which no column of a table may have.

use crate::error::Result;
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Kernels, Operation, SafeOperation, kernels};
use crate::simd::{Isa, Lanes};

/// The index of the first infinity in `values`.
///
/// # Errors
/// [`crate::Error::Invalid`] if `TINYRS_ISA` is not an instruction set of this CPU.
pub fn first_infinite<S: Dispatch>(values: &[S]) -> Result<Option<usize>> {
    Ok(first_infinite_with(kernels::<S>(Isa::active()?)?, values))
}

/// [`first_infinite`] with the given kernels.
pub(super) fn first_infinite_with<S: Scalar, T: Dispatch>(kernels: &Kernels<T>, values: &[S]) -> Option<usize> {
    let any = kernels.run(AnyInfinite { values });
    any.then(|| values.iter().position(is_infinite)).flatten()
}

#[inline(always)]
fn is_infinite<S: Scalar>(value: &S) -> bool {
    value.to_f64().abs() == f64::INFINITY
}

/// Whether a value is infinite.
struct AnyInfinite<'a, S> {
    values: &'a [S],
}

impl<S: Scalar, T> Operation<T> for AnyInfinite<'_, S> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<L: Lanes<T>>(self, _: L) -> bool {
        // Without an early exit, the loop is vectorised.
        self.values.iter().fold(false, |any, value| any | is_infinite(value))
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<S: Scalar, T> SafeOperation<T> for AnyInfinite<'_, S> {}
