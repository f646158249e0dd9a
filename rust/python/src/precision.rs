//! Networks and optimizers of either precision. A `#[pyclass]` cannot be generic, so each class holds an enum.

use numpy::Element;
use pyo3::exceptions::PyValueError;
use pyo3::{PyErr, PyResult};
use tinyrs_core::{
    Dispatch, Ensemble, Network, Optimizer, OptimizerConfig, QuantizedLayer, QuantizedNetwork, WeightFormat,
};

use crate::errors::to_python;

/// A network of any kind.
pub enum AnyNetwork {
    F32(Network<f32>),
    F64(Network<f64>),
    Quantized(QuantizedNetwork),
    Ensemble(AnyEnsemble),
}

/// Networks of one kind, whose outputs are averaged.
pub enum AnyEnsemble {
    F32(Ensemble<Network<f32>>),
    F64(Ensemble<Network<f64>>),
    Quantized(Ensemble<QuantizedNetwork>),
}

/// Evaluates `$body` with `$network` bound to the network of any kind.
macro_rules! with_network {
    ($any:expr, $network:ident => $body:expr) => {
        match $any {
            $crate::precision::AnyNetwork::F32($network) => $body,
            $crate::precision::AnyNetwork::F64($network) => $body,
            $crate::precision::AnyNetwork::Quantized($network) => $body,
            $crate::precision::AnyNetwork::Ensemble($crate::precision::AnyEnsemble::F32($network)) => $body,
            $crate::precision::AnyNetwork::Ensemble($crate::precision::AnyEnsemble::F64($network)) => $body,
            $crate::precision::AnyNetwork::Ensemble($crate::precision::AnyEnsemble::Quantized($network)) => $body,
        }
    };
}
pub(crate) use with_network;

/// Evaluates `$body` with `$network` bound to the network of either precision; an error for another network.
macro_rules! with_trainable {
    ($any:expr, $network:ident => $body:expr) => {
        match $any {
            $crate::precision::AnyNetwork::F32($network) => $body,
            $crate::precision::AnyNetwork::F64($network) => $body,
            other => Err($crate::precision::not_trainable(other)),
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
            AnyNetwork::F32(_) | AnyNetwork::Ensemble(AnyEnsemble::F32(_)) => "f32",
            AnyNetwork::F64(_) | AnyNetwork::Ensemble(AnyEnsemble::F64(_)) => "f64",
            AnyNetwork::Quantized(network) => weights_of(network),
            AnyNetwork::Ensemble(AnyEnsemble::Quantized(ensemble)) => weights_of(&ensemble.members()[0]),
        }
    }

    /// "f32" or "f64", the type of the outputs.
    pub fn precision(&self) -> &'static str {
        match self {
            AnyNetwork::F64(_) | AnyNetwork::Ensemble(AnyEnsemble::F64(_)) => "f64",
            _ => "f32",
        }
    }

    /// # Errors
    /// MemoryError.
    pub fn try_clone(&self) -> PyResult<Self> {
        match self {
            AnyNetwork::F32(network) => network.try_clone().map(AnyNetwork::F32),
            AnyNetwork::F64(network) => network.try_clone().map(AnyNetwork::F64),
            AnyNetwork::Quantized(network) => Ok(AnyNetwork::Quantized(network.clone())),
            AnyNetwork::Ensemble(ensemble) => match ensemble {
                AnyEnsemble::F32(ensemble) => ensemble.try_clone().map(AnyEnsemble::F32),
                AnyEnsemble::F64(ensemble) => ensemble.try_clone().map(AnyEnsemble::F64),
                AnyEnsemble::Quantized(ensemble) => Ok(AnyEnsemble::Quantized(ensemble.clone())),
            }
            .map(AnyNetwork::Ensemble),
        }
        .map_err(to_python)
    }

    /// Copies of the networks whose outputs are averaged; of one that is not an ensemble, itself.
    ///
    /// # Errors
    /// MemoryError.
    pub fn members(&self) -> PyResult<Vec<Self>> {
        let AnyNetwork::Ensemble(ensemble) = self else {
            return Ok(vec![self.try_clone()?]);
        };
        match ensemble {
            AnyEnsemble::F32(ensemble) => {
                ensemble.members().iter().map(|network| network.try_clone().map(AnyNetwork::F32)).collect()
            }
            AnyEnsemble::F64(ensemble) => {
                ensemble.members().iter().map(|network| network.try_clone().map(AnyNetwork::F64)).collect()
            }
            AnyEnsemble::Quantized(ensemble) => {
                Ok(ensemble.members().iter().map(|network| AnyNetwork::Quantized(network.clone())).collect())
            }
        }
        .map_err(to_python)
    }

    /// The ensemble of these networks; of one, itself.
    ///
    /// # Errors
    /// ValueError, if there is none, or two of them are not alike.
    pub fn ensemble(mut members: Vec<Self>) -> PyResult<Self> {
        if members.len() == 1 {
            return Ok(members.remove(0));
        }
        let n_members = members.len();
        let (mut f32s, mut f64s, mut quantized) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            match member {
                AnyNetwork::F32(network) => f32s.push(network),
                AnyNetwork::F64(network) => f64s.push(network),
                AnyNetwork::Quantized(network) => quantized.push(network),
                AnyNetwork::Ensemble(_) => {
                    return Err(PyValueError::new_err("members: expected single networks, got an ensemble"));
                }
            }
        }
        if ![f32s.len(), f64s.len(), quantized.len()].contains(&n_members) {
            return Err(PyValueError::new_err("members: expected networks of one precision, got several"));
        }
        if !f64s.is_empty() {
            Ensemble::new(f64s).map(AnyEnsemble::F64)
        } else if !quantized.is_empty() {
            Ensemble::new(quantized).map(AnyEnsemble::Quantized)
        } else {
            Ensemble::new(f32s).map(AnyEnsemble::F32)
        }
        .map(AnyNetwork::Ensemble)
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
    let first = format_name(&network.dense_layers()[0]);
    if network.dense_layers().iter().all(|layer| format_name(layer) == first) { first } else { "mixed" }
}

/// The error for training a network that is neither f32 nor f64.
pub fn not_trainable(network: &AnyNetwork) -> PyErr {
    if let AnyNetwork::Ensemble(_) = network {
        return PyValueError::new_err("an ensemble has no parameters of its own and cannot be trained: see `members`");
    }
    let weights = network.weights();
    PyValueError::new_err(format!(
        "a network with {weights} weights cannot be trained; train the f32 network and quantize it again"
    ))
}

/// The error for a `precision` that is neither "f32" nor "f64".
pub fn unknown_precision(got: &str) -> PyErr {
    PyValueError::new_err(format!("precision: expected \"f32\" or \"f64\", got {got:?}"))
}
