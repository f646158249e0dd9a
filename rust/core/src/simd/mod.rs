//! Vector operations: one token type per instruction set, all implementing [`Lanes`], and the choice between them.
//!
//! A kernel is written once, as an [`dispatch::Operation`] over [`Lanes`], and `dispatch` compiles it for each
//! instruction set. Start with [`Lanes`] below and `portable`, the same in plain Rust; `math` has exp and tanh. Only
//! this folder uses `core::arch`; it depends on `scalar` and `error`.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The methods of [`Lanes`] that are a single intrinsic on every instruction set.
macro_rules! one_intrinsic_each {
    ($t:ident, $v:ident, $splat:ident $load:ident $store:ident $add:ident $sub:ident $mul:ident $div:ident $min:ident
     $max:ident $sqrt:ident) => {
        type V = $v;

        #[inline(always)]
        fn splat(self, x: $t) -> $v {
            // SAFETY: the token proves that the CPU has the instruction; likewise in the methods below.
            unsafe { $splat(x) }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const $t) -> $v {
            // SAFETY: the token, and the caller's promise; the instruction needs no alignment.
            unsafe { $load(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut $t, v: $v) {
            // SAFETY: the token, and the caller's promise; the instruction needs no alignment.
            unsafe { $store(p, v) }
        }
        #[inline(always)]
        fn add(self, a: $v, b: $v) -> $v {
            // SAFETY: the token.
            unsafe { $add(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: $v, b: $v) -> $v {
            // SAFETY: the token.
            unsafe { $sub(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: $v, b: $v) -> $v {
            // SAFETY: the token.
            unsafe { $mul(a, b) }
        }
        #[inline(always)]
        fn div(self, a: $v, b: $v) -> $v {
            // SAFETY: the token.
            unsafe { $div(a, b) }
        }
        #[inline(always)]
        fn min(self, a: $v, b: $v) -> $v {
            // SAFETY: the token.
            unsafe { $min(a, b) }
        }
        #[inline(always)]
        fn max(self, a: $v, b: $v) -> $v {
            // SAFETY: the token.
            unsafe { $max(a, b) }
        }
        #[inline(always)]
        fn sqrt(self, a: $v) -> $v {
            // SAFETY: the token.
            unsafe { $sqrt(a) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod dispatch;
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

/// Bytes in a cache line, the unit of a prefetch. Buffers of different threads should not share one.
pub(crate) const CACHE_LINE: usize = 64;

/// Registers that [`Lanes::horizontal_sums`] reduces together. As many chains of multiply-adds hide a latency of four
/// cycles on two ports.
pub(crate) const N_SUMS: usize = 8;

/// The vector operations of one instruction set on elements of type `T`.
///
/// The implementing token is zero-sized. Its constructor is `unsafe` and requires a CPU with the instruction set, so
/// holding a token makes the arithmetic methods safe to call.
///
/// `min` and `max` return the second operand if either is NaN, so min(bound, value) keeps NaN.
pub trait Lanes<T>: Copy {
    /// A register of [`Lanes::N`] elements.
    type V: Copy;
    /// Elements in a register.
    const N: usize;
    /// Vector registers of the instruction set.
    const REGISTERS: usize;

    /// x in every lane.
    fn splat(self, x: T) -> Self::V;
    /// The N elements at `p`, of any alignment.
    ///
    /// # Safety
    /// `p` is valid for reading [`Lanes::N`] elements.
    unsafe fn load(self, p: *const T) -> Self::V;
    /// The n elements at `p`, and zeros in the other lanes.
    ///
    /// # Safety
    /// `p` is valid for reading `n < N` elements.
    unsafe fn load_first(self, p: *const T, n: usize) -> Self::V;
    /// Stores all lanes at `p`, of any alignment.
    ///
    /// # Safety
    /// `p` is valid for writing [`Lanes::N`] elements.
    unsafe fn store(self, p: *mut T, v: Self::V);
    /// Stores the first n lanes at `p`.
    ///
    /// # Safety
    /// `p` is valid for writing `n < N` elements.
    unsafe fn store_first(self, p: *mut T, v: Self::V, n: usize);
    /// [`Lanes::load_first`] for n up to and including N.
    ///
    /// # Safety
    /// `p` is valid for reading `n <= N` elements.
    #[inline(always)]
    unsafe fn load_up_to(self, p: *const T, n: usize) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::N { self.load(p) } else { self.load_first(p, n) } }
    }
    /// [`Lanes::store_first`] for n up to and including N.
    ///
    /// # Safety
    /// `p` is valid for writing `n <= N` elements.
    #[inline(always)]
    unsafe fn store_up_to(self, p: *mut T, v: Self::V, n: usize) {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::N { self.store(p, v) } else { self.store_first(p, v, n) } }
    }

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// a * b + c; rounded once if the instruction set has a fused multiply-add.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// x in the lanes where a < b, y in the others.
    fn select_less(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// |magnitude| with the sign of `sign`.
    fn copysign(self, magnitude: Self::V, sign: Self::V) -> Self::V;
    /// The bits of each lane shifted left by the width of the mantissa, so that an integer in the low bits becomes the
    /// exponent.
    fn low_bits_to_exponent(self, a: Self::V) -> Self::V;
    /// Whether no lane is infinite or NaN.
    fn all_finite(self, a: Self::V) -> bool;
    /// The sum over the lanes of each register. The order of summation is fixed for each instruction set.
    fn horizontal_sums(self, a: [Self::V; N_SUMS]) -> [T; N_SUMS];
    /// `a[0], b[0], a[1], b[1], ...` in two registers: the first N and the last N of them.
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// Prefetches the cache line at `p`, which may be any address.
    fn prefetch(self, p: *const T);
}

/// An instruction set with its own kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, compiled for the baseline of the target.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW and VL.
    Avx512,
    /// 64-bit ARM.
    Neon,
}

impl Isa {
    /// All instruction sets, from the narrowest to the widest.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512];

    /// Its name in `TINYRS_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Neon => "neon",
        }
    }

    /// Whether this CPU has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            // Every 64-bit ARM CPU has NEON.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            #[allow(unreachable_patterns, reason = "which arms exist depends on the architecture")]
            _ => false,
        }
    }

    /// The instruction set in use: the one that the environment variable `TINYRS_ISA` names, which is read once, or
    /// else the widest that this CPU has.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `TINYRS_ISA` is not the name of an instruction set that this CPU has.
    pub fn active() -> Result<Isa> {
        static ACTIVE: OnceLock<Result<Isa>> = OnceLock::new();
        ACTIVE.get_or_init(|| choose(std::env::var("TINYRS_ISA").ok().as_deref())).clone()
    }
}

fn choose(wanted: Option<&str>) -> Result<Isa> {
    let available = || Isa::ALL.into_iter().filter(|isa| isa.is_available());
    match wanted {
        None | Some("") => Ok(available().next_back().unwrap_or(Isa::Scalar)),
        Some(name) => available().find(|isa| isa.name() == name).ok_or_else(|| {
            let names: Vec<_> = available().map(Isa::name).collect();
            Error::invalid("TINYRS_ISA", format!("an instruction set of this CPU ({})", names.join(", ")), name)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_is_the_default_and_a_name_selects_one() {
        assert_eq!(choose(None).unwrap(), Isa::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap());
        assert_eq!(choose(Some("scalar")).unwrap(), Isa::Scalar);
        for isa in Isa::ALL {
            assert_eq!(choose(Some(isa.name())).is_ok(), isa.is_available(), "{isa:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_available_ones() {
        let message = choose(Some("mmx")).unwrap_err().to_string();
        assert!(message.contains("TINYRS_ISA") && message.contains("scalar") && message.contains("mmx"), "{message}");
    }
}
