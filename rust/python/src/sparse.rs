//! Sparse matrices of SciPy, recognised by their attributes, so that SciPy need not be imported.

use numpy::{Element, PyArrayDyn, PyUntypedArray, PyUntypedArrayMethods, dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tinyrs_core::{Csr, Scalar};

use crate::arrays::{as_array, as_bytes, as_slice};
use crate::errors::to_python;

/// A CSR matrix with its arrays converted to the types of the core; [`OwnedCsr::borrow`] gives the core's view.
pub struct OwnedCsr<'py, T: Element> {
    indptr: Bound<'py, PyArrayDyn<i64>>,
    indices: Bound<'py, PyArrayDyn<i32>>,
    data: Bound<'py, PyArrayDyn<T>>,
    cols: usize,
}

impl<T: Element + Scalar> OwnedCsr<'_, T> {
    pub fn borrow(&self, argument: &str) -> PyResult<Csr<'_, T>> {
        let (indptr, indices, data) = (as_slice(&self.indptr), as_slice(&self.indices), as_slice(&self.data));
        Csr::new(argument, indptr, indices, data, self.cols).map_err(to_python)
    }

    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The bytes of indptr, indices and data.
    pub fn bytes(&self) -> Vec<&[u8]> {
        vec![as_bytes(as_slice(&self.indptr)), as_bytes(as_slice(&self.indices)), as_bytes(as_slice(&self.data))]
    }
}

/// `value` as a CSR matrix; `None` if it is not a sparse matrix.
///
/// # Errors TypeError if it is a sparse matrix of another format, or does not hold real numbers; ValueError if its
/// arrays contradict its shape.
pub fn as_csr<'py, T: Element + Scalar>(
    argument: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<OwnedCsr<'py, T>>> {
    let py = value.py();
    // Arrays, the usual case, skip the attribute lookup.
    if value.cast::<PyUntypedArray>().is_ok() || !value.hasattr(intern!(py, "tocsr"))? {
        return Ok(None);
    }
    let format: String = value.getattr(intern!(py, "format"))?.extract()?;
    let (rows, cols): (usize, usize) = value.getattr(intern!(py, "shape"))?.extract()?;
    if format != "csr" {
        let message =
            format!("{argument}: expected an array or a CSR matrix, got a sparse matrix of format {format:?}");
        return Err(PyTypeError::new_err(format!("{message}; convert it with tocsr()")));
    }
    let indptr = as_integers::<i64>(&value.getattr(intern!(py, "indptr"))?)?;
    if indptr.len() != rows + 1 || cols > i32::MAX as usize {
        let message = format!("{argument}: expected an indptr of length {} and at most 2^31 - 1 columns", rows + 1);
        return Err(PyValueError::new_err(format!("{message}, got length {} and {cols} columns", indptr.len())));
    }
    Ok(Some(OwnedCsr {
        indptr,
        indices: as_integers(&value.getattr(intern!(py, "indices"))?)?,
        data: as_array(argument, &value.getattr(intern!(py, "data"))?)?,
        cols,
    }))
}

/// `value` as a contiguous array of the integer type `I`, copied only if it is not one.
fn as_integers<'py, I: Element>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<I>>> {
    static ASCONTIGUOUSARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let array = ASCONTIGUOUSARRAY.import(py, "numpy", "ascontiguousarray")?.call1((value, dtype::<I>(py)))?;
    Ok(array.cast_into()?)
}
