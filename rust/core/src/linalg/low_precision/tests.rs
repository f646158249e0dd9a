//! Low-precision products of odd shapes on every instruction set, against a naive reference.

use std::ops::Range;

use half::{bf16, f16};
use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

use super::{LowPrecisionMatrix, MAX_INT8_INPUTS, StoredWeights};
use crate::activation::{Activation, Epilogue};
use crate::linalg::view::{View, ViewMut};
use crate::matrix::Matrix;
use crate::simd::LowPrecisionIsa;
use crate::stabilizer::Stabilizer;
use crate::weight_format::WeightFormat;

/// Inputs and outputs, around the sizes of groups, registers, panels and tiles.
const SHAPES: [(usize, usize); 14] = [
    (1, 1),
    (2, 3),
    (3, 16),
    (4, 17),
    (5, 33),
    (16, 8),
    (31, 15),
    (33, 97),
    (63, 31),
    (64, 64),
    (65, 50),
    (130, 129),
    (257, 32),
    (1027, 10),
];
const BATCHES: [usize; 11] = [1, 2, 3, 4, 5, 11, 12, 16, 19, 33, 50];

/// Uniform on [-1, 1).
fn uniform(seed: u64, len: usize) -> Vec<f32> {
    let mut generator = Pcg64::new(seed.into(), 0);
    (0..len).map(|_| (generator.next_u64() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect()
}

fn epilogue(activation: Activation) -> Epilogue<f32> {
    Epilogue { activation, scale: 1.0, stabilizer: Stabilizer::new(4e-6, 4e-6).unwrap() }
}

fn matrix(
    format: WeightFormat,
    weights: &[f32],
    (inputs, outputs): (usize, usize),
    isa: LowPrecisionIsa,
) -> LowPrecisionMatrix {
    LowPrecisionMatrix::from_f32("W", format, Matrix::new("W", weights, outputs, inputs).unwrap(), isa).unwrap()
}

/// The outputs of the layer for all rows of x, with one call for each range of outputs.
fn multiply(matrix: &LowPrecisionMatrix, x: &[f32], bias: &[f32], ranges: &[Range<usize>]) -> Vec<f32> {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    let rows = x.len() / inputs;
    let mut y = vec![f32::NAN; rows * outputs];
    for range in ranges {
        let mut scratch = vec![f32::NAN; matrix.scratch_len(rows)];
        let out = ViewMut::new(y.as_mut_ptr(), rows, outputs, outputs).col_range(range.clone());
        let (x, epilogue) = (View::contiguous(x, rows, inputs), epilogue(Activation::Identity));
        // SAFETY: `out` and `scratch` have the size of the product, and nothing else uses them.
        unsafe { matrix.multiply(range.clone(), (bias, &epilogue), x, out, scratch.as_mut_ptr()) };
    }
    y
}

fn whole(matrix: &LowPrecisionMatrix) -> Vec<Range<usize>> {
    std::iter::once(0..matrix.outputs()).collect()
}

/// Ranges of outputs that begin at 0, `unit` and 3 `unit`.
fn split(matrix: &LowPrecisionMatrix) -> Vec<Range<usize>> {
    let ends = [0, matrix.unit(), 3 * matrix.unit(), matrix.outputs()].map(|end| end.min(matrix.outputs()));
    ends.windows(2).map(|pair| pair[0]..pair[1]).filter(|range| !range.is_empty()).collect()
}

/// One row of inputs as integers, and its scale.
fn quantized(row: &[f32]) -> (Vec<i32>, f32) {
    let scale = row.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
    let integer = |x: &f32| if scale > 0.0 { (x / scale).round_ties_even().clamp(-127.0, 127.0) as i32 } else { 0 };
    (row.iter().map(integer).collect(), scale)
}

/// Each output of a row, and the largest allowed error.
fn reference(stored: &StoredWeights, x: &[f32], bias: &[f32]) -> Vec<(f32, f32)> {
    let number = |i: usize| match stored {
        StoredWeights::F16(bits) => f16::from_bits(bits[i]).to_f64(),
        StoredWeights::Bf16(bits) => bf16::from_bits(bits[i]).to_f64(),
        StoredWeights::Int8 { values, .. } | StoredWeights::Int8Weights { values, .. } => values[i].into(),
    };
    let input = |x: f32| match stored {
        StoredWeights::Bf16(_) => bf16::from_f32(x).to_f64(),
        _ => f64::from(x),
    };
    let (integers, row_scale) = quantized(x);
    let output = |(o, bias): (usize, &f32)| {
        if let StoredWeights::Int8 { values, scales } = stored {
            let row = &values[o * x.len()..(o + 1) * x.len()];
            let sum: i32 = row.iter().zip(&integers).map(|(w, x)| i32::from(*w) * x).sum();
            return (sum as f32 * (row_scale * scales[o]) + bias, 0.0);
        }
        let scale = if let StoredWeights::Int8Weights { scales, .. } = stored { scales[o] } else { 1.0 };
        let terms = (0..x.len()).map(|i| number(o * x.len() + i) * input(x[i]) * f64::from(scale));
        let (sum, magnitude) = terms.fold((0.0, 0.0), |(sum, magnitude), t| (sum + t, magnitude + t.abs()));
        let bound = (x.len() + 4) as f64 * f64::from(f32::EPSILON) * (magnitude + f64::from(bias.abs()));
        ((sum + f64::from(*bias)) as f32, bound as f32)
    };
    bias.iter().enumerate().map(output).collect()
}

fn for_each_case(check: impl Fn(WeightFormat, LowPrecisionIsa, (usize, usize))) {
    for isa in LowPrecisionIsa::available() {
        for format in WeightFormat::ALL {
            SHAPES.iter().for_each(|shape| check(*format, isa, *shape));
        }
    }
}

#[test]
fn products_are_as_accurate_as_their_sums() {
    for_each_case(|format, isa, (inputs, outputs)| {
        let (weights, bias) = (uniform(1, inputs * outputs), uniform(2, outputs));
        let matrix = matrix(format, &weights, (inputs, outputs), isa);
        let stored = matrix.stored().unwrap();
        for rows in BATCHES {
            let x = uniform(3, rows * inputs);
            let y = multiply(&matrix, &x, &bias, &whole(&matrix));
            for (r, (x, y)) in x.chunks(inputs).zip(y.chunks(outputs)).enumerate() {
                for (o, (y, (want, bound))) in y.iter().zip(reference(&stored, x, &bias)).enumerate() {
                    let case = format!("{format} {isa:?} ({inputs}, {outputs}), row {r} of {rows}, output {o}");
                    assert!((y - want).abs() <= bound, "{case}: {y} instead of {want} +- {bound:e}");
                }
            }
        }
    });
}

#[test]
fn bits_depend_neither_on_the_batch_nor_on_the_split() {
    for_each_case(|format, isa, (inputs, outputs)| {
        let (weights, bias) = (uniform(1, inputs * outputs), uniform(2, outputs));
        let matrix = matrix(format, &weights, (inputs, outputs), isa);
        let x = uniform(3, BATCHES[BATCHES.len() - 1] * inputs);
        let alone: Vec<f32> = x.chunks(inputs).flat_map(|row| multiply(&matrix, row, &bias, &whole(&matrix))).collect();
        for rows in BATCHES {
            for ranges in [whole(&matrix), split(&matrix)] {
                let y = multiply(&matrix, &x[..rows * inputs], &bias, &ranges);
                let case = format!("{format} {isa:?} ({inputs}, {outputs}), {rows} rows, {ranges:?}");
                assert!(y == alone[..rows * outputs], "{case}");
            }
        }
    });
}

#[test]
fn weights_are_rounded_once() {
    for_each_case(|format, isa, (inputs, outputs)| {
        let weights = uniform(1, inputs * outputs);
        let matrix = matrix(format, &weights, (inputs, outputs), isa);
        let stored = matrix.stored().unwrap();
        assert_eq!(
            stored,
            StoredWeights::from_f32("W", format, Matrix::new("W", &weights, outputs, inputs).unwrap()).unwrap()
        );
        let again = LowPrecisionMatrix::from_stored("W", (outputs, inputs), &stored, isa).unwrap();
        assert_eq!(again.stored().unwrap(), stored);
        assert_eq!(matrix.with_isa(LowPrecisionIsa::Scalar).unwrap().stored().unwrap(), stored);
        let bytes = [2, 2, 1, 1][WeightFormat::ALL.iter().position(|f| *f == format).unwrap()];
        assert_eq!(matrix.nbytes(), bytes * inputs * outputs + if bytes == 1 { 4 * outputs } else { 0 });
        for (o, row) in weights.chunks(inputs).enumerate() {
            let largest = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            for (i, w) in row.iter().enumerate() {
                let step = [w.abs() / 2048.0, w.abs() / 256.0, largest / 253.0, largest / 253.0]
                    [WeightFormat::ALL.iter().position(|f| *f == format).unwrap()];
                assert!((matrix.weight(o, i) - w).abs() <= step + 3e-8, "{format} {isa:?} {o} {i}");
            }
        }
    });
}

/// Zeros, denormal numbers and the largest numbers, in inputs and weights: outputs are finite, and int8 has the same bits
/// everywhere.
#[test]
fn extreme_numbers_give_finite_outputs() {
    let (inputs, outputs) = (70, 35);
    let extremes = [0.0, 1e-45, 3e-43, -1e-39, 1e-30, 1.0, -6e4, 6e4];
    let weights: Vec<f32> = (0..inputs * outputs).map(|i| extremes[(i / inputs + i % 3) % 8]).collect();
    let extremes = [0.0, 1e-45, -3e-43, 1e-38, -1.0, 1e30, f32::MAX, -f32::MAX];
    let x: Vec<f32> = (0..17 * inputs).map(|i| extremes[(i / inputs + i % 2) % 8]).collect();
    let bias: Vec<f32> = (0..outputs).map(|o| [0.0, f32::MAX, -f32::MAX][o % 3]).collect();
    for format in WeightFormat::ALL {
        let mut portable = None;
        for isa in LowPrecisionIsa::available() {
            let matrix = matrix(*format, &weights, (inputs, outputs), isa);
            let y = multiply(&matrix, &x, &bias, &whole(&matrix));
            assert!(y.iter().all(|y| y.is_finite()), "{format} {isa:?}");
            let portable = portable.get_or_insert_with(|| y.clone());
            assert!(*format != WeightFormat::Int8 || *portable == y, "{format} {isa:?}");
        }
    }
}

/// Sums of the largest integers: none saturates.
#[test]
fn sums_of_the_largest_integers_are_exact() {
    let (inputs, outputs) = (515, 40);
    let weights: Vec<f32> = (0..inputs * outputs).map(|i| if i / inputs % 3 == 1 { -1.0 } else { 1.0 }).collect();
    let x: Vec<f32> = (0..14 * inputs).map(|i| if i / inputs % 2 == 1 { -1.0 } else { 1.0 }).collect();
    let bias = vec![0.0; outputs];
    for isa in LowPrecisionIsa::available() {
        let matrix = matrix(WeightFormat::Int8, &weights, (inputs, outputs), isa);
        let y = multiply(&matrix, &x, &bias, &whole(&matrix));
        let stored = matrix.stored().unwrap();
        for (x, y) in x.chunks(inputs).zip(y.chunks(outputs)) {
            let want: Vec<f32> = reference(&stored, x, &bias).into_iter().map(|(want, _)| want).collect();
            assert!(y == want, "{isa:?}");
        }
    }
}

/// Inputs around the middle between two integers, where the rounding of the quotient decides.
#[test]
fn quotients_are_rounded_as_divisions_are() {
    let n = 128;
    let identity: Vec<f32> = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect();
    let largest = uniform(4, 300);
    let mut x = Vec::new();
    for (r, largest) in largest.iter().enumerate() {
        let largest = (largest.abs() + 0.5) * 2f32.powi([0, 3, -20, 90, -90, 110, -120][r % 7]);
        let middle = |i: usize| (i as f32 - 0.5) * (largest / 127.0);
        let near = |i: usize| f32::from_bits((middle(i).to_bits() as i32 + r as i32 % 5 - 2) as u32);
        x.extend((0..n).map(|i| if i == 0 { largest } else { near(i) * [1.0, -1.0][i % 2] }));
    }
    for isa in LowPrecisionIsa::available() {
        let matrix = matrix(WeightFormat::Int8, &identity, (n, n), isa);
        let y = multiply(&matrix, &x, &vec![0.0; n], &whole(&matrix));
        for (x, y) in x.chunks(n).zip(y.chunks(n)) {
            let (integers, scale) = quantized(x);
            let want: Vec<f32> = integers.iter().map(|q| (q * 127) as f32 * (scale * (1.0 / 127.0))).collect();
            assert!(y == want, "{isa:?} {scale:e}");
        }
    }
}

#[test]
fn the_activation_is_applied() {
    for isa in LowPrecisionIsa::available() {
        let matrix = matrix(WeightFormat::Int8, &uniform(1, 33 * 50), (33, 50), isa);
        let (x, bias) = (uniform(2, 7 * 33), uniform(3, 50));
        let mut y = vec![f32::NAN; 7 * 50];
        let mut scratch = vec![f32::NAN; matrix.scratch_len(7)];
        let out = ViewMut::new(y.as_mut_ptr(), 7, 50, 50);
        let epilogue = Epilogue { scale: 0.5, ..epilogue(Activation::Relu) };
        // SAFETY: as in `multiply`.
        unsafe { matrix.multiply(0..50, (&bias, &epilogue), View::contiguous(&x, 7, 33), out, scratch.as_mut_ptr()) };
        let want: Vec<f32> =
            multiply(&matrix, &x, &bias, &whole(&matrix)).into_iter().map(|z| z.max(0.0) * 0.5).collect();
        assert!(y == want, "{isa:?}");
    }
}

#[test]
fn invalid_weights_are_errors_that_say_what_is_wrong() {
    let from_f32 = |format, values: &[f32], inputs| {
        let weights = Matrix::new("W", values, values.len() / inputs, inputs).unwrap();
        StoredWeights::from_f32("parameters[2].W", format, weights).unwrap_err().to_string()
    };
    let message = from_f32(WeightFormat::F16, &[1.0, 1e5], 1);
    assert!(message.contains("parameters[2].W") && message.contains("f16") && message.contains("100000"), "{message}");
    let message = from_f32(WeightFormat::Int8, &vec![1.0; MAX_INT8_INPUTS + 1], MAX_INT8_INPUTS + 1);
    assert!(message.contains("133144") && message.contains("int8_weights"), "{message}");
    let from_stored = |stored| {
        LowPrecisionMatrix::from_stored("parameters[0].W", (2, 1), &stored, LowPrecisionIsa::Scalar)
            .unwrap_err()
            .to_string()
    };
    let integers = |values: &[i8], scales: &[f32]| {
        from_stored(StoredWeights::Int8 { values: values.to_vec(), scales: scales.to_vec() })
    };
    assert!(integers(&[1, -128], &[1.0; 2]).contains("-127 to 127, got -128"));
    assert!(integers(&[1, 2, 3], &[1.0; 2]).contains("2 values"));
    assert!(integers(&[1, 2], &[1.0]).contains("scales: expected 2 values"));
    assert!(integers(&[1, 2], &[1.0, -1.0]).contains("at least 0, got -1"));
    assert!(integers(&[1, 2], &[1.0, f32::NAN]).contains("got NaN"));
    assert!(integers(&[1, 2], &[1.0, 0.0]).contains("zeros where the scale"));
    assert!(from_stored(StoredWeights::F16(vec![0, 0x7c00])).contains("row 1, column 0"));
    assert!(from_stored(StoredWeights::Bf16(vec![0x7fc0, 0])).contains("row 0, column 0"));
}
