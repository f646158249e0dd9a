//! The product of a layer's weights with one row. Its speed is that of reading the weights.
//!
//! Weights in memory are read as [`STREAMS`] streams of rows side by side, each from front to back, with a prefetch
//! [`PREFETCH_BYTES`] ahead. Weights in a cache are read in groups of neighbouring rows, without prefetch.
//! Measured against other numbers of streams and distances: `rust/core/TUNING.md`, "Row streams and prefetch".

use super::dot_tile::{PrefetchDistance, dot_tile};
use super::view::View;
use crate::scalar::Scalar;
use crate::simd::{Lanes, N_SUMS};

/// Where the weights are, which decides the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightSource {
    /// In a cache.
    Cache,
    /// In main memory.
    Memory,
}

/// Streams of rows that are read side by side from memory.
pub(crate) const STREAMS: usize = 2;

/// Neighbouring rows that are read together from a cache: enough independent multiply-adds to hide their latency.
pub(crate) const GROUP_ROWS: usize = N_SUMS;

/// The prefetch distance of each stream.
const PREFETCH_BYTES: usize = 3072;

/// `out[j] = weight[j] . x`; weight is (outputs, inputs) without gaps between its rows, x (1, inputs), out (outputs,).
#[inline(always)]
pub(super) fn gemv<T: Scalar, S: Lanes<T>>(s: S, weight: View<T>, x: View<T>, source: WeightSource, out: &mut [T]) {
    match source {
        WeightSource::Cache => in_groups(s, weight, x, out),
        WeightSource::Memory => in_streams(s, weight, x, out),
    }
}

/// Rows i, i + n, i + 2 n, ... together, where n is the number of rows in a stream.
#[inline(always)]
fn in_streams<T: Scalar, S: Lanes<T>>(s: S, weight: View<T>, x: View<T>, out: &mut [T]) {
    assert!(weight.rows() == out.len());
    let length = out.len() / STREAMS;
    let distance = PrefetchDistance(PREFETCH_BYTES / size_of::<T>());
    for i in 0..length {
        // SAFETY: rows i, i + length, ... of the weights exist, since i < length.
        let rows = unsafe { View::new(weight.at(i, 0), STREAMS, weight.cols(), length * weight.stride()) };
        let [sums] = dot_tile::<T, S, STREAMS, 1, true>(s, rows, x, distance);
        for (stream, sum) in sums.into_iter().enumerate().take(STREAMS) {
            out[stream * length + i] = sum;
        }
    }
    in_groups(s, weight.rows_from(STREAMS * length), x, &mut out[STREAMS * length..]);
}

/// In groups of neighbouring rows.
#[inline(always)]
fn in_groups<T: Scalar, S: Lanes<T>>(s: S, weight: View<T>, x: View<T>, out: &mut [T]) {
    let mut row = 0;
    while row < out.len() {
        let (weight, out) = (weight.rows_from(row), &mut out[row..]);
        row += match out.len() {
            GROUP_ROWS.. => group::<T, S, GROUP_ROWS>(s, weight, x, out),
            4.. => group::<T, S, 4>(s, weight, x, out),
            2.. => group::<T, S, 2>(s, weight, x, out),
            _ => group::<T, S, 1>(s, weight, x, out),
        };
    }
}

/// The first R rows; returns R.
#[inline(always)]
fn group<T: Scalar, S: Lanes<T>, const R: usize>(s: S, weight: View<T>, x: View<T>, out: &mut [T]) -> usize {
    let [sums] = dot_tile::<T, S, R, 1, false>(s, weight, x, PrefetchDistance(0));
    out[..R].copy_from_slice(&sums[..R]);
    R
}
