//! A training step allocates no memory.

use std::sync::atomic::AtomicBool;

use tinyrs_core::{
    Algorithm, FitData, Hooks, Init, Loss, Matrix, Network, NetworkConfig, Optimizer, OptimizerConfig,
    OutputActivation, Samples, Targets, TrainingConfig, fit,
};

use crate::allocator::{self, End, in_child};

/// The number of allocations in one epoch of `steps` steps.
fn allocations_of_epoch(steps: usize, n_threads: usize) -> usize {
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
    let before = allocator::allocations();
    let mut hooks = Hooks { on_epoch: &mut |_| false, interrupt: &never };
    fit(&mut network, &mut optimizer, FitData { train: &samples, validation: None }, &config, None, &mut hooks)
        .unwrap();
    allocator::allocations() - before
}

#[test]
fn a_training_step_does_not_allocate() {
    // In a child, tests that run at the same time are not counted.
    let end = in_child(|| {
        for n_threads in [1, 2] {
            // The first call creates the pool.
            allocations_of_epoch(2, n_threads);
            let (few, many) = (allocations_of_epoch(2, n_threads), allocations_of_epoch(500, n_threads));
            assert!(few > 0, "threads {n_threads}: the allocations of an epoch are not counted");
            // rayon's job queue allocates now and then when a sleeping worker is woken, which is not once a step.
            assert!(many < few + 10, "threads {n_threads}: {few} for 2 steps, {many} for 500");
        }
    });
    assert_eq!(end, End::Done);
}
