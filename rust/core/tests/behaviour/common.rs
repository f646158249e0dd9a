//! Helpers of the tests: random networks, the naive result with an error bound, and the comparison with it.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;
use tinyrs_core::{
    Activation, Dispatch, Forward, Isa, Layer, Matrix, MatrixMut, Network, NetworkConfig, OutputActivation, naive,
};

/// The instruction sets that this machine supports.
pub fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

/// `len` uniform random numbers in [-1, 1) from `seed`.
pub fn uniform<T: Dispatch>(seed: u64, len: usize) -> Vec<T> {
    let mut generator = Pcg64::new(seed.into(), 0);
    (0..len).map(|_| T::from_f64((generator.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0)).collect()
}

/// A network with random weights and biases that runs on `isa`.
pub fn network<T: Dispatch>(sizes: &[usize], config: NetworkConfig, isa: Isa) -> Network<T> {
    let layer = |(index, pair): (usize, &[usize])| {
        let weight = uniform::<T>(index as u64 + 1, pair[0] * pair[1]);
        let bias = uniform::<T>(index as u64 + 1001, pair[1]);
        Layer::new("layer", Matrix::new("W", &weight, pair[1], pair[0]).unwrap(), &bias).unwrap()
    };
    let layers = sizes.windows(2).enumerate().map(layer).collect();
    Network::from_layers(layers, config).unwrap().with_isa(isa).unwrap()
}

/// The outputs of `network` for `batch` rows, row after row.
pub fn forward<T: Dispatch>(network: &Network<T>, x: &[T], batch: usize, n_threads: usize) -> Vec<T> {
    let sizes = network.layer_sizes();
    let mut y = vec![T::from_f64(f64::NAN); batch * sizes[sizes.len() - 1]];
    let mut out = MatrixMut::new("y", &mut y, batch, sizes[sizes.len() - 1]).unwrap();
    network.forward(Matrix::new("x", x, batch, sizes[0]).unwrap(), &mut out, n_threads).unwrap();
    y
}

/// The naive result for one row in f64, and the largest allowed error of each output in `T`.
///
/// The bound is that of a sum of k products, k * eps * (|W| |x| + |b|), propagated through the layers: the derivative
/// of an activation is at most `max_derivative`, and the activation adds an error of 4 eps.
pub fn expected<T: Dispatch>(network: &Network<T>, x: &[T]) -> (Vec<f64>, Vec<f64>) {
    let (config, eps) = (network.config(), T::EPSILON.to_f64());
    let wide = |values: &[T]| values.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
    let (mut x, mut error) = (wide(x), vec![0.0; x.len()]);
    let last = network.layers().len() - 1;
    for (index, layer) in network.layers().iter().enumerate() {
        let (activation, scale) = match config.output_activation {
            OutputActivation::Identity | OutputActivation::Softmax if index == last => (Activation::Identity, 1.0),
            OutputActivation::Sigmoid if index == last => (Activation::Sigmoid, 1.0),
            _ => (config.activations[index.min(config.activations.len() - 1)], config.activation_scale),
        };
        let max_derivative = match activation {
            Activation::Selu => 1.76,
            Activation::Gelu | Activation::Silu => 1.13,
            _ => 1.0,
        };
        let (weight, bias) = (wide(layer.weight()), wide(layer.bias()));
        let y = naive::dense(&weight, &bias, &x, activation, scale);
        let abs = |values: &[f64]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
        let sums = naive::dense(&abs(&weight), &abs(&bias), &abs(&x), Activation::Identity, 1.0);
        let carried = naive::dense(&abs(&weight), &vec![0.0; bias.len()], &error, Activation::Identity, 1.0);
        let k = layer.inputs() as f64 + 2.0;
        error = (0..y.len())
            .map(|j| scale.abs() * max_derivative * (carried[j] + k * eps * sums[j]) + 4.0 * eps * y[j].abs())
            .collect();
        x = y;
    }
    if config.output_activation == OutputActivation::Softmax {
        // p_i changes by at most 2 p_i max|dz| for a change dz of the logits.
        let (p, largest) = (naive::softmax(&x), error.iter().copied().fold(0.0, f64::max));
        // A value that underflows is lost entirely.
        let smallest = if T::NAME == "f32" { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
        error = p.iter().map(|p| 2.0 * p * largest + (x.len() as f64 + 8.0) * eps * p + smallest).collect();
        x = p;
    }
    (x, error)
}

/// A message about the first output that differs from `want` by more than `bound`.
pub fn first_wrong<T: Dispatch>(got: &[T], (want, bound): &(Vec<f64>, Vec<f64>)) -> Option<String> {
    assert_eq!(got.len(), want.len());
    let wrong = |j: &usize| {
        let difference = (got[*j].to_f64() - want[*j]).abs();
        difference.is_nan() || difference > bound[*j]
    };
    (0..got.len()).find(wrong).map(|j| format!("output {j}: {} instead of {} +- {:e}", got[j], want[j], bound[j]))
}
