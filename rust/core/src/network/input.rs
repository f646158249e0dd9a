//! The rows that a network is trained on: dense or sparse.

use crate::error::Result;
use crate::linalg::elementwise::CopyWithoutDenormals;
use crate::matrix::Matrix;
use crate::network::checks::check_finite_parallel;
use crate::network::sparse::Csr;
use crate::simd::dispatch::{Dispatch, Kernels};

/// A (rows, cols) matrix, dense or sparse.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, T> {
    /// A matrix that stores every element.
    Dense(Matrix<'a, T>),
    /// A matrix that stores only some elements; the others are 0.
    Sparse(Csr<'a, T>),
}

impl<T: Dispatch> Input<'_, T> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Input::Dense(x) => x.rows(),
            Input::Sparse(x) => x.rows(),
        }
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        match self {
            Input::Dense(x) => x.cols(),
            Input::Sparse(x) => x.cols(),
        }
    }

    /// Writes all elements of row `i` to `out` (cols,), denormal values as 0.
    pub(crate) fn copy_row(&self, kernels: &Kernels<T>, i: usize, out: &mut [T]) {
        match self {
            Input::Dense(x) => kernels.run(CopyWithoutDenormals { from: x.row(i), to: out }),
            Input::Sparse(x) => x.copy_row(i, out),
        }
    }

    /// Checks that no value is NaN or infinite, on at most `n_threads` threads.
    pub(crate) fn check_finite(&self, kernels: &Kernels<T>, argument: &str, n_threads: usize) -> Result<()> {
        match self {
            Input::Dense(x) => check_finite_parallel(kernels, argument, *x, n_threads),
            Input::Sparse(x) => x.check_finite(argument),
        }
    }
}

impl<'a, T> From<Matrix<'a, T>> for Input<'a, T> {
    fn from(x: Matrix<'a, T>) -> Self {
        Input::Dense(x)
    }
}

impl<'a, T> From<Csr<'a, T>> for Input<'a, T> {
    fn from(x: Csr<'a, T>) -> Self {
        Input::Sparse(x)
    }
}
