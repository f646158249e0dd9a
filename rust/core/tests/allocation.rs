//! A training step allocates no memory. This test has its own binary, because tests that run beside it would be
//! counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tinyrs_core::{
    Algorithm, FitData, Hooks, Init, Loss, Matrix, Network, NetworkConfig, Optimizer, OptimizerConfig,
    OutputActivation, Samples, Targets, TrainingConfig, fit,
};

/// The system's allocator, counting the allocations of all threads.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The number of allocations in one epoch of `steps` steps.
fn allocations(steps: usize, n_threads: usize) -> usize {
    let rows = 64 * steps;
    let x: Vec<f32> = (0..rows * 33).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let labels: Vec<u32> = (0..rows as u32).map(|i| i % 3).collect();
    let samples =
        Samples { x: Matrix::new("X", &x, rows, 33).unwrap().into(), targets: Targets::Labels(&labels), weights: None };
    let config = NetworkConfig { output_activation: OutputActivation::Softmax, ..NetworkConfig::default() };
    let mut network = Network::new(&[33, 65, 64, 3], config, Init::HeNormal, 1).unwrap();
    let mut optimizer = Optimizer::new(OptimizerConfig::new(Algorithm::Adam)).unwrap();
    let config = TrainingConfig {
        n_threads,
        clip_norm: Some(1.0),
        dropout: 0.2,
        batch_size: 64,
        epochs: 1,
        ..TrainingConfig::new(Loss::CrossEntropy)
    };
    let never = AtomicBool::new(false);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut hooks = Hooks { on_epoch: &mut |_| false, interrupt: &never };
    fit(&mut network, &mut optimizer, FitData { train: &samples, validation: None }, &config, None, &mut hooks)
        .unwrap();
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_training_step_does_not_allocate() {
    for n_threads in [1, 2] {
        // The first call creates the pool.
        allocations(2, n_threads);
        let (few, many) = (allocations(2, n_threads), allocations(500, n_threads));
        // rayon's job queue allocates now and then when a sleeping worker is woken, which is not once a step.
        assert!(many < few + 10, "threads {n_threads}: {few} for 2 steps, {many} for 500");
    }
}
