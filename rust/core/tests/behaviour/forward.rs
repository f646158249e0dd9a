//! The forward pass: compared with the naive loops; the same bits for any number of threads and any batch; finite
//! results for finite inputs; nothing written on an error.

use crate::common::{available, expected, first_wrong, forward, network, uniform};
use tinyrs_core::{
    Activation, Dispatch, Error, Forward, Init, Isa, Layer, Matrix, MatrixMut, Network, NetworkConfig, OutputActivation,
};

/// Layer sizes around the widths of registers, tiles and cache lines, and some primes.
const SIZES: [usize; 14] = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 67];

fn config(activation: Activation, output_activation: OutputActivation) -> NetworkConfig {
    NetworkConfig {
        activations: vec![activation],
        output_activation,
        activation_scale: 1.25,
        ..NetworkConfig::default()
    }
}

fn every_shape<T: Dispatch>() {
    for isa in available() {
        for inputs in SIZES {
            for outputs in SIZES {
                let config = config(Activation::Tanh, OutputActivation::Same);
                let network = network::<T>(&[inputs, outputs, 5], config, isa);
                for batch in [1, 2, 19] {
                    let x = uniform::<T>(9, batch * inputs);
                    let y = forward(&network, &x, batch, 1);
                    for (x, y) in x.chunks(inputs).zip(y.chunks(5)) {
                        let wrong = first_wrong(y, &expected(&network, x));
                        assert_eq!(wrong, None, "{} {isa:?} {inputs} -> {outputs} -> 5, batch {batch}", T::NAME);
                    }
                }
            }
        }
    }
}

#[test]
fn every_shape_is_right() {
    every_shape::<f32>();
    every_shape::<f64>();
}

fn every_activation<T: Dispatch>() {
    for isa in available() {
        for &activation in Activation::ALL {
            for &output in OutputActivation::ALL {
                let network = network::<T>(&[13, 70, 33, 11], config(activation, output), isa);
                for batch in [1, 130] {
                    let x = uniform::<T>(3, batch * 13);
                    for (x, y) in x.chunks(13).zip(forward(&network, &x, batch, 2).chunks(11)) {
                        let wrong = first_wrong(y, &expected(&network, x));
                        assert_eq!(wrong, None, "{} {isa:?} {activation} {output} batch {batch}", T::NAME);
                    }
                }
            }
        }
    }
}

#[test]
fn every_activation_is_right() {
    every_activation::<f32>();
    every_activation::<f64>();
}

#[test]
fn the_comparison_rejects_wrong_answers() {
    let network = network::<f32>(&[64, 64, 10], config(Activation::Sigmoid, OutputActivation::Identity), Isa::Scalar);
    let x = uniform::<f32>(5, 64);
    let (y, want) = (forward(&network, &x, 1, 1), expected(&network, &x));
    assert_eq!(first_wrong(&y, &want), None);
    assert!(first_wrong(&[0.0f32; 10], &want).is_some());
    let mut swapped = y.clone();
    swapped.swap(0, 1);
    assert!(first_wrong(&swapped, &want).is_some());
    let mut without_a_feature = x.clone();
    without_a_feature[63] = 0.0;
    assert!(first_wrong(&forward(&network, &without_a_feature, 1, 1), &want).is_some());
    let mut nan = y;
    nan[3] = f32::NAN;
    assert!(first_wrong(&nan, &want).is_some());
}

fn same_bits_for_any_threads<T: Dispatch>(sizes: &[usize], batch: usize) {
    for isa in available() {
        let network = network::<T>(sizes, config(Activation::Sigmoid, OutputActivation::Same), isa);
        let x = uniform::<T>(8, batch * sizes[0]);
        let one_thread: Vec<u64> = forward(&network, &x, batch, 1).iter().map(|y| y.to_f64().to_bits()).collect();
        for n_threads in [2, 3, 8] {
            let several: Vec<u64> =
                forward(&network, &x, batch, n_threads).iter().map(|y| y.to_f64().to_bits()).collect();
            assert_eq!(one_thread, several, "{} {isa:?} {sizes:?} batch {batch} threads {n_threads}", T::NAME);
        }
    }
}

fn same_bits_in_any_batch<T: Dispatch>(sizes: &[usize], batches: &[usize]) {
    for isa in available() {
        let network = network::<T>(sizes, config(Activation::Tanh, OutputActivation::Softmax), isa);
        for &batch in batches {
            let x = uniform::<T>(4, batch * sizes[0]);
            let batched = forward(&network, &x, batch, 1);
            let single: Vec<T> = x.chunks(sizes[0]).flat_map(|x| forward(&network, x, 1, 1)).collect();
            assert_eq!(batched, single, "{} {isa:?} {sizes:?} batch {batch}", T::NAME);
        }
    }
}

#[test]
fn the_bits_of_a_row_do_not_depend_on_its_batch() {
    // Tiles of every height; outputs that fill a panel, a part of one, or too little to be packed; input rows of whole
    // pages.
    for sizes in [[67, 131, 13], [1021, 1031, 13], [1024, 48, 17]] {
        same_bits_in_any_batch::<f32>(&sizes, &[2, 3, 5, 23]);
        same_bits_in_any_batch::<f64>(&sizes, &[2, 3, 5, 23]);
    }
}

/// Tests a network whose weights are too large to be packed.
fn unpacked_weights<T: Dispatch>(sizes: &[usize]) {
    let network = network::<T>(sizes, config(Activation::Tanh, OutputActivation::Identity), Isa::Scalar);
    let (batch, outputs) = (5, sizes[sizes.len() - 1]);
    let x = uniform::<T>(3, batch * sizes[0]);
    let want: Vec<_> = x.chunks(sizes[0]).map(|x| expected(&network, x)).collect();
    for isa in available() {
        let network = network.try_clone().unwrap().with_isa(isa).unwrap();
        assert!(network.plan(1, 1).to_string().contains("are read from memory"));
        let batched = forward(&network, &x, batch, 1);
        for (y, want) in batched.chunks(outputs).zip(&want) {
            assert_eq!(first_wrong(y, want), None, "{} {isa:?} {sizes:?}", T::NAME);
        }
        for n_threads in [1, 3] {
            let single: Vec<T> = x.chunks(sizes[0]).flat_map(|x| forward(&network, x, 1, n_threads)).collect();
            assert_eq!(single, batched, "{} {isa:?} {sizes:?} threads {n_threads}", T::NAME);
        }
        assert_eq!(forward(&network, &x, batch, 3), batched, "{} {isa:?} {sizes:?}", T::NAME);
    }
}

#[test]
fn unpacked_weights_are_right() {
    unpacked_weights::<f32>(&[5801, 5813, 3]);
    unpacked_weights::<f64>(&[4111, 4127, 3]);
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    // Large enough for several threads. 1024 outputs divide evenly among 2 or 8 threads, the others do not.
    for sizes in [[1024, 1024, 1024], [1021, 1031, 517]] {
        for batch in [1, 2, 64, 257] {
            same_bits_for_any_threads::<f32>(&sizes, batch);
            same_bits_for_any_threads::<f64>(&sizes, batch);
        }
    }
}

/// Tests sums that overflow on the way or at the end, or would become infinity minus infinity.
fn finite<T: Dispatch>() {
    let max = T::MAX;
    for isa in available() {
        for &activation in Activation::ALL {
            for &output in OutputActivation::ALL {
                for (weight, x) in [(max, max), (max, -max), (-max, max)] {
                    let columns = 19;
                    let layer = |outputs: usize, inputs: usize| {
                        // Alternating signs: the true sums of the first row are far smaller than their terms.
                        let sign = |i: usize| if i.is_multiple_of(2) { weight } else { -weight };
                        let weights: Vec<T> = (0..outputs * inputs).map(sign).collect();
                        Layer::new("layer", Matrix::new("W", &weights, outputs, inputs).unwrap(), &vec![max; outputs])
                            .unwrap()
                    };
                    let config = NetworkConfig { activation_scale: 3.0, ..config(activation, output) };
                    let network = Network::from_layers(vec![layer(33, columns), layer(9, 33)], config).unwrap();
                    let network = network.with_isa(isa).unwrap();
                    for batch in [1, 20] {
                        let y = forward(&network, &vec![x; batch * columns], batch, 1);
                        assert!(y.iter().all(|y| y.is_finite()), "{} {isa:?} {activation} {output}: {y:?}", T::NAME);
                    }
                }
            }
        }
    }
}

#[test]
fn finite_in_finite_out() {
    finite::<f32>();
    finite::<f64>();
}

#[test]
fn a_sum_that_overflows_on_the_way_is_still_right() {
    // The first two terms overflow together; the sum itself fits.
    let max = f64::MAX;
    for isa in available() {
        let weight = [max, max, -max, -max, max / 4.0];
        let layer = Layer::new("layer", Matrix::new("W", &weight, 1, 5).unwrap(), &[0.0]).unwrap();
        let network = Network::from_layers(vec![layer], NetworkConfig::default()).unwrap().with_isa(isa).unwrap();
        for (x, want) in [([2.0; 5], max / 2.0), ([-2.0; 5], -max / 2.0), ([1e300; 5], max)] {
            let y = forward(&network, &x, 1, 1);
            assert!((y[0] - want).abs() <= 1e-15 * max, "{isa:?}: {} instead of {want}", y[0]);
        }
    }
}

#[test]
fn bad_arguments_are_named_and_nothing_is_written() {
    let network = Network::<f32>::new(&[4, 3], NetworkConfig::default(), Init::GlorotUniform, 1).unwrap();
    let forward = |x: &[f32], (rows, cols), (out_rows, out_cols): (usize, usize)| {
        let mut y = vec![7.0f32; out_rows * out_cols];
        let x = Matrix::new("X", x, rows, cols).unwrap();
        let error = network.forward(x, &mut MatrixMut::new("out", &mut y, out_rows, out_cols).unwrap(), 1).unwrap_err();
        assert!(y.iter().all(|y| *y == 7.0), "written despite {error}");
        error
    };
    let error = forward(&[1.0; 10], (2, 5), (2, 3));
    assert_eq!(error.to_string(), "X: expected 4 features, got 5");
    assert_eq!(forward(&[1.0; 8], (2, 4), (3, 3)).to_string(), "out: expected shape (2, 3), got (3, 3)");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = [1.0; 8];
        x[6] = bad;
        let error = forward(&x, (2, 4), (2, 3));
        assert!(
            matches!(error, Error::NonFinite { ref argument, row: 1, column: 2, .. } if argument == "X"),
            "{error}"
        );
    }
    // Large enough for several threads to check, of which one finds the NaN.
    let rows = 200_000;
    for row in [0, rows / 2, rows - 1] {
        let (mut x, mut y) = (vec![1.0; 4 * rows], vec![7.0f32; 3 * rows]);
        x[4 * row + 3] = f32::NAN;
        let mut out = MatrixMut::new("out", &mut y, rows, 3).unwrap();
        let error = network.forward(Matrix::new("X", &x, rows, 4).unwrap(), &mut out, 3).unwrap_err();
        assert!(matches!(error, Error::NonFinite { row: at, column: 3, .. } if at == row), "{error}");
        assert!(y.iter().all(|y| *y == 7.0), "written despite {error}");
    }
    assert!(Matrix::new("X", &[1.0f32; 7], 2, 4).unwrap_err().to_string().starts_with("X: expected 2 x 4 values"));
}

#[test]
fn an_empty_batch_gives_an_empty_result() {
    let network = Network::<f64>::new(&[4, 3], NetworkConfig::default(), Init::GlorotUniform, 1).unwrap();
    assert!(forward(&network, &[], 0, 2).is_empty());
}
