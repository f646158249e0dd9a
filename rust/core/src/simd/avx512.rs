//! [`Lanes`] for AVX-512 (F, DQ, BW, VL): 16 f32 or 8 f64.

use std::arch::x86_64::*;

use super::{Lanes, N_SUMS, avx2};

/// Proves that this CPU has AVX-512 F, DQ, BW and VL, AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The CPU has AVX-512 F, DQ, BW and VL, AVX2 and FMA, and the calling function is compiled for them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Avx512(())
    }
}

macro_rules! avx512 {
    ($t:ident, $v:ident, lanes $n:literal, $mask:ident, ($($one:ident)*), $fmadd:ident, $set1:ident,
     $and:ident $andnot:ident $or:ident $blend:ident, $abs:ident $cmp:ident, $shift:ident $to_int:ident $from_int:ident,
     $maskload:ident $maskstore:ident, $low:ident $high:ident $half_add:ident, $half_sums:ident,
     $place:ident $load_places:ident $permute:ident) => {
        // SAFETY of all blocks here: the token proves that the CPU has the instructions. The callers of loads and
        // stores promise the elements, and no instruction needs alignment.
        impl Lanes<$t> for Avx512 {
            one_intrinsic_each!($t, $v, $($one)*);
            const N: usize = $n;
            const REGISTERS: usize = 32;

            #[inline(always)]
            unsafe fn load_first(self, p: *const $t, n: usize) -> $v {
                // SAFETY: as above; a masked load does not read the elements after n.
                unsafe { $maskload((1 << n) - 1, p) }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, v: $v, n: usize) {
                // SAFETY: as above; a masked store does not write the elements after n.
                unsafe { $maskstore(p, (1 << n) - 1, v) }
            }
            #[inline(always)]
            fn mul_add(self, a: $v, b: $v, c: $v) -> $v {
                // SAFETY: as above.
                unsafe { $fmadd(a, b, c) }
            }
            #[inline(always)]
            fn abs(self, a: $v) -> $v {
                // SAFETY: as above.
                unsafe { $abs(a) }
            }
            #[inline(always)]
            fn select_less(self, a: $v, b: $v, x: $v, y: $v) -> $v {
                // SAFETY: as above.
                unsafe { $blend($cmp::<_CMP_LT_OQ>(a, b), y, x) }
            }
            #[inline(always)]
            fn copysign(self, magnitude: $v, sign: $v) -> $v {
                // SAFETY: as above.
                unsafe { $or($andnot($set1(-0.0), magnitude), $and($set1(-0.0), sign)) }
            }
            #[inline(always)]
            fn low_bits_to_exponent(self, a: $v) -> $v {
                // SAFETY: as above.
                unsafe { $from_int($shift::<{ $t::MANTISSA_DIGITS - 1 }>($to_int(a))) }
            }
            #[inline(always)]
            fn all_finite(self, a: $v) -> bool {
                // SAFETY: as above. The ordered comparison is false for NaN.
                unsafe { $cmp::<_CMP_LE_OQ>(Lanes::<$t>::abs(self, a), $set1($t::MAX)) == $mask::MAX }
            }
            #[inline(always)]
            fn horizontal_sums(self, a: [$v; N_SUMS]) -> [$t; N_SUMS] {
                // SAFETY: as above.
                unsafe { avx2::$half_sums(a.map(|v| $half_add($low(v), $high::<1>(v)))) }
            }
            #[inline(always)]
            fn interleave(self, a: $v, b: $v) -> ($v, $v) {
                // Where each element of the results comes from: i / 2 for element i / 2 of a, plus N for that of b.
                const PLACES: [[$place; $n]; 2] = {
                    let (mut places, mut i) = ([[0; $n]; 2], 0);
                    while i < 2 * $n {
                        places[i / $n][i % $n] = (i / 2 + i % 2 * $n) as $place;
                        i += 1;
                    }
                    places
                };
                // SAFETY: as above.
                unsafe {
                    let [first, rest] = [$load_places(PLACES[0].as_ptr()), $load_places(PLACES[1].as_ptr())];
                    ($permute(a, first, b), $permute(a, rest, b))
                }
            }
            #[inline(always)]
            fn prefetch(self, p: *const $t) {
                // SAFETY: as above; a prefetch never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
            }
        }
    };
}

avx512!(f32, __m512, lanes 16, __mmask16,
    (_mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps
     _mm512_min_ps _mm512_max_ps _mm512_sqrt_ps),
    _mm512_fmadd_ps, _mm512_set1_ps, _mm512_and_ps _mm512_andnot_ps _mm512_or_ps _mm512_mask_blend_ps, _mm512_abs_ps _mm512_cmp_ps_mask,
    _mm512_slli_epi32 _mm512_castps_si512 _mm512_castsi512_ps, _mm512_maskz_loadu_ps _mm512_mask_storeu_ps,
    _mm512_castps512_ps256 _mm512_extractf32x8_ps _mm256_add_ps, sums_f32,
    i32 _mm512_loadu_epi32 _mm512_permutex2var_ps);
avx512!(f64, __m512d, lanes 8, __mmask8,
    (_mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd
     _mm512_min_pd _mm512_max_pd _mm512_sqrt_pd),
    _mm512_fmadd_pd, _mm512_set1_pd, _mm512_and_pd _mm512_andnot_pd _mm512_or_pd _mm512_mask_blend_pd, _mm512_abs_pd _mm512_cmp_pd_mask,
    _mm512_slli_epi64 _mm512_castpd_si512 _mm512_castsi512_pd, _mm512_maskz_loadu_pd _mm512_mask_storeu_pd,
    _mm512_castpd512_pd256 _mm512_extractf64x4_pd _mm256_add_pd, sums_f64,
    i64 _mm512_loadu_epi64 _mm512_permutex2var_pd);
