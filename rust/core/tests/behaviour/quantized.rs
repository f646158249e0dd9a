//! Quantized networks: equal to a naive computation on every instruction set; the same bits for any number of threads
//! and in any batch; invalid parameters are refused.

use crate::common::{network, uniform};
use tinyrs_core::{
    Activation, Csr, Error, Forward, Isa, Layer, LowPrecisionIsa, Matrix, MatrixMut, NetworkConfig, OutputActivation,
    QuantizedLayer, QuantizedNetwork, StoredWeights, WeightFormat,
};

fn config(activation: Activation) -> NetworkConfig {
    NetworkConfig { activations: vec![activation], ..NetworkConfig::default() }
}

fn quantized(sizes: &[usize], formats: &[Option<WeightFormat>], isa: LowPrecisionIsa) -> QuantizedNetwork {
    let network = network::<f32>(sizes, config(Activation::Relu), Isa::Scalar);
    QuantizedNetwork::quantize(&network, formats).unwrap().with_isa(isa).unwrap()
}

fn forward(network: &QuantizedNetwork, x: &[f32], n_threads: usize) -> Vec<f32> {
    let (inputs, outputs) = (network.layer_sizes()[0], network.outputs());
    let batch = x.len() / inputs;
    let mut y = vec![f32::NAN; batch * outputs];
    let mut out = MatrixMut::new("y", &mut y, batch, outputs).unwrap();
    network.forward(Matrix::new("X", x, batch, inputs).unwrap(), &mut out, n_threads).unwrap();
    y
}

/// The outputs of int8 layers with relu between them for one row, as `WeightFormat::Int8` defines them.
fn naive_int8(layers: &[QuantizedLayer], x: &[f32]) -> Vec<f32> {
    let mut x = x.to_vec();
    for (l, layer) in layers.iter().enumerate() {
        let QuantizedLayer::LowPrecision(low_precision) = layer else { panic!("a layer in f32") };
        let StoredWeights::Int8 { values, scales } = low_precision.stored().unwrap() else { panic!("not int8") };
        let row_scale = x.iter().fold(0.0, |m: f32, v| m.max(v.abs())) / 127.0;
        let quantize = |v: &f32| if row_scale > 0.0 { (v / row_scale).round_ties_even() as i64 } else { 0 };
        let q: Vec<i64> = x.iter().map(quantize).collect();
        let output = |(row, (scale, bias)): (&[i8], (&f32, &f32))| {
            let sum: i64 = row.iter().zip(&q).map(|(w, q)| i64::from(*w) * q).sum();
            let z = sum as f32 * (row_scale * scale) + bias;
            if l + 1 < layers.len() { z.max(0.0) } else { z }
        };
        x = values.chunks(layer.inputs()).zip(scales.iter().zip(layer.bias())).map(output).collect();
    }
    x
}

#[test]
fn int8_has_the_bits_of_the_naive_loops_on_every_instruction_set() {
    for isa in LowPrecisionIsa::available() {
        for sizes in [[1, 1, 1], [3, 17, 2], [16, 33, 31], [65, 64, 7], [131, 5, 67]] {
            let network = quantized(&sizes, &[Some(WeightFormat::Int8); 2], isa);
            for batch in [1, 2, 19, 70] {
                let x = uniform::<f32>(5, batch * sizes[0]);
                let want: Vec<f32> = x.chunks(sizes[0]).flat_map(|row| naive_int8(network.layers(), row)).collect();
                for n_threads in [1, 2] {
                    assert_eq!(forward(&network, &x, n_threads), want, "{isa:?} {sizes:?} {batch} {n_threads}");
                }
            }
        }
    }
}

#[test]
fn rows_have_the_same_bits_in_any_batch_for_any_threads_and_sparse() {
    let kinds = WeightFormat::ALL.iter().copied().map(Some).chain([None]);
    for isa in LowPrecisionIsa::available() {
        for format in kinds.clone() {
            // At least one layer has low precision.
            let network = quantized(&[37, 70, 65, 5], &[format, Some(WeightFormat::Int8), format], isa);
            let batch = 131;
            let x: Vec<f32> = uniform::<f32>(7, batch * 37).iter().map(|v| if *v < -0.5 { 0.0 } else { *v }).collect();
            let want = forward(&network, &x, 1);
            for n_threads in [2, 3] {
                assert_eq!(forward(&network, &x, n_threads), want, "{isa:?} {format:?} {n_threads}");
            }
            for rows in [0..1, 5..7, 9..40] {
                let part = forward(&network, &x[rows.start * 37..rows.end * 37], 2);
                assert_eq!(part, want[rows.start * 5..rows.end * 5], "{isa:?} {format:?} {rows:?}");
            }
            let (mut indptr, mut indices, mut data) = (vec![0], Vec::new(), Vec::new());
            for row in x.chunks(37) {
                for (column, value) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                    indices.push(column as i32);
                    data.push(*value);
                }
                indptr.push(data.len() as i64);
            }
            let csr = Csr::new("X", &indptr, &indices, &data, 37).unwrap();
            let mut y = vec![f32::NAN; batch * 5];
            network.forward_sparse(csr, &mut MatrixMut::new("y", &mut y, batch, 5).unwrap(), 2).unwrap();
            assert_eq!(y, want, "{isa:?} {format:?}");
        }
    }
}

#[test]
fn stored_layers_are_the_same_network() {
    for &format in WeightFormat::ALL {
        let network = quantized(&[9, 8, 7], &[Some(format), None], LowPrecisionIsa::active().unwrap());
        let again = network.layers().iter().map(|layer| match layer {
            QuantizedLayer::F32(layer) => QuantizedLayer::F32(layer.try_clone().unwrap()),
            QuantizedLayer::LowPrecision(low_precision) => {
                let (shape, weights) = ((layer.outputs(), layer.inputs()), low_precision.stored().unwrap());
                QuantizedLayer::from_stored("layers[0]", shape, &weights, layer.bias()).unwrap()
            }
        });
        let again = QuantizedNetwork::from_layers(again.collect(), network.config().clone()).unwrap();
        let x = uniform::<f32>(1, 9 * 5);
        assert_eq!(forward(&again, &x, 1), forward(&network, &x, 1), "{format}");
        assert_eq!(forward(&network.clone(), &x, 1), forward(&network, &x, 1), "{format}");
        assert_eq!((again.nbytes(), again.n_parameters()), (network.nbytes(), 9 * 8 + 8 + 8 * 7 + 7));
        assert_eq!(again.layers()[0].dequantized().unwrap(), network.layers()[0].dequantized().unwrap());
    }
}

#[test]
fn invalid_networks_are_refused() {
    let message = |result: Result<QuantizedLayer, Error>| result.map(drop).unwrap_err().to_string();
    let layer = |outputs, inputs, value: f64| {
        let weight = vec![value; outputs * inputs];
        Layer::new("layer", Matrix::new("W", &weight, outputs, inputs).unwrap(), &vec![0.0; outputs]).unwrap()
    };
    let refused = message(QuantizedLayer::quantize("parameters[3]", &layer(2, 2, 70000.0), Some(WeightFormat::F16)));
    assert!(refused.starts_with("parameters[3].W: expected weights that fit into f16"), "{refused}");
    let refused = message(QuantizedLayer::quantize("parameters[3]", &layer(2, 2, 1e39), None));
    assert!(refused.starts_with("parameters[3].W: expected values that fit into f32"), "{refused}");
    let weights = StoredWeights::Bf16(vec![0; 6]);
    let stored = |bias: &[f32]| message(QuantizedLayer::from_stored("layers[1]", (2, 3), &weights, bias));
    assert_eq!(stored(&[0.0]), "layers[1].b: expected shape (2,), got (1,)");
    assert!(stored(&[0.0, f32::NAN]).starts_with("layers[1].b: expected finite f32 values, got NaN at row 1"));

    let int8 = |outputs, inputs| {
        QuantizedLayer::quantize("layer", &layer(outputs, inputs, 1.0), Some(WeightFormat::Int8)).unwrap()
    };
    let network = |layers| QuantizedNetwork::from_layers(layers, NetworkConfig::default()).map(drop).unwrap_err();
    let refused = network(vec![int8(2, 3), int8(4, 5)]).to_string();
    assert_eq!(refused, "parameters[1].W: expected 2 columns, the number of outputs of the layer before, got 5");
    let f32_layer = QuantizedLayer::quantize("layer", &layer(2, 3, 1.0), None).unwrap();
    assert!(network(vec![f32_layer]).to_string().ends_with("got only f32"));
    assert!(network(vec![]).to_string().ends_with("got no layer"));
}

#[test]
fn softmax_and_wide_layers_work_on_several_threads() {
    let config = NetworkConfig { output_activation: OutputActivation::Softmax, ..config(Activation::Tanh) };
    let network = network::<f32>(&[700, 1500, 40], config, Isa::Scalar);
    for &format in WeightFormat::ALL {
        let network = QuantizedNetwork::quantize(&network, &[Some(format); 2]).unwrap();
        for batch in [1, 20, 90] {
            let x = uniform::<f32>(3, batch * 700);
            let want = forward(&network, &x, 1);
            assert_eq!(forward(&network, &x, 2), want, "{format} {batch}");
            assert!(want.chunks(40).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        }
    }
}
