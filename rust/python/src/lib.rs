//! Python bindings of tinyrs-core.
use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _tinyrs {}
