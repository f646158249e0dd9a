//! One row in: y = activation(W x + b) * scale, limited by how fast the weights can be read.
//!
//! Weights in memory are read as runs of rows side by side, each from front to back, asking ahead by
//! [`PREFETCH_BYTES`]; weights in a core's own cache as blocks of eight neighbouring rows, which needs no asking.
//!
//! Measured on 100 layers of 1024 x 1024 f32 (2 cores of a Granite Rapids class VM, 2026-11-24, medians, interleaved;
//! ms for 1 / 2 threads; in huge pages as `workspace` asks for, then in small ones):
//!
//! | rows side by side | huge | small |
//! | --- | --- | --- |
//! | one row, no prefetch | 30.7 / 16.6 | 32.4 / 16.4 |
//! | 8 neighbouring rows, prefetching the next block | 27.4 / 14.2 | 28.5 / 14.9 |
//! | 8 neighbouring rows, no prefetch | 26.8 / 13.9 | 27.5 / 14.2 |
//! | 1 run, 3 KiB ahead | 22.1 / 12.0 | 29.8 / 15.4 |
//! | 2 runs, 3 KiB ahead | 22.5 / 12.2 | 27.0 / 14.0 |
//! | 4 runs, 3 KiB ahead | 23.8 / 12.4 | 25.2 / 13.4 |
//! | 8 runs, 3 KiB ahead | 25.0 / 12.8 | 25.8 / 13.7 |
//!
//! Two runs are near the best far beyond the caches; four are where the last-level cache helps: for 25 layers
//! (105 MB) 1.75 ms against 1.8 for two and 2.3 for one, equal at about 200 MB. `plan` chooses. Also lost: asking for a line four pages
//! ahead to warm the TLB (10 % slower), and non-temporal prefetches (three times slower).
//!
//! Each row has its own accumulator and is summed in the same order whatever rows it is read with: the bits do not
//! depend on how rows are split over threads.

use super::epilogue::{DenseRows, finish};
use crate::activation::Epilogue;
use crate::scalar::Scalar;
use crate::simd::math::ExpConstants;
use crate::simd::{BLOCK, CACHE_LINE, Lanes};

/// Where the weights come from, which decides in what order they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The core's own cache.
    Cache,
    /// A cache that cores share.
    SharedCache,
    /// Main memory.
    Memory,
}

/// The work of one thread on one layer: some rows of the weights, and the row to multiply them with.
pub(crate) struct DenseRow<'a, T> {
    pub rows: DenseRows<'a, T>,
    /// (inputs,)
    pub x: &'a [T],
    pub epilogue: &'a Epilogue<T>,
    pub source: Source,
}

/// `out[j] = activation(weight[j] . x + bias[j]) * scale`; `out` has one element a row.
#[inline(always)]
pub(crate) fn dense_row<T: ExpConstants, S: Lanes<T>>(s: S, work: &DenseRow<T>, out: &mut [T]) {
    assert_eq!(work.rows.weight.len(), out.len() * work.x.len());
    match work.source {
        Source::Cache => products(s, work.rows.weight, work.x, out),
        Source::SharedCache => streamed_products::<T, S, 4>(s, work.rows.weight, work.x, out),
        Source::Memory => streamed_products::<T, S, 2>(s, work.rows.weight, work.x, out),
    }
    finish(s, work.rows, work.epilogue, work.x, out);
}

/// How far ahead of each read its run is asked for.
const PREFETCH_BYTES: usize = 3072;

/// `out[j] = weight[j] . x`, run by run: rows i, i + n, i + 2 n, ... together, where n is the length of a run.
#[inline(always)]
fn streamed_products<T: Scalar, S: Lanes<T>, const RUNS: usize>(s: S, weight: &[T], x: &[T], out: &mut [T]) {
    let length = out.len() / RUNS;
    for i in 0..length {
        let sums = row_sums::<T, S, RUNS, true>(s, &weight[i * x.len()..], length * x.len(), x);
        for (run, sum) in sums.into_iter().enumerate().take(RUNS) {
            out[run * length + i] = sum;
        }
    }
    products(s, &weight[RUNS * length * x.len()..], x, &mut out[RUNS * length..]);
}

/// `out[j] = weight[j] . x`, in blocks of neighbouring rows.
#[inline(always)]
fn products<T: Scalar, S: Lanes<T>>(s: S, weight: &[T], x: &[T], out: &mut [T]) {
    let mut row = 0;
    while row < out.len() {
        let (block, rest) = (&weight[row * x.len()..], &mut out[row..]);
        let (height, sums) = match rest.len() {
            BLOCK.. => (BLOCK, row_sums::<T, S, BLOCK, false>(s, block, x.len(), x)),
            4.. => (4, row_sums::<T, S, 4, false>(s, block, x.len(), x)),
            2.. => (2, row_sums::<T, S, 2, false>(s, block, x.len(), x)),
            _ => (1, row_sums::<T, S, 1, false>(s, block, x.len(), x)),
        };
        rest[..height].copy_from_slice(&sums[..height]);
        row += height;
    }
}

/// The products with x of R rows, of which the first begins at `weight` and each next one `stride` elements later.
#[inline(always)]
fn row_sums<T: Scalar, S: Lanes<T>, const R: usize, const PREFETCH: bool>(
    s: S,
    weight: &[T],
    stride: usize,
    x: &[T],
) -> [T; BLOCK] {
    let cols = x.len();
    debug_assert!(weight.len() >= (R - 1) * stride + cols);
    let (w, line) = (weight.as_ptr(), CACHE_LINE / size_of::<T>());
    let mut sums = [s.splat(T::ZERO); BLOCK];
    let mut column = 0;
    // A cache line of each row at a time, so that each line is asked for once whatever the width of a register.
    while column + line <= cols {
        for (r, sum) in sums.iter_mut().enumerate().take(R) {
            if PREFETCH {
                s.prefetch(w.wrapping_add(r * stride + column + PREFETCH_BYTES / size_of::<T>()));
            }
            let mut c = column;
            while c < column + line {
                // SAFETY: r < R and c + N <= column + line <= cols: inside row r of weight, and inside x.
                unsafe { *sum = s.mul_add(s.load(w.add(r * stride + c)), s.load(x.as_ptr().add(c)), *sum) };
                c += S::N;
            }
        }
        column += line;
    }
    while column + S::N <= cols {
        for (r, sum) in sums.iter_mut().enumerate().take(R) {
            // SAFETY: r < R and column + N <= cols.
            unsafe { *sum = s.mul_add(s.load(w.add(r * stride + column)), s.load(x.as_ptr().add(column)), *sum) };
        }
        column += S::N;
    }
    if column < cols {
        let n = cols - column;
        for (r, sum) in sums.iter_mut().enumerate().take(R) {
            // SAFETY: r < R, and n < N elements are left in row r and in x.
            unsafe {
                let (w, x) = (s.load_first(w.add(r * stride + column), n), s.load_first(x.as_ptr().add(column), n));
                *sum = s.mul_add(w, x, *sum);
            }
        }
    }
    s.sums(sums)
}
