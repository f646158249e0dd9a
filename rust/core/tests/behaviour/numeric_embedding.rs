//! Numeric embeddings: compared with the naive loops and with central differences, for every instruction set, and with
//! the same bits for any number of threads and in any batch.

use crate::common::{available, forward, uniform};
use tinyrs_core::{
    Activation, Algorithm, Dispatch, Isa, Layer, Loss, Matrix, MatrixMut, Network, NetworkConfig, NumericEmbedding,
    Optimizer, OptimizerConfig, Samples, Targets, backward, loss_and_gradients, naive,
};

const CONFIG: fn() -> NetworkConfig =
    || NetworkConfig { numeric_embedding: Some(NumericEmbedding::Pbld), ..NetworkConfig::default() };

fn layer<T: Dispatch>(seed: u64, outputs: usize, inputs: usize) -> Layer<T> {
    let (weight, bias) = (uniform::<T>(seed, outputs * inputs), uniform::<T>(seed + 100, outputs));
    Layer::new("layer", Matrix::new("W", &weight, outputs, inputs).unwrap(), &bias).unwrap()
}

/// A network (inputs, 6, 2) that embeds the first `n` inputs.
fn network<T: Dispatch>(n: usize, inputs: usize, isa: Isa) -> Network<T> {
    let layers = vec![layer(1, 16 * n, 1), layer(2, 3 * n, 16), layer(3, 6, inputs + 3 * n), layer(4, 2, 6)];
    Network::from_layers(layers, CONFIG()).unwrap().with_isa(isa).unwrap()
}

fn wide<T: Dispatch>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}

/// The outputs of `network` for one row, by the naive loops.
fn expected<T: Dispatch>(network: &Network<T>, x: &[T]) -> Vec<f64> {
    let [first, second, dense @ ..] = network.layers() else { panic!("too few layers") };
    let [w1, b1, w2, b2] = [first.weight(), first.bias(), second.weight(), second.bias()].map(wide);
    let mut x = naive::embed(&w1, &b1, &w2, &b2, &wide(x));
    for (index, layer) in dense.iter().enumerate() {
        let activation = if index + 1 < dense.len() { Activation::Tanh } else { Activation::Identity };
        x = naive::dense(&wide(layer.weight()), &wide(layer.bias()), &x, activation, 1.0);
    }
    x
}

fn check_forward<T: Dispatch>(tolerance: f64) {
    for isa in available() {
        for (n, inputs) in [(1, 1), (3, 5), (17, 17)] {
            let (network, rows) = (network::<T>(n, inputs, isa), 70);
            let x: Vec<T> = uniform::<T>(9, rows * inputs).iter().map(|v| *v * T::from_f64(3.0)).collect();
            let all = forward(&network, &x, rows, 1);
            for (row, y) in x.chunks(inputs).zip(all.chunks(2)) {
                for (got, want) in y.iter().zip(expected(&network, row)) {
                    assert!((got.to_f64() - want).abs() < tolerance, "{isa:?} {n} {inputs}: {got} {want}");
                }
                assert!(forward(&network, row, 1, 1) == y, "{isa:?} {n} {inputs}: one row");
            }
            for n_threads in [2, 3] {
                assert!(forward(&network, &x, rows, n_threads) == all, "{isa:?} {n} {inputs}: {n_threads} threads");
            }
        }
    }
}

#[test]
fn outputs_are_those_of_the_naive_loops() {
    check_forward::<f32>(2e-5);
    check_forward::<f64>(1e-13);
}

#[test]
fn huge_inputs_give_finite_outputs() {
    for isa in available() {
        let network = network::<f32>(2, 3, isa);
        assert!(forward(&network, &[f32::MAX, -f32::MAX, f32::MAX], 1, 1).iter().all(|y| y.is_finite()), "{isa:?}");
    }
}

/// The network with `by` added to parameter `at` of layer `l`, counting the weights, then the biases.
fn perturbed(network: &Network<f64>, l: usize, at: usize, by: f64) -> Network<f64> {
    let mut layers: Vec<_> = network.layers().iter().map(|layer| layer.try_clone().unwrap()).collect();
    let (mut weight, mut bias) = (layers[l].weight().to_vec(), layers[l].bias().to_vec());
    if at < weight.len() {
        weight[at] += by
    } else {
        bias[at - layers[l].weight().len()] += by
    }
    let matrix = Matrix::new("W", &weight, layers[l].outputs(), layers[l].inputs()).unwrap();
    layers[l] = Layer::new("layer", matrix, &bias).unwrap();
    network.with_layers(layers)
}

/// Whether a derivative is near the difference; the third derivatives of the cosines, times STEP^2 / 6, are up to 1e-7.
fn is_near(derivative: f64, difference: f64) -> bool {
    (derivative - difference).abs() < 1e-7 + 1e-6 * difference.abs()
}

#[test]
fn gradients_are_those_of_central_differences() {
    const STEP: f64 = 1e-5;
    for isa in available() {
        let (network, rows) = (network::<f64>(3, 5, isa), 7);
        let (x, d_output) = (uniform::<f64>(11, rows * 5), uniform::<f64>(12, rows * 2));
        let objective = |network: &Network<f64>, x: &[f64]| -> f64 {
            forward(network, x, rows, 1).iter().zip(&d_output).map(|(y, d)| y * d).sum()
        };
        let mut dx = vec![f64::NAN; x.len()];
        let matrix = |values, cols| Matrix::new("matrix", values, rows, cols).unwrap();
        let mut out = MatrixMut::new("dx", &mut dx, rows, 5).unwrap();
        let gradients = backward(&network, matrix(&x, 5), matrix(&d_output, 2), &mut out, 2).unwrap();
        for (l, (dw, db)) in gradients.iter().enumerate() {
            for (at, got) in dw.iter().chain(db).enumerate() {
                let [above, below] = [STEP, -STEP].map(|by| objective(&perturbed(&network, l, at, by), &x));
                let difference = (above - below) / (2.0 * STEP);
                assert!(is_near(*got, difference), "{isa:?} layer {l}, parameter {at}: {got} {difference}");
            }
        }
        for (at, got) in dx.iter().enumerate() {
            let [above, below] = [STEP, -STEP].map(|by| {
                let mut x = x.clone();
                x[at] += by;
                objective(&network, &x)
            });
            let difference = (above - below) / (2.0 * STEP);
            assert!(is_near(*got, difference), "{isa:?} input {at}: {got} {difference}");
        }
    }
}

#[test]
fn gradients_have_the_same_bits_for_any_number_of_threads() {
    for isa in available() {
        for rows in [300, 2100] {
            let network = network::<f32>(5, 6, isa);
            let (x, y) = (uniform::<f32>(1, rows * 6), uniform::<f32>(2, rows * 2));
            let samples = Samples {
                x: Matrix::new("X", &x, rows, 6).unwrap().into(),
                targets: Targets::Values(Matrix::new("y", &y, rows, 2).unwrap()),
                weights: None,
            };
            let gradients = |n| loss_and_gradients(&network, &samples, Loss::SquaredError, 0.0, n).unwrap();
            let one_thread = gradients(1);
            assert!(one_thread == gradients(2) && one_thread == gradients(3), "{isa:?} {rows} rows");
        }
    }
}

#[test]
fn a_step_decays_the_dense_layers_only() {
    let mut network = network::<f64>(3, 5, Isa::active().unwrap());
    let before: Vec<_> = network.layers().iter().map(|layer| layer.weight().to_vec()).collect();
    let zeros: Vec<_> =
        network.layers().iter().map(|l| (vec![0.0; l.weight().len()], vec![0.0; l.outputs()])).collect();
    let mut gradients = Vec::new();
    for (layer, (dw, db)) in network.layers().iter().zip(&zeros) {
        gradients.push((Matrix::new("dW", dw, layer.outputs(), layer.inputs()).unwrap(), db.as_slice()));
    }
    let mut optimizer = Optimizer::new(OptimizerConfig::new(Algorithm::AdamW)).unwrap();
    optimizer.step(&mut network, &gradients, 0.1, 0.5).unwrap();
    for (l, (layer, before)) in network.layers().iter().zip(before).enumerate() {
        let factor = if l < 2 { 1.0 } else { 0.95 };
        for (after, before) in layer.weight().iter().zip(before) {
            assert!((after - factor * before).abs() < 1e-15, "layer {l}: {after} {before}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refused = |layers: Vec<Layer<f32>>| match Network::from_layers(layers, CONFIG()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted"),
    };
    for (layers, message) in [
        (vec![], "parameters: expected at least one layer, got none"),
        (vec![layer(1, 30, 1)], "parameters[0].W: expected shape (16 n, 1) for an embedding of n inputs, got (30, 1)"),
        (
            vec![layer(1, 32, 1), layer(2, 6, 15)],
            "parameters[1].W: expected shape (6, 16), because 2 inputs are embedded, got (6, 15)",
        ),
        (
            vec![layer(1, 32, 1), layer(2, 6, 16), layer(3, 2, 7)],
            "parameters[2].W: expected at least 8 columns, because 2 inputs are embedded, got 7",
        ),
    ] {
        assert_eq!(refused(layers), message);
    }
}
