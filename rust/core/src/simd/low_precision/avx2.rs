//! Low precision for AVX2 with FMA and F16C, without and with AVX-VNNI.

use std::arch::x86_64::*;

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

/// The sums of eight outputs in f32.
///
/// # Safety
/// The CPU has AVX2; `corrections` is valid for reading eight elements.
#[inline(always)]
unsafe fn to_f32(sums: __m256i, corrections: *const i32) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe { _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, _mm256_loadu_si256(corrections.cast()))) }
}

/// Integers, widened to 16 bits and multiplied in pairs: no sum of two products saturates, whatever the integers.
#[derive(Clone, Copy)]
pub(crate) struct Int8(Avx2);

impl Multiply for Int8 {
    type Lanes = Avx2;
    type Sums = __m256i;
    type Weights = [__m256i; 2];
    type Inputs = [__m256i; 2];
    const GROUP: usize = 4;
    // The low bytes of both halves of a word are inputs 0 and 1, the high bytes 2 and 3.
    const ORDER: &'static [usize] = &[0, 2, 1, 3];
    const WEIGHT_BYTES: usize = 1;
    const INPUT_BYTES: usize = 2;
    const FORM: InputForm = InputForm::Int8 { offset: 0 };
    const SCALED: bool = true;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn lanes(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> [__m256i; 2] {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm256_loadu_si256(p.cast());
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)]
        }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> [__m256i; 2] {
        // SAFETY: as above. Two reads, because one of 64 bits would be split in general registers.
        unsafe {
            let (first, second) = (p.cast::<i32>().read_unaligned(), p.cast::<i32>().add(1).read_unaligned());
            [_mm256_set1_epi32(first), _mm256_set1_epi32(second)]
        }
    }
    #[inline(always)]
    fn multiply_add(self, weights: [__m256i; 2], inputs: [__m256i; 2], sums: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let sums = _mm256_add_epi32(sums, _mm256_madd_epi16(weights[0], inputs[0]));
            _mm256_add_epi32(sums, _mm256_madd_epi16(weights[1], inputs[1]))
        }
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: __m256i, corrections: *const i32) -> __m256 {
        // SAFETY: as above.
        unsafe { to_f32(sums, corrections) }
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: __m256) {
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(p.cast(), low_halves(_mm256_castps_si256(v))) }
    }
}

/// Integers with AVX-VNNI, which multiplies unsigned inputs with signed weights.
#[derive(Clone, Copy)]
pub(crate) struct Int8Vnni(Avx2);

impl Multiply for Int8Vnni {
    type Lanes = Avx2;
    type Sums = __m256i;
    type Weights = __m256i;
    type Inputs = __m256i;
    const GROUP: usize = 4;
    const ORDER: &'static [usize] = &[0, 1, 2, 3];
    const WEIGHT_BYTES: usize = 1;
    const INPUT_BYTES: usize = 1;
    const FORM: InputForm = InputForm::Int8 { offset: 128 };
    const SCALED: bool = true;
    const TILE_ROWS: usize = 6;

    #[inline(always)]
    fn lanes(self) -> Avx2 {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    fn multiply_add(self, weights: __m256i, inputs: __m256i, sums: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_dpbusd_avx_epi32(sums, inputs, weights) }
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: __m256i, corrections: *const i32) -> __m256 {
        // SAFETY: as above.
        unsafe { to_f32(sums, corrections) }
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: __m256) {
        // SAFETY: as above. Each low byte is put into a half of its own, extended with zeros.
        unsafe {
            let bytes = low_halves(_mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0xff)));
            _mm_storel_epi64(p.cast(), _mm_packus_epi16(bytes, bytes));
        }
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
