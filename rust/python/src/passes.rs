//! Forward passes: rows from Python in, an array out.

use numpy::{Element, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use tinyrs_core::{Cells, Forward, Matrix, MatrixMut, Scalar, collect, num_threads};

use crate::arguments::thread_count;
use crate::arrays::{as_array, as_bytes, as_output, as_slice, rows_and_columns, uninitialised};
use crate::errors::to_python;
use crate::sparse::as_csr;
use crate::tables::Table;

/// The keyword arguments of every pass.
#[derive(Clone, Copy)]
pub struct PassOptions<'a, 'py> {
    pub out: Option<&'a Bound<'py, PyAny>>,
    pub n_threads: Option<&'a Bound<'py, PyAny>>,
}

/// Properties of a pass that are needed before it starts.
pub struct PassInfo<'a> {
    /// The number of outputs per row.
    pub outputs: usize,
    /// Whether a pass over this many rows is so short that it should keep the GIL: taking the GIL back from another
    /// thread can take longer than the pass.
    pub is_short: &'a dyn Fn(usize) -> bool,
}

/// Calls `f` with the properties of a pass through `network`.
pub fn with_info<N: Forward, R>(network: &N, f: impl FnOnce(&PassInfo) -> R) -> R {
    let outputs = network.outputs();
    f(&PassInfo { outputs, is_short: &|rows| network.is_short(rows) })
}

/// The outputs of `network` for `x`: one row, an array of rows, or a CSR matrix.
pub fn forward<'py, N: Forward<Value: Element>>(
    network: &N,
    x: &Bound<'py, PyAny>,
    options: PassOptions<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    with_info(network, |info| {
        let Some(matrix) = as_csr::<N::Value>("X", x)? else {
            return run(x, options, info, |x, out, n_threads| network.forward(x, out, n_threads));
        };
        let csr = matrix.borrow("X")?;
        let shape = [csr.rows(), info.outputs];
        let output = Output { shape: &shape, rows: csr.rows(), read: &matrix.bytes() };
        run_into(x.py(), options, info, output, |out, n_threads| network.forward_sparse(csr, out, n_threads))
    })
}

/// Runs `pass(X, out, n_threads)` of `network` over one row and returns the outputs; does not use NumPy.
pub fn run_one<N: Forward, S: Scalar>(
    py: Python,
    network: &N,
    row: &[S],
    mut pass: impl FnMut(Matrix<S>, &mut MatrixMut<N::Value>, usize) -> tinyrs_core::Result<()> + Send,
) -> PyResult<Vec<N::Value>> {
    let outputs = network.outputs();
    let mut y = collect("out", std::iter::repeat_n(N::Value::ZERO, outputs)).map_err(to_python)?;
    let matrix = Matrix::new("X", row, 1, row.len()).map_err(to_python)?;
    let mut out = MatrixMut::new("out", &mut y, 1, outputs).map_err(to_python)?;
    let mut pass = || pass(matrix, &mut out, num_threads(None));
    let result = if network.is_short(1) { pass() } else { py.detach(pass) };
    result.map_err(to_python)?;
    Ok(y)
}

/// Runs `pass(X, out, n_threads)` over `x`, which is one row or an array of rows.
pub fn run<'py, S: Element + Scalar, T: Element + Scalar>(
    x: &Bound<'py, PyAny>,
    options: PassOptions<'_, 'py>,
    info: &PassInfo,
    mut pass: impl FnMut(Matrix<S>, &mut MatrixMut<T>, usize) -> tinyrs_core::Result<()> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let array = as_array::<S>("X", x)?;
    let input = as_slice(&array);
    let (rows, columns) = rows_and_columns(array.shape())?;
    let shape = [rows, info.outputs];
    let shape = if array.ndim() == 1 { &shape[1..] } else { &shape };
    let x = Matrix::new("X", input, rows, columns).map_err(to_python)?;
    let output = Output { shape, rows, read: &[as_bytes(input)] };
    run_into(array.py(), options, info, output, |out, n_threads| pass(x, out, n_threads))
}

/// Runs `pass(X, out, n_threads)` over `x`, a table as [`Table`] reads it.
pub fn run_table<'py, S: Element + Scalar, T: Element + Scalar>(
    x: &Bound<'py, PyAny>,
    options: PassOptions<'_, 'py>,
    info: &PassInfo,
    mut pass: impl FnMut(Cells<S>, &mut MatrixMut<T>, usize) -> tinyrs_core::Result<()> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let table = Table::<S>::new(x)?;
    let slices = table.slices();
    let cells = table.cells(&slices)?;
    let shape = [cells.rows(), info.outputs];
    let shape = if table.is_one_row() { &shape[1..] } else { &shape };
    let read: Vec<&[u8]> = slices.iter().map(|cells| as_bytes(cells)).collect();
    let output = Output { shape, rows: cells.rows(), read: &read };
    run_into(x.py(), options, info, output, |out, n_threads| pass(cells, out, n_threads))
}

/// The array that a pass writes.
struct Output<'a> {
    shape: &'a [usize],
    rows: usize,
    /// What the pass reads, which the array must not overlap.
    read: &'a [&'a [u8]],
}

/// Runs `pass(out, n_threads)` with a new array, or with the array of the caller.
fn run_into<'py, T: Element + Scalar>(
    py: Python<'py>,
    options: PassOptions<'_, 'py>,
    info: &PassInfo,
    Output { shape, rows, read }: Output,
    mut pass: impl FnMut(&mut MatrixMut<T>, usize) -> tinyrs_core::Result<()> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let n_threads = thread_count(options.n_threads)?;
    let result = match options.out {
        Some(out) => as_output(out, shape, read)?,
        // SAFETY: a pass writes every element before it returns `Ok`; after an error the array is dropped unread.
        None => unsafe { uninitialised(py, shape)? },
    };
    // SAFETY: the array is contiguous and aligned: created so above, or checked by `as_output`. No other code has a
    // reference to a new array; NumPy too requires its callers not to write to an array in two threads at once.
    let y = unsafe { std::slice::from_raw_parts_mut(result.data(), result.len()) };
    let mut y = MatrixMut::new("out", y, rows, info.outputs).map_err(to_python)?;
    let mut pass = || pass(&mut y, n_threads);
    let outcome = if (info.is_short)(rows) { pass() } else { py.detach(pass) };
    outcome.map_err(to_python)?;
    Ok(result.into_any())
}
