//! [`Cells`]: encoded rows of a table, which lie in memory row by row or column by column.

use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::scalar::Scalar;

/// The cells of a table (rows, columns): encoded rows (see [`crate::FeatureEncoder`]).
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a, S> {
    data: &'a [S],
    rows: usize,
    columns: usize,
    by_column: bool,
}

impl<'a, S> Cells<'a, S> {
    /// A view of `data`, column after column; errors call it `argument`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `data` does not hold rows * columns values.
    pub fn by_column(argument: &str, data: &'a [S], rows: usize, columns: usize) -> Result<Self> {
        Matrix::new(argument, data, columns, rows)?;
        Ok(Cells { data, rows, columns, by_column: true })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The function that gives the cells of a column, if they lie side by side.
    pub(crate) fn column_slices(&self) -> Option<impl Fn(usize) -> &'a [S]> {
        let (data, rows) = (self.data, self.rows);
        self.by_column.then_some(move |column| &data[column * rows..][..rows])
    }

    /// All cells in the order in which they lie in memory.
    pub(crate) fn data(&self) -> &'a [S] {
        self.data
    }

    #[inline(always)]
    pub(crate) fn column(&self, column: usize) -> Column<'a, S> {
        let (start, stride) = if self.by_column { (column * self.rows, 1) } else { (column, self.columns) };
        Column { cells: &self.data[start..], stride }
    }
}

impl<S: Scalar> Cells<'_, S> {
    /// The error for the value `data()[index]`.
    pub(crate) fn non_finite(&self, argument: &str, index: usize) -> Error {
        let (row, column) = if self.by_column {
            (index % self.rows, index / self.rows)
        } else {
            (index / self.columns, index % self.columns)
        };
        let value = self.data[index].to_f64();
        Error::NonFinite { argument: argument.into(), precision: S::NAME, value, row, column }
    }
}

impl<'a, S> From<Matrix<'a, S>> for Cells<'a, S> {
    fn from(x: Matrix<'a, S>) -> Self {
        Cells { data: x.data(), rows: x.rows(), columns: x.cols(), by_column: false }
    }
}

/// The cells of a column, `stride` elements apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'a, S> {
    cells: &'a [S],
    stride: usize,
}

impl<S: Scalar> Column<'_, S> {
    /// The values of N rows, the first of which is `first_row`.
    #[inline(always)]
    pub(crate) fn values<const N: usize>(&self, first_row: usize) -> [f64; N] {
        let mut values = [0.0; N];
        if self.stride == 1 {
            values.iter_mut().zip(&self.cells[first_row..][..N]).for_each(|(value, cell)| *value = cell.to_f64());
        } else {
            let cells = &self.cells[first_row * self.stride..];
            values.iter_mut().enumerate().for_each(|(row, value)| *value = cells[row * self.stride].to_f64());
        }
        values
    }
}
