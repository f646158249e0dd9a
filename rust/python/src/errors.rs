//! Core errors as Python exceptions.

use pyo3::PyErr;
use pyo3::exceptions::{PyMemoryError, PyValueError};
use tinyrs_core::Error;

/// ValueError, or MemoryError where memory could not be had.
pub fn to_python(error: Error) -> PyErr {
    match error {
        Error::Invalid { .. } | Error::NonFinite { .. } => PyValueError::new_err(error.to_string()),
        Error::OutOfMemory { .. } => PyMemoryError::new_err(error.to_string()),
    }
}
