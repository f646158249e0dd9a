//! The loops behind the probe: reading as fast as the machine can, and multiplying and adding as fast as it can.
//! No product is computed here; they have the access pattern of `gemv` and the instruction of `gemm`.

use std::hint::black_box;

use crate::scalar::Scalar;
use crate::simd::{CACHE_LINE, Lanes};

/// How the probe walks through memory: blocks of `streams` rows of `row_bytes`, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPattern {
    /// Rows read side by side: 1, 2, 4 or 8.
    pub streams: usize,
    /// Bytes in a row.
    pub row_bytes: usize,
    /// How many bytes ahead of each read the line is asked for; 0 asks for none.
    pub prefetch_distance: usize,
}

/// Reads all whole blocks of `data`; returns a sum, so that no read can be left out.
#[inline(always)]
pub(super) fn read<T: Scalar, S: Lanes<T>>(s: S, data: &[T], pattern: ReadPattern) -> T {
    match pattern.streams {
        8 => read_streams::<T, S, 8>(s, data, pattern),
        4 => read_streams::<T, S, 4>(s, data, pattern),
        2 => read_streams::<T, S, 2>(s, data, pattern),
        _ => read_streams::<T, S, 1>(s, data, pattern),
    }
}

#[inline(always)]
fn read_streams<T: Scalar, S: Lanes<T>, const STREAMS: usize>(s: S, data: &[T], pattern: ReadPattern) -> T {
    let line = CACHE_LINE / size_of::<T>();
    let row = pattern.row_bytes / size_of::<T>();
    assert!(row.is_multiple_of(line));
    let ahead = pattern.prefetch_distance / size_of::<T>();
    let mut sums = [s.splat(T::ZERO); 8];
    for block in data.chunks_exact(STREAMS * row) {
        for column in (0..row).step_by(line) {
            for (stream, sum) in sums.iter_mut().enumerate().take(STREAMS) {
                let p = block.as_ptr().wrapping_add(stream * row + column);
                if ahead > 0 {
                    s.prefetch(p.wrapping_add(ahead));
                }
                for lane in (0..line).step_by(S::N) {
                    // SAFETY: stream < STREAMS and column + lane + N <= row: inside the block.
                    *sum = s.add(*sum, unsafe { s.load(p.add(lane)) });
                }
            }
        }
    }
    s.sums(sums).into_iter().fold(T::ZERO, |a, b| a + b)
}

/// Multiply-adds on twelve registers, `rounds` times: more chains than latency times ports on any CPU known, few
/// enough to stay in registers. Returns a sum and the number of floating-point operations (two per element).
#[inline(always)]
pub(super) fn multiply_add<T: Scalar, S: Lanes<T>>(s: S, rounds: usize) -> (T, usize) {
    const CHAINS: usize = 12;
    // Converges to 1 / (1 - 0.5) * 0.5: neither overflows nor becomes denormal.
    let (factor, addend) = (s.splat(black_box(T::from_f64(0.5))), s.splat(black_box(T::from_f64(0.5))));
    // Each chain starts elsewhere: equal ones would be computed once.
    let mut sums: [S::V; CHAINS] = std::array::from_fn(|i| s.splat(black_box(T::from_f64(i as f64))));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = s.mul_add(*sum, factor, addend);
        }
    }
    let mut folded = [s.splat(T::ZERO); 8];
    for (i, sum) in sums.into_iter().enumerate() {
        folded[i % 8] = s.add(folded[i % 8], sum);
    }
    (s.sums(folded).into_iter().fold(T::ZERO, |a, b| a + b), 2 * rounds * CHAINS * S::N)
}
