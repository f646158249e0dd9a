//! Arguments from Python that are not arrays: checked, converted, and named in every error.

use std::hash::{BuildHasher, RandomState};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use tinyrs_core::{Activation, NetworkConfig, num_threads};

use crate::errors::to_python;

/// `value` as an integer of at least `least`.
///
/// # Errors
/// TypeError if it is not an integer, ValueError if it is smaller than `least` or does not fit into 64 bits.
pub fn as_count(argument: &str, value: &Bound<PyAny>, least: u64) -> PyResult<u64> {
    let expected = || {
        let got = value.repr().map_or_else(|_| "something without a repr".into(), |repr| repr.to_string());
        format!("{argument}: expected an integer of at least {least}, got {got}")
    };
    match value.extract::<u64>() {
        Ok(n) if n >= least => Ok(n),
        Err(error) if error.is_instance_of::<PyTypeError>(value.py()) => Err(PyTypeError::new_err(expected())),
        _ => Err(PyValueError::new_err(expected())),
    }
}

/// The number of threads that an argument `n_threads` allows; None allows all of `get_num_threads`.
pub fn thread_count(n_threads: Option<&Bound<PyAny>>) -> PyResult<usize> {
    let requested = n_threads.map(|n| as_count("n_threads", n, 1)).transpose()?;
    Ok(num_threads(requested.map(|n| n as usize)))
}

/// The seed in an argument `seed`.
pub fn as_seed(seed: Option<&Bound<PyAny>>) -> PyResult<Option<u64>> {
    seed.map(|seed| as_count("seed", seed, 0)).transpose()
}

/// A seed from the operating system's random numbers, which the standard library seeds its hash maps with.
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// The integers in an argument `layer_sizes`.
pub fn as_sizes(layer_sizes: &Bound<PyAny>) -> PyResult<Vec<usize>> {
    let not_a_sequence = |_| {
        let got = layer_sizes.get_type();
        PyTypeError::new_err(format!("layer_sizes: expected a sequence of integers, got {got}"))
    };
    let items = layer_sizes.try_iter().map_err(not_a_sequence)?.enumerate();
    items.map(|(index, item)| Ok(as_count(&format!("layer_sizes[{index}]"), &item?, 1)? as usize)).collect()
}

/// The keyword arguments that both constructors of `Network` take; None stands for the default of [`NetworkConfig`].
#[derive(Default)]
pub struct NetworkOptions<'a, 'py> {
    pub activation: Option<&'a Bound<'py, PyAny>>,
    pub output_activation: Option<&'a str>,
    pub activation_scale: Option<f64>,
    pub numeric_embedding: Option<&'a str>,
    pub epsilon_exp: Option<f64>,
    pub epsilon_square: Option<f64>,
}

impl NetworkOptions<'_, '_> {
    pub fn config(&self) -> PyResult<NetworkConfig> {
        let mut config = NetworkConfig::default();
        if let Some(activation) = self.activation {
            config.activations = as_activations(activation)?;
        }
        if let Some(name) = self.output_activation {
            config.output_activation = name.parse().map_err(to_python)?;
        }
        config.numeric_embedding = self.numeric_embedding.map(str::parse).transpose().map_err(to_python)?;
        config.activation_scale = self.activation_scale.unwrap_or(config.activation_scale);
        config.epsilon_exp = self.epsilon_exp.unwrap_or(config.epsilon_exp);
        config.epsilon_square = self.epsilon_square.unwrap_or(config.epsilon_square);
        Ok(config)
    }
}

/// The activations in an argument that is one name or a list of names.
fn as_activations(value: &Bound<PyAny>) -> PyResult<Vec<Activation>> {
    let parse = |name: &str| name.parse().map_err(to_python);
    if let Ok(name) = value.extract::<PyBackedStr>() {
        return Ok(vec![parse(&name)?]);
    }
    let Ok(names) = value.extract::<Vec<PyBackedStr>>() else {
        let got = value.get_type();
        return Err(PyTypeError::new_err(format!("activation: expected a name or a list of names, got {got}")));
    };
    names.iter().map(|name| parse(name)).collect()
}
