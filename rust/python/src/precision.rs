//! Networks and optimizers of either precision. A `#[pyclass]` cannot be generic, so each class holds an enum.

use numpy::Element;
use pyo3::exceptions::PyValueError;
use pyo3::{PyErr, PyResult};
use tinyrs_core::{Dispatch, Network, Optimizer, OptimizerConfig, QuantizedLayer, QuantizedNetwork, WeightFormat};

use crate::errors::to_python;

/// A network of any kind.
pub enum AnyNetwork {
    F32(Network<f32>),
    F64(Network<f64>),
    Quantized(QuantizedNetwork),
}

/// Evaluates `$body` with `$network` bound to the network of any kind.
macro_rules! with_network {
    ($any:expr, $network:ident => $body:expr) => {
        match $any {
            $crate::precision::AnyNetwork::F32($network) => $body,
            $crate::precision::AnyNetwork::F64($network) => $body,
            $crate::precision::AnyNetwork::Quantized($network) => $body,
        }
    };
}
pub(crate) use with_network;

/// Evaluates `$body` with `$network` bound to the network of either precision; an error for a quantized one.
macro_rules! with_trainable {
    ($any:expr, $network:ident => $body:expr) => {
        match $any {
            $crate::precision::AnyNetwork::F32($network) => $body,
            $crate::precision::AnyNetwork::F64($network) => $body,
            $crate::precision::AnyNetwork::Quantized($network) => Err($crate::precision::not_trainable($network)),
        }
    };
}
pub(crate) use with_trainable;

/// An optimizer. Its first use decides its precision.
pub enum AnyOptimizer {
    /// Not used yet, or used by a call of `fit` that has taken the state and will put it back.
    New(OptimizerConfig),
    F32(Optimizer<f32>),
    F64(Optimizer<f64>),
}

impl AnyNetwork {
    /// The name of the format of the weights, or "mixed" if that of a layer differs.
    pub fn weights(&self) -> &'static str {
        match self {
            AnyNetwork::F32(_) => "f32",
            AnyNetwork::F64(_) => "f64",
            AnyNetwork::Quantized(network) => weights_of(network),
        }
    }

    /// # Errors
    /// MemoryError.
    pub fn try_clone(&self) -> PyResult<Self> {
        match self {
            AnyNetwork::F32(network) => network.try_clone().map(AnyNetwork::F32),
            AnyNetwork::F64(network) => network.try_clone().map(AnyNetwork::F64),
            AnyNetwork::Quantized(network) => Ok(AnyNetwork::Quantized(network.clone())),
        }
        .map_err(to_python)
    }
}

impl AnyOptimizer {
    /// # Errors
    /// MemoryError.
    pub fn try_clone(&self) -> PyResult<Self> {
        match self {
            AnyOptimizer::New(config) => Ok(AnyOptimizer::New(*config)),
            AnyOptimizer::F32(optimizer) => optimizer.try_clone().map(AnyOptimizer::F32),
            AnyOptimizer::F64(optimizer) => optimizer.try_clone().map(AnyOptimizer::F64),
        }
        .map_err(to_python)
    }

    /// "f32" or "f64" if it has been used, "new" if not.
    pub fn precision(&self) -> &'static str {
        match self {
            AnyOptimizer::F32(_) => "f32",
            AnyOptimizer::F64(_) => "f64",
            AnyOptimizer::New(_) => "new",
        }
    }
}

/// A type that networks and optimizers exist for: conversion to and from the enums above.
pub trait Precision: Dispatch + Element {
    /// The optimizer in `any`, or `any` itself if it is not of this precision.
    fn optimizer_from(any: AnyOptimizer) -> Result<Optimizer<Self>, AnyOptimizer>;
    fn any_optimizer(optimizer: Optimizer<Self>) -> AnyOptimizer;
    /// The network in `any`, if it is of this precision.
    fn network_in(any: &AnyNetwork) -> Option<&Network<Self>>;
    fn any_network(network: Network<Self>) -> AnyNetwork;
}

macro_rules! precision {
    ($t:ty, $variant:ident) => {
        impl Precision for $t {
            fn optimizer_from(any: AnyOptimizer) -> Result<Optimizer<Self>, AnyOptimizer> {
                if let AnyOptimizer::$variant(optimizer) = any { Ok(optimizer) } else { Err(any) }
            }
            fn any_optimizer(optimizer: Optimizer<Self>) -> AnyOptimizer {
                if optimizer.is_new() {
                    return AnyOptimizer::New(*optimizer.config());
                }
                AnyOptimizer::$variant(optimizer)
            }
            fn network_in(any: &AnyNetwork) -> Option<&Network<Self>> {
                if let AnyNetwork::$variant(network) = any { Some(network) } else { None }
            }
            fn any_network(network: Network<Self>) -> AnyNetwork {
                AnyNetwork::$variant(network)
            }
        }
    };
}
precision!(f32, F32);
precision!(f64, F64);

/// The name of the format of a quantized layer's weights.
pub fn format_name(layer: &QuantizedLayer) -> &'static str {
    layer.format().map_or("f32", WeightFormat::name)
}

/// The name of the format of all layers, or "mixed".
fn weights_of(network: &QuantizedNetwork) -> &'static str {
    let first = format_name(&network.layers()[0]);
    if network.layers().iter().all(|layer| format_name(layer) == first) { first } else { "mixed" }
}

/// The error for training a quantized network.
pub fn not_trainable(network: &QuantizedNetwork) -> PyErr {
    let weights = weights_of(network);
    PyValueError::new_err(format!(
        "a network with {weights} weights cannot be trained; train the f32 network and quantize it again"
    ))
}

/// The error for a `precision` that is neither "f32" nor "f64".
pub fn unknown_precision(got: &str) -> PyErr {
    PyValueError::new_err(format!("precision: expected \"f32\" or \"f64\", got {got:?}"))
}
