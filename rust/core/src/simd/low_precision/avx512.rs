//! Low precision for AVX-512 (F, DQ, BW, VL), without and with VNNI and BF16.

use std::arch::x86_64::*;

use super::x86_int8::x86_int8;
use super::{InputForm, LowPrecision, Multiply, NarrowLanes, widened};
use crate::simd::avx512::Avx512;

// SAFETY of all blocks here: the tokens prove that the CPU has the instructions. The callers of loads and stores promise
// the elements, and no instruction needs alignment.
impl NarrowLanes for Avx512 {
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(self, p: *const u16) -> [__m512; 2] {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm512_loadu_si512(p.cast());
            let (first, second) = (_mm512_slli_epi32::<16>(pairs), _mm512_and_si512(pairs, _mm512_set1_epi32(!0xffff)));
            [_mm512_castsi512_ps(first), _mm512_castsi512_ps(second)]
        }
    }
    #[inline(always)]
    fn round_to_bf16(self, v: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let bits = _mm512_castps_si512(v);
            let is_odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let carried = _mm512_add_epi32(bits, _mm512_add_epi32(is_odd, _mm512_set1_epi32(0x7fff)));
            _mm512_castsi512_ps(_mm512_and_si512(carried, _mm512_set1_epi32(!0xffff)))
        }
    }
}

x86_int8!(Avx512, integers __m512i, floats __m512, _mm512_setzero_si512 _mm512_loadu_si512 _mm512_set1_epi32
    _mm512_add_epi32 _mm512_sub_epi32 _mm512_slli_epi16 _mm512_srai_epi16 _mm512_madd_epi16 _mm512_dpbusd_epi32
    _mm512_cvtepi32_ps, store store_words store_bytes, tile rows 8 12);

/// Stores the low half of each lane at `p`.
///
/// # Safety
/// The CPU has AVX-512 F; `p` is valid for writing 32 bytes.
#[inline(always)]
unsafe fn store_words(p: *mut u8, v: __m512) {
    // SAFETY: the caller's promise.
    unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(_mm512_castps_si512(v))) }
}

/// Stores the low byte of each lane at `p`.
///
/// # Safety
/// The CPU has AVX-512 F; `p` is valid for writing 16 bytes.
#[inline(always)]
unsafe fn store_bytes(p: *mut u8, v: __m512) {
    // SAFETY: the caller's promise.
    unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(v))) }
}

/// bfloat16 with the instructions for it. They add two products at a time, and treat denormal numbers, also among the
/// sums, as 0.
#[derive(Clone, Copy)]
pub(crate) struct Bf16(Avx512);

impl Multiply for Bf16 {
    type Lanes = Avx512;
    type Sums = __m512;
    type Weights = __m512i;
    type Inputs = __m512i;
    const GROUP: usize = 2;
    const ORDER: &'static [usize] = &[0, 1];
    const WEIGHT_BYTES: usize = 2;
    const INPUT_BYTES: usize = 2;
    const FORM: InputForm = InputForm::Bf16;
    const SCALED: bool = false;
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn lanes(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    fn multiply_add(self, weights: __m512i, inputs: __m512i, sums: __m512) -> __m512 {
        // SAFETY: as above; registers of bf16 and of integers have the same bits.
        unsafe {
            let (inputs, weights) =
                (std::mem::transmute::<__m512i, __m512bh>(inputs), std::mem::transmute::<__m512i, __m512bh>(weights));
            _mm512_dpbf16_ps(sums, inputs, weights)
        }
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: __m512, _: *const i32) -> __m512 {
        sums
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: __m512) {
        // SAFETY: as above.
        unsafe {
            let high = _mm512_srli_epi32::<16>(_mm512_castps_si512(v));
            _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(high));
        }
    }
}

impl LowPrecision for Avx512 {
    type F16 = widened::F16<Avx512>;
    type Bf16 = widened::Bf16<Avx512>;
    type Int8 = Int8;
    type Int8Weights = widened::Int8Weights<Avx512>;
    low_precision_methods!(self, self, widened::Bf16, Int8);
}

/// Proves that this CPU has AVX-512 F, DQ, BW, VL and VNNI, and what [`Avx512`] proves.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni(Avx512);

impl Avx512Vnni {
    /// # Safety
    /// The CPU has these instruction sets, and the calling function is compiled for them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        Avx512Vnni(unsafe { Avx512::new() })
    }
}

impl LowPrecision for Avx512Vnni {
    type F16 = widened::F16<Avx512>;
    type Bf16 = widened::Bf16<Avx512>;
    type Int8 = Int8Vnni;
    type Int8Weights = widened::Int8Weights<Avx512>;
    low_precision_methods!(self, self.0, widened::Bf16, Int8Vnni);
}

/// Proves that this CPU has AVX-512 BF16, and what [`Avx512Vnni`] proves.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(Avx512);

impl Avx512Bf16 {
    /// # Safety
    /// The CPU has these instruction sets, and the calling function is compiled for them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        Avx512Bf16(unsafe { Avx512::new() })
    }
}

impl LowPrecision for Avx512Bf16 {
    type F16 = widened::F16<Avx512>;
    type Bf16 = Bf16;
    type Int8 = Int8Vnni;
    type Int8Weights = widened::Int8Weights<Avx512>;
    low_precision_methods!(self, self.0, Bf16, Int8Vnni);
}
