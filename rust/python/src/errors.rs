//! Errors of the core as Python exceptions.

use pyo3::PyErr;
use pyo3::exceptions::{PyFloatingPointError, PyKeyboardInterrupt, PyMemoryError, PyValueError};
use tinyrs_core::Error;

/// The exception for an error of the core, with the same message.
pub fn to_python(error: Error) -> PyErr {
    match error {
        Error::Invalid { .. } | Error::NonFinite { .. } => PyValueError::new_err(error.to_string()),
        Error::Diverged { .. } => PyFloatingPointError::new_err(error.to_string()),
        Error::Interrupted => PyKeyboardInterrupt::new_err(error.to_string()),
        Error::OutOfMemory { .. } => PyMemoryError::new_err(error.to_string()),
    }
}
