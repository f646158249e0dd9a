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

/// The products of R rows of weights with B rows of inputs: `result[b][r] = weight[r] . x[b]`.
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
) -> [[T; R]; B] {
    assert!(weight.len() >= (R - 1) * weight_stride + cols && x.len() >= (B - 1) * x_stride + cols);
    let (w, x, line) = (weight.as_ptr(), x.as_ptr(), CACHE_LINE / size_of::<T>());
    let mut sums = [[s.splat(T::ZERO); R]; B];
    let mut column = 0;
    // A cache line of each row at a time, so that each line is asked for once whatever the width of a register.
    while column + line <= cols {
        if PREFETCH {
            for r in 0..R {
                s.prefetch(w.wrapping_add(r * weight_stride + column + ahead.0));
            }
        }
        let end = column + line;
        while column < end {
            // SAFETY: r < R, b < B and column + N <= end <= cols: inside the rows by the assertion.
            let load = |p: *const T, offset: usize| unsafe { s.load(p.add(offset + column)) };
            let xs: [S::V; B] = std::array::from_fn(|b| load(x, b * x_stride));
            for r in 0..R {
                let w = load(w, r * weight_stride);
                for (sums, x) in sums.iter_mut().zip(xs) {
                    sums[r] = s.mul_add(w, x, sums[r]);
                }
            }
            column += S::N;
        }
    }
    while column < cols {
        let n = (cols - column).min(S::N);
        // SAFETY: r < R, b < B and column + n <= cols: inside the rows by the assertion.
        let load = |p: *const T, offset: usize| unsafe {
            let p = p.add(offset + column);
            if n == S::N { s.load(p) } else { s.load_first(p, n) }
        };
        let xs: [S::V; B] = std::array::from_fn(|b| load(x, b * x_stride));
        for r in 0..R {
            let w = load(w, r * weight_stride);
            for (sums, x) in sums.iter_mut().zip(xs) {
                sums[r] = s.mul_add(w, x, sums[r]);
            }
        }
        column += n;
    }
    // Across the registers, eight at a time.
    let mut result = [[T::ZERO; R]; B];
    for first in (0..R * B).step_by(BLOCK) {
        let registers = std::array::from_fn(|i| match first + i {
            i if i < R * B => sums[i / R][i % R],
            _ => s.splat(T::ZERO),
        });
        let count = BLOCK.min(R * B - first);
        result.as_flattened_mut()[first..first + count].copy_from_slice(&s.sums(registers)[..count]);
    }
    result
}
