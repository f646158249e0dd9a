//! Quantized networks: `Network.quantize`, and their parameters as a model file holds them.

use numpy::Element;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyList};
use safetensors::Dtype;
use tinyrs_core::{
    Layer, LowPrecisionLayer, Matrix, NetworkConfig, QuantizedLayer, QuantizedNetwork, Scalar, StoredWeights,
    WeightFormat,
};

use crate::arrays::{array_of, tuple};
use crate::errors::to_python;
use crate::precision::{AnyEnsemble, AnyNetwork, format_name, not_trainable};
use crate::safetensors::Tensor;

/// `network` in the formats that `kind` names.
pub fn quantize(py: Python, network: &AnyNetwork, kind: &Bound<PyAny>) -> PyResult<AnyNetwork> {
    match network {
        AnyNetwork::F32(network) => {
            let formats = formats_of(kind, network.layer_sizes().len() - 1)?;
            py.detach(|| QuantizedNetwork::quantize(network, &formats))
        }
        AnyNetwork::F64(network) => {
            let formats = formats_of(kind, network.layer_sizes().len() - 1)?;
            py.detach(|| QuantizedNetwork::quantize(network, &formats))
        }
        AnyNetwork::Quantized(_) => {
            let got = network.weights();
            let message = format!("quantize: expected a network with f32 or f64 weights, got one with {got} weights");
            return Err(PyValueError::new_err(message));
        }
        AnyNetwork::Ensemble(_) => {
            let members = network.members()?;
            let members = members.iter().map(|member| quantize(py, member, kind)).collect::<PyResult<_>>()?;
            return AnyNetwork::ensemble(members);
        }
    }
    .map(AnyNetwork::Quantized)
    .map_err(to_python)
}

/// The format of each layer in an argument that is one name, or a sequence with one for each layer.
fn formats_of(kind: &Bound<PyAny>, n_layers: usize) -> PyResult<Vec<Option<WeightFormat>>> {
    if let Ok(name) = kind.extract::<PyBackedStr>() {
        let format = WeightFormat::parse("kind", &name).map_err(to_python)?;
        return Ok(vec![Some(format); n_layers]);
    }
    let Ok(names) = kind.extract::<Vec<PyBackedStr>>() else {
        let got = kind.get_type();
        return Err(PyTypeError::new_err(format!("kind: expected a name or a sequence of names, got {got}")));
    };
    names.iter().enumerate().map(|(index, name)| layer_format(&format!("kind[{index}]"), name)).collect()
}

/// The format of a layer by its name, of which "f32" is none.
fn layer_format(argument: &str, name: &str) -> PyResult<Option<WeightFormat>> {
    if name == F32 { Ok(None) } else { WeightFormat::parse(argument, name).map(Some).map_err(to_python) }
}

/// The name of the format of layers that are not quantized.
const F32: &str = "f32";

/// The name of the format of each layer after an embedding.
pub fn layer_weights(network: &AnyNetwork) -> Vec<&'static str> {
    match network {
        AnyNetwork::F32(network) => vec![F32; network.layer_sizes().len() - 1],
        AnyNetwork::F64(network) => vec!["f64"; network.layer_sizes().len() - 1],
        AnyNetwork::Quantized(network) => network.dense_layers().iter().map(format_name).collect(),
        AnyNetwork::Ensemble(AnyEnsemble::F32(ensemble)) => vec![F32; ensemble.layer_sizes().len() - 1],
        AnyNetwork::Ensemble(AnyEnsemble::F64(ensemble)) => vec!["f64"; ensemble.layer_sizes().len() - 1],
        AnyNetwork::Ensemble(AnyEnsemble::Quantized(ensemble)) => {
            ensemble.members()[0].dense_layers().iter().map(format_name).collect()
        }
    }
}

/// Copies of the parameters of `layers` as f32 numbers.
pub fn dequantized<'py>(py: Python<'py>, layers: &[QuantizedLayer]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for layer in layers {
        let values = layer.dequantized().map_err(to_python)?;
        let weight = array_of(py, &[layer.outputs(), layer.inputs()], &values)?;
        list.append((weight, array_of(py, &[layer.outputs()], layer.bias())?))?;
    }
    Ok(list)
}

/// The parameters as a model file holds them: one dict per layer.
pub fn stored<'py>(py: Python<'py>, network: &AnyNetwork) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    match network {
        AnyNetwork::F32(network) => {
            network.layers().iter().try_for_each(|layer| list.append(stored_plain(py, layer)?))?;
        }
        AnyNetwork::F64(network) => {
            network.layers().iter().try_for_each(|layer| list.append(stored_plain(py, layer)?))?;
        }
        AnyNetwork::Quantized(network) => network.layers().iter().try_for_each(|layer| {
            list.append(match layer {
                QuantizedLayer::F32(layer) => stored_plain(py, layer)?,
                QuantizedLayer::LowPrecision(low) => stored_low_precision(py, layer, low)?,
            })
        })?,
        other @ AnyNetwork::Ensemble(_) => return Err(not_trainable(other)),
    }
    Ok(list)
}

fn stored_plain<'py, T: Scalar + Element>(py: Python<'py>, layer: &Layer<T>) -> PyResult<Bound<'py, PyDict>> {
    let shape = [layer.outputs(), layer.inputs()];
    stored_layer(py, T::NAME, Tensor::of(py, dtype_of::<T>(), &shape, layer.weight())?, layer.bias())
}

fn stored_low_precision<'py>(
    py: Python<'py>,
    layer: &QuantizedLayer,
    low_precision: &LowPrecisionLayer,
) -> PyResult<Bound<'py, PyDict>> {
    let shape = [layer.outputs(), layer.inputs()];
    let (weight, scales) = match low_precision.stored().map_err(to_python)? {
        StoredWeights::F16(bits) => (Tensor::of(py, Dtype::F16, &shape, &bits)?, None),
        StoredWeights::Bf16(bits) => (Tensor::of(py, Dtype::BF16, &shape, &bits)?, None),
        StoredWeights::Int8 { values, scales } | StoredWeights::Int8Weights { values, scales } => {
            (Tensor::of(py, Dtype::I8, &shape, &values)?, Some(scales))
        }
    };
    let stored = stored_layer(py, format_name(layer), weight, layer.bias())?;
    if let Some(scales) = scales {
        stored.set_item("scale", Tensor::of(py, Dtype::F32, &[scales.len()], &scales)?)?;
    }
    Ok(stored)
}

fn stored_layer<'py, T: Scalar + Element>(
    py: Python<'py>,
    format: &str,
    weight: Tensor,
    bias: &[T],
) -> PyResult<Bound<'py, PyDict>> {
    let stored = PyDict::new(py);
    stored.set_item("format", format)?;
    stored.set_item("W", weight)?;
    stored.set_item("b", Tensor::of(py, dtype_of::<T>(), &[bias.len()], bias)?)?;
    Ok(stored)
}

fn dtype_of<T: Scalar>() -> Dtype {
    if T::NAME == F32 { Dtype::F32 } else { Dtype::F64 }
}

/// The network whose parameters [`stored`] returned; does not use NumPy.
pub fn from_stored(layers: &Bound<PyAny>, config: NetworkConfig) -> PyResult<QuantizedNetwork> {
    let not_iterable = |_| {
        let got = layers.get_type();
        PyTypeError::new_err(format!("layers: expected an iterable of dicts, got {got}"))
    };
    let items = layers.try_iter().map_err(not_iterable)?.enumerate();
    let layers = items.map(|(index, item)| layer_from_stored(&format!("layers[{index}]"), &item?));
    QuantizedNetwork::from_layers(layers.collect::<PyResult<_>>()?, config).map_err(to_python)
}

fn layer_from_stored(name: &str, stored: &Bound<PyAny>) -> PyResult<QuantizedLayer> {
    let stored = stored.cast::<PyDict>().map_err(|_| {
        let got = stored.get_type();
        PyTypeError::new_err(format!("{name}: expected a dict with format, W, b and, for integers, scale, got {got}"))
    })?;
    let missing = |key: &str| PyValueError::new_err(format!("{name}: expected an entry {key:?}, got none"));
    let format: PyBackedStr = stored.get_item("format")?.ok_or_else(|| missing("format"))?.extract()?;
    let tensor = |key: &str, rank: usize| {
        let value = stored.get_item(key)?.ok_or_else(|| missing(key))?;
        let Ok(tensor) = value.cast_into::<Tensor>() else {
            return Err(PyTypeError::new_err(format!("{name}.{key}: expected a Tensor")));
        };
        if tensor.get().dims().len() != rank {
            let got = tuple(tensor.get().dims());
            return Err(PyValueError::new_err(format!("{name}.{key}: expected {rank} axes, got shape {got}")));
        }
        Ok(tensor)
    };
    let (weight, bias) = (tensor("W", 2)?, tensor("b", 1)?);
    let (weight, weight_name) = (weight.get(), format!("{name}.W"));
    let (outputs, inputs) = (weight.dims()[0], weight.dims()[1]);
    let bias = bias.get().to_vec::<f32>(&format!("{name}.b"))?;
    let integers = || {
        let scales = tensor("scale", 1)?.get().to_vec::<f32>(&format!("{name}.scale"))?;
        Ok::<_, PyErr>((weight.integers(&weight_name)?, scales))
    };
    let weights = match layer_format(&format!("{name}.format"), &format)? {
        None => {
            let values = weight.to_vec(&weight_name)?;
            let values = Matrix::new("W", &values, outputs, inputs).map_err(to_python)?;
            return Layer::new(name, values, &bias).map(QuantizedLayer::F32).map_err(to_python);
        }
        Some(WeightFormat::F16) => StoredWeights::F16(weight.halves(&weight_name, Dtype::F16)?),
        Some(WeightFormat::Bf16) => StoredWeights::Bf16(weight.halves(&weight_name, Dtype::BF16)?),
        Some(WeightFormat::Int8) => {
            let (values, scales) = integers()?;
            StoredWeights::Int8 { values, scales }
        }
        Some(WeightFormat::Int8Weights) => {
            let (values, scales) = integers()?;
            StoredWeights::Int8Weights { values, scales }
        }
    };
    QuantizedLayer::from_stored(name, (outputs, inputs), &weights, &bias).map_err(to_python)
}
