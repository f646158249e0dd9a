//! [`Lanes`] in plain Rust: arrays of 128 bits, which the compiler vectorizes for the baseline of the target.
//!
//! `mul_add` rounds twice, because a fused one is a library call on CPUs without the instruction.

use super::{Lanes, N_SUMS};

/// The token for plain Rust, which needs no instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Portable {
    /// # Safety
    /// No requirements; `unsafe` to have the same signature as the other tokens.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Portable
    }
}

macro_rules! portable {
    ($t:ident, $n:literal) => {
        impl Lanes<$t> for Portable {
            type V = [$t; $n];
            const N: usize = $n;
            const REGISTERS: usize = 16;

            #[inline(always)]
            fn splat(self, x: $t) -> Self::V {
                [x; $n]
            }
            #[inline(always)]
            unsafe fn load(self, p: *const $t) -> Self::V {
                // SAFETY: the caller's promise; an array has the layout of its elements, and the read needs no
                // alignment.
                unsafe { p.cast::<Self::V>().read_unaligned() }
            }
            #[inline(always)]
            unsafe fn load_first(self, p: *const $t, n: usize) -> Self::V {
                let mut v = [0.0; $n];
                for (i, lane) in v.iter_mut().enumerate().take(n) {
                    // SAFETY: i < n, and the caller promises n readable elements.
                    *lane = unsafe { *p.add(i) };
                }
                v
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t, v: Self::V) {
                // SAFETY: the caller's promise.
                unsafe { p.cast::<Self::V>().write_unaligned(v) }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, v: Self::V, n: usize) {
                for (i, lane) in v.iter().enumerate().take(n) {
                    // SAFETY: i < n, and the caller promises n writable elements.
                    unsafe { *p.add(i) = *lane };
                }
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] + b[i])
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] - b[i])
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] * b[i])
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] / b[i])
            }
            #[inline(always)]
            fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                std::array::from_fn(|i| a[i] * b[i] + c[i])
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
            }
            #[inline(always)]
            fn sqrt(self, a: Self::V) -> Self::V {
                a.map($t::sqrt)
            }
            #[inline(always)]
            fn abs(self, a: Self::V) -> Self::V {
                a.map($t::abs)
            }
            #[inline(always)]
            fn select_less(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V {
                std::array::from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] })
            }
            #[inline(always)]
            fn copysign(self, magnitude: Self::V, sign: Self::V) -> Self::V {
                std::array::from_fn(|i| magnitude[i].copysign(sign[i]))
            }
            #[inline(always)]
            fn low_bits_to_exponent(self, a: Self::V) -> Self::V {
                a.map(|x| $t::from_bits(x.to_bits() << ($t::MANTISSA_DIGITS - 1)))
            }
            #[inline(always)]
            fn all_finite(self, a: Self::V) -> bool {
                a.iter().all(|x| x.is_finite())
            }
            #[inline(always)]
            fn horizontal_sums(self, a: [Self::V; N_SUMS]) -> [$t; N_SUMS] {
                a.map(|v| v.iter().sum())
            }
            #[inline(always)]
            fn interleave(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
                let from =
                    |first| std::array::from_fn(|i| if i % 2 == 0 { a[first + i / 2] } else { b[first + i / 2] });
                (from(0), from($n / 2))
            }
            #[inline(always)]
            fn prefetch(self, _: *const $t) {}
        }
    };
}
portable!(f32, 4);
portable!(f64, 2);
