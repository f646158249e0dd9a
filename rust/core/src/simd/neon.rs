//! [`Lanes`] for NEON on 64-bit ARM: 4 f32 or 2 f64.

use std::arch::aarch64::*;

use super::{Lanes, N_SUMS};

/// Proves that this CPU has NEON, as every 64-bit ARM CPU does.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    /// The CPU has NEON, and the calling function is compiled for it.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Neon(())
    }
}

macro_rules! neon {
    ($t:ident, $v:ident, lanes $n:literal, ($($one:ident)*), $fma:ident, $abs:ident, $select:ident $dup_bits:ident,
     $lt:ident $le:ident $all:ident, $shift:ident $to_int:ident $from_int:ident, $sum:ident,
     $zip_first:ident $zip_rest:ident) => {
        // SAFETY of all blocks here: the token proves that the CPU has the instructions. The callers of loads and
        // stores promise the elements, and no instruction needs alignment.
        impl Lanes<$t> for Neon {
            one_intrinsic_each!($t, $v, $($one)*);
            const N: usize = $n;
            const REGISTERS: usize = 32;

            #[inline(always)]
            unsafe fn load_first(self, p: *const $t, n: usize) -> $v {
                let mut buffer = [0.0; $n];
                // SAFETY: as above; n < N, so the copy fits.
                unsafe {
                    std::ptr::copy_nonoverlapping(p, buffer.as_mut_ptr(), n);
                    Lanes::<$t>::load(self, buffer.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, v: $v, n: usize) {
                let mut buffer = [0.0; $n];
                // SAFETY: as above; n < N, so the copy fits.
                unsafe {
                    Lanes::<$t>::store(self, buffer.as_mut_ptr(), v);
                    std::ptr::copy_nonoverlapping(buffer.as_ptr(), p, n);
                }
            }
            #[inline(always)]
            fn mul_add(self, a: $v, b: $v, c: $v) -> $v {
                // SAFETY: as above. The addend is the first argument.
                unsafe { $fma(c, a, b) }
            }
            #[inline(always)]
            fn abs(self, a: $v) -> $v {
                // SAFETY: as above.
                unsafe { $abs(a) }
            }
            #[inline(always)]
            fn select_less(self, a: $v, b: $v, x: $v, y: $v) -> $v {
                // SAFETY: as above.
                unsafe { $select($lt(a, b), x, y) }
            }
            #[inline(always)]
            fn copysign(self, magnitude: $v, sign: $v) -> $v {
                // SAFETY: as above. A bitwise select: the sign bit from `sign`, the other bits from `magnitude`.
                unsafe { $select($dup_bits($t::to_bits(-0.0)), sign, magnitude) }
            }
            #[inline(always)]
            fn low_bits_to_exponent(self, a: $v) -> $v {
                // SAFETY: as above.
                unsafe { $from_int($shift::<{ $t::MANTISSA_DIGITS as i32 - 1 }>($to_int(a))) }
            }
            #[inline(always)]
            fn all_finite(self, a: $v) -> bool {
                // SAFETY: as above. The comparison is false for NaN.
                unsafe { $all($le(Lanes::<$t>::abs(self, a), Lanes::<$t>::splat(self, $t::MAX))) }
            }
            #[inline(always)]
            fn horizontal_sums(self, a: [$v; N_SUMS]) -> [$t; N_SUMS] {
                // SAFETY: as above.
                a.map(|v| unsafe { $sum(v) })
            }
            #[inline(always)]
            fn interleave(self, a: $v, b: $v) -> ($v, $v) {
                // SAFETY: as above.
                unsafe { ($zip_first(a, b), $zip_rest(a, b)) }
            }
            #[inline(always)]
            fn prefetch(self, p: *const $t) {
                // The intrinsic is not stable.
                // SAFETY: a prefetch only uses the address and never faults.
                unsafe {
                    std::arch::asm!("prfm pldl1keep, [{p}]", p = in(reg) p,
                        options(nostack, readonly, preserves_flags));
                }
            }
        }
    };
}

#[inline(always)]
unsafe fn all_u32(mask: uint32x4_t) -> bool {
    // SAFETY: only called by the methods of a `Neon` token.
    unsafe { vminvq_u32(mask) == u32::MAX }
}

#[inline(always)]
unsafe fn all_u64(mask: uint64x2_t) -> bool {
    // SAFETY: only called by the methods of a `Neon` token.
    unsafe { (vgetq_lane_u64::<0>(mask) & vgetq_lane_u64::<1>(mask)) == u64::MAX }
}

neon!(f32, float32x4_t, lanes 4,
    (vdupq_n_f32 vld1q_f32 vst1q_f32 vaddq_f32 vsubq_f32 vmulq_f32 vdivq_f32 vminq_f32 vmaxq_f32 vsqrtq_f32),
    vfmaq_f32, vabsq_f32, vbslq_f32 vdupq_n_u32, vcltq_f32 vcleq_f32 all_u32,
    vshlq_n_u32 vreinterpretq_u32_f32 vreinterpretq_f32_u32, vaddvq_f32, vzip1q_f32 vzip2q_f32);
neon!(f64, float64x2_t, lanes 2,
    (vdupq_n_f64 vld1q_f64 vst1q_f64 vaddq_f64 vsubq_f64 vmulq_f64 vdivq_f64 vminq_f64 vmaxq_f64 vsqrtq_f64),
    vfmaq_f64, vabsq_f64, vbslq_f64 vdupq_n_u64, vcltq_f64 vcleq_f64 all_u64,
    vshlq_n_u64 vreinterpretq_u64_f64 vreinterpretq_f64_u64, vaddvq_f64, vzip1q_f64 vzip2q_f64);
