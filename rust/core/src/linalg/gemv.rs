//! One row in: y = activation(W x + b) * scale, limited by how fast the weights can be read.
//!
//! Weights in memory are read as runs of rows side by side, each from front to back, asking ahead by
//! [`PREFETCH_BYTES`]; the few of a narrow layer as blocks of eight neighbouring rows, which needs no asking. Other
//! weights are packed, see `plan`.
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
//! Also lost: asking for a line four pages ahead to warm the TLB (10 % slower), and non-temporal prefetches (three
//! times slower).

use super::tile::{Ahead, tile};
use crate::scalar::Scalar;
use crate::simd::{BLOCK, Lanes};

/// Where the weights come from, which decides in what order they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A cache.
    Cache,
    /// Main memory.
    Memory,
}

/// Runs of rows side by side.
pub(crate) const RUNS: usize = 2;

/// How far ahead of each read its run is asked for.
const PREFETCH_BYTES: usize = 3072;

/// `out[j] = weight[j] . x`; weight is (outputs, inputs), x (inputs,), out (outputs,).
#[inline(always)]
pub(super) fn gemv<T: Scalar, S: Lanes<T>>(s: S, weight: &[T], x: &[T], source: Source, out: &mut [T]) {
    match source {
        Source::Cache => in_blocks(s, weight, x, out),
        Source::Memory => in_runs(s, weight, x, out),
    }
}

/// Run by run: rows i, i + n, i + 2 n, ... together, where n is the length of a run.
#[inline(always)]
fn in_runs<T: Scalar, S: Lanes<T>>(s: S, weight: &[T], x: &[T], out: &mut [T]) {
    let length = out.len() / RUNS;
    let ahead = Ahead(PREFETCH_BYTES / size_of::<T>());
    for i in 0..length {
        let [sums] = tile::<T, S, RUNS, 1, true>(s, (&weight[i * x.len()..], length * x.len()), (x, 0), x.len(), ahead);
        for (run, sum) in sums.into_iter().enumerate().take(RUNS) {
            out[run * length + i] = sum;
        }
    }
    in_blocks(s, &weight[RUNS * length * x.len()..], x, &mut out[RUNS * length..]);
}

/// In blocks of neighbouring rows.
#[inline(always)]
fn in_blocks<T: Scalar, S: Lanes<T>>(s: S, weight: &[T], x: &[T], out: &mut [T]) {
    let mut row = 0;
    while row < out.len() {
        let (block, rest) = (&weight[row * x.len()..], &mut out[row..]);
        row += match rest.len() {
            BLOCK.. => rows::<T, S, BLOCK>(s, block, x, rest),
            4.. => rows::<T, S, 4>(s, block, x, rest),
            2.. => rows::<T, S, 2>(s, block, x, rest),
            _ => rows::<T, S, 1>(s, block, x, rest),
        };
    }
}

/// The first R rows; returns R.
#[inline(always)]
fn rows<T: Scalar, S: Lanes<T>, const R: usize>(s: S, weight: &[T], x: &[T], out: &mut [T]) -> usize {
    let [sums] = tile::<T, S, R, 1, false>(s, (weight, x.len()), (x, 0), x.len(), Ahead(0));
    out[..R].copy_from_slice(&sums[..R]);
    R
}
