//! Running a low-precision operation on an instruction set, as `simd::dispatch` does for f32 and f64.

use super::LowPrecision;
use crate::simd::LowPrecisionIsa;

/// A computation of low precision, written once for all instruction sets.
///
/// As for `simd::dispatch::Operation`, `run` and everything it calls that uses `s` must be `#[inline(always)]`.
pub(crate) trait LowPrecisionOperation {
    type Output;

    /// Computes the result with the operations `s`.
    ///
    /// # Safety
    /// As the documentation of the implementing type says.
    unsafe fn run<S: LowPrecision>(self, s: S) -> Self::Output;
}

/// Runs `operation` on `isa`.
///
/// # Safety
/// This CPU has `isa`, and the requirements of the operation are met.
#[inline(always)]
pub(crate) unsafe fn run<O: LowPrecisionOperation>(isa: LowPrecisionIsa, operation: O) -> O::Output {
    // SAFETY: the caller's promise.
    unsafe {
        match isa {
            LowPrecisionIsa::Scalar | LowPrecisionIsa::Neon | LowPrecisionIsa::Avx2 | LowPrecisionIsa::Avx512 => {
                scalar(operation)
            }
        }
    }
}

/// Defines a function that runs any operation with `$token`, compiled for `$features`.
macro_rules! shell {
    ($name:ident, $token:ty $(, $features:literal)?) => {
        /// Runs an operation on this instruction set.
        ///
        /// # Safety
        /// The CPU has the instruction set, and the requirements of the operation are met.
        #[inline(never)]
        $(#[target_feature(enable = $features)])?
        unsafe fn $name<O: LowPrecisionOperation>(operation: O) -> O::Output {
            // SAFETY: the caller's promise, and this function is compiled for the features.
            unsafe { operation.run(<$token>::new()) }
        }
    };
}

shell!(scalar, crate::simd::portable::Portable);
