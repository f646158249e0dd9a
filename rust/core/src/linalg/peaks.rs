//! Loops that reach the machine's peaks, for `probe`: reading memory with the access pattern of `gemv`, and
//! multiply-adds in registers.

use std::hint::black_box;

use crate::scalar::Scalar;
use crate::simd::dispatch::{Operation, SafeOperation};
use crate::simd::{CACHE_LINE, Lanes};

/// The order in which the probe reads memory: `streams` parts of equal length side by side, each from front to back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPattern {
    /// Streams that are read side by side: 1, 2, 4 or 8.
    pub streams: usize,
    /// How many bytes ahead of each read its stream is prefetched; 0 for no prefetch.
    pub prefetch_distance: usize,
}

/// Reads `data`, except what does not fill a cache line in each stream. Returns a sum, so that no read is optimized
/// away.
pub(crate) struct ReadMemory<'a, T> {
    pub data: &'a [T],
    pub pattern: ReadPattern,
}

impl<T: Scalar> Operation<T> for ReadMemory<'_, T> {
    type Output = T;

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) -> T {
        let ReadMemory { data, pattern } = self;
        match pattern.streams {
            8 => read_streams::<T, S, 8>(s, data, pattern.prefetch_distance),
            4 => read_streams::<T, S, 4>(s, data, pattern.prefetch_distance),
            2 => read_streams::<T, S, 2>(s, data, pattern.prefetch_distance),
            _ => read_streams::<T, S, 1>(s, data, pattern.prefetch_distance),
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for ReadMemory<'_, T> {}

#[inline(always)]
fn read_streams<T: Scalar, S: Lanes<T>, const STREAMS: usize>(s: S, data: &[T], prefetch_distance: usize) -> T {
    let line = CACHE_LINE / size_of::<T>();
    let length = data.len() / STREAMS / line * line;
    let distance = prefetch_distance / size_of::<T>();
    let mut sums = [s.splat(T::ZERO); 8];
    for position in (0..length).step_by(line) {
        for (stream, sum) in sums.iter_mut().enumerate().take(STREAMS) {
            let p = data.as_ptr().wrapping_add(stream * length + position);
            if distance > 0 {
                s.prefetch(p.wrapping_add(distance));
            }
            for lane in (0..line).step_by(S::N) {
                // SAFETY: stream < STREAMS and position + lane + N <= length, inside the data.
                *sum = s.add(*sum, unsafe { s.load(p.add(lane)) });
            }
        }
    }
    s.horizontal_sums(sums).into_iter().fold(T::ZERO, |a, b| a + b)
}

/// One multiply-add on each of twelve registers, `rounds` times. Twelve chains exceed latency times ports of current
/// CPUs, and fit into registers. Returns a sum and the number of floating-point operations, two per multiply-add and
/// lane.
pub(crate) struct MultiplyAdd {
    pub rounds: usize,
}

impl<T: Scalar> Operation<T> for MultiplyAdd {
    type Output = (T, usize);

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) -> (T, usize) {
        let MultiplyAdd { rounds } = self;
        const CHAINS: usize = 12;
        // Converges to 0.5 / (1 - 0.5) = 1: neither overflows nor becomes subnormal.
        let (factor, addend) = (s.splat(black_box(T::from_f64(0.5))), s.splat(black_box(T::from_f64(0.5))));
        // Different starts, because the compiler would compute equal chains once.
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
        (s.horizontal_sums(folded).into_iter().fold(T::ZERO, |a, b| a + b), 2 * rounds * CHAINS * S::N)
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for MultiplyAdd {}
