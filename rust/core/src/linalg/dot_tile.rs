//! The micro-kernel of `gemv` and `gemm`: dot products of some rows of weights with some rows of inputs, each in its
//! own accumulator.
//!
//! Every sum runs column by column in the lanes of one register and then across the register, whatever the tile. Its
//! bits therefore depend neither on the number of threads nor on the other rows of the batch.

use super::view::View;
use crate::scalar::Scalar;
use crate::simd::{CACHE_LINE, Lanes, N_SUMS};

/// How many elements ahead of each read the weights are prefetched.
#[derive(Clone, Copy)]
pub(super) struct PrefetchDistance(pub usize);

/// `result[b][r] = weight[r] . x[b]` for the first R <= 8 rows of weights and the first B rows of inputs.
///
/// ```text
///              w[0]      w[1]      ...  w[R-1]        one register each, loaded for every column
/// x[0]      sum[0][0] sum[0][1]                       R x B accumulators: 8 x 1, 8 x 3 or 4 x 3
/// ...
/// x[B-1]    sum[B-1][0]                sum[B-1][R-1]
/// ```
#[inline(always)]
pub(super) fn dot_tile<T: Scalar, S: Lanes<T>, const R: usize, const B: usize, const PREFETCH: bool>(
    s: S,
    weight: View<T>,
    x: View<T>,
    distance: PrefetchDistance,
) -> [[T; N_SUMS]; B] {
    assert!(weight.rows() >= R && x.rows() >= B && weight.cols() == x.cols());
    let (cols, line) = (x.cols(), CACHE_LINE / size_of::<T>());
    // Eight in a row, of which R are used. With an index that is not constant they would live in memory.
    let mut sums = [[s.splat(T::ZERO); N_SUMS]; B];
    let mut column = 0;
    // A cache line of each row at a time, so that each line is prefetched once whatever the width of a register.
    while column + line <= cols {
        if PREFETCH {
            for r in 0..R {
                s.prefetch(weight.at(r, column + distance.0));
            }
        }
        // A constant count: with one that the compiler could not see, it kept the f64 accumulators of AVX-512 in
        // memory.
        for _ in 0..line / S::N {
            // SAFETY: column + N <= cols, since the line ends at or before `cols`.
            sums = unsafe { add_columns::<T, S, R, B>(s, weight, x, column, S::N, sums) };
            column += S::N;
        }
    }
    while column < cols {
        let n = S::N.min(cols - column);
        // SAFETY: column + n <= cols.
        sums = unsafe { add_columns::<T, S, R, B>(s, weight, x, column, n, sums) };
        column += n;
    }
    let mut result = [[T::ZERO; N_SUMS]; B];
    for (result, sums) in result.iter_mut().zip(&sums) {
        *result = s.horizontal_sums(*sums);
    }
    result
}

/// `sums` plus the products of the n <= N columns from `column` on.
///
/// # Safety
/// Both views have these columns, weight at least R rows and x at least B rows.
#[inline(always)]
unsafe fn add_columns<T: Scalar, S: Lanes<T>, const R: usize, const B: usize>(
    s: S,
    weight: View<T>,
    x: View<T>,
    column: usize,
    n: usize,
    mut sums: [[S::V; N_SUMS]; B],
) -> [[S::V; N_SUMS]; B] {
    let mut xs = [s.splat(T::ZERO); B];
    for (b, row) in xs.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *row = unsafe { s.load_up_to(x.at(b, column), n) };
    }
    for r in 0..R {
        // SAFETY: the caller's promise.
        let w = unsafe { s.load_up_to(weight.at(r, column), n) };
        for (sums, x) in sums.iter_mut().zip(&xs) {
            sums[r] = s.mul_add(w, *x, sums[r]);
        }
    }
    sums
}
