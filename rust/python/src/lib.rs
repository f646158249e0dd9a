//! Python bindings of tinyrs-core: conversion, errors, the GIL; no arithmetic.

mod arrays;
mod checkpoint;
mod description;
mod errors;
mod feature_encoder;
mod gradients;
mod network;
mod optimizer;
mod options;
mod parameters;
mod passes;
mod safetensors;
mod sparse;
mod training;

use pyo3::prelude::*;

/// The native half of the package `tinyrs`.
#[pymodule(gil_used = false)]
mod _tinyrs {
    use pyo3::prelude::*;
    use pyo3::types::PyDict;
    use tinyrs_core::{DEFAULT_WORKING_SET, Isa, num_threads};

    use crate::arrays::as_count;
    use crate::errors::to_python;

    #[pymodule_export]
    use crate::description::parse_json;
    #[pymodule_export]
    use crate::feature_encoder::FeatureEncoder;
    #[pymodule_export]
    use crate::network::Network;
    #[pymodule_export]
    use crate::optimizer::Optimizer;
    #[pymodule_export]
    use crate::safetensors::{Tensor, digest, read_safetensors, write_safetensors};

    /// An instruction set that cannot be had is an error at import, not at the first pass.
    #[pymodule_init]
    fn init(_module: &Bound<PyModule>) -> PyResult<()> {
        Isa::active().map_err(to_python).map(drop)
    }

    /// Sets the most threads that a pass may use from now on, in this process; at least 1.
    ///
    /// It cannot exceed what `get_num_threads` says to begin with. `threadpoolctl.threadpool_limits` sets it too.
    #[pyfunction]
    fn set_num_threads(n_threads: &Bound<PyAny>) -> PyResult<()> {
        tinyrs_core::set_num_threads(as_count("n_threads", n_threads, 1)? as usize).map_err(to_python)
    }

    /// The most threads that a pass may use: the least of what `set_num_threads` has set, the environment variables
    /// TINYRS_NUM_THREADS, RAYON_NUM_THREADS and OMP_NUM_THREADS, the affinity mask and the cgroup's quota.
    #[pyfunction]
    fn get_num_threads() -> usize {
        num_threads(None)
    }

    /// What this build is: a dict of version, isa (the instruction set in use), isa_available, profile ("release" or
    /// "debug") and target.
    #[pyfunction]
    fn build_info(py: Python) -> PyResult<Bound<PyDict>> {
        let info = PyDict::new(py);
        let available: Vec<_> = Isa::ALL.into_iter().filter(|isa| isa.is_available()).map(Isa::name).collect();
        info.set_item("version", env!("CARGO_PKG_VERSION"))?;
        info.set_item("isa", Isa::active().map_err(to_python)?.name())?;
        info.set_item("isa_available", available)?;
        info.set_item("profile", if cfg!(debug_assertions) { "debug" } else { "release" })?;
        info.set_item("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS))?;
        Ok(info)
    }

    /// What this machine can do, measured in about half a second: the limits to compare a benchmark with.
    ///
    /// Parameters
    /// ----------
    /// n_threads : int, optional
    ///     At most so many threads; all that `get_num_threads` allows by default.
    /// working_set : int, optional
    ///     Bytes that are read over and over, allocated meanwhile; 256 MiB by default. As many as a network has gives
    ///     the limit for that network, whichever cache it fits into.
    ///
    /// Returns
    /// -------
    /// dict
    ///     n_threads; working_set (bytes); read_bandwidth (bytes a second), the best over several numbers of streams
    ///     and prefetch distances, and which: streams, prefetch_distance (bytes); fma_f32 and fma_f64, floating-point
    ///     operations a second, a multiply-add counting two.
    #[pyfunction]
    #[pyo3(signature = (n_threads=None, *, working_set=None))]
    fn machine_limits<'py>(
        py: Python<'py>,
        n_threads: Option<&Bound<'py, PyAny>>,
        working_set: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let n_threads = n_threads.map(|n| as_count("n_threads", n, 1)).transpose()?.map(|n| n as usize);
        let working_set = working_set.map(|bytes| as_count("working_set", bytes, 1)).transpose()?;
        let working_set = working_set.map_or(DEFAULT_WORKING_SET, |bytes| bytes as usize);
        let limits =
            py.detach(|| tinyrs_core::machine_limits(num_threads(n_threads), working_set)).map_err(to_python)?;
        let result = PyDict::new(py);
        result.set_item("n_threads", limits.n_threads)?;
        result.set_item("working_set", limits.working_set)?;
        result.set_item("read_bandwidth", limits.read_bandwidth)?;
        result.set_item("streams", limits.pattern.streams)?;
        result.set_item("prefetch_distance", limits.pattern.prefetch_distance)?;
        result.set_item("fma_f32", limits.fma_f32)?;
        result.set_item("fma_f64", limits.fma_f64)?;
        Ok(result)
    }
}
