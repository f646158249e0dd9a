//! Sparse matrices of SciPy, recognised by their attributes, so that SciPy need not be imported.

use numpy::{Element, PyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use tinyrs_core::{Csr, Scalar};

use crate::arrays::{as_array, as_bytes, as_slice, converted, is_usable, require_numpy};
use crate::calls::getattr;
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
/// # Errors
/// TypeError if it is a sparse matrix of another format, or does not hold real numbers; ValueError if its arrays
/// contradict its shape.
pub fn as_csr<'py, T: Element + Scalar>(
    argument: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Option<OwnedCsr<'py, T>>> {
    let py = value.py();
    require_numpy(py)?;
    // Arrays, the usual case, skip the attribute lookup.
    if value.cast::<PyUntypedArray>().is_ok() || !value.hasattr(intern!(py, "tocsr"))? {
        return Ok(None);
    }
    let format: String = getattr(value, intern!(py, "format"))?.extract()?;
    let (rows, cols): (usize, usize) = getattr(value, intern!(py, "shape"))?.extract()?;
    if format != "csr" {
        let message =
            format!("{argument}: expected an array or a CSR matrix, got a sparse matrix of format {format:?}");
        return Err(PyTypeError::new_err(format!("{message}; convert it with tocsr()")));
    }
    let indptr = as_integers::<i64>(argument, &getattr(value, intern!(py, "indptr"))?)?;
    if indptr.len().checked_sub(1) != Some(rows) || cols > i32::MAX as usize {
        let message = format!("{argument}: expected an indptr of {rows} + 1 elements and at most 2^31 - 1 columns");
        return Err(PyValueError::new_err(format!("{message}, got {} elements and {cols} columns", indptr.len())));
    }
    Ok(Some(OwnedCsr {
        indptr,
        indices: as_indices(argument, &getattr(value, intern!(py, "indices"))?, cols)?,
        data: as_array(argument, &getattr(value, intern!(py, "data"))?)?,
        cols,
    }))
}

/// The column indices in `value` as i32: `value` itself if it is a usable array of i32, otherwise a converted copy.
///
/// # Errors
/// TypeError if it does not hold integers; ValueError for an integer that would not be the same in i32.
fn as_indices<'py>(argument: &str, value: &Bound<'py, PyAny>, cols: usize) -> PyResult<Bound<'py, PyArrayDyn<i32>>> {
    if let Ok(array) = value.cast::<PyArrayDyn<i32>>() {
        return as_integers(argument, array);
    }
    let wide = as_integers::<i64>(argument, value)?;
    // The core checks i32.
    if let Some(index) = as_slice(&wide).iter().find(|index| i32::try_from(**index).is_err()) {
        let message = format!("{argument}: expected indices of at least 0 and below {cols}, got {index}");
        return Err(PyValueError::new_err(message));
    }
    as_integers(argument, &wide)
}

/// `value` as a C-contiguous, aligned array of the integer type `I`: `value` itself if it is one, otherwise a converted
/// copy.
///
/// # Errors
/// TypeError if it does not hold integers.
fn as_integers<'py, I: Element>(argument: &str, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<I>>> {
    match value.cast::<PyArrayDyn<I>>() {
        Ok(array) if is_usable(array) => Ok(array.clone()),
        _ => converted(argument, value, b"iu", "integer indices"),
    }
}
