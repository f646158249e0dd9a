//! GEMM of a batch with unpacked weights: Z = X W^T in tiles of dot products.
//!
//! Both operands are row-major with the summed index last, so a tile reads both along their rows and nothing has to be
//! packed. The weight rows of a tile stay in the first-level cache while all rows of the batch go by. Tiles are 8 x 3
//! (weight rows x batch rows) if there are 32 vector registers, else 4 x 3.
//!
//! Narrow layers spend as long on the horizontal sums as on the products. `network::plan` therefore prefers packed
//! weights, and uses this kernel for weights too large to store twice and for layers of few outputs.
//! Measured against the crate `gemm`: `rust/core/TUNING.md`, "Unpacked GEMM".

use super::dot_tile::{PrefetchDistance, dot_tile};
use super::view::{View, ViewMut};
use crate::scalar::Scalar;
use crate::simd::Lanes;

/// Batch rows in a tile.
pub(crate) const TILE_BATCH_ROWS: usize = 3;

/// Weight rows in a tile, given the number of vector registers.
pub(crate) const fn tile_weight_rows(registers: usize) -> usize {
    if registers >= 32 { 8 } else { 4 }
}

/// `out[i][j] = weight[j] . x[i]`; weight is (outputs, inputs), x (batch, inputs), out (batch, outputs).
///
/// # Safety
/// All elements of `out` are writable, and nothing else accesses them meanwhile.
#[inline(always)]
pub(super) unsafe fn gemm<T: Scalar, S: Lanes<T>>(s: S, weight: View<T>, x: View<T>, out: ViewMut<T>) {
    let mut j = 0;
    while j < out.cols() {
        let (weight, out) = (weight.rows_from(j), out.col_range(j..out.cols()));
        // SAFETY: the caller's promise, for the columns from j on.
        j += unsafe {
            match out.cols() {
                8.. if tile_weight_rows(S::REGISTERS) == 8 => weight_rows::<T, S, 8>(s, weight, x, out),
                4.. => weight_rows::<T, S, 4>(s, weight, x, out),
                _ => weight_rows::<T, S, 1>(s, weight, x, out),
            }
        };
    }
}

/// The first R columns of `out`: the first R rows of weights with all rows of x. Returns R.
///
/// # Safety
/// As for [`gemm`].
#[inline(always)]
unsafe fn weight_rows<T: Scalar, S: Lanes<T>, const R: usize>(
    s: S,
    weight: View<T>,
    x: View<T>,
    out: ViewMut<T>,
) -> usize {
    let batch = x.rows();
    let mut i = 0;
    while i < batch {
        // SAFETY: the caller's promise; rows i to `batch` exist.
        i += unsafe {
            match batch - i {
                TILE_BATCH_ROWS.. => tile::<T, S, R, TILE_BATCH_ROWS>(s, weight, x, i, out),
                _ => tile::<T, S, R, 1>(s, weight, x, i, out),
            }
        };
    }
    R
}

/// One tile: R weight rows with B batch rows, of which the first is row `i`. Returns B.
///
/// # Safety
/// As for [`gemm`]; `out` has rows i to i + B.
#[inline(always)]
unsafe fn tile<T: Scalar, S: Lanes<T>, const R: usize, const B: usize>(
    s: S,
    weight: View<T>,
    x: View<T>,
    i: usize,
    out: ViewMut<T>,
) -> usize {
    let rows = x.rows_from(i);
    // The first batch rows bring these weights into the cache, and prefetch the weight rows of the next tiles
    // meanwhile.
    let result = if i == 0 {
        dot_tile::<T, S, R, B, true>(s, weight, rows, PrefetchDistance(R * x.cols()))
    } else {
        dot_tile::<T, S, R, B, false>(s, weight, rows, PrefetchDistance(0))
    };
    for (b, sums) in result.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), out.at(i + b, 0), R) };
    }
    B
}
