//! Low precision for AVX2 with FMA and F16C, without and with AVX-VNNI.

use std::arch::x86_64::*;

use super::x86_int8::x86_int8;
use super::{InputForm, LowPrecision, Multiply, NarrowLanes, widened};
use crate::simd::avx2::Avx2;

// SAFETY of all blocks here: the tokens prove that the CPU has the instructions. The callers of loads and stores promise
// the elements, and no instruction needs alignment.
impl NarrowLanes for Avx2 {
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(self, p: *const u16) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm256_loadu_si256(p.cast());
            let (first, second) = (_mm256_slli_epi32::<16>(pairs), _mm256_and_si256(pairs, _mm256_set1_epi32(!0xffff)));
            [_mm256_castsi256_ps(first), _mm256_castsi256_ps(second)]
        }
    }
    #[inline(always)]
    fn round_to_bf16(self, v: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe {
            let bits = _mm256_castps_si256(v);
            let is_odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let carried = _mm256_add_epi32(bits, _mm256_add_epi32(is_odd, _mm256_set1_epi32(0x7fff)));
            _mm256_castsi256_ps(_mm256_and_si256(carried, _mm256_set1_epi32(!0xffff)))
        }
    }
}

/// The low halves of eight words.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn low_halves(words: __m256i) -> __m128i {
    // SAFETY: the caller's promise. Packing does not saturate halves that are extended with zeros.
    unsafe {
        let halves = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
        _mm_packus_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    }
}

x86_int8!(Avx2, integers __m256i, floats __m256, _mm256_setzero_si256 _mm256_loadu_si256 _mm256_set1_epi32
    _mm256_add_epi32 _mm256_sub_epi32 _mm256_slli_epi16 _mm256_srai_epi16 _mm256_madd_epi16 _mm256_dpbusd_avx_epi32
    _mm256_cvtepi32_ps, store store_words store_bytes, tile rows 4 6);

/// Stores the low half of each lane at `p`.
///
/// # Safety
/// The CPU has AVX2; `p` is valid for writing 16 bytes.
#[inline(always)]
unsafe fn store_words(p: *mut u8, v: __m256) {
    // SAFETY: the caller's promise.
    unsafe { _mm_storeu_si128(p.cast(), low_halves(_mm256_castps_si256(v))) }
}

/// Stores the low byte of each lane at `p`.
///
/// # Safety
/// The CPU has AVX2; `p` is valid for writing eight bytes.
#[inline(always)]
unsafe fn store_bytes(p: *mut u8, v: __m256) {
    // SAFETY: the caller's promise. Each low byte is put into a half of its own, extended with zeros.
    unsafe {
        let bytes = low_halves(_mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0xff)));
        _mm_storel_epi64(p.cast(), _mm_packus_epi16(bytes, bytes));
    }
}

impl LowPrecision for Avx2 {
    type F16 = widened::F16<Avx2>;
    type Bf16 = widened::Bf16<Avx2>;
    type Int8 = Int8;
    type Int8Weights = widened::Int8Weights<Avx2>;
    low_precision_methods!(self, self, widened::Bf16, Int8);
}

/// Proves that this CPU has AVX2, FMA, F16C and AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct AvxVnni(Avx2);

impl AvxVnni {
    /// # Safety
    /// The CPU has AVX2, FMA, F16C and AVX-VNNI, and the calling function is compiled for them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        AvxVnni(unsafe { Avx2::new() })
    }
}

impl LowPrecision for AvxVnni {
    type F16 = widened::F16<Avx2>;
    type Bf16 = widened::Bf16<Avx2>;
    type Int8 = Int8Vnni;
    type Int8Weights = widened::Int8Weights<Avx2>;
    low_precision_methods!(self, self.0, widened::Bf16, Int8Vnni);
}
