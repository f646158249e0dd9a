//! `Network.backward` and `Network.loss_and_gradients`.

use numpy::{Element, PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tinyrs_core::{Dispatch, Gradients, MatrixMut, Network};

use crate::arrays::zeros;
use crate::errors::to_python;
use crate::samples::{Data, OwnedSamples, as_matrix, loss_of, two_dimensional};

/// The loss of `data` and its gradients with respect to the parameters.
pub fn loss_and_gradients<'py, T: Dispatch + Element>(
    network: &Network<T>,
    data: &Data<'_, 'py>,
    loss: Option<&str>,
    label_smoothing: f64,
    n_threads: usize,
) -> PyResult<(f64, Bound<'py, PyList>)> {
    let py = data.x.py();
    let loss = loss_of(loss, network.config().output_activation)?;
    let samples = OwnedSamples::new(network, data, loss, "")?;
    let samples = samples.borrow()?;
    let result = py.detach(|| tinyrs_core::loss_and_gradients(network, &samples, loss, label_smoothing, n_threads));
    let (value, gradients) = result.map_err(to_python)?;
    Ok((value, list_of(py, network, gradients)?))
}

/// The gradients with respect to the inputs and to the parameters, given those with respect to the outputs.
pub fn backward<'py, T: Dispatch + Element>(
    network: &Network<T>,
    x: &Bound<'py, PyAny>,
    d_output: &Bound<'py, PyAny>,
    n_threads: usize,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
    let py = x.py();
    let x = two_dimensional::<T>("X", x, "(batch, features)")?;
    let d_output = two_dimensional::<T>("d_output", d_output, "(batch, outputs)")?;
    let dx = zeros(py, x.shape())?;
    // SAFETY: a new array is contiguous and aligned, and no other code has a reference to it yet.
    let values = unsafe { std::slice::from_raw_parts_mut(dx.data(), dx.len()) };
    let mut out = MatrixMut::new("dX", values, x.shape()[0], x.shape()[1]).map_err(to_python)?;
    let (x, d_output) = (as_matrix("X", &x)?, as_matrix("d_output", &d_output)?);
    let gradients = py.detach(|| tinyrs_core::backward(network, x, d_output, &mut out, n_threads));
    Ok((dx.into_any(), list_of(py, network, gradients.map_err(to_python)?)?))
}

/// The gradients as a list with one pair (dW, db) per layer.
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
