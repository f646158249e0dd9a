//! The methods of `Network` that compute outputs.

use pyo3::prelude::*;
use pyo3::types::PyList;
use tinyrs_core::{Forward, Scalar};

use crate::arguments::{as_count, thread_count};
use crate::arrays::as_row;
use crate::network::Network;
use crate::passes::{self, PassOptions};
use crate::precision::with_network;

#[pymethods]
impl Network {
    /// Compute the outputs for one row or a batch of rows.
    ///
    /// Outputs are always finite: a sum that overflows becomes the largest finite number. A row gives the same bits in
    /// any batch and for any number of threads.
    ///
    /// Parameters
    /// ----------
    /// X : array of shape (features,) or (batch, features), or SciPy CSR matrix
    ///     Finite real numbers. A C-contiguous array of the network's precision is used in place; other arrays are
    ///     converted to one first. A sparse matrix is made dense a block of rows at a time.
    /// out : array of shape (outputs,) or (batch, outputs), optional
    ///     Array to write the outputs to: C-contiguous, of the network's precision, and not overlapping X.
    /// n_threads : int, optional
    ///     Largest number of threads; by default `tinyrs.get_num_threads()`. Small batches use one thread.
    ///
    /// Returns
    /// -------
    /// array of shape (outputs,) or (batch, outputs)
    ///     `out`, if it was given.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If a shape does not fit, X holds NaN or infinity, or `out` cannot be written to. `out` is unchanged then.
    /// TypeError
    ///     If X does not hold real numbers, or `out` is not an array of the network's precision.
    #[pyo3(signature = (X, *, out=None, n_threads=None))]
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward<'py>(
        &self,
        X: &Bound<'py, PyAny>,
        out: Option<&Bound<'py, PyAny>>,
        n_threads: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        with_network!(&*self.current(), network => passes::forward(network, X, PassOptions { out, n_threads }))
    }

    /// Compute the outputs for one row given as Python numbers, without importing NumPy.
    ///
    /// Parameters
    /// ----------
    /// X : iterable of float
    ///     One finite number per input.
    ///
    /// Returns
    /// -------
    /// list of float
    ///     The same bits as from `forward`.
    ///
    /// Raises
    /// ------
    /// ValueError
    ///     If the number of values is wrong, or a value is NaN or infinite.
    /// TypeError
    ///     If X is not iterable, or a value is not a real number.
    #[expect(non_snake_case, reason = "the name of the Python argument")]
    fn forward_one<'py>(&self, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let py = X.py();
        with_network!(&*self.current(), network => {
            let outputs = passes::run_one(py, network, &as_row("X", X)?, |x, out, n_threads| {
                network.forward(x, out, n_threads)
            })?;
            PyList::new(py, outputs.into_iter().map(Scalar::to_f64))
        })
    }

    /// Explain how `forward` computes a batch: the kernel, the blocks, the threads and the GIL, and the reason for
    /// each.
    ///
    /// Parameters
    /// ----------
    /// batch : int
    ///     The number of rows.
    /// n_threads : int, optional
    ///     Largest number of threads; by default `tinyrs.get_num_threads()`.
    ///
    /// Returns
    /// -------
    /// str
    ///     A text of a few lines for people to read; its wording changes from version to version.
    #[pyo3(signature = (batch, *, n_threads=None))]
    fn explain_plan(&self, batch: &Bound<PyAny>, n_threads: Option<&Bound<PyAny>>) -> PyResult<String> {
        let batch = as_count("batch", batch, 1)? as usize;
        let n_threads = thread_count(n_threads)?;
        with_network!(&*self.current(), network => {
            let plan = network.plan(batch, n_threads);
            let gil = if plan.is_short() { "kept: the pass is short" } else { "released during the pass" };
            Ok(format!("{plan}\nGIL: {gil}"))
        })
    }
}
