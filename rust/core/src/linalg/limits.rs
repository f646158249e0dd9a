//! The loops behind the probe: reading as fast as the machine can, and multiplying and adding as fast as it can.
//! No product is computed here; they have the access pattern of `gemv` and the instruction of `gemm`.

use std::hint::black_box;

use crate::scalar::Scalar;
use crate::simd::{CACHE_LINE, Lanes};

/// How the probe walks through memory: `streams` runs of equal length side by side, each from front to back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPattern {
    /// Runs read side by side: 1, 2, 4 or 8.
    pub streams: usize,
    /// How many bytes ahead of each read the line is asked for; 0 asks for none.
    pub prefetch_distance: usize,
}

/// Reads all of `data` but what does not fill a cache line in each run; returns a sum, so that no read can be left out.
#[inline(always)]
pub(super) fn read<T: Scalar, S: Lanes<T>>(s: S, data: &[T], pattern: ReadPattern) -> T {
    match pattern.streams {
        8 => read_streams::<T, S, 8>(s, data, pattern.prefetch_distance),
        4 => read_streams::<T, S, 4>(s, data, pattern.prefetch_distance),
        2 => read_streams::<T, S, 2>(s, data, pattern.prefetch_distance),
        _ => read_streams::<T, S, 1>(s, data, pattern.prefetch_distance),
    }
}

#[inline(always)]
fn read_streams<T: Scalar, S: Lanes<T>, const STREAMS: usize>(s: S, data: &[T], prefetch_distance: usize) -> T {
    let line = CACHE_LINE / size_of::<T>();
    let run = data.len() / STREAMS / line * line;
    let ahead = prefetch_distance / size_of::<T>();
    let mut sums = [s.splat(T::ZERO); 8];
    for position in (0..run).step_by(line) {
        for (stream, sum) in sums.iter_mut().enumerate().take(STREAMS) {
            let p = data.as_ptr().wrapping_add(stream * run + position);
            if ahead > 0 {
                s.prefetch(p.wrapping_add(ahead));
            }
            for lane in (0..line).step_by(S::N) {
                // SAFETY: stream < STREAMS and position + lane + N <= run: inside the data.
                *sum = s.add(*sum, unsafe { s.load(p.add(lane)) });
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
