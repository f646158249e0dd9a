//! Low precision for AVX-512 (F, DQ, BW, VL), without and with VNNI and BF16.

use std::arch::x86_64::*;

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

/// The sums of 16 outputs in f32.
///
/// # Safety
/// The CPU has AVX-512 F; `corrections` is valid for reading 16 elements.
#[inline(always)]
unsafe fn to_f32(sums: __m512i, corrections: *const i32) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe { _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, _mm512_loadu_si512(corrections.cast()))) }
}

/// Integers, widened to 16 bits and multiplied in pairs, as with AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Int8(Avx512);

impl Multiply for Int8 {
    type Lanes = Avx512;
    type Sums = __m512i;
    type Weights = [__m512i; 2];
    type Inputs = [__m512i; 2];
    const GROUP: usize = 4;
    // The low bytes of both halves of a word are inputs 0 and 1, the high bytes 2 and 3.
    const ORDER: &'static [usize] = &[0, 2, 1, 3];
    const WEIGHT_BYTES: usize = 1;
    const INPUT_BYTES: usize = 2;
    const FORM: InputForm = InputForm::Int8 { offset: 0 };
    const SCALED: bool = true;
    // The loop over 12 rows would not be unrolled.
    const TILE_ROWS: usize = 8;

    #[inline(always)]
    fn lanes(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> [__m512i; 2] {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm512_loadu_si512(p.cast());
            [_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(bytes)), _mm512_srai_epi16::<8>(bytes)]
        }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> [__m512i; 2] {
        // SAFETY: as above. Two reads, because one of 64 bits would be split in general registers.
        unsafe {
            let (first, second) = (p.cast::<i32>().read_unaligned(), p.cast::<i32>().add(1).read_unaligned());
            [_mm512_set1_epi32(first), _mm512_set1_epi32(second)]
        }
    }
    #[inline(always)]
    fn multiply_add(self, weights: [__m512i; 2], inputs: [__m512i; 2], sums: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let sums = _mm512_add_epi32(sums, _mm512_madd_epi16(weights[0], inputs[0]));
            _mm512_add_epi32(sums, _mm512_madd_epi16(weights[1], inputs[1]))
        }
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: __m512i, corrections: *const i32) -> __m512 {
        // SAFETY: as above.
        unsafe { to_f32(sums, corrections) }
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: __m512) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(_mm512_castps_si512(v))) }
    }
}

/// Integers with VNNI, which multiplies unsigned inputs with signed weights.
#[derive(Clone, Copy)]
pub(crate) struct Int8Vnni(Avx512);

impl Multiply for Int8Vnni {
    type Lanes = Avx512;
    type Sums = __m512i;
    type Weights = __m512i;
    type Inputs = __m512i;
    const GROUP: usize = 4;
    const ORDER: &'static [usize] = &[0, 1, 2, 3];
    const WEIGHT_BYTES: usize = 1;
    const INPUT_BYTES: usize = 1;
    const FORM: InputForm = InputForm::Int8 { offset: 128 };
    const SCALED: bool = true;
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn lanes(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_setzero_si512() }
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
    fn multiply_add(self, weights: __m512i, inputs: __m512i, sums: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(sums, inputs, weights) }
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: __m512i, corrections: *const i32) -> __m512 {
        // SAFETY: as above.
        unsafe { to_f32(sums, corrections) }
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: __m512) {
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(_mm512_castps_si512(v))) }
    }
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
