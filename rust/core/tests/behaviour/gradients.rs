//! Gradients: compared with central differences of the forward pass in f64, for every instruction set, and with the
//! same bits for any number of threads.

use crate::common::{available, forward, network, uniform};
use tinyrs_core::{
    Activation, Dispatch, Input, Isa, Layer, Loss, Matrix, MatrixMut, Network, NetworkConfig, OutputActivation,
    Samples, Targets, backward, loss_and_gradients, naive,
};

/// The loss by its definition, from the outputs of `forward`.
fn plain_loss(network: &Network<f64>, samples: &Samples<f64>, loss: Loss, smoothing: f64) -> f64 {
    let (rows, outputs) = (samples.x.rows(), network.layers().last().unwrap().outputs());
    let Input::Dense(x) = samples.x else { unreachable!("these tests use dense rows only") };
    let y = forward(network, x.data(), rows, 1);
    let mut sums = (0.0, 0.0);
    for (i, y) in y.chunks(outputs).enumerate() {
        let target = |k: usize| match samples.targets {
            Targets::Labels(labels) => f64::from(u8::from(labels[i] as usize == k)),
            Targets::Values(values) => values.row(i)[k],
        };
        let row_loss: f64 = match (loss, network.config().output_activation) {
            (Loss::CrossEntropy, output) => {
                let p = if output == OutputActivation::Softmax { y.to_vec() } else { naive::softmax(y) };
                let t = |k| (1.0 - smoothing) * target(k) + smoothing / outputs as f64;
                -(0..outputs).map(|k| t(k) * p[k].ln()).sum::<f64>()
            }
            (Loss::BinaryCrossEntropy, output) => {
                let p = |k: usize| {
                    if output == OutputActivation::Sigmoid { y[k] } else { naive::activate(Activation::Sigmoid, y[k]) }
                };
                let t = |k| (1.0 - smoothing) * target(k) + smoothing * 0.5;
                -(0..outputs).map(|k| t(k) * p(k).ln() + (1.0 - t(k)) * (1.0 - p(k)).ln()).sum::<f64>() / outputs as f64
            }
            (Loss::SquaredError, _) => (0..outputs).map(|k| (y[k] - target(k)).powi(2)).sum::<f64>() / outputs as f64,
        };
        let weight = samples.weights.map_or(1.0, |w| w[i]);
        sums = (sums.0 + weight * row_loss, sums.1 + weight);
    }
    sums.0 / sums.1
}

/// The network with `by` added to parameter `at` of layer `l`, counting the weights, then the biases.
fn perturbed(network: &Network<f64>, l: usize, at: usize, by: f64) -> Network<f64> {
    let layer = |(index, layer): (usize, &Layer<f64>)| {
        let (mut weight, mut bias) = (layer.weight().to_vec(), layer.bias().to_vec());
        if index == l {
            if at < weight.len() { weight[at] += by } else { bias[at - layer.weight().len()] += by }
        }
        Layer::new("layer", Matrix::new("W", &weight, layer.outputs(), layer.inputs()).unwrap(), &bias).unwrap()
    };
    let layers = network.layers().iter().enumerate().map(layer).collect();
    Network::from_layers(layers, network.config().clone()).unwrap().with_isa(network.isa()).unwrap()
}

/// Compares gradients with central differences of `loss` for a selection of parameters; describes the first that
/// differs.
fn first_wrong(
    network: &Network<f64>,
    gradients: &[(Vec<f64>, Vec<f64>)],
    loss: impl Fn(&Network<f64>) -> f64,
) -> Option<String> {
    const STEP: f64 = 1e-5;
    for (l, (dw, db)) in gradients.iter().enumerate() {
        let all: Vec<f64> = dw.iter().chain(db).copied().collect();
        // The first, the last and some between; an odd step meets every column.
        let selected = (0..all.len()).step_by((all.len() / 40).max(1) | 1).chain([dw.len() - 1, all.len() - 1]);
        for at in selected {
            let difference =
                (loss(&perturbed(network, l, at, STEP)) - loss(&perturbed(network, l, at, -STEP))) / (2.0 * STEP);
            if (all[at] - difference).abs() > 1e-8 + 1e-6 * difference.abs() {
                return Some(format!("layer {l}, parameter {at}: {} instead of {difference}", all[at]));
            }
        }
    }
    None
}

/// Random targets (rows, outputs) that are valid for `loss`.
fn random_targets(loss: Loss, rows: usize, outputs: usize) -> Vec<f64> {
    let random = uniform::<f64>(77, rows * outputs);
    match loss {
        Loss::CrossEntropy => random.chunks(outputs).flat_map(naive::softmax).collect(),
        Loss::BinaryCrossEntropy => random.iter().map(|v| (v + 1.0) / 2.0).collect(),
        Loss::SquaredError => random,
    }
}

/// Checks loss and gradients of a network, for each kind of targets, with and without sample weights.
fn check(sizes: &[usize], config: NetworkConfig, loss: Loss, smoothing: f64, rows: usize, isa: Isa) {
    let network = network::<f64>(sizes, config.clone(), isa);
    let outputs = sizes[sizes.len() - 1];
    let (x, values) = (uniform::<f64>(5, rows * sizes[0]), random_targets(loss, rows, outputs));
    let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % outputs) as u32).collect();
    let weights: Vec<f64> = (0..rows).map(|i| 0.5 + i as f64 % 3.0).collect();
    let targets = [
        Some(Targets::Values(Matrix::new("y", &values, rows, outputs).unwrap())),
        (loss == Loss::CrossEntropy).then_some(Targets::Labels(&labels)),
    ];
    for targets in targets.into_iter().flatten() {
        for weights in [None, Some(&weights[..])] {
            let samples = Samples { x: Matrix::new("X", &x, rows, sizes[0]).unwrap().into(), targets, weights };
            let (value, gradients) = loss_and_gradients(&network, &samples, loss, smoothing, 2).unwrap();
            let plain = |network: &Network<f64>| plain_loss(network, &samples, loss, smoothing);
            let what = format!("{sizes:?} {config:?} {loss} smoothing {smoothing} rows {rows} {isa:?}");
            assert!((value - plain(&network)).abs() <= 1e-12 * value.abs().max(1.0), "{what}: {value}");
            assert_eq!(first_wrong(&network, &gradients, plain), None, "{what}");
        }
    }
}

/// Whether training accepts the loss with this output activation.
fn is_allowed(loss: Loss, output: OutputActivation) -> bool {
    match loss {
        Loss::SquaredError => true,
        Loss::CrossEntropy => matches!(output, OutputActivation::Softmax | OutputActivation::Identity),
        Loss::BinaryCrossEntropy => matches!(output, OutputActivation::Sigmoid | OutputActivation::Identity),
    }
}

#[test]
fn gradients_are_right_for_every_activation_output_and_loss() {
    for &activation in Activation::ALL {
        for &output_activation in OutputActivation::ALL {
            for &loss in Loss::ALL {
                if !is_allowed(loss, output_activation) {
                    continue;
                }
                for activation_scale in [1.0, 0.75] {
                    let activations = vec![activation];
                    let config =
                        NetworkConfig { activations, output_activation, activation_scale, ..NetworkConfig::default() };
                    let smoothing = if loss == Loss::SquaredError { 0.0 } else { 0.1 };
                    check(&[5, 7, 4, 3], config, loss, smoothing, 11, Isa::active().unwrap());
                }
            }
        }
    }
}

#[test]
fn gradients_are_right_for_every_shape_and_instruction_set() {
    for isa in available() {
        // 1, primes, powers of two, and one more than: the rows of a micro-kernel, a register, a panel, a block of k.
        for (sizes, rows) in [
            (&[1, 1][..], 1),
            (&[1, 1, 1], 3),
            (&[13, 17, 1], 2),
            (&[33, 12, 13, 2], 25),
            (&[3, 65, 31], 13),
            (&[257, 3, 5], 12),
            (&[4, 3], 259),
            (&[16, 16, 16], 16),
        ] {
            let activations = vec![Activation::Tanh];
            let config =
                NetworkConfig { activations, output_activation: OutputActivation::Softmax, ..NetworkConfig::default() };
            check(sizes, config, Loss::CrossEntropy, 0.0, rows, isa);
        }
    }
}

#[test]
fn gradients_are_right_for_layers_with_different_activations() {
    let activations = vec![Activation::Selu, Activation::Gelu, Activation::Relu];
    let config = NetworkConfig { activations, output_activation: OutputActivation::Same, ..NetworkConfig::default() };
    check(&[3, 5, 6, 7, 2], config, Loss::SquaredError, 0.0, 6, Isa::active().unwrap());
}

#[test]
fn the_comparison_rejects_a_gradient_with_one_wrong_sign() {
    let network = network::<f64>(&[4, 3, 2], NetworkConfig::default(), Isa::active().unwrap());
    let (x, y) = (uniform::<f64>(1, 20), uniform::<f64>(2, 10));
    let samples = Samples {
        x: Matrix::new("X", &x, 5, 4).unwrap().into(),
        targets: Targets::Values(Matrix::new("y", &y, 5, 2).unwrap()),
        weights: None,
    };
    let (_, mut gradients) = loss_and_gradients(&network, &samples, Loss::SquaredError, 0.0, 1).unwrap();
    let plain = |network: &Network<f64>| plain_loss(network, &samples, Loss::SquaredError, 0.0);
    assert_eq!(first_wrong(&network, &gradients, plain), None);
    gradients[1].0[5] *= -1.0;
    assert!(first_wrong(&network, &gradients, plain).is_some());
}

#[test]
fn backward_computes_the_gradients_of_inputs_and_parameters() {
    for isa in available() {
        for &output_activation in OutputActivation::ALL {
            let activations = vec![Activation::Gelu];
            let config = NetworkConfig { activations, output_activation, ..NetworkConfig::default() };
            let network = network::<f64>(&[35, 33, 3], config, isa);
            let rows = 7;
            let (x, d_output) = (uniform::<f64>(1, rows * 35), uniform::<f64>(2, rows * 3));
            let mut dx = vec![f64::NAN; rows * 35];
            let matrix = |values, cols| Matrix::new("matrix", values, rows, cols).unwrap();
            let mut out = MatrixMut::new("dx", &mut dx, rows, 35).unwrap();
            let gradients = backward(&network, matrix(&x, 35), matrix(&d_output, 3), &mut out, 2).unwrap();
            let objective = |network: &Network<f64>, x: &[f64]| -> f64 {
                forward(network, x, rows, 1).iter().zip(&d_output).map(|(y, d)| y * d).sum()
            };
            assert_eq!(first_wrong(&network, &gradients, |network| objective(network, &x)), None);
            for at in (0..x.len()).step_by(9) {
                let perturbed = |by: f64| {
                    let mut x = x.clone();
                    x[at] += by;
                    objective(&network, &x)
                };
                let difference = (perturbed(1e-5) - perturbed(-1e-5)) / 2e-5;
                assert!(
                    (dx[at] - difference).abs() < 1e-8,
                    "{isa:?} {output_activation} {at}: {} {difference}",
                    dx[at]
                );
            }
        }
    }
}

/// Checks that gradients have the same bits for any number of threads.
fn check_bits<T: Dispatch>(sizes: &[usize], rows: usize) {
    for isa in available() {
        let network = network::<T>(sizes, NetworkConfig::default(), isa);
        let (x, y) = (uniform::<T>(1, rows * sizes[0]), uniform::<T>(2, rows * sizes[sizes.len() - 1]));
        let samples = Samples {
            x: Matrix::new("X", &x, rows, sizes[0]).unwrap().into(),
            targets: Targets::Values(Matrix::new("y", &y, rows, sizes[sizes.len() - 1]).unwrap()),
            weights: None,
        };
        let gradients = |n| loss_and_gradients(&network, &samples, Loss::SquaredError, 0.0, n).unwrap();
        let one_thread = gradients(1);
        for n_threads in [2, 3, 8] {
            assert!(one_thread == gradients(n_threads), "{} {isa:?} {sizes:?} {rows} threads {n_threads}", T::NAME);
        }
    }
}

#[test]
fn gradients_have_the_same_bits_for_any_number_of_threads() {
    // One and several blocks of rows, and sizes that the numbers of threads do not divide.
    for (sizes, rows) in [(&[67, 131, 13][..], 300), (&[31, 29], 2100), (&[512, 512, 1], 33)] {
        check_bits::<f32>(sizes, rows);
        check_bits::<f64>(sizes, rows);
    }
}

#[test]
fn the_gradients_of_blocks_of_rows_add_up() {
    let network = network::<f64>(&[5, 6, 2], NetworkConfig::default(), Isa::active().unwrap());
    let rows = 2500;
    let (x, y) = (uniform::<f64>(1, rows * 5), uniform::<f64>(2, rows * 2));
    let part = |from: usize, to: usize| {
        let samples = Samples {
            x: Matrix::new("X", &x[from * 5..to * 5], to - from, 5).unwrap().into(),
            targets: Targets::Values(Matrix::new("y", &y[from * 2..to * 2], to - from, 2).unwrap()),
            weights: None,
        };
        loss_and_gradients(&network, &samples, Loss::SquaredError, 0.0, 1).unwrap()
    };
    let (whole, parts) = (part(0, rows), [part(0, 700), part(700, rows)]);
    let mean = |a: f64, b: f64| (a * 700.0 + b * 1800.0) / 2500.0;
    assert!((whole.0 - mean(parts[0].0, parts[1].0)).abs() < 1e-12);
    for l in 0..2 {
        for (at, whole) in whole.1[l].0.iter().enumerate() {
            assert!((whole - mean(parts[0].1[l].0[at], parts[1].1[l].0[at])).abs() < 1e-12);
        }
    }
}
