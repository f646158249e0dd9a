//! The microkernel of every product: some rows of weights times some rows of inputs, each pair in an accumulator of
//! its own.
//!
//! Every output is summed in the same order, column by column in one register and then across it, whatever tile it
//! falls in. So its bits depend neither on the number of threads nor on the rest of the batch.

use crate::scalar::Scalar;
use crate::simd::{BLOCK, CACHE_LINE, Lanes};

/// How many elements ahead of each read of the weights a line is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ahead(pub usize);

/// The products of R rows of weights with B rows of inputs: `result[b][r] = weight[r] . x[b]` for r < R <= 8.
///
/// `(weight, stride)` and `(x, stride)` are where the first row begins and how many elements later the next one does;
/// each row has `cols` elements. With PREFETCH, weights are asked for `ahead` of reading them.
///
/// ```text
///              w[0]      w[1]      ...  w[R-1]        one register each, loaded for every column
/// x[0]      sum[0][0] sum[0][1]                       R x B accumulators: 8 x 1, 8 x 3 or 4 x 3
/// ...
/// x[B-1]    sum[B-1][0]                sum[B-1][R-1]
/// ```
#[inline(always)]
pub(super) fn tile<T: Scalar, S: Lanes<T>, const R: usize, const B: usize, const PREFETCH: bool>(
    s: S,
    (weight, weight_stride): (&[T], usize),
    (x, x_stride): (&[T], usize),
    cols: usize,
    ahead: Ahead,
) -> [[T; BLOCK]; B] {
    assert!(weight.len() >= (R - 1) * weight_stride + cols && x.len() >= (B - 1) * x_stride + cols);
    let (w, x, line) = (weight.as_ptr(), x.as_ptr(), CACHE_LINE / size_of::<T>());
    // Eight a row, of which R are used: indexed by anything but constants, they would live in memory.
    let mut sums = [[s.splat(T::ZERO); BLOCK]; B];
    let mut column = 0;
    // A cache line of each row at a time, so that each line is asked for once whatever the width of a register.
    while column + line <= cols {
        if PREFETCH {
            for r in 0..R {
                s.prefetch(w.wrapping_add(r * weight_stride + column + ahead.0));
            }
        }
        // As often as the compiler can count: where it could not, it kept f64 accumulators of AVX-512 in memory, and a
        // batch took 2.3 times as long.
        for _ in 0..line / S::N {
            // SAFETY: the registers of a line that ends at or before cols.
            sums = unsafe { step::<T, S, R, B>(s, (w, weight_stride), (x, x_stride), column, S::N, sums) };
            column += S::N;
        }
    }
    while column < cols {
        let n = S::N.min(cols - column);
        // SAFETY: column + n <= cols.
        sums = unsafe { step::<T, S, R, B>(s, (w, weight_stride), (x, x_stride), column, n, sums) };
        column += n;
    }
    let mut result = [[T::ZERO; BLOCK]; B];
    for (result, sums) in result.iter_mut().zip(&sums) {
        *result = s.sums(*sums);
    }
    result
}

/// `sums` after the columns from `column` to `column + n`, a register at most.
///
/// # Safety
/// R rows of weights and B rows of inputs have these columns.
#[inline(always)]
unsafe fn step<T: Scalar, S: Lanes<T>, const R: usize, const B: usize>(
    s: S,
    (w, w_stride): (*const T, usize),
    (x, x_stride): (*const T, usize),
    column: usize,
    n: usize,
    mut sums: [[S::V; BLOCK]; B],
) -> [[S::V; BLOCK]; B] {
    let mut xs = [s.splat(T::ZERO); B];
    for (b, row) in xs.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *row = unsafe { s.load_up_to(x.add(b * x_stride + column), n) };
    }
    for r in 0..R {
        // SAFETY: the caller's promise.
        let w = unsafe { s.load_up_to(w.add(r * w_stride + column), n) };
        for (sums, x) in sums.iter_mut().zip(&xs) {
            sums[r] = s.mul_add(w, *x, sums[r]);
        }
    }
    sums
}
