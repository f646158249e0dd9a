//! The largest element of each row of a matrix.

use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::scalar::Scalar;
use crate::simd::dispatch::{Dispatch, Operation, SafeOperation, kernels};
use crate::simd::{Isa, Lanes};

/// How many rows are looked at together: their comparisons do not wait for each other.
const ROWS_AT_ONCE: usize = 8;

/// Writes the largest element of each row of `x` (rows, columns) to `largest` (rows,), and its column to `columns`
/// (rows,): the first one of several. Outputs of networks hold no NaN; which element of a row with a NaN is the largest is
/// not specified.
///
/// # Errors
/// [`Error::Invalid`] if there are no columns, more than fit in a u32, or a length is not the number of rows.
pub fn row_maxima<T: Dispatch>(x: Matrix<T>, columns: &mut [u32], largest: &mut [T]) -> Result<()> {
    if x.cols() == 0 || u32::try_from(x.cols()).is_err() {
        return Err(Error::invalid("X", "between 1 and 2^32 - 1 columns", x.cols()));
    }
    if (columns.len(), largest.len()) != (x.rows(), x.rows()) {
        let got = format!("{} and {}", columns.len(), largest.len());
        return Err(Error::invalid("columns, largest", format!("{} elements each", x.rows()), got));
    }
    kernels::<T>(Isa::active()?)?.run(RowMaxima { x, columns, largest });
    Ok(())
}

struct RowMaxima<'a, T> {
    x: Matrix<'a, T>,
    columns: &'a mut [u32],
    largest: &'a mut [T],
}

impl<T: Scalar> Operation<T> for RowMaxima<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes<T>>(self, _: L) {
        let n_columns = self.x.cols();
        let mut rows = self.x.data().chunks_exact(ROWS_AT_ONCE * n_columns);
        let mut columns = self.columns.chunks_exact_mut(ROWS_AT_ONCE);
        let mut largest = self.largest.chunks_exact_mut(ROWS_AT_ONCE);
        for ((rows, columns), largest) in (&mut rows).zip(&mut columns).zip(&mut largest) {
            maxima_of::<T, ROWS_AT_ONCE>(rows, n_columns, columns, largest);
        }
        let rest = columns.into_remainder().iter_mut().zip(largest.into_remainder());
        for (row, (column, largest)) in rows.remainder().chunks_exact(n_columns).zip(rest) {
            maxima_of::<T, 1>(row, n_columns, std::slice::from_mut(column), std::slice::from_mut(largest));
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for RowMaxima<'_, T> {}

/// The maxima of N rows of `n_columns` elements.
#[inline(always)]
fn maxima_of<T: Scalar, const N: usize>(rows: &[T], n_columns: usize, columns: &mut [u32], largest: &mut [T]) {
    let values = |column: usize| -> [T; N] { std::array::from_fn(|row| rows[row * n_columns + column]) };
    let (mut best, mut best_column) = (values(0), [0; N]);
    for column in 1..n_columns {
        let values = values(column);
        for row in 0..N {
            // Selections instead of branches, which would be mispredicted.
            let is_larger = values[row] > best[row];
            best[row] = if is_larger { values[row] } else { best[row] };
            best_column[row] = if is_larger { column as u32 } else { best_column[row] };
        }
    }
    columns.copy_from_slice(&best_column);
    largest.copy_from_slice(&best);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The maxima of a (rows, n_columns) matrix.
    fn maxima(x: &[f32], n_columns: usize) -> (Vec<u32>, Vec<f32>) {
        let rows = x.len() / n_columns;
        let (mut columns, mut largest) = (vec![9; rows], vec![9.0; rows]);
        let x = Matrix::new("X", x, rows, n_columns).expect("shape");
        row_maxima(x, &mut columns, &mut largest).expect("valid arguments");
        (columns, largest)
    }

    #[test]
    fn the_first_of_equal_elements_is_the_maximum() {
        assert_eq!(maxima(&[1.0, 3.0, 3.0, -2.0, -5.0, -2.0], 3), (vec![1, 0], vec![3.0, -2.0]));
        assert_eq!(maxima(&[-1.0, -2.0], 1), (vec![0, 0], vec![-1.0, -2.0]));
        assert_eq!(maxima(&[], 2), (vec![], vec![]));
    }

    #[test]
    fn every_row_is_compared() {
        for (rows, n_columns) in [(1, 10), (7, 3), (8, 2), (9, 17), (100, 4)] {
            let x: Vec<f32> = (0..rows * n_columns).map(|i| ((i * 7919) % 101) as f32).collect();
            let (columns, largest) = maxima(&x, n_columns);
            for (i, row) in x.chunks(n_columns).enumerate() {
                let want = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let column = row.iter().position(|v| *v == want).expect("it is one of them");
                assert_eq!((columns[i] as usize, largest[i]), (column, want), "row {i} of {rows}, {n_columns} columns");
            }
        }
    }

    #[test]
    fn invalid_arguments_are_refused() {
        let x = Matrix::new("X", &[1.0f64, 2.0], 1, 2).expect("shape");
        let message = row_maxima(x, &mut [0; 2], &mut [0.0]).expect_err("lengths").to_string();
        assert_eq!(message, "columns, largest: expected 1 elements each, got 2 and 1");
        let x = Matrix::<f64>::new("X", &[], 0, 0).expect("shape");
        assert!(row_maxima(x, &mut [], &mut []).is_err());
    }
}
