//! The workloads that the constants of this crate were chosen on. TUNING.md has the results, and explains how to try
//! another value: `make bench-core BENCH=forward_batch` before and after the edit.
//!
//! Only the public API is called. Inputs are seeded, the first call (which packs the weights and starts the threads) is
//! not timed, and every pass sees the same rows. Each case runs with one thread and with all.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use tinyrs_core::{
    Activation, Algorithm, Csr, Dispatch, FitData, Forward, Hooks, Init, Loss, Matrix, MatrixMut, Network,
    NetworkConfig, Optimizer, OptimizerConfig, OutputActivation, Samples, Targets, TrainingConfig, fit,
    loss_and_gradients, num_threads,
};

fn main() {
    divan::main();
}

/// One row of a table of results: a network, the rows of a pass or of a training step, and a number of threads.
#[derive(Clone)]
struct Case {
    sizes: Vec<usize>,
    batch: usize,
    threads: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (layers, width) = (self.sizes.len() - 1, self.sizes[0]);
        if layers > 1 && self.sizes.iter().all(|size| *size == width) {
            write!(f, "{layers} x {width}")?;
        } else {
            f.write_str(&self.sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("-"))?;
        }
        write!(f, ", batch {}, {} thread{}", self.batch, self.threads, if self.threads == 1 { "" } else { "s" })
    }
}

impl Case {
    fn inputs(&self) -> usize {
        self.sizes[0]
    }

    fn outputs(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// `activation` in the hidden layers; initial weights by He's rule.
    fn network<T: Dispatch>(&self, activation: Activation, output_activation: OutputActivation) -> Network<T> {
        let config = NetworkConfig { activations: vec![activation], output_activation, ..NetworkConfig::default() };
        Network::new(&self.sizes, config, Init::HeUniform, 7).unwrap()
    }
}

/// Each network and batch size with one thread and with all of them.
fn cases(work: impl IntoIterator<Item = (Vec<usize>, usize)>) -> Vec<Case> {
    let all = num_threads(None);
    let threads: &[usize] = if all == 1 { &[1] } else { &[1, all] };
    let case = |(sizes, batch): (Vec<usize>, usize)| {
        threads.iter().map(move |threads| Case { sizes: sizes.clone(), batch, threads: *threads })
    };
    work.into_iter().flat_map(case).collect()
}

/// `layers` weight matrices of `width` x `width`.
fn square(layers: usize, width: usize) -> Vec<usize> {
    vec![width; layers + 1]
}

/// Uniform on [-1, 1).
fn uniform<T: Dispatch>(seed: u64, len: usize) -> Vec<T> {
    let mut generator = Pcg64::new(seed.into(), 0);
    (0..len).map(|_| T::from_f64((generator.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0)).collect()
}

/// Times `network.forward` of `case.batch` rows; `between` runs, untimed, before each pass.
fn time_forward<T: Dispatch>(bencher: Bencher, case: &Case, network: &Network<T>, between: impl Fn()) {
    let x = uniform::<T>(1, case.batch * case.inputs());
    let x = Matrix::new("x", &x, case.batch, case.inputs()).unwrap();
    let mut y = vec![T::ZERO; case.batch * case.outputs()];
    let mut pass = || {
        let mut out = MatrixMut::new("y", black_box(&mut y), case.batch, case.outputs()).unwrap();
        network.forward(black_box(x), &mut out, case.threads).unwrap();
    };
    pass();
    bencher.counter(ItemsCount::new(case.batch)).with_inputs(between).bench_local_values(|()| pass());
}

fn row_cases() -> Vec<Case> {
    let squares = [(100, 1024), (30, 1024), (10, 1024), (4, 512), (3, 512), (3, 256), (4, 128), (3, 64)];
    let squares = squares.map(|(layers, width)| square(layers, width));
    let others = [vec![600, 600], vec![64, 128, 128, 10], vec![16, 64, 64, 3]];
    cases(squares.into_iter().chain(others).map(|sizes| (sizes, 1)))
}

/// One row through networks from the first-level cache to main memory.
#[divan::bench(types = [f32, f64], args = row_cases(), max_time = 1)]
fn forward_row<T: Dispatch>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Tanh, OutputActivation::Same);
    time_forward(bencher, case, &network, || ());
}

fn batch_cases() -> Vec<Case> {
    let work: [(usize, usize, &[usize]); 5] = [
        (4, 128, &[4, 32, 64, 256]),
        (3, 256, &[256]),
        (4, 512, &[256]),
        (10, 1024, &[2, 4, 12, 32, 64, 256]),
        (3, 1024, &[1024]),
    ];
    cases(
        work.into_iter().flat_map(|(layers, width, batches)| batches.iter().map(move |n| (square(layers, width), *n))),
    )
}

/// Batches, of which several are near a threshold of the plan.
#[divan::bench(types = [f32, f64], args = batch_cases(), max_time = 1)]
fn forward_batch<T: Dispatch>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Tanh, OutputActivation::Same);
    time_forward(bencher, case, &network, || ());
}

fn page_rows_cases() -> Vec<Case> {
    cases([1024, 1040, 4096, 4112, 8192, 8208, 16384, 16400].map(|inputs| (vec![inputs, 128, 10], 256)))
}

/// Batches of rows that are whole pages apart in memory, each beside rows 16 elements longer.
#[divan::bench(types = [f32], args = page_rows_cases(), max_time = 1)]
fn forward_page_rows<T: Dispatch>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Relu, OutputActivation::Softmax);
    time_forward(bencher, case, &network, || ());
}

fn pause_cases() -> Vec<Case> {
    cases([(30, 1024), (3, 512)].map(|(layers, width)| (square(layers, width), 1)))
}

/// Ten passes after each pause of 10 ms, in which the threads fall asleep.
#[divan::bench(types = [f32], args = pause_cases(), sample_size = 10, max_time = 5)]
fn forward_after_pause<T: Dispatch>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Tanh, OutputActivation::Same);
    // divan makes the inputs of all ten passes of a sample first: ten times 1 ms.
    time_forward(bencher, case, &network, || thread::sleep(Duration::from_millis(1)));
}

/// Calls `f` while `n` threads spin, as busy processes would.
fn beside_busy_threads(n: usize, f: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..n {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        f();
        done.store(true, Ordering::Relaxed);
    });
}

/// A small batch beside BUSY threads that never pause.
#[divan::bench(types = [f32], consts = [1, 2], args = cases([(square(4, 128), 32)]), max_time = 3)]
fn forward_busy<T: Dispatch, const BUSY: usize>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Relu, OutputActivation::Same);
    beside_busy_threads(BUSY, || time_forward(bencher, case, &network, || ()));
}

/// Sparse rows of which 1 % of the elements are not 0.
#[divan::bench(types = [f32], args = cases([(vec![10_000, 64, 10], 256)]), max_time = 1)]
fn forward_sparse<T: Dispatch>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Relu, OutputActivation::Softmax);
    let nonzeros = case.inputs() / 100;
    let starts: Vec<i64> = (0..=case.batch as i64).map(|row| row * nonzeros as i64).collect();
    let columns: Vec<i32> =
        (0..case.batch * nonzeros).map(|i| (i % nonzeros * 100 + i / nonzeros % 100) as i32).collect();
    let values = uniform::<T>(1, columns.len());
    let x = Csr::new("x", &starts, &columns, &values, case.inputs()).unwrap();
    let mut y = vec![T::ZERO; case.batch * case.outputs()];
    bencher.counter(ItemsCount::new(case.batch)).bench_local(|| {
        let mut out = MatrixMut::new("y", black_box(&mut y), case.batch, case.outputs()).unwrap();
        network.forward_sparse(black_box(x), &mut out, case.threads).unwrap();
    });
}

/// One row, of which the exponentials of the last layer are a large part.
#[divan::bench(types = [f32, f64], args = cases([(vec![8, 1024], 1)]), max_time = 1)]
fn softmax<T: Dispatch>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Relu, OutputActivation::Softmax);
    time_forward(bencher, case, &network, || ());
}

/// Rows around a centre for each class, as many as `steps` batches take.
struct Clusters<T> {
    x: Vec<T>,
    labels: Vec<u32>,
    features: usize,
}

impl<T: Dispatch> Clusters<T> {
    fn new(case: &Case, steps: usize) -> Self {
        let (rows, features, classes) = (case.batch * steps, case.inputs(), case.outputs());
        let (centres, noise) = (uniform::<T>(2, classes * features), uniform::<T>(3, rows * features));
        let labels: Vec<u32> = (0..rows).map(|row| (row * 7 % classes) as u32).collect();
        let centre = |i: usize| centres[labels[i / features] as usize * features + i % features];
        let x = noise.iter().enumerate().map(|(i, noise)| centre(i) + *noise).collect();
        Clusters { x, labels, features }
    }

    fn samples(&self) -> Samples<'_, T> {
        let x = Matrix::new("X", &self.x, self.labels.len(), self.features).unwrap().into();
        Samples { x, targets: Targets::Labels(&self.labels), weights: None }
    }
}

/// Times one call of `fit` with Adam, of one epoch of `steps` batches in their order.
fn time_training<T: Dispatch>(bencher: Bencher, case: &Case, steps: usize) {
    let mut network = case.network::<T>(Activation::Relu, OutputActivation::Softmax);
    let mut optimizer = Optimizer::new(OptimizerConfig::new(Algorithm::Adam)).unwrap();
    let data = Clusters::<T>::new(case, steps);
    let config = TrainingConfig {
        batch_size: case.batch,
        epochs: 1,
        shuffle: false,
        n_threads: case.threads,
        ..TrainingConfig::new(Loss::CrossEntropy)
    };
    let never = AtomicBool::new(false);
    let mut train = || {
        let mut hooks = Hooks { on_epoch: &mut |_| false, interrupt: &never };
        let train = FitData { train: &data.samples(), validation: None };
        fit(&mut network, &mut optimizer, train, &config, None, &mut hooks).unwrap();
    };
    train();
    bencher.counter(ItemsCount::new(case.batch * steps)).bench_local(train);
}

/// The networks of `benchmarks/training.py`, and one with three hidden layers of 256.
fn training_cases() -> Vec<Case> {
    cases([
        (vec![784, 512, 512, 10], 256),
        (vec![784, 256, 128, 10], 200),
        (vec![64, 64, 64, 10], 32),
        (vec![784, 64, 64, 10], 32),
        (vec![32, 256, 256, 256, 10], 200),
    ])
}

/// An epoch of 40 steps.
#[divan::bench(types = [f32], args = training_cases(), max_time = 3)]
fn train_epoch<T: Dispatch>(bencher: Bencher, case: &Case) {
    time_training::<T>(bencher, case, 40);
}

/// The same beside BUSY threads that never pause.
#[divan::bench(types = [f32], consts = [1, 2], args = training_cases(), max_time = 3)]
fn train_epoch_busy<T: Dispatch, const BUSY: usize>(bencher: Bencher, case: &Case) {
    beside_busy_threads(BUSY, || time_training::<T>(bencher, case, 40));
}

/// A call of `fit` of one step, as `partial_fit` makes it.
#[divan::bench(types = [f32], args = training_cases(), max_time = 1)]
fn train_one_step<T: Dispatch>(bencher: Bencher, case: &Case) {
    time_training::<T>(bencher, case, 1);
}

/// Epochs of 40 small steps, on both sides of the threshold from which on steps use several threads.
#[divan::bench(types = [f32], args = cases([8, 16, 32, 64].map(|batch| (vec![64, 64, 64, 10], batch))), max_time = 1)]
fn train_small_steps<T: Dispatch>(bencher: Bencher, case: &Case) {
    time_training::<T>(bencher, case, 40);
}

/// Loss and gradients of one batch, without an optimizer.
#[divan::bench(types = [f32, f64], args = training_cases(), max_time = 1)]
fn backward<T: Dispatch>(bencher: Bencher, case: &Case) {
    let network = case.network::<T>(Activation::Relu, OutputActivation::Softmax);
    let data = Clusters::<T>::new(case, 1);
    let gradients = || loss_and_gradients(&network, &data.samples(), Loss::CrossEntropy, 0.0, case.threads).unwrap();
    gradients();
    bencher.counter(ItemsCount::new(case.batch)).bench_local(gradients);
}
