//! Low-precision weights as a file holds them, and the rounding of f32 weights to them.

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::memory::collect;
use crate::weight_format::WeightFormat;

/// The largest magnitude of a quantized weight or input.
pub(super) const LARGEST: f32 = 127.0;

/// The largest number of inputs of a layer whose products are summed in i32: no sum overflows.
pub const MAX_INT8_INPUTS: usize = i32::MAX as usize / (127 * 127);

/// The weights (outputs, inputs) of a layer, row-major, in one of the formats.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredWeights {
    /// The bits of IEEE half-precision numbers.
    F16(Vec<u16>),
    /// The bits of bfloat16 numbers.
    Bf16(Vec<u16>),
    /// Integers from -127 to 127, and the scale of each output, for products with quantized inputs.
    Int8 {
        /// (outputs, inputs)
        values: Vec<i8>,
        /// (outputs,)
        scales: Vec<f32>,
    },
    /// The same, for products with f32 inputs.
    Int8Weights {
        /// (outputs, inputs)
        values: Vec<i8>,
        /// (outputs,)
        scales: Vec<f32>,
    },
}

impl StoredWeights {
    /// Rounds finite weights (outputs, inputs) to `format`; errors call them `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a weight is too large for f16, or if there are more inputs than [`MAX_INT8_INPUTS`] for
    /// int8; [`Error::OutOfMemory`].
    pub fn from_f32(name: &str, format: WeightFormat, weights: Matrix<f32>) -> Result<Self> {
        let data = weights.data();
        match format {
            WeightFormat::F16 => {
                let fits = |w: &&f32| f16::from_f32(**w).is_finite();
                if let Some(too_large) = data.iter().find(|w| !fits(w)) {
                    let expected = format!("weights that fit into f16 (at most {} in magnitude)", f16::MAX);
                    return Err(Error::invalid(name, expected, too_large));
                }
                Ok(StoredWeights::F16(collect(name, data.iter().map(|w| f16::from_f32(*w).to_bits()))?))
            }
            WeightFormat::Bf16 => {
                let round = |w: &f32| bf16::from_f32(w.clamp(-bf16::MAX.to_f32(), bf16::MAX.to_f32())).to_bits();
                Ok(StoredWeights::Bf16(collect(name, data.iter().map(round))?))
            }
            WeightFormat::Int8 | WeightFormat::Int8Weights => {
                check_inputs(name, format, weights.cols())?;
                let (values, scales) = quantize(name, weights)?;
                Ok(match format {
                    WeightFormat::Int8 => StoredWeights::Int8 { values, scales },
                    _ => StoredWeights::Int8Weights { values, scales },
                })
            }
        }
    }

    /// The format of the weights.
    pub fn format(&self) -> WeightFormat {
        match self {
            StoredWeights::F16(_) => WeightFormat::F16,
            StoredWeights::Bf16(_) => WeightFormat::Bf16,
            StoredWeights::Int8 { .. } => WeightFormat::Int8,
            StoredWeights::Int8Weights { .. } => WeightFormat::Int8Weights,
        }
    }

    /// Checks that these are valid weights of the shape (outputs, inputs).
    ///
    /// # Errors
    /// [`Error::Invalid`] if the shapes do not fit, a value is -128, NaN or infinite, a scale is negative, NaN or
    /// infinite, an output with scale 0 has weights other than 0, or there are too many inputs for int8.
    pub(super) fn check(&self, name: &str, (outputs, inputs): (usize, usize)) -> Result<()> {
        check_inputs(name, self.format(), inputs)?;
        let check_len = |argument: String, expected: usize, len: usize| {
            if len == expected {
                return Ok(());
            }
            Err(Error::invalid(argument, format!("{expected} values for {outputs} outputs and {inputs} inputs"), len))
        };
        let check_halves = |bits: &[u16], is_finite: fn(u16) -> bool| {
            check_len(name.into(), outputs * inputs, bits.len())?;
            match bits.iter().position(|bits| !is_finite(*bits)) {
                None => Ok(()),
                Some(i) => {
                    let got = format!("NaN or infinity at row {}, column {}", i / inputs, i % inputs);
                    Err(Error::invalid(name, "finite values", got))
                }
            }
        };
        match self {
            StoredWeights::F16(bits) => check_halves(bits, |bits| f16::from_bits(bits).is_finite()),
            StoredWeights::Bf16(bits) => check_halves(bits, |bits| bf16::from_bits(bits).is_finite()),
            StoredWeights::Int8 { values, scales } | StoredWeights::Int8Weights { values, scales } => {
                check_len(name.into(), outputs * inputs, values.len())?;
                check_len(format!("{name} scales"), outputs, scales.len())?;
                if values.contains(&i8::MIN) {
                    return Err(Error::invalid(name, "integers from -127 to 127", i8::MIN));
                }
                if let Some(scale) = scales.iter().find(|scale| !(0.0..=f32::MAX).contains(*scale)) {
                    return Err(Error::invalid(format!("{name} scales"), "finite values of at least 0", scale));
                }
                let is_lost = |(row, scale): (&[i8], &f32)| *scale == 0.0 && row.iter().any(|value| *value != 0);
                if values.chunks_exact(inputs).zip(scales).any(is_lost) {
                    return Err(Error::invalid(name, "zeros where the scale of an output is 0", "other integers"));
                }
                Ok(())
            }
        }
    }
}

/// Checks that sums of products of integers cannot overflow.
fn check_inputs(name: &str, format: WeightFormat, inputs: usize) -> Result<()> {
    if format == WeightFormat::Int8 && inputs > MAX_INT8_INPUTS {
        let expected = format!("at most {MAX_INT8_INPUTS} inputs in int8 (int8_weights, f16 and bf16 have no limit)");
        return Err(Error::invalid(name, expected, inputs));
    }
    Ok(())
}

/// The scale of a row with the largest magnitude `largest`.
pub(super) fn scale_of(largest: f32) -> f32 {
    largest / LARGEST
}

/// What the numbers of a row are divided by.
pub(super) fn divisor(scale: f32) -> f32 {
    if scale > 0.0 { scale } else { f32::INFINITY }
}

/// Each row as integers with one scale: `weights[o][i]` is about `values[o][i] * scales[o]`.
fn quantize(name: &str, weights: Matrix<f32>) -> Result<(Vec<i8>, Vec<f32>)> {
    let rows = || weights.data().chunks_exact(weights.cols());
    let largest = |row: &[f32]| row.iter().fold(0.0, |m: f32, w| m.max(w.abs()));
    let scales = collect(name, rows().map(|row| scale_of(largest(row))))?;
    let mut values = collect(name, weights.data().iter().map(|_| 0))?;
    for ((row, scale), values) in rows().zip(&scales).zip(values.chunks_exact_mut(weights.cols())) {
        let divisor = divisor(*scale);
        for (value, w) in values.iter_mut().zip(row) {
            // Above 127 only if the scale is a denormal number.
            *value = (w / divisor).round_ties_even().clamp(-LARGEST, LARGEST) as i8;
        }
    }
    Ok((values, scales))
}
