//! Vector operations: one token type per instruction set, all implementing [`Lanes`], and the choice between them.
//!
//! A kernel is written once, as an [`dispatch::Operation`] over [`Lanes`], and `dispatch` compiles it for each
//! instruction set. Start with [`Lanes`] below and `portable`, the same in plain Rust; `math` has exp and tanh. Only
//! this folder uses `core::arch`; it depends on `scalar` and `error`.

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
mod amx_permission;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
pub(crate) mod dispatch;
mod isa;
pub(crate) mod low_precision;
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

pub use self::isa::{Isa, LowPrecisionIsa};

/// Bytes in a cache line, the unit of a prefetch. Buffers of different threads should not share one.
pub(crate) const CACHE_LINE: usize = 64;

/// Registers that [`Lanes::horizontal_sums`] reduces together. As many chains of multiply-adds hide a latency of four
/// cycles on two ports.
pub(crate) const N_SUMS: usize = 8;

/// Elements in the widest register of any instruction set: the largest [`Lanes::N`].
pub(crate) const MAX_LANES: usize = 16;

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
