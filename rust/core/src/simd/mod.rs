//! One lane type per instruction set behind one trait, and the choice between them.
//!
//! A kernel is written once, as an `#[inline(always)]` function over [`Lanes`], and instantiated per instruction
//! set by a thin `#[target_feature]` shell (`linalg/kernels.rs`). `core::arch` appears in this folder alone.

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The methods of [`Lanes`] that are one intrinsic each, the same for every instruction set but for its name.
macro_rules! one_intrinsic_each {
    ($t:ident, $v:ident, $splat:ident $load:ident $store:ident $add:ident $sub:ident $mul:ident $div:ident $min:ident
     $max:ident $sqrt:ident) => {
        type V = $v;

        #[inline(always)]
        fn splat(self, x: $t) -> $v {
            // SAFETY: the token proves that the CPU has the instruction; so in the methods below.
            unsafe { $splat(x) }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const $t) -> $v {
            // SAFETY: the token, and the caller's promise; no alignment is needed.
            unsafe { $load(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut $t, v: $v) {
            // SAFETY: the token, and the caller's promise; no alignment is needed.
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
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

/// Bytes in a cache line: what one prefetch asks for, and the least that two threads should share.
pub(crate) const CACHE_LINE: usize = 64;

/// Registers that are summed across together, and rows that a one-row product reads together from a cache: enough
/// chains of multiply-adds to hide a latency of four cycles on two ports.
pub(crate) const BLOCK: usize = 8;

/// The vector operations of one instruction set on elements of type `T`.
///
/// The implementing token is zero-sized and can only be made (`unsafe`) where the CPU has the instruction set;
/// holding one is the proof that makes the arithmetic methods safe to call.
///
/// `min` and `max` return the second operand if either is NaN, so "bound first, value second" lets NaN through.
pub(crate) trait Lanes<T>: Copy {
    /// A register of [`Lanes::N`] elements.
    type V: Copy;
    /// Elements in a register.
    const N: usize;
    /// Registers there are.
    const REGISTERS: usize;

    fn splat(self, x: T) -> Self::V;
    /// # Safety
    /// `p` is valid for reading [`Lanes::N`] elements.
    unsafe fn load(self, p: *const T) -> Self::V;
    /// The first `n` elements, zero behind them.
    /// # Safety
    /// `p` is valid for reading `n < N` elements.
    unsafe fn load_first(self, p: *const T, n: usize) -> Self::V;
    /// # Safety
    /// `p` is valid for writing [`Lanes::N`] elements.
    unsafe fn store(self, p: *mut T, v: Self::V);
    /// # Safety
    /// `p` is valid for writing `n < N` elements.
    unsafe fn store_first(self, p: *mut T, v: Self::V, n: usize);
    /// [`Lanes::load_first`] of up to N.
    /// # Safety
    /// `p` is valid for reading `n <= N` elements.
    #[inline(always)]
    unsafe fn load_up_to(self, p: *const T, n: usize) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { if n == Self::N { self.load(p) } else { self.load_first(p, n) } }
    }
    /// [`Lanes::store_first`] of up to N.
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
    /// a * b + c, with one rounding where the instruction set can.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// Correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// x where a < b, else y.
    fn select_less(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// |magnitude| with the sign of `sign`.
    fn copysign(self, magnitude: Self::V, sign: Self::V) -> Self::V;
    /// The bits of each element moved left by the width of the mantissa: an integer in the low bits becomes an exponent.
    fn low_bits_to_exponent(self, a: Self::V) -> Self::V;
    /// Whether each element is neither infinite nor NaN.
    fn all_finite(self, a: Self::V) -> bool;
    /// The sum over the elements of each of the eight registers, in a fixed order per instruction set.
    fn sums(self, a: [Self::V; BLOCK]) -> [T; BLOCK];
    /// a[0], b[0], a[1], b[1], ...: the first N of them and the rest.
    fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);
    /// Asks for the cache line at `p`; any address is allowed.
    fn prefetch(self, p: *const T);
}

/// An instruction set that kernels exist for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Portable Rust; what the compiler makes of it.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, DQ, BW and VL.
    Avx512,
    /// 64-bit ARM.
    Neon,
}

impl Isa {
    /// All of them, from the plainest to the widest.
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

    /// Whether this CPU has it.
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
            // Part of every 64-bit ARM.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => true,
            #[allow(unreachable_patterns, reason = "which arms exist depends on the architecture")]
            _ => false,
        }
    }

    /// The instruction set in use: the widest that this CPU has, or the one that the environment variable
    /// `TINYRS_ISA` names. Read once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `TINYRS_ISA` names none that is known, or one that this CPU lacks.
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
            Error::invalid("TINYRS_ISA", format!("one that this CPU has ({})", names.join(", ")), name)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_is_the_default_and_a_name_forces_one() {
        assert_eq!(choose(None).unwrap(), Isa::ALL.into_iter().rfind(|isa| isa.is_available()).unwrap());
        assert_eq!(choose(Some("scalar")).unwrap(), Isa::Scalar);
        for isa in Isa::ALL {
            assert_eq!(choose(Some(isa.name())).is_ok(), isa.is_available(), "{isa:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let message = choose(Some("mmx")).unwrap_err().to_string();
        assert!(message.contains("TINYRS_ISA") && message.contains("scalar") && message.contains("mmx"), "{message}");
    }
}
