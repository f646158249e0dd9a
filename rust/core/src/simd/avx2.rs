//! [`Lanes`] for AVX2 with FMA: 8 f32 or 4 f64.

use std::arch::x86_64::*;

use super::{Lanes, N_SUMS};

/// Proves that this CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU has AVX2 and FMA, and the calling function is compiled for them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Avx2(())
    }
}

/// Ones, then zeros: of the eight words from `8 - n` on, the first n are set.
static MASK: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

/// The mask of the first `words` 32-bit words of a register.
#[inline(always)]
unsafe fn first_words(words: usize) -> __m256i {
    debug_assert!(words <= 8);
    // SAFETY: `words` is at most 8, so the eight words from 8 - words on are inside MASK.
    unsafe { _mm256_loadu_si256(MASK.as_ptr().add(8 - words).cast()) }
}

macro_rules! avx2 {
    ($t:ident, $v:ident, lanes $n:literal of $words:literal words, ($($one:ident)*), $fmadd:ident, $set1:ident,
     $and:ident $andnot:ident $or:ident $blend:ident, $cmp:ident $movemask:ident, $shift:ident $to_int:ident $from_int:ident,
     $maskload:ident $maskstore:ident, $sums:ident,
     $unpack_low:ident $unpack_high:ident $halves:ident) => {
        // SAFETY of all blocks here: the token proves that the CPU has the instructions. The callers of loads and
        // stores promise the elements, and no instruction needs alignment.
        impl Lanes<$t> for Avx2 {
            one_intrinsic_each!($t, $v, $($one)*);
            const N: usize = $n;
            const REGISTERS: usize = 16;

            #[inline(always)]
            unsafe fn load_first(self, p: *const $t, n: usize) -> $v {
                // SAFETY: as above; a masked load does not read the elements after n.
                unsafe { $maskload(p, first_words(n * $words)) }
            }
            #[inline(always)]
            unsafe fn store_first(self, p: *mut $t, v: $v, n: usize) {
                // SAFETY: as above; a masked store does not write the elements after n.
                unsafe { $maskstore(p, first_words(n * $words), v) }
            }
            #[inline(always)]
            fn mul_add(self, a: $v, b: $v, c: $v) -> $v {
                // SAFETY: as above.
                unsafe { $fmadd(a, b, c) }
            }
            #[inline(always)]
            fn abs(self, a: $v) -> $v {
                // SAFETY: as above.
                unsafe { $andnot($set1(-0.0), a) }
            }
            #[inline(always)]
            fn select_less(self, a: $v, b: $v, x: $v, y: $v) -> $v {
                // SAFETY: as above.
                unsafe { $blend(y, x, $cmp::<_CMP_LT_OQ>(a, b)) }
            }
            #[inline(always)]
            fn copysign(self, magnitude: $v, sign: $v) -> $v {
                // SAFETY: as above.
                unsafe { $or($andnot($set1(-0.0), magnitude), $and($set1(-0.0), sign)) }
            }
            #[inline(always)]
            fn low_bits_to_exponent(self, a: $v) -> $v {
                // SAFETY: as above.
                unsafe { $from_int($shift::<{ $t::MANTISSA_DIGITS as i32 - 1 }>($to_int(a))) }
            }
            #[inline(always)]
            fn all_finite(self, a: $v) -> bool {
                // SAFETY: as above. The ordered comparison is false for NaN.
                unsafe { $movemask($cmp::<_CMP_LE_OQ>(Lanes::<$t>::abs(self, a), $set1($t::MAX))) == (1 << $n) - 1 }
            }
            #[inline(always)]
            fn horizontal_sums(self, a: [$v; N_SUMS]) -> [$t; N_SUMS] {
                // SAFETY: as above.
                unsafe { $sums(a) }
            }
            #[inline(always)]
            fn interleave(self, a: $v, b: $v) -> ($v, $v) {
                // SAFETY: as above. Unpacking works within each 128-bit half.
                unsafe {
                    let (low, high) = ($unpack_low(a, b), $unpack_high(a, b));
                    ($halves::<0x20>(low, high), $halves::<0x31>(low, high))
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

avx2!(f32, __m256, lanes 8 of 1 words,
    (_mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps
     _mm256_min_ps _mm256_max_ps _mm256_sqrt_ps),
    _mm256_fmadd_ps, _mm256_set1_ps, _mm256_and_ps _mm256_andnot_ps _mm256_or_ps _mm256_blendv_ps, _mm256_cmp_ps _mm256_movemask_ps,
    _mm256_slli_epi32 _mm256_castps_si256 _mm256_castsi256_ps, _mm256_maskload_ps _mm256_maskstore_ps, sums_f32,
    _mm256_unpacklo_ps _mm256_unpackhi_ps _mm256_permute2f128_ps);
avx2!(f64, __m256d, lanes 4 of 2 words,
    (_mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd
     _mm256_min_pd _mm256_max_pd _mm256_sqrt_pd),
    _mm256_fmadd_pd, _mm256_set1_pd, _mm256_and_pd _mm256_andnot_pd _mm256_or_pd _mm256_blendv_pd, _mm256_cmp_pd _mm256_movemask_pd,
    _mm256_slli_epi64 _mm256_castpd_si256 _mm256_castsi256_pd, _mm256_maskload_pd _mm256_maskstore_pd, sums_f64,
    _mm256_unpacklo_pd _mm256_unpackhi_pd _mm256_permute2f128_pd);

/// The sums over the lanes of eight registers, as a tree of pairwise adds: 37 instructions instead of eight times
/// seven.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn sums_f32(a: [__m256; N_SUMS]) -> [f32; N_SUMS] {
    // SAFETY: the caller's promise; the array has the size of the register.
    unsafe {
        // [a0 a0 a1 a1 | a0 a0 a1 a1], then [a0 a1 a2 a3 | a0 a1 a2 a3]: two partial sums of each, one in each half.
        let low = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
        let high = _mm256_hadd_ps(_mm256_hadd_ps(a[4], a[5]), _mm256_hadd_ps(a[6], a[7]));
        let halves = (_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high));
        let mut out = [0.0; N_SUMS];
        _mm256_storeu_ps(out.as_mut_ptr(), _mm256_add_ps(halves.0, halves.1));
        out
    }
}

/// The same as [`sums_f32`], four registers at a time.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn sums_f64(a: [__m256d; N_SUMS]) -> [f64; N_SUMS] {
    let mut out = [0.0; N_SUMS];
    for i in [0, 4] {
        // SAFETY: the caller's promise; `out` has four elements from i on.
        unsafe {
            let (low, high) = (_mm256_hadd_pd(a[i], a[i + 1]), _mm256_hadd_pd(a[i + 2], a[i + 3]));
            let halves = (_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high));
            _mm256_storeu_pd(out.as_mut_ptr().add(i), _mm256_add_pd(halves.0, halves.1));
        }
    }
    out
}
