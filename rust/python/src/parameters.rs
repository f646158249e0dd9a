//! The parameters of a network in Python: one pair (W, b) per layer.

use numpy::{Element, PyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tinyrs_core::{Dispatch, Layer, Matrix, Network, NetworkConfig};

use crate::arrays::{array_of, as_array, as_slice, tuple};
use crate::errors::to_python;
use crate::safetensors::Tensor;

/// Copies of the parameters of `layers`.
pub fn copies_of<'py, T: Dispatch + Element>(py: Python<'py>, layers: &[Layer<T>]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for layer in layers {
        let weight = array_of(py, &[layer.outputs(), layer.inputs()], layer.weight())?;
        list.append((weight, array_of(py, &[layer.outputs()], layer.bias())?))?;
    }
    Ok(list)
}

/// W or b: an array, or a tensor of a model file, which is read without NumPy.
enum Values<'py, T: Element> {
    Array(Bound<'py, PyArrayDyn<T>>),
    Tensor(Vec<T>, Vec<usize>),
}

impl<'py, T: Dispatch + Element> Values<'py, T> {
    fn new(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<Self> {
        match value.cast::<Tensor>() {
            Ok(tensor) => Ok(Values::Tensor(tensor.get().to_vec(argument)?, tensor.get().dims().to_vec())),
            Err(_) => as_array(argument, value).map(Values::Array),
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Values::Array(array) => array.shape(),
            Values::Tensor(_, shape) => shape,
        }
    }

    fn as_slice(&self) -> &[T] {
        match self {
            Values::Array(array) => as_slice(array),
            Values::Tensor(elements, _) => elements,
        }
    }

    fn as_matrix(&self) -> PyResult<Matrix<'_, T>> {
        Matrix::new("W", self.as_slice(), self.shape()[0], self.shape()[1]).map_err(to_python)
    }
}

/// The pair (W, b) of layer `index`, with its types and numbers of axes checked.
fn pair<'py, T: Dispatch + Element>(
    argument: &str,
    index: usize,
    item: &Bound<'py, PyAny>,
) -> PyResult<(Values<'py, T>, Values<'py, T>)> {
    let (weight, bias): (Bound<PyAny>, Bound<PyAny>) = item.extract().map_err(|_| {
        let got = item.get_type();
        PyTypeError::new_err(format!("{argument}[{index}]: expected a pair (W, b), got {got}"))
    })?;
    let values = |name: &str, value: &Bound<'py, PyAny>, rank: usize, expected: &str| {
        let argument = format!("{argument}[{index}].{name}");
        let values = Values::new(&argument, value)?;
        if values.shape().len() != rank {
            let got = tuple(values.shape());
            return Err(PyValueError::new_err(format!("{argument}: expected shape {expected}, got {got}")));
        }
        Ok(values)
    };
    Ok((values("W", &weight, 2, "(outputs, inputs)")?, values("b", &bias, 1, "(outputs,)")?))
}

fn iterate<'py>(
    argument: &str,
    parameters: &Bound<'py, PyAny>,
) -> PyResult<impl Iterator<Item = (usize, PyResult<Bound<'py, PyAny>>)>> {
    let not_iterable = |_| {
        let got = parameters.get_type();
        PyTypeError::new_err(format!("{argument}: expected an iterable of (W, b) pairs, got {got}"))
    };
    Ok(parameters.try_iter().map_err(not_iterable)?.enumerate())
}

/// A network with these parameters, which are copied one layer at a time.
pub fn network_of<T: Dispatch + Element>(parameters: &Bound<PyAny>, config: NetworkConfig) -> PyResult<Network<T>> {
    let layers = iterate("parameters", parameters)?.map(|(index, item)| {
        let (weight, bias) = pair::<T>("parameters", index, &item?)?;
        Layer::new(&format!("parameters[{index}]"), weight.as_matrix()?, bias.as_slice()).map_err(to_python)
    });
    Network::from_layers(layers.collect::<PyResult<_>>()?, config).map_err(to_python)
}

/// One pair (W, b) or (dW, db) for each layer of a network, as they came from Python.
pub struct Pairs<'py, T: Element>(Vec<(Values<'py, T>, Values<'py, T>)>);

impl<'py, T: Dispatch + Element> Pairs<'py, T> {
    /// The pairs in `value`, which is the argument called `argument`.
    pub fn new(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<Self> {
        iterate(argument, value)?
            .map(|(index, item)| pair::<T>(argument, index, &item?))
            .collect::<PyResult<_>>()
            .map(Pairs)
    }

    pub fn borrow(&self) -> PyResult<Vec<(Matrix<'_, T>, &[T])>> {
        self.0.iter().map(|(weight, bias)| Ok((weight.as_matrix()?, bias.as_slice()))).collect()
    }
}

/// A copy of `network` with other parameters.
pub fn with_parameters<T: Dispatch + Element>(network: &Network<T>, parameters: &Bound<PyAny>) -> PyResult<Network<T>> {
    network.with_parameters(&Pairs::new("parameters", parameters)?.borrow()?).map_err(to_python)
}
