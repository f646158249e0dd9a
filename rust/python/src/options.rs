//! Arguments of `Network` that are no arrays, as the core wants them.

use std::hash::{BuildHasher, RandomState};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use tinyrs_core::{Activation, NetworkConfig};

use crate::arrays::as_count;
use crate::errors::to_python;

/// The keyword arguments that both constructors share.
pub struct Options<'a, 'py> {
    pub activation: Option<&'a Bound<'py, PyAny>>,
    pub output_activation: &'a str,
    pub activation_scale: f64,
    pub epsilon_exp: f64,
    pub epsilon_square: f64,
}

impl Options<'_, '_> {
    pub fn config(&self) -> PyResult<NetworkConfig> {
        Ok(NetworkConfig {
            activations: self.activation.map_or_else(|| Ok(NetworkConfig::default().activations), activations)?,
            output_activation: self.output_activation.parse().map_err(to_python)?,
            activation_scale: self.activation_scale,
            epsilon_exp: self.epsilon_exp,
            epsilon_square: self.epsilon_square,
        })
    }
}

/// One name, or several.
fn activations(value: &Bound<PyAny>) -> PyResult<Vec<Activation>> {
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

pub fn unknown_precision(got: &str) -> PyErr {
    PyValueError::new_err(format!("precision: expected \"f32\" or \"f64\", got {got:?}"))
}

/// The seed, or none.
pub fn seed_of(seed: Option<&Bound<PyAny>>) -> PyResult<Option<u64>> {
    seed.map(|seed| as_count("seed", seed, 0)).transpose()
}

/// A seed that nobody chose: the standard library seeds its hash maps from the operating system's randomness.
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// (factor of W, factor of b), a layer each.
pub fn rate_factors(value: &Bound<PyAny>) -> PyResult<Vec<(f64, f64)>> {
    value.extract().map_err(|_| {
        let got = value.get_type();
        PyTypeError::new_err(format!("learning_rate_factors: expected a sequence of pairs of numbers, got {got}"))
    })
}

pub fn sizes(layer_sizes: &Bound<PyAny>) -> PyResult<Vec<usize>> {
    let not_a_sequence = |_| {
        let got = layer_sizes.get_type();
        PyTypeError::new_err(format!("layer_sizes: expected a sequence of integers, got {got}"))
    };
    let items = layer_sizes.try_iter().map_err(not_a_sequence)?.enumerate();
    items.map(|(index, item)| Ok(as_count(&format!("layer_sizes[{index}]"), &item?, 1)? as usize)).collect()
}
