//! The function `first_infinite`: the first infinity of a column.

use numpy::Element;
use pyo3::prelude::*;
use tinyrs_core::Dispatch;

use crate::arrays::{as_array, as_slice, is_f32};
use crate::errors::to_python;

/// Find the first infinity, as ``np.isinf(values).argmax()`` does in several times the time.
///
/// Parameters
/// ----------
/// values : array
///     Real numbers.
///
/// Returns
/// -------
/// int or None
///     The index of the first infinity, if there is one.
///
/// Raises
/// ------
/// ValueError, TypeError
///     If `values` is a masked array, or does not hold real numbers.
#[pyfunction]
pub fn first_infinite(values: &Bound<PyAny>) -> PyResult<Option<usize>> {
    if is_f32(values)? { first_of::<f32>(values) } else { first_of::<f64>(values) }
}

fn first_of<T: Element + Dispatch>(values: &Bound<PyAny>) -> PyResult<Option<usize>> {
    let array = as_array::<T>("values", values)?;
    let elements = as_slice(&array);
    values.py().detach(|| tinyrs_core::first_infinite(elements)).map_err(to_python)
}
