//! Measures the peak read bandwidth and the peak rates of multiply-adds of this machine, as limits to compare the time
//! of a pass with.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::linalg::peaks::{LowPrecisionMultiplyAdd, MultiplyAdd, ReadMemory, ReadPattern};
use crate::memory::zeros;
use crate::parallel::with_team;
use crate::simd::dispatch::{Dispatch, Kernels, kernels};
use crate::simd::low_precision::dispatch;
use crate::simd::{CACHE_LINE, Isa, LowPrecisionIsa};
use crate::weight_format::WeightFormat;

/// The peak rates of this machine: the best of several measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineLimits {
    /// Threads that were used.
    pub n_threads: usize,
    /// Bytes that were read repeatedly.
    pub working_set: usize,
    /// Read bandwidth of all threads together, in bytes per second.
    pub read_bandwidth: f64,
    /// The fastest read pattern.
    pub pattern: ReadPattern,
    /// Floating-point operations per second in f32; a multiply-add counts as two.
    pub fma_f32: f64,
    /// Floating-point operations per second in f64; a multiply-add counts as two.
    pub fma_f64: f64,
    /// Operations per second on bf16 numbers, summed in f32; a multiply-add counts as two.
    pub multiply_add_bf16: f64,
    /// Operations per second on 8-bit integers, summed in i32; a multiply-add counts as two.
    pub multiply_add_int8: f64,
}

/// The default working set in bytes: more than most caches hold.
pub const DEFAULT_WORKING_SET: usize = 256 << 20;

/// The time for reading, over all patterns and rounds. The rest of the probe takes about a tenth of it.
const READ_TIME: Duration = Duration::from_millis(400);

/// The time of one run of multiply-adds: long enough for every core to wake and to reach its steady clock rate.
const MULTIPLY_ADD_TIME: Duration = Duration::from_millis(15);

/// Measures the peak rates with `n_threads` threads, in about half a second. `working_set` is in bytes and rounded up
/// to whole cache lines for every stream of every thread.
///
/// # Errors
/// [`crate::Error::OutOfMemory`] if the working set cannot be allocated.
pub fn machine_limits(n_threads: usize, working_set: usize) -> Result<MachineLimits> {
    let (isa, low_precision) = (Isa::active()?, LowPrecisionIsa::active()?);
    let (working_set, read_bandwidth, pattern) = read_bandwidth(kernels(isa)?, n_threads, working_set)?;
    Ok(MachineLimits {
        n_threads,
        working_set,
        read_bandwidth,
        pattern,
        fma_f32: fma_rate(kernels::<f32>(isa)?, n_threads),
        fma_f64: fma_rate(kernels::<f64>(isa)?, n_threads),
        multiply_add_bf16: low_precision_rate(low_precision, WeightFormat::Bf16, n_threads),
        multiply_add_int8: low_precision_rate(low_precision, WeightFormat::Int8, n_threads),
    })
}

/// The read patterns that are tried: every number of streams with every prefetch distance.
fn patterns() -> impl Iterator<Item = ReadPattern> {
    [1, 2, 4, 8]
        .into_iter()
        .flat_map(|streams| [0, 1024, 2048, 3072].map(|prefetch_distance| ReadPattern { streams, prefetch_distance }))
}

/// Tries all patterns in turn until [`READ_TIME`] is over; returns (bytes read, best bytes per second, its pattern).
fn read_bandwidth(kernels: &Kernels<f64>, n_threads: usize, working_set: usize) -> Result<(usize, f64, ReadPattern)> {
    // Whole cache lines for each of at most eight streams of each thread.
    let unit = 8 * CACHE_LINE / size_of::<f64>();
    let len = (working_set / size_of::<f64>()).next_multiple_of(unit * n_threads);
    let mut data = zeros::<f64>("working_set", len)?;
    // Touches every page: reads of untouched memory all hit the kernel's single page of zeros.
    data.fill(1.0);
    let bytes = len * size_of::<f64>();
    // Small working sets are read several times in a measurement, so that calling the workers is a small part of it.
    let repeats = (64usize << 20).div_ceil(bytes);
    let seconds = |pattern| {
        let started = Instant::now();
        with_team(n_threads, |team| {
            team.open();
            team.for_each_range(len, unit, 1, |_, share| {
                for _ in 0..repeats {
                    black_box(kernels.run(ReadMemory { data: black_box(&data[share.clone()]), pattern }));
                }
            });
        });
        started.elapsed().as_secs_f64()
    };
    let mut best = (0.0, patterns().next().expect("there are patterns"));
    let started = Instant::now();
    for round in 0.. {
        for pattern in patterns() {
            let rate = (bytes * repeats) as f64 / seconds(pattern);
            if rate > best.0 {
                best = (rate, pattern);
            }
            if round > 0 && started.elapsed() > READ_TIME {
                return Ok((bytes, best.0, best.1));
            }
        }
    }
    unreachable!("the loop above ends by time")
}

/// Floating-point operations per second of all threads together.
fn fma_rate<T: Dispatch>(kernels: &Kernels<T>, n_threads: usize) -> f64 {
    multiply_add_rate(n_threads, |rounds| {
        let (value, operations) = kernels.run(MultiplyAdd { rounds });
        black_box(value);
        operations
    })
}

/// Operations per second of all threads together on numbers of `format`. The CPU has `isa`.
fn low_precision_rate(isa: LowPrecisionIsa, format: WeightFormat, n_threads: usize) -> f64 {
    assert!(isa.is_available());
    // SAFETY: the CPU has the instruction set, and the operation has no requirements.
    let run = |rounds| unsafe { dispatch::run(isa, LowPrecisionMultiplyAdd { format, rounds }) };
    multiply_add_rate(n_threads, run)
}

/// Operations per second of all threads together, the best of three runs. `run` computes a number of rounds, at least
/// one, and returns the number of operations.
fn multiply_add_rate(n_threads: usize, run: impl Fn(usize) -> usize + Sync) -> f64 {
    let timed = |rounds: usize| {
        let started = Instant::now();
        let operations = std::sync::atomic::AtomicUsize::new(0);
        with_team(n_threads, |team| {
            team.open();
            team.for_each(n_threads, |_, _| {
                operations.fetch_add(run(black_box(rounds)), std::sync::atomic::Ordering::Relaxed);
            });
        });
        (operations.into_inner() as f64, started.elapsed().as_secs_f64())
    };
    let trial_rounds = 20_000;
    let (_, trial) = timed(trial_rounds);
    let rounds = (trial_rounds as f64 * MULTIPLY_ADD_TIME.as_secs_f64() / trial.max(1e-6)) as usize;
    (0..3).map(|_| timed(rounds.max(1))).fold(0.0, |best: f64, (operations, seconds)| best.max(operations / seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "measures time")]
    fn every_instruction_set_has_a_peak_in_every_format() {
        for isa in LowPrecisionIsa::available() {
            for format in WeightFormat::ALL {
                let rate = low_precision_rate(isa, *format, 1);
                assert!(rate.is_finite() && rate > 1e6, "{isa:?} {format:?}: {rate}");
            }
        }
    }
}
