//! What this machine can do: how fast memory can be read and how fast it multiplies and adds, so that a measured
//! time can be compared with what is possible.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::linalg::kernels::{Kernels, kernels};
use crate::linalg::peaks::ReadPattern;
use crate::memory::zeros;
use crate::parallel::with_team;
use crate::scalar::Scalar;
use crate::simd::{CACHE_LINE, Isa};

/// The best that was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MachineLimits {
    /// Threads that worked together.
    pub n_threads: usize,
    /// Bytes that were read over and over.
    pub working_set: usize,
    /// Bytes read a second.
    pub read_bandwidth: f64,
    /// The pattern that was fastest.
    pub pattern: ReadPattern,
    /// Floating-point operations a second in f32, a multiply-add being two.
    pub fma_f32: f64,
    /// The same in f64.
    pub fma_f64: f64,
}

/// What is read unless the caller says otherwise: more than most caches hold.
pub const DEFAULT_WORKING_SET: usize = 256 << 20;

/// The time for reading, over all patterns and rounds; the rest of the probe takes about a tenth of it.
const READ_TIME: Duration = Duration::from_millis(400);

/// The time of one run of multiply-adds: long enough to wake every core and to reach its steady clock.
const MULTIPLY_ADD_TIME: Duration = Duration::from_millis(15);

/// Measures with `n_threads` threads for about half a second, reading `working_set` bytes (rounded down to blocks).
///
/// # Errors
/// [`crate::Error::OutOfMemory`] if the working set cannot be had.
pub fn machine_limits(n_threads: usize, working_set: usize) -> Result<MachineLimits> {
    let isa = Isa::active()?;
    let (working_set, read_bandwidth, pattern) = read_bandwidth(kernels(isa)?, n_threads, working_set)?;
    Ok(MachineLimits {
        n_threads,
        working_set,
        read_bandwidth,
        pattern,
        fma_f32: multiply_add_rate(kernels::<f32>(isa)?, n_threads),
        fma_f64: multiply_add_rate(kernels::<f64>(isa)?, n_threads),
    })
}

/// The patterns tried: each number of streams, without prefetch and asking ahead nearer and farther.
fn patterns() -> impl Iterator<Item = ReadPattern> {
    [1, 2, 4, 8]
        .into_iter()
        .flat_map(|streams| [0, 1024, 2048, 3072].map(|prefetch_distance| ReadPattern { streams, prefetch_distance }))
}

/// The best rate over all patterns, each tried again and again in turn until the time is up: (bytes, rate, pattern).
fn read_bandwidth(kernels: &Kernels<f64>, n_threads: usize, working_set: usize) -> Result<(usize, f64, ReadPattern)> {
    // Whole cache lines for each of eight streams of each thread.
    let unit = 8 * CACHE_LINE / size_of::<f64>();
    let len = (working_set / size_of::<f64>()).next_multiple_of(unit * n_threads);
    let mut data = zeros::<f64>("working_set", len)?;
    // Distinct pages: an untouched one is the kernel's single page of zeros.
    data.fill(1.0);
    let bytes = len * size_of::<f64>();
    // Small sets are read several times a measurement, so that entering the pool is a small part of it.
    let repeats = (64usize << 20).div_ceil(bytes);
    let seconds = |pattern| {
        let started = Instant::now();
        with_team(n_threads, |team| {
            team.open();
            team.for_each_range(len, unit, 1, |_, share| {
                for _ in 0..repeats {
                    black_box(kernels.read_memory(black_box(&data[share.clone()]), pattern));
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

/// Operations a second of all threads together; the best of three.
fn multiply_add_rate<T: Scalar>(kernels: &Kernels<T>, n_threads: usize) -> f64 {
    let timed = |rounds: usize| {
        let started = Instant::now();
        let operations = std::sync::atomic::AtomicUsize::new(0);
        with_team(n_threads, |team| {
            team.open();
            team.for_each(n_threads, |_, _| {
                let (value, done) = kernels.multiply_add(black_box(rounds));
                black_box(value);
                operations.fetch_add(done, std::sync::atomic::Ordering::Relaxed);
            });
        });
        (operations.into_inner() as f64, started.elapsed().as_secs_f64())
    };
    let (_, trial) = timed(100_000);
    let rounds = (100_000.0 * MULTIPLY_ADD_TIME.as_secs_f64() / trial.max(1e-6)) as usize;
    (0..3).map(|_| timed(rounds.max(1))).fold(0.0, |best: f64, (operations, seconds)| best.max(operations / seconds))
}
