//! Training data from Python: rows, targets and sample weights.

use numpy::{Element, PyArrayDyn, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tinyrs_core::{Dispatch, Layer, Loss, Matrix, Network, OutputActivation, Samples, Targets};

use crate::arrays::{as_array, as_bytes, as_labels, as_slice, tuple};
use crate::errors::to_python;
use crate::sha256::sha256;
use crate::sparse::{OwnedCsr, as_csr};

/// The arguments X, y and sample_weight.
pub struct Data<'a, 'py> {
    pub x: &'a Bound<'py, PyAny>,
    pub y: &'a Bound<'py, PyAny>,
    pub sample_weight: Option<&'a Bound<'py, PyAny>>,
}

/// The loss called `name`, or the default loss for an output activation.
pub fn loss_of(name: Option<&str>, output: OutputActivation) -> PyResult<Loss> {
    name.map_or(Ok(Loss::of_output(output)), |name| Loss::parse("loss", name).map_err(to_python))
}

/// Labels, or targets in an array that this keeps alive.
enum OwnedTargets<'py, T: Element> {
    Labels(Vec<u32>),
    Values(Bound<'py, PyArrayDyn<T>>),
}

impl<'py, T: Dispatch + Element> OwnedTargets<'py, T> {
    fn new(argument: &str, y: &Bound<'py, PyAny>, loss: Loss, outputs: usize) -> PyResult<Self> {
        if loss == Loss::CrossEntropy {
            return match as_labels(argument, y)? {
                Some(labels) => Ok(OwnedTargets::Labels(labels)),
                None => two_dimensional(argument, y, "(rows,) or (rows, outputs)").map(OwnedTargets::Values),
            };
        }
        let y = as_array::<T>(argument, y)?;
        // With one output, y may have one axis.
        if y.ndim() != 2 && !(y.ndim() == 1 && outputs == 1) {
            let message = format!("{argument}: expected shape (rows, {outputs}), got {}", tuple(y.shape()));
            return Err(PyValueError::new_err(message));
        }
        Ok(OwnedTargets::Values(y))
    }
}

/// Rows in arrays that this keeps alive.
enum OwnedInput<'py, T: Element> {
    Dense(Bound<'py, PyArrayDyn<T>>),
    Sparse(OwnedCsr<'py, T>),
}

/// Data converted to the types of the core; [`OwnedSamples::borrow`] gives the core's view.
pub struct OwnedSamples<'py, T: Element> {
    x: OwnedInput<'py, T>,
    targets: OwnedTargets<'py, T>,
    weights: Option<Bound<'py, PyArrayDyn<f64>>>,
    outputs: usize,
}

impl<'py, T: Dispatch + Element> OwnedSamples<'py, T> {
    /// Copies only what is not yet a contiguous array of `T`. Errors name the arguments with `prefix` in front.
    ///
    /// # Errors
    /// TypeError or ValueError if an argument has a wrong type or number of axes.
    pub fn new(network: &Network<T>, data: &Data<'_, 'py>, loss: Loss, prefix: &str) -> PyResult<Self> {
        let outputs = network.layers().last().map_or(0, Layer::outputs);
        let x_name = format!("{prefix}X");
        let x = match as_csr(&x_name, data.x)? {
            Some(x) => OwnedInput::Sparse(x),
            None => OwnedInput::Dense(two_dimensional(&x_name, data.x, "(rows, features)")?),
        };
        let targets = OwnedTargets::new(&format!("{prefix}y"), data.y, loss, outputs)?;
        let weights = data.sample_weight.map(|weights| as_array::<f64>("sample_weight", weights)).transpose()?;
        if let Some(weights) = &weights
            && weights.ndim() != 1
        {
            let message = format!("sample_weight: expected shape (rows,), got {}", tuple(weights.shape()));
            return Err(PyValueError::new_err(message));
        }
        Ok(OwnedSamples { x, targets, weights, outputs })
    }

    /// The digests of X, y and sample_weight, in this order; `None` for no weights. They do not depend on the type of
    /// the arguments, only on the values that training reads.
    pub fn digests(&self, py: Python) -> [Option<String>; 3] {
        let x = match &self.x {
            OwnedInput::Dense(x) => (format!("dense {}", tuple(x.shape())), vec![as_bytes(as_slice(x))]),
            OwnedInput::Sparse(x) => (format!("csr {}", x.cols()), x.bytes()),
        };
        let y = match &self.targets {
            OwnedTargets::Labels(labels) => ("labels".to_owned(), vec![as_bytes(labels)]),
            OwnedTargets::Values(y) => (format!("values of {} outputs", self.outputs), vec![as_bytes(as_slice(y))]),
        };
        let weights = self.weights.as_ref().map(|weights| ("weights".to_owned(), vec![as_bytes(as_slice(weights))]));
        py.detach(|| [Some(x), Some(y), weights].map(|part| part.map(|(kind, arrays)| sha256(&kind, &arrays))))
    }

    /// # Errors
    /// ValueError if the arrays of a sparse matrix contradict each other.
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

/// `value` as an array of T with two axes.
pub fn two_dimensional<'py, T: Dispatch + Element>(
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

pub fn as_matrix<'a, T: Dispatch + Element>(
    argument: &str,
    array: &'a Bound<PyArrayDyn<T>>,
) -> PyResult<Matrix<'a, T>> {
    Matrix::new(argument, as_slice(array), array.shape()[0], array.shape()[1]).map_err(to_python)
}
