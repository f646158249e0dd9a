//! The parameters of a network as Python sees them: one pair (W, b) a layer.

use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tinyrs_core::{Config, Dispatch, Layer, Matrix, Network};

use crate::arrays::{as_array, as_slice, tuple};
use crate::errors::to_python;

/// Copies of all of them.
pub fn copies_of<'py, T: Dispatch + Element>(py: Python<'py>, layers: &[Layer<T>]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for layer in layers {
        let weight = PyArray1::from_slice(py, layer.weight()).reshape([layer.outputs(), layer.inputs()])?;
        list.append((weight, PyArray1::from_slice(py, layer.bias())))?;
    }
    Ok(list)
}

/// The arrays of one (W, b) pair, of the right type and rank.
type Pair<'py, T> = (Bound<'py, PyArrayDyn<T>>, Bound<'py, PyArrayDyn<T>>);

fn pair<'py, T: Dispatch + Element>(index: usize, item: &Bound<'py, PyAny>) -> PyResult<Pair<'py, T>> {
    let (weight, bias): (Bound<PyAny>, Bound<PyAny>) = item.extract().map_err(|_| {
        let got = item.get_type();
        PyTypeError::new_err(format!("parameters[{index}]: expected a pair (W, b), got {got}"))
    })?;
    let array = |name: &str, value: &Bound<'py, PyAny>, rank: usize, expected: &str| {
        let argument = format!("parameters[{index}].{name}");
        let array = as_array::<T>(&argument, value)?;
        if array.ndim() != rank {
            let got = tuple(array.shape());
            return Err(PyValueError::new_err(format!("{argument}: expected shape {expected}, got {got}")));
        }
        Ok(array)
    };
    Ok((array("W", &weight, 2, "(outputs, inputs)")?, array("b", &bias, 1, "(outputs,)")?))
}

fn as_matrix<'a, T: Dispatch + Element>(weight: &'a Bound<PyArrayDyn<T>>) -> PyResult<Matrix<'a, T>> {
    Matrix::new("W", as_slice(weight), weight.shape()[0], weight.shape()[1]).map_err(to_python)
}

fn iterate<'py>(
    parameters: &Bound<'py, PyAny>,
) -> PyResult<impl Iterator<Item = (usize, PyResult<Bound<'py, PyAny>>)>> {
    let not_iterable = |_| {
        let got = parameters.get_type();
        PyTypeError::new_err(format!("parameters: expected an iterable of (W, b) pairs, got {got}"))
    };
    Ok(parameters.try_iter().map_err(not_iterable)?.enumerate())
}

/// The network that these make, taken one after the other.
pub fn network_of<T: Dispatch + Element>(parameters: &Bound<PyAny>, config: Config) -> PyResult<Network<T>> {
    let layers = iterate(parameters)?.map(|(index, item)| {
        let (weight, bias) = pair::<T>(index, &item?)?;
        Layer::new(&format!("parameters[{index}]"), as_matrix(&weight)?, as_slice(&bias)).map_err(to_python)
    });
    Network::from_layers(layers.collect::<PyResult<_>>()?, config).map_err(to_python)
}

/// Gives the arrays of `parameters` to `set`, which enters no Python.
pub fn set_parameters<T: Dispatch + Element>(
    parameters: &Bound<PyAny>,
    set: impl FnOnce(&[(Matrix<T>, &[T])]) -> tinyrs_core::Result<()>,
) -> PyResult<()> {
    let pairs = iterate(parameters)?.map(|(index, item)| pair::<T>(index, &item?)).collect::<PyResult<Vec<_>>>()?;
    let views = pairs.iter().map(|(weight, bias)| Ok((as_matrix(weight)?, as_slice(bias))));
    set(&views.collect::<PyResult<Vec<_>>>()?).map_err(to_python)
}
