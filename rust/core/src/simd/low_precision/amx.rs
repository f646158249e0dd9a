//! Low precision for AMX: products of whole tiles, by inline assembly, because the intrinsics are not stable.
//!
//! A tile has 16 rows of 64 bytes. A tile of inputs is 16 rows and 16 groups of inputs, a tile of weights 16 groups and 16
//! outputs, a tile of sums 16 rows and 16 outputs; a group is 4 bytes. Panels and prepared inputs are laid out as for
//! AVX-512, which computes what is too small for tiles.

use std::arch::asm;

use super::avx512::{Avx512Bf16, Bf16, Int8Vnni};
use super::{InputForm, LowPrecision, Multiply, TILE_PREFETCH_BYTES, TILE_STEPS, TilePart, widened};
use crate::simd::Lanes;
use crate::simd::avx512::Avx512;

/// Proves that this CPU has AMX for integers and bfloat16, which this process may use, and what [`Avx512Bf16`] proves.
#[derive(Clone, Copy)]
pub(crate) struct Amx(Avx512Bf16);

impl Amx {
    /// # Safety
    /// `amx_permission::is_available` is true, the CPU has what [`Avx512Bf16`] proves, and the calling function is
    /// compiled for that.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        // SAFETY: the caller's promise.
        Amx(unsafe { Avx512Bf16::new() })
    }
}

impl LowPrecision for Amx {
    type F16 = widened::F16<Avx512>;
    type Bf16 = Tiled<Bf16>;
    type Int8 = Tiled<Int8Vnni>;
    type Int8Weights = widened::Int8Weights<Avx512>;

    #[inline(always)]
    fn f16(self) -> Self::F16 {
        self.0.f16()
    }
    #[inline(always)]
    fn bf16(self) -> Self::Bf16 {
        Tiled(self.0.bf16())
    }
    #[inline(always)]
    fn int8(self) -> Self::Int8 {
        Tiled(self.0.int8())
    }
    #[inline(always)]
    fn int8_weights(self) -> Self::Int8Weights {
        self.0.int8_weights()
    }
}

/// A format whose products of [`Multiply::MIN_TILE_ROWS`] rows and more are computed by tiles.
#[derive(Clone, Copy)]
pub(crate) struct Tiled<M>(M);

/// The products of tiles of a format.
trait TileProducts: Multiply<Lanes = Avx512> {
    /// From this many rows on tiles are faster than AVX-512.
    const MIN_ROWS: usize;

    /// [`Multiply::multiply_tiles`] for at most 16 rows, or for at most 32.
    ///
    /// # Safety
    /// As there.
    unsafe fn multiply<const ROW_TILES: usize>(part: &TilePart);

    /// [`Multiply::repeat_tile_products`].
    ///
    /// # Safety
    /// As there.
    unsafe fn repeat(operands: *const u8, rounds: usize);
}

/// Implements [`TileProducts`] with the instruction `$product`.
macro_rules! tile_products {
    ($format:ty, $product:literal, from $min_rows:literal rows) => {
        impl TileProducts for $format {
            const MIN_ROWS: usize = $min_rows;

            #[inline(always)]
            unsafe fn multiply<const ROW_TILES: usize>(part: &TilePart) {
                let TilePart { weights, ahead, inputs, stride, steps, sums } = *part;
                // SAFETY: the caller's promise: tiles are configured, and the operands exist.
                unsafe {
                    if ROW_TILES == 1 {
                        asm!(
                            "tilezero tmm0",
                            "tilezero tmm1",
                            "2:",
                            "tileloadd tmm4, [{inputs} + {stride}]",
                            "tileloadd tmm6, [{weights} + {row}]",
                            "tileloadd tmm7, [{weights} + {row} + 64]",
                            concat!($product, " tmm0, tmm4, tmm6"),
                            concat!($product, " tmm1, tmm4, tmm7"),
                            "add {inputs}, 64",
                            "add {weights}, 2048",
                            "dec {tiles}",
                            "jnz 2b",
                            "tilestored [{sums} + {row}], tmm0",
                            "tilestored [{sums} + {row} + 64], tmm1",
                            inputs = inout(reg) inputs => _, weights = inout(reg) weights => _,
                            tiles = inout(reg) steps / TILE_STEPS => _, stride = in(reg) stride, row = in(reg) 128usize,
                            sums = in(reg) sums,
                            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                            options(nostack),
                        );
                    } else {
                        asm!(
                            "tilezero tmm0",
                            "tilezero tmm1",
                            "tilezero tmm2",
                            "tilezero tmm3",
                            "2:",
                            "tileloadd tmm6, [{weights} + {row}]",
                            "tileloadd tmm4, [{inputs} + {stride}]",
                            concat!($product, " tmm0, tmm4, tmm6"),
                            "tileloadd tmm7, [{weights} + {row} + 64]",
                            concat!($product, " tmm1, tmm4, tmm7"),
                            "tileloadd tmm5, [{more_inputs} + {stride}]",
                            concat!($product, " tmm2, tmm5, tmm6"),
                            concat!($product, " tmm3, tmm5, tmm7"),
                            "prefetcht1 [{ahead}]",
                            "prefetcht1 [{ahead} + 64]",
                            "prefetcht1 [{ahead} + 128]",
                            "prefetcht1 [{ahead} + 192]",
                            "prefetcht1 [{ahead} + 256]",
                            "prefetcht1 [{ahead} + 320]",
                            "prefetcht1 [{ahead} + 384]",
                            "prefetcht1 [{ahead} + 448]",
                            "add {ahead}, {prefetched}",
                            "add {inputs}, 64",
                            "add {more_inputs}, 64",
                            "add {weights}, 2048",
                            "dec {tiles}",
                            "jnz 2b",
                            "tilestored [{sums} + {row}], tmm0",
                            "tilestored [{sums} + {row} + 64], tmm1",
                            "tilestored [{sums} + {row} + 2048], tmm2",
                            "tilestored [{sums} + {row} + 2112], tmm3",
                            inputs = inout(reg) inputs => _,
                            more_inputs = inout(reg) inputs.wrapping_add(16 * stride) => _,
                            weights = inout(reg) weights => _, ahead = inout(reg) ahead => _,
                            tiles = inout(reg) steps / TILE_STEPS => _, prefetched = const TILE_PREFETCH_BYTES,
                            stride = in(reg) stride, row = in(reg) 128usize, sums = in(reg) sums,
                            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
                            out("tmm6") _, out("tmm7") _,
                            options(nostack),
                        );
                    }
                }
            }

            #[inline(always)]
            unsafe fn repeat(operands: *const u8, rounds: usize) {
                // SAFETY: as above.
                unsafe {
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        "tileloadd tmm4, [{operands} + {row}]",
                        "tileloadd tmm5, [{operands} + {row}]",
                        "tileloadd tmm6, [{operands} + {row}]",
                        "tileloadd tmm7, [{operands} + {row}]",
                        "2:",
                        concat!($product, " tmm0, tmm4, tmm6"),
                        concat!($product, " tmm1, tmm4, tmm7"),
                        concat!($product, " tmm2, tmm5, tmm6"),
                        concat!($product, " tmm3, tmm5, tmm7"),
                        "dec {rounds}",
                        "jnz 2b",
                        operands = in(reg) operands, row = in(reg) 64usize, rounds = inout(reg) rounds => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
                        out("tmm6") _, out("tmm7") _,
                        options(nostack, readonly),
                    );
                }
            }
        }
    };
}

tile_products!(Int8Vnni, "tdpbusd", from 5 rows);
// Tiles add in another order than the instructions of AVX-512, so that they have to compute every row.
tile_products!(Bf16, "tdpbf16ps", from 1 rows);

/// The configuration of tiles: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

impl<M: TileProducts> Multiply for Tiled<M> {
    type Lanes = Avx512;
    type Sums = M::Sums;
    type Weights = M::Weights;
    type Inputs = M::Inputs;
    const GROUP: usize = M::GROUP;
    const ORDER: &'static [usize] = M::ORDER;
    const WEIGHT_BYTES: usize = M::WEIGHT_BYTES;
    const INPUT_BYTES: usize = M::INPUT_BYTES;
    const FORM: InputForm = M::FORM;
    const SCALED: bool = M::SCALED;
    const TILE_ROWS: usize = M::TILE_ROWS;
    const STEPS_UNIT: usize = TILE_STEPS;
    const MIN_TILE_ROWS: usize = M::MIN_ROWS;

    #[inline(always)]
    fn lanes(self) -> Avx512 {
        self.0.lanes()
    }
    #[inline(always)]
    fn zero(self) -> M::Sums {
        self.0.zero()
    }
    #[inline(always)]
    unsafe fn load_weights(self, p: *const u8) -> M::Weights {
        // SAFETY: the caller's promise.
        unsafe { self.0.load_weights(p) }
    }
    #[inline(always)]
    unsafe fn splat_inputs(self, p: *const u8) -> M::Inputs {
        // SAFETY: the caller's promise.
        unsafe { self.0.splat_inputs(p) }
    }
    #[inline(always)]
    fn multiply_add(self, weights: M::Weights, inputs: M::Inputs, sums: M::Sums) -> M::Sums {
        self.0.multiply_add(weights, inputs, sums)
    }
    #[inline(always)]
    unsafe fn to_f32(self, sums: M::Sums, corrections: *const i32) -> <Avx512 as Lanes<f32>>::V {
        // SAFETY: the caller's promise.
        unsafe { self.0.to_f32(sums, corrections) }
    }
    #[inline(always)]
    unsafe fn store_inputs(self, p: *mut u8, v: <Avx512 as Lanes<f32>>::V) {
        // SAFETY: the caller's promise.
        unsafe { self.0.store_inputs(p, v) }
    }
    #[inline(always)]
    fn begin_tiles(self) {
        // SAFETY: the token proves that the process may use tiles; the configuration is valid.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly, preserves_flags));
        }
    }
    #[inline(always)]
    fn end_tiles(self) {
        // SAFETY: as above. No tile is in use: each block of assembly stores the tiles that it computes.
        unsafe {
            asm!("tilerelease", options(nostack, nomem, preserves_flags));
        }
    }
    #[inline(always)]
    unsafe fn multiply_tiles(self, part: &TilePart, rows: usize) {
        // SAFETY: the caller's promise.
        unsafe { if rows <= 16 { M::multiply::<1>(part) } else { M::multiply::<2>(part) } }
    }
    #[inline(always)]
    unsafe fn repeat_tile_products(self, operands: *const u8, rounds: usize) {
        // SAFETY: the caller's promise.
        unsafe { M::repeat(operands, rounds) }
    }
}
