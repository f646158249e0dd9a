//! Low precision for NEON, without and with the dot product of integers.
//!
//! Instructions without stable intrinsics are inline assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{InputForm, LowPrecision, Multiply, NarrowLanes, widened};
use crate::simd::neon::Neon;

// SAFETY of all blocks here: the tokens prove that the CPU has the instructions. The callers of loads and stores promise
// the elements, and no instruction needs alignment.
impl NarrowLanes for Neon {
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> float32x4_t {
        // SAFETY: as above.
        unsafe {
            let halves = vld1_u16(p);
            let numbers: float32x4_t;
            asm!("fcvtl {numbers:v}.4s, {halves:v}.4h", numbers = lateout(vreg) numbers, halves = in(vreg) halves,
                options(pure, nomem, nostack, preserves_flags));
            numbers
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vcvtq_f32_s32(vmovl_s16(load_four(p))) }
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(self, p: *const u16) -> [float32x4_t; 2] {
        // SAFETY: as above.
        unsafe {
            let pairs = vreinterpretq_u32_u16(vld1q_u16(p));
            let (first, second) = (vshlq_n_u32::<16>(pairs), vandq_u32(pairs, vdupq_n_u32(!0xffff)));
            [vreinterpretq_f32_u32(first), vreinterpretq_f32_u32(second)]
        }
    }
    #[inline(always)]
    fn round_to_bf16(self, v: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe {
            let bits = vreinterpretq_u32_f32(v);
            let is_odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let carried = vaddq_u32(bits, vaddq_u32(is_odd, vdupq_n_u32(0x7fff)));
            vreinterpretq_f32_u32(vandq_u32(carried, vdupq_n_u32(!0xffff)))
        }
    }
}

/// The four integers at `p`, in 16 bits.
///
/// # Safety
/// `p` is valid for reading four elements.
#[inline(always)]
unsafe fn load_four(p: *const i8) -> int16x4_t {
    // SAFETY: the caller's promise; every 64-bit ARM CPU has NEON.
    unsafe { vget_low_s16(vmovl_s8(vcreate_s8(p.cast::<u32>().read_unaligned().into()))) }
}

/// The sums of four outputs in f32.
///
/// # Safety
/// `corrections` is valid for reading four elements.
#[inline(always)]
unsafe fn to_f32(sums: int32x4_t, corrections: *const i32) -> float32x4_t {
    // SAFETY: the caller's promise; every 64-bit ARM CPU has NEON.
    unsafe { vcvtq_f32_s32(vsubq_s32(sums, vld1q_s32(corrections))) }
}

/// Integers, widened to 16 bits and multiplied one at a time.
#[derive(Clone, Copy)]
pub(crate) struct Int8(Neon);

impl Multiply for Int8 {
    type Lanes = Neon;
    type Sums = int32x4_t;
    type Weights = int16x4_t;
    type Inputs = int16x4_t;
    const GROUP: usize = 1;
    const ORDER: &'static [usize] = &[0];
    const WEIGHT_BYTES: usize = 1;
    const INPUT_BYTES: usize = 2;
    const FORM: InputForm = InputForm::Int8 { offset: 0 };
    const SCALED: bool = true;
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn lanes(self) -> Neon {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> int32x4_t {
        // SAFETY: as above.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> int16x4_t {
        // SAFETY: as above.
        unsafe { load_four(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> int16x4_t {
        // SAFETY: as above.
        unsafe { vdup_n_s16(p.cast::<i16>().read_unaligned()) }
    }
    #[inline(always)]
    fn multiply_add(self, weights: int16x4_t, inputs: int16x4_t, sums: int32x4_t) -> int32x4_t {
        // SAFETY: as above.
        unsafe { vmlal_s16(sums, weights, inputs) }
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: int32x4_t, corrections: *const i32) -> float32x4_t {
        // SAFETY: as above.
        unsafe { to_f32(sums, corrections) }
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: float32x4_t) {
        // SAFETY: as above. The low half of each lane.
        unsafe { vst1_u16(p.cast(), vmovn_u32(vreinterpretq_u32_f32(v))) }
    }
}

/// Integers with the dot product of four of them.
#[derive(Clone, Copy)]
pub(crate) struct Int8Dot(Neon);

impl Multiply for Int8Dot {
    type Lanes = Neon;
    type Sums = int32x4_t;
    type Weights = int8x16_t;
    type Inputs = int8x16_t;
    const GROUP: usize = 4;
    const ORDER: &'static [usize] = &[0, 1, 2, 3];
    const WEIGHT_BYTES: usize = 1;
    const INPUT_BYTES: usize = 1;
    const FORM: InputForm = InputForm::Int8 { offset: 0 };
    const SCALED: bool = true;
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn lanes(self) -> Neon {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> int32x4_t {
        // SAFETY: as above.
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> int8x16_t {
        // SAFETY: as above.
        unsafe { vld1q_s8(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> int8x16_t {
        // SAFETY: as above.
        unsafe { vreinterpretq_s8_u32(vdupq_n_u32(p.cast::<u32>().read_unaligned())) }
    }
    #[inline(always)]
    fn multiply_add(self, weights: int8x16_t, inputs: int8x16_t, mut sums: int32x4_t) -> int32x4_t {
        // SAFETY: as above.
        unsafe {
            asm!(".arch_extension dotprod", "sdot {sums:v}.4s, {weights:v}.16b, {inputs:v}.16b",
                sums = inout(vreg) sums, weights = in(vreg) weights, inputs = in(vreg) inputs,
                options(pure, nomem, nostack, preserves_flags));
        }
        sums
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: int32x4_t, corrections: *const i32) -> float32x4_t {
        // SAFETY: as above.
        unsafe { to_f32(sums, corrections) }
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: float32x4_t) {
        // SAFETY: as above. The low byte of each lane.
        unsafe {
            let halves = vmovn_u32(vreinterpretq_u32_f32(v));
            let bytes = vmovn_u16(vcombine_u16(halves, halves));
            p.cast::<u32>().write_unaligned(vget_lane_u32::<0>(vreinterpret_u32_u8(bytes)));
        }
    }
}

impl LowPrecision for Neon {
    type F16 = widened::F16<Neon>;
    type Bf16 = widened::Bf16<Neon>;
    type Int8 = Int8;
    type Int8Weights = widened::Int8Weights<Neon>;
    low_precision_methods!(self, self, widened::Bf16, Int8);
}

/// Proves that this CPU has NEON with the dot product of integers.
#[derive(Clone, Copy)]
pub(crate) struct NeonDotprod(Neon);

impl NeonDotprod {
    /// # Safety
    /// The CPU has NEON with the dot product of integers, and the calling function is compiled for them.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        NeonDotprod(unsafe { Neon::new() })
    }
}

impl LowPrecision for NeonDotprod {
    type F16 = widened::F16<Neon>;
    type Bf16 = widened::Bf16<Neon>;
    type Int8 = Int8Dot;
    type Int8Weights = widened::Int8Weights<Neon>;
    low_precision_methods!(self, self.0, widened::Bf16, Int8Dot);
}
