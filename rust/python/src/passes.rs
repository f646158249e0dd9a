//! Forward passes: rows in, from wherever Python has them, and an array out.

use numpy::{Element, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;
use tinyrs_core::{Dispatch, Layer, Matrix, MatrixMut, Network, Scalar, num_threads};

use crate::arrays::{as_array, as_count, as_output, as_row, as_slice, tuple};
use crate::errors::to_python;
use crate::sparse::as_csr;

/// Keyword arguments of every pass.
#[derive(Clone, Copy)]
pub struct Keywords<'a, 'py> {
    pub out: Option<&'a Bound<'py, PyAny>>,
    pub n_threads: Option<&'a Bound<'py, PyAny>>,
}

/// What has to be known of a pass before it is made.
pub struct About<'a> {
    /// Of a row.
    pub outputs: usize,
    /// Whether so many rows on so many threads are done too soon to let go of the GIL: taking it back can cost more than
    /// a short pass, when other threads want it.
    pub is_short: &'a dyn Fn(usize, usize) -> bool,
}

/// The outputs of `network` for the rows of `x`, an array or a CSR matrix.
pub fn forward<'py, T: Dispatch + Element>(
    network: &Network<T>,
    x: &Bound<'py, PyAny>,
    keywords: Keywords<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    with_about(network, |about| {
        let Some(csr) = as_csr::<T>("X", x)? else {
            return run(x, keywords, about, |x, out, n_threads| network.forward(x, out, n_threads));
        };
        let csr = csr.borrow("X")?;
        let (shape, rows) = ([csr.rows(), about.outputs], csr.rows());
        let pass = |out: &mut MatrixMut<T>, n_threads| network.forward_sparse(csr, out, n_threads);
        run_into(x.py(), keywords, (&shape, rows, about), &[] as &[T], pass)
    })
}

/// The outputs of one row of Python's numbers, as Python's numbers: `pass(X, out, n_threads)`. It needs no NumPy.
pub fn run_one<'py, S: Scalar, T: Element + Scalar>(
    x: &Bound<'py, PyAny>,
    about: &About,
    pass: impl Fn(Matrix<S>, &mut MatrixMut<T>, usize) -> tinyrs_core::Result<()> + Sync,
) -> PyResult<Bound<'py, PyList>> {
    let x_values: Vec<S> = as_row("X", x)?;
    let mut y = vec![T::ZERO; about.outputs];
    let matrix = Matrix::new("X", &x_values, 1, x_values.len()).map_err(to_python)?;
    let mut out = MatrixMut::new("out", &mut y, 1, about.outputs).map_err(to_python)?;
    let n_threads = num_threads(None);
    let mut pass = || pass(matrix, &mut out, n_threads);
    let outcome = if (about.is_short)(1, n_threads) { pass() } else { x.py().detach(pass) };
    outcome.map_err(to_python)?;
    PyList::new(x.py(), y.into_iter().map(Scalar::to_f64))
}

/// Calls `f` with what is known of a pass through `network`.
pub fn with_about<T: Dispatch, R>(network: &Network<T>, f: impl FnOnce(&About) -> R) -> R {
    let outputs = network.layers().last().map_or(0, Layer::outputs);
    f(&About { outputs, is_short: &|rows, n_threads| network.plan(rows, n_threads).is_short() })
}

/// One pass over the rows of `x`, one row or an array of them: `pass(X, out, n_threads)`.
pub fn run<'py, S: Element + Scalar, T: Element + Scalar>(
    x: &Bound<'py, PyAny>,
    keywords: Keywords<'_, 'py>,
    about: &About,
    pass: impl Fn(Matrix<S>, &mut MatrixMut<T>, usize) -> tinyrs_core::Result<()> + Sync,
) -> PyResult<Bound<'py, PyAny>> {
    let array = as_array::<S>("X", x)?;
    let values = as_slice(&array);
    let (shape, rows, columns) = match *array.shape() {
        [features] => (&[about.outputs][..], 1, features),
        [batch, features] => (&[batch, about.outputs][..], batch, features),
        ref other => {
            let message = format!("X: expected shape (features,) or (batch, features), got {}", tuple(other));
            return Err(PyValueError::new_err(message));
        }
    };
    let matrix = Matrix::new("X", values, rows, columns).map_err(to_python)?;
    run_into(x.py(), keywords, (shape, rows, about), values, |out, n_threads| pass(matrix, out, n_threads))
}

/// A pass over `rows` rows whose numbers are `input`, into an array of `shape`.
fn run_into<'py, S: Scalar, T: Element + Scalar>(
    py: Python<'py>,
    Keywords { out, n_threads }: Keywords<'_, 'py>,
    (shape, rows, about): (&[usize], usize, &About),
    input: &[S],
    pass: impl Fn(&mut MatrixMut<T>, usize) -> tinyrs_core::Result<()> + Sync,
) -> PyResult<Bound<'py, PyAny>> {
    let n_threads = n_threads.map(|n| as_count("n_threads", n, 1)).transpose()?.map(|n| n as usize);
    let result = match out {
        Some(out) => as_output(out, shape, input)?,
        // SAFETY: not read before it is written: a pass writes every element or returns an error.
        None => unsafe { PyArrayDyn::<T>::new(py, shape, false) },
    };
    // SAFETY: contiguous and aligned: made so above or checked. Nobody else has a new one; that no other thread
    // uses the caller's `out` meanwhile is what NumPy asks of its callers too.
    let y = unsafe { std::slice::from_raw_parts_mut(result.data(), result.len()) };
    let mut y = MatrixMut::new("out", y, rows, about.outputs).map_err(to_python)?;
    let n_threads = num_threads(n_threads);
    let mut pass = || pass(&mut y, n_threads);
    let outcome = if (about.is_short)(rows, n_threads) { pass() } else { py.detach(pass) };
    outcome.map_err(to_python)?;
    Ok(result.into_any())
}
