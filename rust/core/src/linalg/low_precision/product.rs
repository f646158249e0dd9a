//! The product of packed weights with prepared inputs, in tiles of rows and panels, with the epilogue.
//!
//! Each sum runs along k in order, in one lane, so its bits depend neither on the tile it falls into nor on the number of
//! threads.

use std::ops::Range;

use super::inputs::{Inputs, prepare};
use super::layout::{PANEL_REGISTERS, WIDEN_MIN_ROWS};
use super::matrix::LowPrecisionMatrix;
use crate::activation::Epilogue;
use crate::linalg::epilogue::{apply_epilogue, saturating_dot};
use crate::linalg::view::{View, ViewMut};
use crate::simd::low_precision::dispatch::{self, LowPrecisionOperation};
use crate::simd::low_precision::{
    InputForm, LowPrecision, MAX_TILE_ROWS, Multiply, TILE_PREFETCH_BYTES, TILE_STEPS, TilePart, widened,
};
use crate::simd::{CACHE_LINE, Lanes};
use crate::weight_format::WeightFormat;

impl LowPrecisionMatrix {
    /// The layer's forward pass for some of its outputs: `out[r][j] = activation(W[j] . x[r] + bias[j]) * scale`.
    ///
    /// x is (rows, inputs); `out` is the columns `outputs` of a (rows, outputs) matrix; `bias` has all outputs. The bits
    /// of a result depend neither on the other rows nor on how the outputs are split.
    ///
    /// # Safety
    /// - `outputs` are some of the outputs, and start at a multiple of [`LowPrecisionMatrix::unit`].
    /// - `out` has the rows of x and one column for each of `outputs`; `scratch` has [`LowPrecisionMatrix::scratch_len`]
    ///   elements for this number of rows.
    /// - All elements of `out` and `scratch` are writable, and nothing else accesses them meanwhile.
    pub(crate) unsafe fn multiply(
        &self,
        outputs: Range<usize>,
        (bias, epilogue): (&[f32], &Epilogue<f32>),
        x: View<f32>,
        out: ViewMut<f32>,
        scratch: *mut f32,
    ) {
        assert!(outputs.start.is_multiple_of(self.unit()) && outputs.end <= self.outputs());
        assert!(x.cols() == self.inputs() && bias.len() == self.outputs());
        assert!(out.rows() == x.rows() && out.cols() == outputs.len());
        // SAFETY: the caller's promise, and the matrix was packed only after a check that the CPU has the instruction set.
        unsafe { dispatch::run(self.isa, Product { matrix: self, outputs, bias, epilogue, x, out, scratch }) }
    }
}

/// [`LowPrecisionMatrix::multiply`].
///
/// # Safety
/// As there.
pub(super) struct Product<'a> {
    pub matrix: &'a LowPrecisionMatrix,
    pub outputs: Range<usize>,
    /// Of all outputs.
    pub bias: &'a [f32],
    pub epilogue: &'a Epilogue<f32>,
    pub x: View<'a, f32>,
    pub out: ViewMut<f32>,
    pub scratch: *mut f32,
}

impl LowPrecisionOperation for Product<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: LowPrecision>(self, s: S) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.matrix.format() {
                WeightFormat::F16 => self.run_format(s.f16()),
                WeightFormat::Bf16 => self.run_format(s.bf16()),
                WeightFormat::Int8 => self.run_format(s.int8()),
                WeightFormat::Int8Weights => self.run_format(s.int8_weights()),
            }
        }
    }
}

impl Product<'_> {
    /// All panels, in each of them all rows: the product, then the epilogue while the sums are in the cache.
    ///
    /// # Safety
    /// As for [`Product`].
    #[inline(always)]
    unsafe fn run_format<M: Multiply>(&self, m: M) {
        let (matrix, first) = (self.matrix, self.outputs.start);
        // SAFETY: the caller's promise.
        let inputs = unsafe { prepare(m, &matrix.layout, self.x, self.scratch) };
        let in_tiles = self.x.rows() >= M::MIN_TILE_ROWS;
        if in_tiles {
            m.begin_tiles();
        }
        let mut column = 0;
        while column < self.out.cols() {
            let rest = self.out.col_range(column..self.out.cols());
            let mut part = Part::new::<M>(matrix, first + column, inputs, rest);
            let registers = match (part.rows, part.cols.div_ceil(M::Lanes::N)) {
                (1..4, 3..) if !in_tiles => 2 * PANEL_REGISTERS,
                (_, 2..) => PANEL_REGISTERS,
                _ => 1,
            };
            let columns = (registers * M::Lanes::N).min(part.cols);
            let is_widened = M::FORM == InputForm::F32 && part.rows >= WIDEN_MIN_ROWS && registers == PANEL_REGISTERS;
            if is_widened {
                // SAFETY: the caller's promise: scratch has room for a panel, and holds no prepared rows.
                unsafe { widen_panel(m, &part, self.scratch) };
                part.weights = self.scratch.cast();
            }
            let mut row = 0;
            while row < part.rows {
                let rest = part.rows_from(row);
                // SAFETY: the caller's promise; column is a multiple of nr, so a panel begins there.
                unsafe {
                    let rows = match registers {
                        _ if in_tiles => tiles(m, rest, row),
                        _ if is_widened => rows_of_tile::<_, PANEL_REGISTERS>(widened::F32(m.lanes()), rest),
                        1 => rows_of_tile::<M, 1>(m, rest),
                        PANEL_REGISTERS => rows_of_tile::<M, PANEL_REGISTERS>(m, rest),
                        _ => rows_of_tile::<M, { 2 * PANEL_REGISTERS }>(m, rest),
                    };
                    self.finish(m, row..row + rows, column..column + columns);
                    row += rows;
                }
            }
            column += columns;
        }
        if in_tiles {
            m.end_tiles();
        }
    }

    /// Applies the epilogue to some rows and columns of `out`.
    ///
    /// # Safety
    /// As for [`Product`].
    #[inline(always)]
    unsafe fn finish<M: Multiply>(&self, m: M, rows: Range<usize>, columns: Range<usize>) {
        let first = self.outputs.start + columns.start;
        let bias = &self.bias[first..first + columns.len()];
        for r in rows {
            let repair = |j, z| self.repair(r, first + j, z);
            // SAFETY: the caller's promise; only one row is borrowed at a time.
            let row = unsafe { self.out.col_range(columns.clone()).row(r) };
            apply_epilogue(m.lanes(), bias, self.epilogue, repair, row);
        }
    }

    /// What replaces `z`, the sum of output `o` for row `r` with its bias, which is not finite.
    fn repair(&self, r: usize, o: usize, z: f32) -> f32 {
        match self.matrix.format() {
            // The integer part of the sum is exact, so its product with the scales has overflowed.
            WeightFormat::Int8 => z.clamp(-f32::MAX, f32::MAX),
            _ => saturating_dot(|i| self.matrix.weight(o, i), self.x.row(r), self.bias[o]),
        }
    }
}

/// The part of a product that is still to be computed: its sizes, and the addresses where its operands begin.
#[derive(Clone, Copy)]
struct Part<'a> {
    rows: usize,
    cols: usize,
    /// Steps along k.
    steps: usize,
    weights: *const u8,
    /// Bytes from one panel to the next.
    panel_bytes: usize,
    inputs: Inputs<'a>,
    /// Whether each sum is multiplied with its scale.
    is_scaled: bool,
    /// The scales of these outputs; only read if the format has scales.
    scales: *const f32,
    /// Only read if inputs are quantized.
    corrections: *const i32,
    out: ViewMut<f32>,
}

impl<'a> Part<'a> {
    /// The part that begins with output `o`, the first of a panel.
    #[inline(always)]
    fn new<M: Multiply>(matrix: &LowPrecisionMatrix, o: usize, inputs: Inputs<'a>, out: ViewMut<f32>) -> Self {
        let (layout, k) = (&matrix.layout, matrix.inputs());
        let panel_bytes = layout.panel_len(k) * matrix.format().weight_bytes();
        Part {
            rows: out.rows(),
            cols: out.cols(),
            steps: layout.groups(k),
            weights: matrix.panels().as_ptr().wrapping_add(o / layout.nr * panel_bytes),
            panel_bytes,
            inputs,
            is_scaled: M::SCALED,
            scales: matrix.scales.as_ptr().wrapping_add(o),
            corrections: matrix.corrections.as_ptr().wrapping_add(o),
            out,
        }
    }

    /// The part that begins with row `row`.
    #[inline(always)]
    fn rows_from(self, row: usize) -> Self {
        let inputs = Inputs {
            first: self.inputs.first.wrapping_add(row * self.inputs.stride),
            scales: self.inputs.scales.wrapping_add(row),
            ..self.inputs
        };
        Part { rows: self.rows - row, inputs, out: self.out.row_range(row..self.rows), ..self }
    }
}

/// The sums of a call of [`Multiply::multiply_tiles`], with four bytes each and at most two registers of 16 in a row.
#[repr(C, align(64))]
struct TileSums([u8; MAX_TILE_ROWS * 2 * 16 * 4]);

/// Writes the first panel of `part` in f32 to `to`.
#[inline(always)]
unsafe fn widen_panel<M: Multiply>(m: M, part: &Part, to: *mut f32) {
    let n = <M::Lanes as Lanes<f32>>::N;
    for register in 0..part.steps * PANEL_REGISTERS {
        // SAFETY: the caller's promise: there are whole panels, and room for one in f32.
        unsafe {
            let weights = m.load_weights(part.weights.add(register * n * M::WEIGHT_BYTES));
            m.lanes().store(to.add(register * n), m.widen(weights));
        }
    }
}

/// Computes and stores the first rows of the first panel, in tile registers; returns the number of rows. `row` is the
/// number of the first one.
#[inline(always)]
unsafe fn tiles<M: Multiply>(m: M, part: Part, row: usize) -> usize {
    let row_bytes = PANEL_REGISTERS * <M::Lanes as Lanes<f32>>::N * 4;
    let mut sums = std::mem::MaybeUninit::<TileSums>::uninit();
    let first = sums.as_mut_ptr().cast::<u8>();
    let Inputs { first: inputs, stride, .. } = part.inputs;
    // Each call prefetches another part of the next panel.
    let ahead = part.panel_bytes + row / MAX_TILE_ROWS * (part.steps / TILE_STEPS * TILE_PREFETCH_BYTES);
    let ahead = part.weights.wrapping_add(ahead);
    let tile = TilePart { weights: part.weights, ahead, inputs, stride, steps: part.steps, sums: first };
    let rows = part.rows.min(MAX_TILE_ROWS);
    // SAFETY: the caller's promise; prepared inputs and sums have room for whole tiles, and a panel has two registers.
    unsafe {
        m.multiply_tiles(&tile, rows);
        for i in 0..rows {
            let row = first.add(i * row_bytes).cast::<[M::Sums; PANEL_REGISTERS]>();
            store_row::<M, PANEL_REGISTERS>(m, row.read(), i, &part);
        }
    }
    rows
}

/// Computes and stores the first rows and W registers of columns, in the largest tile of the micro-kernel that fits;
/// returns the number of rows.
#[inline(always)]
unsafe fn rows_of_tile<M: Multiply, const W: usize>(m: M, part: Part) -> usize {
    // SAFETY: the caller's promise; the part has at least the rows of the tile.
    unsafe {
        match part.rows {
            12.. if W <= PANEL_REGISTERS && M::TILE_ROWS >= 12 => tile::<M, 12, W>(m, part),
            8.. if W <= PANEL_REGISTERS && M::TILE_ROWS >= 8 => tile::<M, 8, W>(m, part),
            6.. if W <= PANEL_REGISTERS && M::TILE_ROWS >= 6 => tile::<M, 6, W>(m, part),
            4.. if W <= PANEL_REGISTERS => tile::<M, 4, W>(m, part),
            2.. => tile::<M, 2, W>(m, part),
            _ => tile::<M, 1, W>(m, part),
        }
    }
}

/// Computes and stores the first R rows and W registers of columns; returns R.
#[inline(always)]
unsafe fn tile<M: Multiply, const R: usize, const W: usize>(m: M, part: Part) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let sums = micro_kernel::<M, R, W>(m, &part);
        for (i, sums) in sums.into_iter().enumerate() {
            store_row::<M, W>(m, sums, i, &part);
        }
    }
    R
}

/// How far ahead of each read the weights of a single row are prefetched; they may be in memory.
const PREFETCH_BYTES: usize = 3072;

/// The sums of one tile.
///
/// ```text
///                 weights[step][0..N]  [N..2N]       W registers, loaded for every step
/// inputs[0][step]      sum[0][0]      sum[0][1]      R x W sums; each inputs[i][step] is one group of inputs in all
/// ...                                                lanes
/// inputs[R-1][step]   sum[R-1][0]    sum[R-1][1]
/// ```
#[inline(always)]
unsafe fn micro_kernel<M: Multiply, const R: usize, const W: usize>(m: M, part: &Part) -> [[M::Sums; W]; R] {
    let register_bytes = <M::Lanes as Lanes<f32>>::N * M::GROUP * M::WEIGHT_BYTES;
    let stride = part.inputs.stride;
    let mut sums = [[m.zero(); W]; R];
    // One pointer for three rows: base, base + stride and base + 2 stride are addressing modes of x86.
    let mut rows: [*const u8; 4] = std::array::from_fn(|group| part.inputs.first.wrapping_add(3 * group * stride));
    let mut weights = part.weights;
    for _ in 0..part.steps {
        if R == 1 {
            for panel in 0..W.div_ceil(PANEL_REGISTERS) {
                let ahead = weights.wrapping_add(panel * part.panel_bytes + PREFETCH_BYTES);
                for line in (0..PANEL_REGISTERS * register_bytes).step_by(CACHE_LINE) {
                    m.lanes().prefetch(ahead.wrapping_add(line).cast());
                }
            }
        }
        // SAFETY: the caller's promise: there are whole panels, and as many groups of inputs as steps.
        unsafe {
            let mut registers = [m.load_weights(weights); W];
            for (w, register) in registers.iter_mut().enumerate().skip(1) {
                let offset = w / PANEL_REGISTERS * part.panel_bytes + w % PANEL_REGISTERS * register_bytes;
                *register = m.load_weights(weights.wrapping_add(offset));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let inputs = m.splat_inputs(rows[i / 3].wrapping_add(i % 3 * stride));
                for (sum, weights) in sums.iter_mut().zip(&registers) {
                    *sum = m.multiply_add(*weights, inputs, *sum);
                }
            }
        }
        for row in &mut rows {
            *row = row.wrapping_add(M::GROUP * M::INPUT_BYTES);
        }
        weights = weights.wrapping_add(PANEL_REGISTERS * register_bytes);
    }
    sums
}

/// Stores the sums of row `i` of the tile, multiplied with the scales, in the columns that exist.
#[inline(always)]
unsafe fn store_row<M: Multiply, const W: usize>(m: M, sums: [M::Sums; W], i: usize, part: &Part) {
    let (s, n) = (m.lanes(), <M::Lanes as Lanes<f32>>::N);
    for (w, sums) in sums.into_iter().enumerate() {
        let columns = part.cols.saturating_sub(w * n);
        if columns == 0 {
            return;
        }
        // SAFETY: the caller's promise: corrections and scales exist for whole panels, `columns` elements of the row.
        unsafe {
            let mut v = m.to_f32(sums, part.corrections.wrapping_add(w * n));
            if part.is_scaled {
                let mut scale = s.load(part.scales.wrapping_add(w * n));
                if matches!(M::FORM, InputForm::Int8 { .. }) {
                    // The product of two scales may overflow, and infinity times a sum of 0 would be NaN.
                    let product = s.mul(s.splat(*part.inputs.scales.wrapping_add(i)), scale);
                    scale = s.min(s.splat(f32::MAX), product);
                }
                v = s.mul(v, scale);
            }
            s.store_up_to(part.out.at(i, w * n), v, columns.min(n));
        }
    }
}
