//! Sparse rows (CSR). A pass expands one block of them at a time to full rows, so memory for a single block is enough;
//! the product of the first layer is a dense one.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::linalg::view::View;
use crate::network::rows::Rows;
use crate::parallel::{Shared, Team};
use crate::scalar::Scalar;

/// A read-only (rows, cols) matrix in compressed sparse rows, with SciPy's names: the values of row i are
/// `data[indptr[i]..indptr[i + 1]]`, and their columns are at the same positions of `indices`. Values of the same row
/// and column add up.
#[derive(Debug, Clone, Copy)]
pub struct Csr<'a, T> {
    indptr: &'a [i64],
    indices: &'a [i32],
    data: &'a [T],
    n_cols: usize,
}

impl<'a, T: Scalar> Csr<'a, T> {
    /// A view of `indptr` (rows + 1,), `indices` and `data` (both as long as the number of stored values); `argument`
    /// names the matrix in the error.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the lengths do not fit, `indptr` is not ascending, or an index is not below `n_cols`.
    pub fn new(argument: &str, indptr: &'a [i64], indices: &'a [i32], data: &'a [T], n_cols: usize) -> Result<Self> {
        if indices.len() != data.len() {
            let expected = format!("indices of length {}, the length of data", data.len());
            return Err(Error::invalid(argument, expected, format!("length {}", indices.len())));
        }
        check_indptr(argument, indptr, data.len())?;
        if let Some(index) = indices.iter().find(|i| !usize::try_from(**i).is_ok_and(|i| i < n_cols)) {
            return Err(Error::invalid(argument, format!("indices of at least 0 and below {n_cols}"), index));
        }
        Ok(Csr { indptr, indices, data, n_cols })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.n_cols
    }

    /// Writes all elements of row `i` to `out` (cols,). A denormal value counts as 0, and a sum that would overflow
    /// becomes its last term: what is written is finite if the values are.
    pub(crate) fn copy_row(&self, i: usize, out: &mut [T]) {
        out.fill(T::ZERO);
        let stored = self.indptr[i] as usize..self.indptr[i + 1] as usize;
        for (column, value) in self.indices[stored.clone()].iter().zip(&self.data[stored]) {
            let sum = out[*column as usize] + value.without_denormals();
            out[*column as usize] = if sum.is_finite() { sum } else { *value };
        }
    }

    /// Checks that no value is NaN or infinite.
    pub(crate) fn check_finite(&self, argument: &str) -> Result<()> {
        let Some(at) = self.data.iter().position(|value| !value.is_finite()) else { return Ok(()) };
        Err(Error::NonFinite {
            argument: argument.into(),
            precision: T::NAME,
            value: self.data[at].to_f64(),
            row: self.indptr.partition_point(|start| *start <= at as i64) - 1,
            column: self.indices[at] as usize,
        })
    }
}

/// Checks that `indptr` ascends from 0 to `n_values`.
fn check_indptr(argument: &str, indptr: &[i64], n_values: usize) -> Result<()> {
    let got = if let Some(i) = indptr.windows(2).position(|pair| pair[0] > pair[1]) {
        format!("{} before {}", indptr[i], indptr[i + 1])
    } else {
        match (indptr.first(), indptr.last()) {
            (Some(0), Some(last)) if *last == n_values as i64 => return Ok(()),
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => "an empty array".into(),
        }
    };
    Err(Error::invalid(argument, format!("an indptr that ascends from 0 to {n_values}, the length of data"), got))
}

impl<T: Scalar> Rows<T> for Csr<'_, T> {
    fn rows(&self) -> usize {
        Csr::rows(self)
    }

    fn cols(&self) -> usize {
        self.n_cols
    }

    fn scratch_len(&self, rows: usize) -> usize {
        rows * self.n_cols
    }

    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, scratch: &Shared<T>) -> View<'a, T> {
        team.for_each_range(rows.len(), 1, 1, |_, range| {
            for row in range {
                // SAFETY: guaranteed by the caller; the ranges are disjoint.
                let out = unsafe { scratch.slice_mut(row * self.n_cols..(row + 1) * self.n_cols) };
                self.copy_row(rows.start + row, out);
            }
        });
        // SAFETY: guaranteed by the caller; nothing writes any more.
        unsafe { View::contiguous(scratch.slice(0..rows.len() * self.n_cols), rows.len(), self.n_cols) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Matrix, MatrixMut};
    use crate::network::forward::Forward;
    use crate::network::init::Init;
    use crate::network::{Network, NetworkConfig};
    use crate::training::loss::{Loss, Targets};
    use crate::training::samples::Samples;

    #[test]
    fn sparse_rows_give_the_bits_of_dense_rows() {
        let (rows, cols) = (300, 37);
        let full: Vec<f32> = (0..rows * cols).map(|i| if i % 7 == 0 { (i % 13) as f32 - 6.0 } else { 0.0 }).collect();
        let (mut indptr, mut indices, mut data) = (vec![0], Vec::new(), Vec::new());
        for row in full.chunks(cols) {
            for (column, value) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                // Two halves at the same place, which add up to the value.
                indices.extend([column as i32; 2]);
                data.extend([value / 2.0; 2]);
            }
            indptr.push(data.len() as i64);
        }
        let csr = Csr::new("X", &indptr, &indices, &data, cols).unwrap();
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
    fn invalid_csr_arrays_are_refused() {
        let refused = |indptr: &[i64], indices: &[i32], data: &[f64]| {
            Csr::new("X", indptr, indices, data, 3).map(|_| ()).unwrap_err().to_string()
        };
        let data = [1.0, 2.0];
        assert_eq!(refused(&[0, 2], &[0], &data), "X: expected indices of length 2, the length of data, got length 1");
        for (indptr, got) in [
            (&[0, 1][..], "0 to 1"),
            (&[1, 2], "1 to 2"),
            (&[0, 3, 2], "3 before 2"),
            (&[], "an empty array"),
            (&[-1, 2], "-1 to 2"),
        ] {
            let expected = "X: expected an indptr that ascends from 0 to 2, the length of data";
            assert_eq!(refused(indptr, &[0, 1], &data), format!("{expected}, got {got}"));
        }
        for (index, indices) in [(3, [0, 3]), (-1, [-1, 0])] {
            let expected = "X: expected indices of at least 0 and below 3";
            assert_eq!(refused(&[0, 2], &indices, &data), format!("{expected}, got {index}"));
        }
        let with_nan = Csr::new("X", &[0, 0, 1, 2], &[2, 1], &[1.0, f64::NAN], 3).unwrap();
        let message = with_nan.check_finite("X").unwrap_err().to_string();
        assert_eq!(message, "X: expected finite f64 values, got NaN at row 2, column 1");
    }
}
