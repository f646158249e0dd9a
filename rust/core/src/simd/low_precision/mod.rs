//! Products of f16, bf16 and int8 numbers: one trait for what a format multiplies on an instruction set, and the choice
//! between the instruction sets.
//!
//! Start with [`Multiply`], of which a micro-kernel is made, and `portable`, the same in plain Rust. `widened` has the
//! formats that are multiplied in f32, for all instruction sets, `x86_int8` what AVX2 and AVX-512 share. [`LowPrecision`] collects what an instruction set does
//! for each format; `dispatch` runs operations on it.

/// The methods of [`LowPrecision`], given the lanes and the types for bf16 and int8.
macro_rules! low_precision_methods {
    ($self:ident, $lanes:expr, $bf16:path, $int8:path) => {
        #[inline(always)]
        fn f16($self) -> Self::F16 {
            $crate::simd::low_precision::widened::F16($lanes)
        }
        #[inline(always)]
        fn bf16($self) -> Self::Bf16 {
            $bf16($lanes)
        }
        #[inline(always)]
        fn int8($self) -> Self::Int8 {
            $int8($lanes)
        }
        #[inline(always)]
        fn int8_weights($self) -> Self::Int8Weights {
            $crate::simd::low_precision::widened::Int8Weights($lanes)
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod dispatch;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
pub(crate) mod widened;
#[cfg(target_arch = "x86_64")]
mod x86_int8;

use super::Lanes;

/// How inputs are prepared for a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InputForm {
    /// They are read as they are, in f32.
    F32,
    /// They are rounded to bfloat16.
    Bf16,
    /// They are quantized to integers from -127 to 127, to which `offset` is added.
    Int8 { offset: i32 },
}

/// The conversions between f32 lanes and narrow numbers in memory, of any alignment.
pub(crate) trait NarrowLanes: Lanes<f32> {
    /// The N f16 numbers at `p`.
    ///
    /// # Safety
    /// `p` is valid for reading N elements.
    unsafe fn load_f16(self, p: *const u16) -> Self::V;
    /// The N integers at `p`.
    ///
    /// # Safety
    /// `p` is valid for reading N elements.
    unsafe fn load_i8(self, p: *const i8) -> Self::V;
    /// The N pairs of bf16 numbers at `p`: the first ones and the second ones.
    ///
    /// # Safety
    /// `p` is valid for reading 2 N elements.
    unsafe fn load_bf16_pairs(self, p: *const u16) -> [Self::V; 2];
    /// Rounds finite numbers of at most the largest bf16 number to bf16, to nearest even.
    fn round_to_bf16(self, v: Self::V) -> Self::V;
}

/// How the weights and the inputs of one format are multiplied on one instruction set.
///
/// A step along k multiplies a group of [`Multiply::GROUP`] inputs of one row with as many weights of each of N outputs,
/// and adds the products to N sums. Memory holds the weights of such a step one output after the other:
/// `weights[output][ORDER[i]]` is the weight of input i.
///
/// The implementing token is zero-sized; holding one proves that the CPU has the instruction set.
pub(crate) trait Multiply: Copy {
    type Lanes: NarrowLanes;
    /// A register of N sums.
    type Sums: Copy;
    /// The weights of a step.
    type Weights: Copy;
    /// The inputs of a step, in all lanes.
    type Inputs: Copy;

    /// Inputs in a group.
    const GROUP: usize;
    /// The place of each weight in its group.
    const ORDER: &'static [usize];
    /// The size of a packed weight in bytes.
    const WEIGHT_BYTES: usize;
    /// The size of a prepared input in bytes.
    const INPUT_BYTES: usize;
    /// How inputs are prepared.
    const FORM: InputForm;
    /// Whether each sum has to be multiplied with the scales of its output and of its row.
    const SCALED: bool;
    /// Rows of the largest tile of the micro-kernel: its sums fill the register file.
    const TILE_ROWS: usize;
    /// The weights of a panel have a multiple of this number of steps; the last ones may be zeros.
    const STEPS_UNIT: usize = 1;
    /// [`Multiply::multiply_tiles`] computes the sums of at least this number of rows.
    const MIN_TILE_ROWS: usize = usize::MAX;

    fn lanes(self) -> Self::Lanes;
    fn zero(self) -> Self::Sums;
    /// The weights of a step for N outputs.
    ///
    /// # Safety
    /// `p` is valid for reading N groups.
    unsafe fn load_weights(self, p: *const u8) -> Self::Weights;
    /// The group of inputs at `p`.
    ///
    /// # Safety
    /// `p` is valid for reading one group of prepared inputs.
    unsafe fn splat_inputs(self, p: *const u8) -> Self::Inputs;
    /// `sums` plus the products of one step.
    fn multiply_add(self, weights: Self::Weights, inputs: Self::Inputs, sums: Self::Sums) -> Self::Sums;
    /// The weights of a step in f32, for formats with inputs in f32.
    fn widen(self, weights: Self::Weights) -> <Self::Lanes as Lanes<f32>>::V {
        let _ = weights;
        unreachable!("inputs are not f32")
    }
    /// The sums in f32. Those of integers have `corrections` subtracted, the products of the offset of the inputs.
    ///
    /// # Safety
    /// `corrections` is valid for reading N elements if [`Multiply::FORM`] has integers.
    unsafe fn to_f32(self, sums: Self::Sums, corrections: *const i32) -> <Self::Lanes as Lanes<f32>>::V;
    /// Stores N prepared inputs at `p`. An integer is in the low bits of its lane, as [`QUANTIZE`] leaves it.
    ///
    /// # Safety
    /// `p` is valid for writing N prepared inputs.
    unsafe fn store_inputs(self, p: *mut u8, v: <Self::Lanes as Lanes<f32>>::V);
    /// Prepares the tile registers of this thread.
    fn begin_tiles(self) {}
    /// Releases the tile registers, so that the operating system need not save them.
    fn end_tiles(self) {}
    /// Computes and stores the sums of at most [`MAX_TILE_ROWS`] rows with one panel.
    ///
    /// # Safety
    /// - [`Multiply::begin_tiles`] has been called on this thread.
    /// - The operands of `part` exist, of inputs and sums as many rows as the next multiple of [`TILE_ROW_UNIT`].
    unsafe fn multiply_tiles(self, part: &TilePart, rows: usize) {
        let _ = (part, rows);
        unreachable!("MIN_TILE_ROWS is larger than any number of rows");
    }
    /// Multiplies the tiles of inputs and weights at `operands`, which stay in tile registers, `4 * rounds` times.
    ///
    /// # Safety
    /// [`Multiply::begin_tiles`] has been called on this thread; `operands` is valid for reading one tile.
    unsafe fn repeat_tile_products(self, operands: *const u8, rounds: usize) {
        let _ = (operands, rounds);
        unreachable!("MIN_TILE_ROWS is larger than any number of rows");
    }
}

/// The rows of one tile register, whose contents are read and written whole.
pub(crate) const TILE_ROW_UNIT: usize = 16;

/// Steps of one product of tile registers.
pub(crate) const TILE_STEPS: usize = 16;

/// How much a call of [`Multiply::multiply_tiles`] prefetches for each [`TILE_STEPS`], in bytes: a quarter of what it
/// reads of the weights, so that four calls prefetch a panel.
pub(crate) const TILE_PREFETCH_BYTES: usize = 512;

/// The most rows of one call of [`Multiply::multiply_tiles`].
pub(crate) const MAX_TILE_ROWS: usize = 2 * TILE_ROW_UNIT;

/// The operands of [`Multiply::multiply_tiles`].
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AMX reads them"))]
pub(crate) struct TilePart {
    /// One panel.
    pub weights: *const u8,
    /// Weights that a later call reads, at any address, which are prefetched.
    pub ahead: *const u8,
    /// The first row.
    pub inputs: *const u8,
    /// Bytes from one row of inputs to the next.
    pub stride: usize,
    /// Steps along k.
    pub steps: usize,
    /// The sums of each row, as many as the panel has outputs.
    pub sums: *mut u8,
}

/// 1.5 * 2^23. Adding it to a number of magnitude below 2^22 rounds that to an integer, to nearest even, in the low bits
/// of the sum: the low byte of the sum is the low byte of the integer.
pub(crate) const QUANTIZE: f32 = 12_582_912.0;

/// What an instruction set has for each format.
pub(crate) trait LowPrecision: Copy {
    type F16: Multiply;
    type Bf16: Multiply;
    type Int8: Multiply;
    type Int8Weights: Multiply;

    fn f16(self) -> Self::F16;
    fn bf16(self) -> Self::Bf16;
    fn int8(self) -> Self::Int8;
    fn int8_weights(self) -> Self::Int8Weights;
}
