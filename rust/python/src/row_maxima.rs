//! The function `row_maxima`: the largest output of each row.

use numpy::{Element, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tinyrs_core::{Dispatch, Matrix};

use crate::arrays::{as_array, as_slice, is_f32, uninitialised};
use crate::errors::to_python;

/// Find the largest element of each row, as `X.argmax(axis=1)` and `X.max(axis=1)` do in several times the time.
///
/// Parameters
/// ----------
/// X : array of shape (rows, columns)
///     Real numbers without NaN.
///
/// Returns
/// -------
/// columns : array of shape (rows,)
///     The column of each maximum, the first one of several.
/// largest : array of shape (rows,)
///
/// Raises
/// ------
/// ValueError, TypeError
///     If X has another shape, no columns, or values that are not real numbers.
#[pyfunction]
#[expect(non_snake_case, reason = "the name of the Python argument")]
pub fn row_maxima<'py>(X: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if is_f32(X)? { maxima_of::<f32>(X) } else { maxima_of::<f64>(X) }
}

fn maxima_of<'py, T: Element + Dispatch>(x: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let (py, array) = (x.py(), as_array::<T>("X", x)?);
    let [rows, columns] = *array.shape() else {
        return Err(PyValueError::new_err("X: expected shape (rows, columns)"));
    };
    let matrix = Matrix::new("X", as_slice(&array), rows, columns).map_err(to_python)?;
    // SAFETY: all elements are written below, or the arrays are dropped unread.
    let (indices, largest) = unsafe { (uninitialised::<u32>(py, &[rows])?, uninitialised::<T>(py, &[rows])?) };
    // SAFETY: both are new, so contiguous, aligned and referenced by nothing else.
    let (to_indices, to_largest) = unsafe {
        (std::slice::from_raw_parts_mut(indices.data(), rows), std::slice::from_raw_parts_mut(largest.data(), rows))
    };
    py.detach(|| tinyrs_core::row_maxima(matrix, to_indices, to_largest)).map_err(to_python)?;
    Ok((indices.into_any(), largest.into_any()))
}
