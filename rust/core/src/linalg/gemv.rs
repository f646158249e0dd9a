//! One row in: y = activation(W x + b) * scale, limited by how fast the weights can be read.
//!
//! A block of eight rows of W is read side by side, column by column, with one accumulator a row. That is eight
//! independent chains of multiply-adds and eight read streams; while it is summed, the same columns of the next
//! block are asked for, so that the memory works ahead on eight streams more. Reading row after row is a single
//! stream and half as fast from memory (DESIGN.md has the table).
//!
//! Each row has its own accumulator and is summed in the same order whatever block it falls in: the bits do not
//! depend on how rows are split over threads.

use super::epilogue::{DenseRows, finish};
use crate::activation::Epilogue;
use crate::scalar::Scalar;
use crate::simd::math::ExpConstants;
use crate::simd::{BLOCK, CACHE_LINE, Lanes};

/// The work of one thread on one layer: some rows of the weights, and the row to multiply them with.
pub(crate) struct DenseRow<'a, T> {
    pub rows: DenseRows<'a, T>,
    /// (inputs,)
    pub x: &'a [T],
    pub epilogue: &'a Epilogue<T>,
    /// What this thread reads after these rows: asked for during the last block. `None` turns all prefetching off,
    /// which is faster where the weights are in the cache already.
    pub next: Option<*const T>,
}

/// out[j] = activation(weight[j] . x + bias[j]) * scale; `out` has one element a row.
#[inline(always)]
pub(crate) fn dense_row<T: ExpConstants, S: Lanes<T>>(s: S, work: &DenseRow<T>, out: &mut [T]) {
    assert_eq!(work.rows.weight.len(), out.len() * work.x.len());
    match work.next {
        Some(next) => products::<T, S, true>(s, work.rows.weight, work.x, next, out),
        None => products::<T, S, false>(s, work.rows.weight, work.x, std::ptr::null(), out),
    }
    finish(s, work.rows, work.epilogue, work.x, out);
}

/// out[j] = weight[j] . x
#[inline(always)]
fn products<T: Scalar, S: Lanes<T>, const PREFETCH: bool>(s: S, weight: &[T], x: &[T], next: *const T, out: &mut [T]) {
    let mut row = 0;
    while row < out.len() {
        let block = &weight[row * x.len()..];
        let rest = &mut out[row..];
        // A block as tall as this one follows, or else what comes after these rows.
        let ahead = if rest.len() >= 2 * BLOCK { block.as_ptr().wrapping_add(BLOCK * x.len()) } else { next };
        row += match rest.len() {
            BLOCK.. => rows::<T, S, BLOCK, PREFETCH>(s, block, x, ahead, rest),
            4.. => rows::<T, S, 4, PREFETCH>(s, block, x, ahead, rest),
            2.. => rows::<T, S, 2, PREFETCH>(s, block, x, ahead, rest),
            _ => rows::<T, S, 1, PREFETCH>(s, block, x, ahead, rest),
        };
    }
}

/// The products of the first R rows of `weight` with x, asking meanwhile for R rows at `ahead`. Returns R.
#[inline(always)]
fn rows<T: Scalar, S: Lanes<T>, const R: usize, const PREFETCH: bool>(
    s: S,
    weight: &[T],
    x: &[T],
    ahead: *const T,
    out: &mut [T],
) -> usize {
    let cols = x.len();
    debug_assert!(weight.len() >= R * cols && out.len() >= R);
    let (w, line) = (weight.as_ptr(), CACHE_LINE / size_of::<T>());
    let mut sums = [s.splat(T::ZERO); BLOCK];
    let mut column = 0;
    // A cache line of each row at a time, so that each line is asked for once whatever the width of a register.
    while column + line <= cols {
        for (r, sum) in sums.iter_mut().enumerate().take(R) {
            if PREFETCH {
                s.prefetch(ahead.wrapping_add(r * cols + column));
            }
            let mut c = column;
            while c < column + line {
                // SAFETY: r < R and c + N <= column + line <= cols: inside row r of weight, and inside x.
                unsafe { *sum = s.mul_add(s.load(w.add(r * cols + c)), s.load(x.as_ptr().add(c)), *sum) };
                c += S::N;
            }
        }
        column += line;
    }
    while column + S::N <= cols {
        for (r, sum) in sums.iter_mut().enumerate().take(R) {
            // SAFETY: r < R and column + N <= cols.
            unsafe { *sum = s.mul_add(s.load(w.add(r * cols + column)), s.load(x.as_ptr().add(column)), *sum) };
        }
        column += S::N;
    }
    if column < cols {
        let n = cols - column;
        for (r, sum) in sums.iter_mut().enumerate().take(R) {
            // SAFETY: r < R, and n < N elements are left in row r and in x.
            unsafe {
                let (w, x) = (s.load_first(w.add(r * cols + column), n), s.load_first(x.as_ptr().add(column), n));
                *sum = s.mul_add(w, x, *sum);
            }
        }
    }
    out[..R].copy_from_slice(&s.sums(sums)[..R]);
    R
}
