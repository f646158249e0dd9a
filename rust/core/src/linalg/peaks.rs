//! Loops that reach the machine's peaks, for `probe`: reading memory with the access pattern of `gemv`, and
//! multiply-adds in registers, in f32 and f64 and in low precision.

use std::hint::black_box;

use crate::scalar::Scalar;
use crate::simd::dispatch::{Operation, SafeOperation};
use crate::simd::low_precision::dispatch::LowPrecisionOperation;
use crate::simd::low_precision::{LowPrecision, Multiply, TILE_ROW_UNIT, TILE_STEPS};
use crate::simd::{CACHE_LINE, Lanes};
use crate::weight_format::WeightFormat;

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

/// The multiply-adds of a low-precision format, `rounds` times on each of several registers of sums, or of tiles of
/// sums. Returns the number of operations, two per multiply-add.
pub(crate) struct LowPrecisionMultiplyAdd {
    pub format: WeightFormat,
    pub rounds: usize,
}

impl LowPrecisionOperation for LowPrecisionMultiplyAdd {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: LowPrecision>(self, s: S) -> usize {
        match self.format {
            WeightFormat::F16 => multiply_add(s.f16(), self.rounds),
            WeightFormat::Bf16 => multiply_add(s.bf16(), self.rounds),
            WeightFormat::Int8 => multiply_add(s.int8(), self.rounds),
            WeightFormat::Int8Weights => multiply_add(s.int8_weights(), self.rounds),
        }
    }
}

/// Operands of a step, and of a tile: bytes that are ordinary numbers in every format, neither denormal nor infinite.
#[repr(C, align(64))]
struct Operands([u8; 1024]);

static OPERANDS: Operands = Operands([0x3f; 1024]);

#[inline(always)]
fn multiply_add<M: Multiply>(m: M, rounds: usize) -> usize {
    if M::MIN_TILE_ROWS < usize::MAX {
        m.begin_tiles();
        // SAFETY: tiles are prepared, and the operands are as large as one.
        unsafe { m.repeat_tile_products(OPERANDS.0.as_ptr(), rounds) };
        m.end_tiles();
        return 2 * rounds * 4 * TILE_ROW_UNIT * TILE_ROW_UNIT * TILE_STEPS * M::GROUP;
    }
    // As many sums as the micro-kernel has at most: two registers for each of its rows.
    if M::TILE_ROWS >= 6 { multiply_add_rows::<M, 6>(m, rounds) } else { multiply_add_rows::<M, 4>(m, rounds) }
}

#[inline(always)]
fn multiply_add_rows<M: Multiply, const R: usize>(m: M, rounds: usize) -> usize {
    let p = OPERANDS.0.as_ptr();
    // SAFETY: the operands are larger than those of a step.
    let (weights, inputs) = unsafe { ([m.load_weights(p), m.load_weights(p.add(1))], m.splat_inputs(p)) };
    let mut inputs = [inputs; R];
    let mut sums = [[m.zero(); 2]; R];
    for _ in 0..rounds {
        // Or the compiler would compute once what does not depend on the sums.
        black_box(&mut inputs);
        for (sums, inputs) in sums.iter_mut().zip(&inputs) {
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = m.multiply_add(weights, *inputs, *sum);
            }
        }
    }
    // One by one: with the address of the array, all sums would be stored in each round.
    for sum in sums.as_flattened() {
        black_box(*sum);
    }
    2 * rounds * R * 2 * M::Lanes::N * M::GROUP
}
