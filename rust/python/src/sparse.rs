//! SciPy's sparse matrices, known by their attributes: SciPy itself is not needed.

use numpy::{Element, PyArrayDyn, PyUntypedArray, PyUntypedArrayMethods, dtype};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use tinyrs_core::{Csr, Scalar};

use crate::arrays::{as_array, as_slice};
use crate::errors::to_python;

/// The arrays of a CSR matrix, kept alive as long as they are borrowed.
pub struct OwnedCsr<'py, T: Element> {
    starts: Bound<'py, PyArrayDyn<i64>>,
    columns: Bound<'py, PyArrayDyn<i32>>,
    values: Bound<'py, PyArrayDyn<T>>,
    cols: usize,
}

impl<T: Element + Scalar> OwnedCsr<'_, T> {
    pub fn borrow(&self, argument: &str) -> PyResult<Csr<'_, T>> {
        let (indptr, indices, data) = (as_slice(&self.starts), as_slice(&self.columns), as_slice(&self.values));
        Csr::new(argument, indptr, indices, data, self.cols).map_err(to_python)
    }
}

/// `value` as a CSR matrix, if it is a sparse one.
///
/// # Errors
/// TypeError for sparse matrices of other formats, or without real numbers; ValueError where it is damaged.
pub fn as_csr<'py, T: Element + Scalar>(
    argument: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<OwnedCsr<'py, T>>> {
    let py = value.py();
    // An array is none, and should not have to wait.
    if value.cast::<PyUntypedArray>().is_ok() || !value.hasattr(intern!(py, "tocsr"))? {
        return Ok(None);
    }
    let format: String = value.getattr(intern!(py, "format"))?.extract()?;
    let (rows, cols): (usize, usize) = value.getattr(intern!(py, "shape"))?.extract()?;
    if format != "csr" {
        let message = format!("{argument}: expected an array or a CSR matrix, got a sparse one of format {format:?}");
        return Err(PyTypeError::new_err(format!("{message}; its tocsr() is one")));
    }
    let starts = as_integers::<i64>(&value.getattr(intern!(py, "indptr"))?)?;
    if starts.len() != rows + 1 || cols > i32::MAX as usize {
        let message = format!("{argument}: expected an indptr of {} and at most 2^31 - 1 columns", rows + 1);
        return Err(PyValueError::new_err(format!("{message}, got {} and {cols}", starts.len())));
    }
    Ok(Some(OwnedCsr {
        starts,
        columns: as_integers(&value.getattr(intern!(py, "indices"))?)?,
        values: as_array(argument, &value.getattr(intern!(py, "data"))?)?,
        cols,
    }))
}

/// An array of integers as one of another kind, which it need not be copied to be.
fn as_integers<'py, I: Element>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<I>>> {
    let py = value.py();
    let array =
        py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "ascontiguousarray"), (value, dtype::<I>(py)))?;
    Ok(array.cast_into()?)
}
