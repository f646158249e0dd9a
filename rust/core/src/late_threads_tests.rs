//! Passes and training while threads are late at every point where they can be: the same bits as on one thread.

use std::sync::atomic::AtomicBool;

use crate::parallel::delay::with_late_threads;
use crate::*;

fn network(sizes: &[usize]) -> Network<f32> {
    let config = NetworkConfig { output_activation: OutputActivation::Softmax, ..NetworkConfig::default() };
    Network::new(sizes, config, Init::GlorotUniform, 5).expect("sizes in order")
}

fn rows(n: usize, cols: usize) -> Vec<f32> {
    (0..n * cols).map(|i| (i * i % 31) as f32 / 31.0 - 0.5).collect()
}

fn forward(network: &Network<f32>, x: &[f32], n_threads: usize) -> Vec<f32> {
    let sizes = network.layer_sizes();
    let (inputs, outputs) = (sizes[0], sizes[sizes.len() - 1]);
    let n = x.len() / inputs;
    let mut out = vec![f32::NAN; n * outputs];
    let x = Matrix::new("X", x, n, inputs).expect("shape");
    network.forward(x, &mut MatrixMut::new("out", &mut out, n, outputs).expect("shape"), n_threads).expect("a pass");
    out
}

#[test]
fn passes_have_the_same_bits() {
    // Shared outputs, shared rows, rows a page apart, and a last layer that is too narrow to share.
    for (sizes, n) in
        [(&[600, 1000, 600, 3][..], 1), (&[600, 1000, 600, 3], 7), (&[1024, 256, 10], 300), (&[64, 300, 64], 200)]
    {
        let (network, x) = (network(sizes), rows(n, sizes[0]));
        let alone = forward(&network, &x, 1);
        with_late_threads(|| {
            for round in 0..20 {
                for n_threads in [2, 3, 5] {
                    assert!(
                        forward(&network, &x, n_threads) == alone,
                        "{sizes:?} {n} rows, {n_threads} threads, {round}"
                    );
                }
            }
        });
    }
}

#[test]
fn training_has_the_same_bits() {
    let (x, labels) = (rows(700, 40), (0..700).map(|i| i % 7).collect::<Vec<u32>>());
    let train = |n_threads: usize, clip_norm: Option<f64>| {
        let mut network = network(&[40, 128, 96, 7]);
        let mut optimizer = Optimizer::new(OptimizerConfig::new(Algorithm::Adam)).expect("defaults");
        let samples = Samples {
            x: Matrix::new("X", &x, 700, 40).expect("shape").into(),
            targets: Targets::Labels(&labels),
            weights: None,
        };
        let config = TrainingConfig {
            epochs: 2,
            batch_size: 128,
            dropout: 0.1,
            clip_norm,
            n_threads,
            ..TrainingConfig::new(Loss::CrossEntropy)
        };
        let never = AtomicBool::new(false);
        let mut hooks = Hooks { on_epoch: &mut |_: &TrainingState<f32>| false, interrupt: &never };
        let data = FitData { train: &samples, validation: Some(&samples) };
        let report = fit(&mut network, &mut optimizer, data, &config, None, &mut hooks).expect("a training");
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let layers: Vec<_> = network.layers().iter().map(|l| (bits(l.weight()), bits(l.bias()))).collect();
        (
            layers,
            report.epochs.iter().map(|e| (e.loss.to_bits(), e.validation_loss.map(f64::to_bits))).collect::<Vec<_>>(),
        )
    };
    for clip_norm in [None, Some(0.1)] {
        let alone = train(1, clip_norm);
        with_late_threads(|| {
            for round in 0..3 {
                for n_threads in [2, 3, 5] {
                    assert!(train(n_threads, clip_norm) == alone, "{clip_norm:?} {n_threads} threads, {round}");
                }
            }
        });
    }
}
