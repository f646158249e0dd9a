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
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Amx => amx(operation),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Avx512Bf16 => avx512_bf16(operation),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Avx512Vnni => avx512_vnni(operation),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Avx512 => avx512(operation),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::AvxVnni => avx_vnni(operation),
            #[cfg(target_arch = "x86_64")]
            LowPrecisionIsa::Avx2 => avx2(operation),
            #[cfg(target_arch = "aarch64")]
            LowPrecisionIsa::NeonDotprod => neon_dotprod(operation),
            #[cfg(target_arch = "aarch64")]
            LowPrecisionIsa::Neon => neon(operation),
            _ => scalar(operation),
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
#[cfg(target_arch = "x86_64")]
shell!(avx2, crate::simd::avx2::Avx2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
shell!(avx_vnni, super::avx2::AvxVnni, "avx2,fma,f16c,avxvnni");
#[cfg(target_arch = "x86_64")]
shell!(avx512, crate::simd::avx512::Avx512, "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
shell!(avx512_vnni, super::avx512::Avx512Vnni, "avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
shell!(
    avx512_bf16,
    super::avx512::Avx512Bf16,
    "avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c"
);
#[cfg(target_arch = "x86_64")]
shell!(amx, super::amx::Amx, "avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c");
#[cfg(target_arch = "aarch64")]
shell!(neon, crate::simd::neon::Neon, "neon");
#[cfg(target_arch = "aarch64")]
shell!(neon_dotprod, super::neon::NeonDotprod, "neon,dotprod");
