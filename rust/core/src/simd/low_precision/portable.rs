//! Low precision in plain Rust.

use half::{bf16, f16};

use super::{InputForm, LowPrecision, Multiply, NarrowLanes, widened};
use crate::simd::Lanes;
use crate::simd::portable::Portable;

/// f32 lanes.
const N: usize = <Portable as Lanes<f32>>::N;

impl NarrowLanes for Portable {
    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> [f32; N] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u16; N]>().read_unaligned() }.map(|bits| f16::from_bits(bits).to_f32_const())
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const i8) -> [f32; N] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[i8; N]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn load_bf16_pairs(self, p: *const u16) -> [[f32; N]; 2] {
        // SAFETY: the caller's promise.
        let pairs = unsafe { p.cast::<[[u16; 2]; N]>().read_unaligned() };
        [0, 1].map(|i| pairs.map(|pair| bf16::from_bits(pair[i]).to_f32_const()))
    }
    #[inline(always)]
    fn round_to_bf16(self, v: [f32; N]) -> [f32; N] {
        v.map(|x| bf16::from_f32_const(x).to_f32_const())
    }
}

impl LowPrecision for Portable {
    type F16 = widened::F16<Portable>;
    type Bf16 = widened::Bf16<Portable>;
    type Int8 = Int8;
    type Int8Weights = widened::Int8Weights<Portable>;
    low_precision_methods!(self, self, widened::Bf16, Int8);
}

/// Integers, in groups of four.
#[derive(Clone, Copy)]
pub(crate) struct Int8(Portable);

impl Multiply for Int8 {
    type Lanes = Portable;
    type Sums = [i32; N];
    type Weights = [[i8; 4]; N];
    type Inputs = [i8; 4];
    const GROUP: usize = 4;
    const ORDER: &'static [usize] = &[0, 1, 2, 3];
    const WEIGHT_BYTES: usize = 1;
    const INPUT_BYTES: usize = 1;
    const FORM: InputForm = InputForm::Int8 { offset: 0 };
    const SCALED: bool = true;
    const TILE_ROWS: usize = 4;

    #[inline(always)]
    fn lanes(self) -> Portable {
        self.0
    }
    #[inline(always)]
    fn zero(self) -> [i32; N] {
        [0; N]
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> [[i8; 4]; N] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[[i8; 4]; N]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> [i8; 4] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[i8; 4]>().read_unaligned() }
    }
    #[inline(always)]
    fn multiply_add(self, weights: [[i8; 4]; N], inputs: [i8; 4], sums: [i32; N]) -> [i32; N] {
        let product = |w: [i8; 4]| (0..4).map(|i| i32::from(w[i]) * i32::from(inputs[i])).sum::<i32>();
        std::array::from_fn(|j| sums[j].wrapping_add(product(weights[j])))
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: [i32; N], corrections: *const i32) -> [f32; N] {
        // SAFETY: the caller's promise.
        let corrections = unsafe { corrections.cast::<[i32; N]>().read_unaligned() };
        std::array::from_fn(|j| (sums[j] - corrections[j]) as f32)
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: [f32; N]) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; N]>().write_unaligned(v.map(|x| x.to_bits() as u8)) }
    }
}
