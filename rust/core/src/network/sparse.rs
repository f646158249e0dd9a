//! Rows of which most elements are 0, and rows of either kind. A network takes a block of them at a time, as full rows:
//! its first layer's product is no sparse one, but the memory is that of a block.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::linalg::kernels::Kernels;
use crate::linalg::view::View;
use crate::matrix::Matrix;
use crate::network::layer::check_all_finite;
use crate::network::rows::Rows;
use crate::parallel::{Shared, Team};
use crate::scalar::Scalar;

/// A read-only (rows, cols) matrix in compressed sparse rows: row i has `values[starts[i]..starts[i + 1]]`, in the
/// columns that `columns` has at the same places. Values in the same place add up.
#[derive(Debug, Clone, Copy)]
pub struct Csr<'a, T> {
    starts: &'a [i64],
    columns: &'a [i32],
    values: &'a [T],
    cols: usize,
}

impl<'a, T: Scalar> Csr<'a, T> {
    /// A view of these arrays; `argument` names it in the error.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they do not fit each other, or a column is not below `cols`.
    pub fn new(
        argument: &str,
        (starts, columns): (&'a [i64], &'a [i32]),
        values: &'a [T],
        cols: usize,
    ) -> Result<Self> {
        let invalid = |expected: String, got: String| Err(Error::invalid(argument, expected, got));
        if columns.len() != values.len() {
            return invalid(format!("{} indices, as many as values", values.len()), columns.len().to_string());
        }
        let ascends = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        if !(ascends && starts.first() == Some(&0) && starts.last() == Some(&(values.len() as i64))) {
            return invalid(format!("an indptr that ascends from 0 to {}", values.len()), "another".into());
        }
        if let Some(column) = columns.iter().find(|c| !usize::try_from(**c).is_ok_and(|c| c < cols)) {
            return invalid(format!("indices from 0 to below {cols}"), column.to_string());
        }
        Ok(Csr { starts, columns, values, cols })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i` in full; values and their sums are finite, and no denormals.
    pub(crate) fn copy_row(&self, i: usize, out: &mut [T]) {
        out.fill(T::ZERO);
        let row = self.starts[i] as usize..self.starts[i + 1] as usize;
        for (column, value) in self.columns[row.clone()].iter().zip(&self.values[row]) {
            let sum = out[*column as usize] + value.without_denormals();
            out[*column as usize] = if sum.is_finite() { sum } else { *value };
        }
    }

    pub(crate) fn check_finite(&self, argument: &str) -> Result<()> {
        let Some(place) = self.values.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        Err(Error::NonFinite {
            argument: argument.into(),
            precision: T::NAME,
            value: self.values[place].to_f64(),
            row: self.starts.partition_point(|start| *start <= place as i64) - 1,
            column: self.columns[place] as usize,
        })
    }
}

impl<T: Scalar> Rows<T> for Csr<'_, T> {
    fn rows(&self) -> usize {
        Csr::rows(self)
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn room(&self, rows: usize) -> usize {
        rows * self.cols
    }

    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, room: &Shared<T>) -> View<'a, T> {
        team.for_each_range(rows.len(), 1, 1, |_, range| {
            for row in range {
                // SAFETY: the caller's promise; ranges are disjoint.
                self.copy_row(rows.start + row, unsafe { room.slice(row * self.cols..(row + 1) * self.cols) });
            }
        });
        // SAFETY: as above; nothing writes any more.
        unsafe { View::contiguous(room.slice(0..rows.len() * self.cols), rows.len(), self.cols) }
    }
}

/// Rows of either kind.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, T> {
    /// With every element.
    Dense(Matrix<'a, T>),
    /// Without most zeros.
    Sparse(Csr<'a, T>),
}

impl<T: Scalar> Input<'_, T> {
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

    /// Row `i` in full, denormals as 0.
    pub(crate) fn copy_row(&self, kernels: &Kernels<T>, i: usize, out: &mut [T]) {
        match self {
            Input::Dense(x) => kernels.copy_without_denormals(x.row(i), out),
            Input::Sparse(x) => x.copy_row(i, out),
        }
    }

    pub(crate) fn check_finite(&self, kernels: &Kernels<T>, argument: &str, n_threads: usize) -> Result<()> {
        match self {
            Input::Dense(x) => check_all_finite(kernels, argument, *x, n_threads),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::MatrixMut;
    use crate::network::init::Init;
    use crate::network::{Network, NetworkConfig};
    use crate::training::loss::{Loss, Targets};
    use crate::training::samples::Samples;

    #[test]
    fn sparse_rows_are_those_in_full() {
        let (rows, cols) = (300, 37);
        let full: Vec<f32> = (0..rows * cols).map(|i| if i % 7 == 0 { (i % 13) as f32 - 6.0 } else { 0.0 }).collect();
        let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in full.chunks(cols) {
            for (column, value) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                // Half of it twice is the same.
                columns.extend([column as i32; 2]);
                values.extend([value / 2.0; 2]);
            }
            starts.push(values.len() as i64);
        }
        let csr = Csr::new("X", (&starts, &columns), &values, cols).unwrap();
        let network = Network::<f32>::new(&[cols, 20, 4], NetworkConfig::default(), Init::HeNormal, 1).unwrap();
        let x = Matrix::new("X", &full, rows, cols).unwrap();
        let mut want = vec![0.0; rows * 4];
        network.forward(x, &mut MatrixMut::new("out", &mut want, rows, 4).unwrap(), 1).unwrap();
        for n_threads in [1, 3] {
            let mut out = vec![0.0; rows * 4];
            let mut view = MatrixMut::new("out", &mut out, rows, 4).unwrap();
            network.forward_sparse(csr, &mut view, n_threads).unwrap();
            assert_eq!(out, want);
        }
        let targets = Targets::Values(Matrix::new("y", &want, rows, 4).unwrap());
        let gradient = |x| {
            let samples = Samples { x, targets, weights: None };
            crate::loss_and_gradients(&network, &samples, Loss::SquaredError, 0.0, 2).unwrap()
        };
        assert_eq!(gradient(csr.into()), gradient(x.into()));
    }

    #[test]
    fn what_is_no_csr_matrix_is_refused() {
        let refused = |starts: &[i64], columns: &[i32], values: &[f64]| {
            Csr::new("X", (starts, columns), values, 3).map(|_| ()).unwrap_err().to_string()
        };
        let values = [1.0, 2.0];
        assert_eq!(refused(&[0, 2], &[0], &values), "X: expected 2 indices, as many as values, got 1");
        for starts in [&[0, 1][..], &[1, 2], &[0, 3, 2], &[], &[-1, 2]] {
            let message = "X: expected an indptr that ascends from 0 to 2, got another";
            assert_eq!(refused(starts, &[0, 1], &values), message);
        }
        assert_eq!(refused(&[0, 2], &[0, 3], &values), "X: expected indices from 0 to below 3, got 3");
        assert_eq!(refused(&[0, 2], &[-1, 0], &values), "X: expected indices from 0 to below 3, got -1");
        let infinite = Csr::new("X", (&[0, 0, 1, 2], &[2, 1]), &[1.0, f64::NAN], 3).unwrap();
        let message = infinite.check_finite("X").unwrap_err().to_string();
        assert_eq!(message, "X: expected finite f64 values, got NaN at row 2, column 1");
    }
}
