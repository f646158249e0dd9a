//! Data to learn from as Python gives it, and gradients by themselves.

use numpy::{Element, PyArray1, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tinyrs_core::{
    Dispatch, Gradients, Layer, Loss, Matrix, MatrixMut, Network, OutputActivation, Samples, Targets, num_threads,
};

use crate::arrays::{as_array, as_count, as_labels, as_slice, tuple};
use crate::errors::to_python;
use crate::sparse::{OwnedCsr, as_csr};

/// The arguments that are data.
pub struct Data<'a, 'py> {
    pub x: &'a Bound<'py, PyAny>,
    pub y: &'a Bound<'py, PyAny>,
    pub sample_weight: Option<&'a Bound<'py, PyAny>>,
}

/// The loss of that name, or the one that goes with the output.
pub fn loss_of(name: Option<&str>, output: OutputActivation) -> PyResult<Loss> {
    name.map_or(Ok(Loss::of_output(output)), |name| Loss::parse("loss", name).map_err(to_python))
}

/// Targets that own their memory, or hold on to the array they came in.
enum OwnedTargets<'py, T: Element> {
    Labels(Vec<u32>),
    Values(Bound<'py, PyArrayDyn<T>>),
}

/// Rows that hold on to the arrays they came in.
enum OwnedInput<'py, T: Element> {
    Dense(Bound<'py, PyArrayDyn<T>>),
    Sparse(OwnedCsr<'py, T>),
}

/// Data as the core wants it, kept alive as long as it is borrowed.
pub struct OwnedSamples<'py, T: Element> {
    x: OwnedInput<'py, T>,
    targets: OwnedTargets<'py, T>,
    weights: Option<Bound<'py, PyArrayDyn<f64>>>,
    outputs: usize,
}

impl<'py, T: Dispatch + Element> OwnedSamples<'py, T> {
    /// Converts what has to be converted. `prefix` goes before the names in errors.
    pub fn new(network: &Network<T>, data: &Data<'_, 'py>, loss: Loss, prefix: &str) -> PyResult<Self> {
        let outputs = network.layers().last().map_or(0, Layer::outputs);
        let (x_name, y_name) = (format!("{prefix}X"), format!("{prefix}y"));
        let x = match as_csr(&x_name, data.x)? {
            Some(x) => OwnedInput::Sparse(x),
            None => OwnedInput::Dense(two_dimensional(&x_name, data.x, "(rows, features)")?),
        };
        let targets = match loss {
            Loss::CrossEntropy => match as_labels(&y_name, data.y)? {
                Some(labels) => OwnedTargets::Labels(labels),
                None => OwnedTargets::Values(two_dimensional(&y_name, data.y, "(rows,) or (rows, outputs)")?),
            },
            _ => {
                let y = as_array::<T>(&y_name, data.y)?;
                // One output may come without its axis.
                if y.ndim() != 2 && !(y.ndim() == 1 && outputs == 1) {
                    let message = format!("{y_name}: expected shape (rows, {outputs}), got {}", tuple(y.shape()));
                    return Err(PyValueError::new_err(message));
                }
                OwnedTargets::Values(y)
            }
        };
        let weights = data.sample_weight.map(|weights| as_array::<f64>("sample_weight", weights)).transpose()?;
        if let Some(weights) = &weights
            && weights.ndim() != 1
        {
            let message = format!("sample_weight: expected shape (rows,), got {}", tuple(weights.shape()));
            return Err(PyValueError::new_err(message));
        }
        Ok(OwnedSamples { x, targets, weights, outputs })
    }

    pub fn borrow(&self) -> PyResult<Samples<'_, T>> {
        let targets = match &self.targets {
            OwnedTargets::Labels(labels) => Targets::Labels(labels),
            OwnedTargets::Values(y) => {
                let columns = if y.ndim() == 1 { self.outputs } else { y.shape()[1] };
                Targets::Values(Matrix::new("y", as_slice(y), y.shape()[0], columns).map_err(to_python)?)
            }
        };
        let x = match &self.x {
            OwnedInput::Dense(x) => as_matrix("X", x)?.into(),
            OwnedInput::Sparse(x) => x.borrow("X")?.into(),
        };
        Ok(Samples { x, targets, weights: self.weights.as_ref().map(as_slice) })
    }
}

/// An array of T with two axes.
fn two_dimensional<'py, T: Dispatch + Element>(
    argument: &str,
    value: &Bound<'py, PyAny>,
    expected: &str,
) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let array = as_array::<T>(argument, value)?;
    if array.ndim() != 2 {
        let got = tuple(array.shape());
        return Err(PyValueError::new_err(format!("{argument}: expected shape {expected}, got {got}")));
    }
    Ok(array)
}

fn as_matrix<'a, T: Dispatch + Element>(argument: &str, array: &'a Bound<PyArrayDyn<T>>) -> PyResult<Matrix<'a, T>> {
    Matrix::new(argument, as_slice(array), array.shape()[0], array.shape()[1]).map_err(to_python)
}

fn threads(n_threads: Option<&Bound<PyAny>>) -> PyResult<usize> {
    let requested = n_threads.map(|n| as_count("n_threads", n, 1)).transpose()?;
    Ok(num_threads(requested.map(|n| n as usize)))
}

/// [`tinyrs_core::loss_and_gradients`]
pub fn loss_and_gradients<'py, T: Dispatch + Element>(
    network: &Network<T>,
    data: &Data<'_, 'py>,
    loss: Option<&str>,
    label_smoothing: f64,
    n_threads: Option<&Bound<'py, PyAny>>,
) -> PyResult<(f64, Bound<'py, PyList>)> {
    let (py, threads) = (data.x.py(), threads(n_threads)?);
    let loss = loss_of(loss, network.config().output_activation)?;
    let samples = OwnedSamples::new(network, data, loss, "")?;
    let samples = samples.borrow()?;
    let result = py.detach(|| tinyrs_core::loss_and_gradients(network, &samples, loss, label_smoothing, threads));
    let (value, gradients) = result.map_err(to_python)?;
    Ok((value, list_of(py, network, gradients)?))
}

/// [`tinyrs_core::backward`]
pub fn backward<'py, T: Dispatch + Element>(
    network: &Network<T>,
    x: &Bound<'py, PyAny>,
    d_output: &Bound<'py, PyAny>,
    n_threads: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
    let (py, threads) = (x.py(), threads(n_threads)?);
    let x = two_dimensional::<T>("X", x, "(batch, features)")?;
    let d_output = two_dimensional::<T>("d_output", d_output, "(batch, outputs)")?;
    let dx = PyArrayDyn::<T>::zeros(py, x.shape(), false);
    // SAFETY: a new array: contiguous, aligned, and nobody else knows it.
    let values = unsafe { std::slice::from_raw_parts_mut(dx.data(), dx.len()) };
    let mut out = MatrixMut::new("dX", values, x.shape()[0], x.shape()[1]).map_err(to_python)?;
    let (x, d_output) = (as_matrix("X", &x)?, as_matrix("d_output", &d_output)?);
    let gradients = py.detach(|| tinyrs_core::backward(network, x, d_output, &mut out, threads)).map_err(to_python)?;
    Ok((dx.into_any(), list_of(py, network, gradients)?))
}

/// A list of (dW, db).
fn list_of<'py, T: Dispatch + Element>(
    py: Python<'py>,
    network: &Network<T>,
    gradients: Gradients<T>,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (layer, (dw, db)) in network.layers().iter().zip(gradients) {
        let dw = PyArray1::from_vec(py, dw).reshape([layer.outputs(), layer.inputs()])?;
        list.append((dw, PyArray1::from_vec(py, db)))?;
    }
    Ok(list)
}

/// What is wrong with an argument that should be a pair (X, y).
pub fn as_pair<'py>(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    value.extract().map_err(|_| {
        let got = value.get_type();
        PyTypeError::new_err(format!("{argument}: expected a pair (X, y), got {got}"))
    })
}
