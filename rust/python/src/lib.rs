//! The extension module `tinyrs._tinyrs`: Python classes and functions over tinyrs-core.
//!
//! This crate converts arguments and results, turns errors into exceptions and releases the GIL; it does no arithmetic.
//! Each file imports only files that do not import it. Start with `network.rs`, then read `passes.rs` for predictions
//! and `training.rs` for `fit`.

mod arguments;
mod arrays;
mod calls;
mod checkpoint;
mod column_check;
mod errors;
mod feature_encoder;
mod first_infinite;
mod fit_arguments;
mod gradients;
mod json;
mod network;
mod network_prediction;
mod network_properties;
mod network_training;
mod optimizer;
mod parameters;
mod passes;
mod precision;
mod quantized;
mod records;
mod row_maxima;
mod row_predictor;
mod safetensors;
mod samples;
mod sha256;
mod shared;
mod sparse;
mod tables;
mod training;
mod watcher;

use pyo3::prelude::*;

/// The extension module of the package `tinyrs`.
#[pymodule(gil_used = false)]
mod _tinyrs {
    use pyo3::exceptions::PyImportError;
    use pyo3::ffi;
    use pyo3::prelude::*;
    use pyo3::types::PyDict;
    use tinyrs_core::{DEFAULT_WORKING_SET, Isa, num_threads};

    use crate::arguments::{as_count, thread_count};
    use crate::errors::to_python;

    #[pymodule_export]
    use crate::column_check::ColumnCheck;
    #[pymodule_export]
    use crate::feature_encoder::FeatureEncoder;
    #[pymodule_export]
    use crate::first_infinite::first_infinite;
    #[pymodule_export]
    use crate::json::parse_json;
    #[pymodule_export]
    use crate::network::Network;
    #[pymodule_export]
    use crate::optimizer::Optimizer;
    #[pymodule_export]
    use crate::row_maxima::row_maxima;
    #[pymodule_export]
    use crate::row_predictor::RowPredictor;
    #[pymodule_export]
    use crate::safetensors::{Tensor, digest, read_safetensors, write_safetensors};

    /// Fails at import, rather than later, in a subinterpreter, or if TINYRS_ISA names an instruction set that this CPU
    /// lacks.
    #[pymodule_init]
    fn init(_module: &Bound<PyModule>) -> PyResult<()> {
        check_main_interpreter()?;
        Isa::active().map_err(to_python).map(drop)
    }

    /// PyO3's classes belong to the process: an interpreter that ends would leave its objects in those of the others.
    fn check_main_interpreter() -> PyResult<()> {
        // SAFETY: the calling thread is attached to an interpreter, so there is one; the second call reads its number.
        let number = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
        if number == 0 {
            return Ok(());
        }
        Err(PyImportError::new_err(format!(
            "tinyrs: expected the main interpreter of the process, got subinterpreter {number}; \
             use threads or processes instead"
        )))
    }

    /// Set the largest number of threads that this process uses for a pass or a training step from now on.
    ///
    /// `threadpoolctl.threadpool_limits` calls this function too.
    ///
    /// Parameters
    /// ----------
    /// n_threads : int
    ///     At least 1. A number above the initial value of `get_num_threads` is reduced to it.
    #[pyfunction]
    fn set_num_threads(n_threads: &Bound<PyAny>) -> PyResult<()> {
        tinyrs_core::set_num_threads(as_count("n_threads", n_threads, 1)? as usize).map_err(to_python)
    }

    /// Return the largest number of threads that a pass or a training step uses.
    ///
    /// It is the smallest of: the value of `set_num_threads`, the environment variables TINYRS_NUM_THREADS,
    /// RAYON_NUM_THREADS and OMP_NUM_THREADS, the CPUs in the affinity mask, and the CPU quota of the cgroup.
    #[pyfunction]
    fn get_num_threads() -> usize {
        num_threads(None)
    }

    /// Describe this build of tinyrs.
    ///
    /// Returns
    /// -------
    /// dict
    ///     version; isa: the instruction set in use; isa_available: all that this CPU has; profile: "release" or
    ///     "debug"; target: the architecture and the operating system.
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

    /// Measure the memory bandwidth and the arithmetic throughput of this machine, in about half a second.
    ///
    /// Parameters
    /// ----------
    /// n_threads : int, optional
    ///     Number of threads to measure with; by default `get_num_threads()`.
    /// working_set : int, optional
    ///     Size in bytes of the buffer that is read repeatedly; by default 256 MiB. With the size of a network's
    ///     parameters, the result is the bandwidth limit of that network, including the effect of caches.
    ///
    /// Returns
    /// -------
    /// dict
    ///     n_threads; working_set in bytes; read_bandwidth in bytes per second, the best over several access patterns;
    ///     streams and prefetch_distance (in bytes) of the best pattern; fma_f32 and fma_f64 in floating-point
    ///     operations per second, multiply_add_bf16 and multiply_add_int8 in operations per second on such numbers (sums
    ///     are f32 and 32-bit integers), where a multiply-add counts as two.
    #[pyfunction]
    #[pyo3(signature = (n_threads=None, *, working_set=None))]
    fn machine_limits<'py>(
        py: Python<'py>,
        n_threads: Option<&Bound<'py, PyAny>>,
        working_set: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let n_threads = thread_count(n_threads)?;
        let working_set = working_set.map(|bytes| as_count("working_set", bytes, 1)).transpose()?;
        let working_set = working_set.map_or(DEFAULT_WORKING_SET, |bytes| bytes as usize);
        let limits = py.detach(|| tinyrs_core::machine_limits(n_threads, working_set)).map_err(to_python)?;
        let result = PyDict::new(py);
        result.set_item("n_threads", limits.n_threads)?;
        result.set_item("working_set", limits.working_set)?;
        result.set_item("read_bandwidth", limits.read_bandwidth)?;
        result.set_item("streams", limits.pattern.streams)?;
        result.set_item("prefetch_distance", limits.pattern.prefetch_distance)?;
        result.set_item("fma_f32", limits.fma_f32)?;
        result.set_item("fma_f64", limits.fma_f64)?;
        result.set_item("multiply_add_bf16", limits.multiply_add_bf16)?;
        result.set_item("multiply_add_int8", limits.multiply_add_int8)?;
        Ok(result)
    }
}
