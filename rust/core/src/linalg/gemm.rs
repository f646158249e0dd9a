//! A batch in: Z = X W^T from tiles of dot products, without packing.
//!
//! Both operands are row-major with the summed index last, so a tile reads both along their rows: nothing has to be
//! rearranged, and the rows of weights of a tile stay in the first-level cache while all rows of the batch go by.
//! Tiles are 8 x 3 where there are 32 registers, else 4 x 3; 4 x 4 read the inputs twice as often and was slower.
//!
//! Measured against the crate `gemm` 0.19, which packs (AVX-512, 2 threads, f32, median of a pass with sigmoid):
//!
//! | layers, batch | here | crate |
//! | --- | --- | --- |
//! | 10 x 1024, 2 | 0.84 ms | 9.8 ms |
//! | 10 x 1024, 32 | 3.7 ms | 11.1 ms |
//! | 10 x 1024, 256 | 23.5 ms | 26.7 ms |
//! | 4 x 128, 4 | 8.1 us | 35 us |
//! | 4 x 128, 32 | 54 us | 57 us |
//! | 4 x 128, 256 | 376 us | 250 us |
//!
//! Large batches of narrow layers are the weak spot: for 128 columns the sums across registers take as long as the
//! products. So weights are packed where there is room for them twice, see `plan`, and this is left with weights that
//! are read from memory, and with layers of few outputs.

use super::dense::Inputs;
use super::tile::{Ahead, tile};
use crate::scalar::Scalar;
use crate::simd::Lanes;

/// Rows of the batch in a tile.
pub(crate) const TILE_BATCH_ROWS: usize = 3;

/// Rows of weights in a tile, for so many vector registers.
pub(crate) const fn tile_weight_rows(registers: usize) -> usize {
    if registers >= 32 { 8 } else { 4 }
}

/// Some columns of a (batch, stride) matrix that other threads write other columns of.
#[derive(Clone, Copy)]
pub(crate) struct Columns<T> {
    /// The first element of the first row.
    pub first: *mut T,
    /// Elements from one row to the next.
    pub stride: usize,
    /// Elements of each row.
    pub width: usize,
}

impl<T> Columns<T> {
    /// Row `i` of these columns.
    ///
    /// # Safety
    /// The row exists, nobody else uses its elements in these columns, and no other slice of them is alive.
    #[inline(always)]
    pub(super) unsafe fn row<'a>(&self, i: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(i * self.stride), self.width) }
    }
}

/// `out[i][j] = weight[j] . x[i]`; weight is (out.width, cols), x (batch, cols), out (batch, out.width).
///
/// # Safety
/// `out` has as many rows as x, and nobody else uses its elements.
#[inline(always)]
pub(super) unsafe fn gemm<T: Scalar, S: Lanes<T>>(s: S, weight: &[T], x: Inputs<T>, out: Columns<T>) {
    let mut j = 0;
    while j < out.width {
        let block = (&weight[j * x.cols..], x);
        let out = Columns { first: out.first.wrapping_add(j), ..out };
        // SAFETY: the caller's promise, for the columns from j on.
        j += unsafe {
            match out.width - j {
                8.. if tile_weight_rows(S::REGISTERS) == 8 => row_block::<T, S, 8>(s, block, out),
                4.. => row_block::<T, S, 4>(s, block, out),
                _ => row_block::<T, S, 1>(s, block, out),
            }
        };
    }
}

/// The first R columns of `out`: the first R rows of weights with all rows of x. Returns R.
///
/// # Safety
/// As [`gemm`].
#[inline(always)]
unsafe fn row_block<T: Scalar, S: Lanes<T>, const R: usize>(
    s: S,
    operands: (&[T], Inputs<T>),
    out: Columns<T>,
) -> usize {
    let batch = operands.1.rows;
    let mut i = 0;
    while i < batch {
        // SAFETY: the caller's promise; the rows from i on are there.
        i += unsafe {
            match batch - i {
                TILE_BATCH_ROWS.. => batch_rows::<T, S, R, TILE_BATCH_ROWS>(s, operands, i, out),
                _ => batch_rows::<T, S, R, 1>(s, operands, i, out),
            }
        };
    }
    R
}

/// One tile, from row `i` of the batch on; returns B.
///
/// # Safety
/// As [`gemm`], and `out` has B rows from `i` on.
#[inline(always)]
unsafe fn batch_rows<T: Scalar, S: Lanes<T>, const R: usize, const B: usize>(
    s: S,
    (weight, x): (&[T], Inputs<T>),
    i: usize,
    out: Columns<T>,
) -> usize {
    let cols = x.cols;
    let (weight, x) = ((weight, cols), (&x.data[i * x.stride..], x.stride));
    // The first rows of the batch bring the weights in; meanwhile the next block of weights is asked for.
    let result = if i == 0 {
        tile::<T, S, R, B, true>(s, weight, x, cols, Ahead(R * cols))
    } else {
        tile::<T, S, R, B, false>(s, weight, x, cols, Ahead(0))
    };
    for (b, sums) in result.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), out.first.add((i + b) * out.stride), R) };
    }
    B
}
