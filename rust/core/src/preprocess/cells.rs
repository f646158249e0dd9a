//! [`Cells`]: encoded rows of a table, which lie in memory row by row or column by column.

use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::scalar::Scalar;

/// The cells of a table (rows, columns): encoded rows (see [`crate::FeatureEncoder`]).
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a, S> {
    pub(crate) layout: Layout<'a, S>,
    rows: usize,
    columns: usize,
}

/// Where the cells of a table lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout<'a, S> {
    /// All cells, row after row.
    Rows(&'a [S]),
    /// The cells of each column.
    Columns(&'a [&'a [S]]),
}

impl<'a, S> Cells<'a, S> {
    /// The cells of these columns of `rows` values each; errors call them `argument`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a column has another number of values.
    pub fn by_column(argument: &str, columns: &'a [&'a [S]], rows: usize) -> Result<Self> {
        if let Some(column) = columns.iter().find(|column| column.len() != rows) {
            return Err(Error::invalid(argument, format!("columns of {rows} rows"), column.len()));
        }
        Ok(Cells { layout: Layout::Columns(columns), rows, columns: columns.len() })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    #[inline(always)]
    pub(crate) fn column(&self, column: usize) -> Column<'a, S> {
        match self.layout {
            Layout::Columns(columns) => Column { cells: columns[column], stride: 1 },
            Layout::Rows(data) => Column { cells: &data[column..], stride: self.columns },
        }
    }
}

impl<'a, S> From<Matrix<'a, S>> for Cells<'a, S> {
    fn from(x: Matrix<'a, S>) -> Self {
        Cells { layout: Layout::Rows(x.data()), rows: x.rows(), columns: x.cols() }
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
