//! A layer of a quantized network: low-precision weights, or f32 weights that were kept.

use crate::activation::Epilogue;
use crate::error::{Error, Result};
use crate::linalg::low_precision::{LowPrecisionMatrix, StoredWeights};
use crate::matrix::Matrix;
use crate::memory::{Aligned, collect, copy_of};
use crate::network::checks::check_finite;
use crate::network::forward::LayerPart;
use crate::network::layer::Layer;
use crate::scalar::Scalar;
use crate::simd::LowPrecisionIsa;
use crate::weight_format::WeightFormat;

/// The parameters of a dense layer of a [`QuantizedNetwork`](crate::QuantizedNetwork): W (outputs, inputs) and b
/// (outputs,), which is f32 in every format.
pub enum QuantizedLayer {
    /// W in f32.
    F32(Layer<f32>),
    /// W in a [`WeightFormat`].
    LowPrecision(LowPrecisionLayer),
}

/// The parameters of a layer whose weights have a [`WeightFormat`].
pub struct LowPrecisionLayer {
    weights: LowPrecisionMatrix,
    bias: Aligned<f32>,
}

impl QuantizedLayer {
    /// A layer with the weights of `layer` rounded to `format`, or to f32 if `format` is `None`. Errors call it `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a value is too large for f32 or for the format, or if the layer has too many inputs for
    /// the format; [`Error::OutOfMemory`].
    pub fn quantize<T: Scalar>(name: &str, layer: &Layer<T>, format: Option<WeightFormat>) -> Result<Self> {
        let weight = in_f32(&format!("{name}.W"), layer.weight())?;
        let bias = in_f32(&format!("{name}.b"), layer.bias())?;
        let weight = Matrix::new("W", &weight, layer.outputs(), layer.inputs())?;
        let Some(format) = format else {
            return Layer::new(name, weight, &bias).map(QuantizedLayer::F32);
        };
        let isa = LowPrecisionIsa::active()?;
        let weights = LowPrecisionMatrix::from_f32(&format!("{name}.W"), format, weight, isa)?;
        Ok(QuantizedLayer::LowPrecision(LowPrecisionLayer { weights, bias: copy_of(name, &bias)? }))
    }

    /// A layer with a copy of low-precision weights of the shape (outputs, inputs) and of `bias` (outputs,). Errors call
    /// it `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a dimension is 0, the shapes do not fit or a weight or scale is not valid, see
    /// [`StoredWeights`]; [`Error::NonFinite`] for a bias; [`Error::OutOfMemory`].
    pub fn from_stored(
        name: &str,
        (outputs, inputs): (usize, usize),
        weights: &StoredWeights,
        bias: &[f32],
    ) -> Result<Self> {
        let isa = LowPrecisionIsa::active()?;
        let weights = LowPrecisionMatrix::from_stored(&format!("{name}.W"), (outputs, inputs), weights, isa)?;
        let bias_name = format!("{name}.b");
        if bias.len() != outputs {
            return Err(Error::invalid(bias_name, format!("shape ({outputs},)"), format!("({},)", bias.len())));
        }
        check_finite(&bias_name, Matrix::new("b", bias, outputs, 1)?)?;
        Ok(QuantizedLayer::LowPrecision(LowPrecisionLayer { weights, bias: copy_of(name, bias)? }))
    }

    /// The format of the weights; `None` if they are f32.
    pub fn format(&self) -> Option<WeightFormat> {
        match self {
            QuantizedLayer::F32(_) => None,
            QuantizedLayer::LowPrecision(layer) => Some(layer.weights.format()),
        }
    }

    /// The layer, if its weights are f32.
    pub fn as_f32(&self) -> Option<&Layer<f32>> {
        if let QuantizedLayer::F32(layer) = self { Some(layer) } else { None }
    }

    /// The weights, if they have a low-precision format.
    pub(crate) fn low_precision_weights_mut(&mut self) -> Option<&mut LowPrecisionMatrix> {
        if let QuantizedLayer::LowPrecision(layer) = self { Some(&mut layer.weights) } else { None }
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        match self {
            QuantizedLayer::F32(layer) => layer.inputs(),
            QuantizedLayer::LowPrecision(layer) => layer.weights.inputs(),
        }
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias().len()
    }

    /// b (outputs,).
    pub fn bias(&self) -> &[f32] {
        match self {
            QuantizedLayer::F32(layer) => layer.bias(),
            QuantizedLayer::LowPrecision(layer) => &layer.bias,
        }
    }

    /// The size of the stored parameters in bytes: weights, scales and biases.
    pub fn nbytes(&self) -> usize {
        size_of_val(self.bias())
            + match self {
                QuantizedLayer::F32(layer) => size_of_val(layer.weight()),
                QuantizedLayer::LowPrecision(layer) => layer.weights.nbytes(),
            }
    }

    /// The number that each weight stands for, (outputs, inputs), row-major.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn dequantized(&self) -> Result<Vec<f32>> {
        match self {
            QuantizedLayer::F32(layer) => collect("network", layer.weight().iter().copied()),
            QuantizedLayer::LowPrecision(LowPrecisionLayer { weights, .. }) => {
                let inputs = weights.inputs();
                let weight = |place: usize| weights.weight(place / inputs, place % inputs);
                collect("network", (0..weights.outputs() * inputs).map(weight))
            }
        }
    }

    /// The same layer on the instruction set `isa`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this CPU lacks it; [`Error::OutOfMemory`].
    pub(crate) fn with_isa(&self, isa: LowPrecisionIsa) -> Result<Self> {
        Ok(match self {
            QuantizedLayer::F32(layer) => QuantizedLayer::F32(layer.try_clone()?),
            QuantizedLayer::LowPrecision(LowPrecisionLayer { weights, bias }) => {
                let (weights, bias) = (weights.with_isa(isa)?, copy_of("network", bias)?);
                QuantizedLayer::LowPrecision(LowPrecisionLayer { weights, bias })
            }
        })
    }
}

impl LowPrecisionLayer {
    /// The weights as a file holds them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn stored(&self) -> Result<StoredWeights> {
        self.weights.stored()
    }

    /// Threads split the outputs at multiples of this.
    pub(crate) fn unit(&self) -> usize {
        self.weights.unit()
    }

    /// The scratch memory of [`LowPrecisionLayer::forward`] for `rows` rows, in elements.
    pub(crate) fn scratch_len(&self, rows: usize) -> usize {
        self.weights.scratch_len(rows)
    }

    /// Computes `activation(X W^T + b) * scale` for some of the outputs.
    ///
    /// # Safety
    /// - `part.outputs` start at a multiple of [`LowPrecisionLayer::unit`].
    /// - `part.out` has the rows of x and one column for each of the outputs, `part.scratch` has
    ///   [`LowPrecisionLayer::scratch_len`] elements, and nothing else uses either.
    pub(crate) unsafe fn forward(&self, epilogue: &Epilogue<f32>, part: LayerPart<f32>) {
        let LayerPart { outputs, x, out, scratch } = part;
        // SAFETY: guaranteed by the caller.
        unsafe { self.weights.multiply(outputs, (&self.bias, epilogue), x, out, scratch) }
    }
}

/// `values`, which are finite, in f32; errors call them `name`.
fn in_f32<T: Scalar>(name: &str, values: &[T]) -> Result<Vec<f32>> {
    let converted = collect(name, values.iter().map(|value| f32::from_f64(value.to_f64())))?;
    match converted.iter().position(|value| !value.is_finite()) {
        None => Ok(converted),
        Some(at) => Err(Error::invalid(name, format!("values that fit into f32 (at most {:e})", f32::MAX), values[at])),
    }
}
