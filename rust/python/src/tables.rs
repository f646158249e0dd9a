//! Tables from Python: an array of rows, or a tuple of columns.

use numpy::{Element, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tinyrs_core::{Cells, Matrix, Scalar};

use crate::arrays::{as_array, as_slice, check_not_masked, is_f32, require_numpy, rows_and_columns, tuple};
use crate::errors::to_python;

/// The cells of a table, borrowed from NumPy where that is possible.
pub enum Table<'py, T> {
    /// One row (columns,) or several (rows, columns), row after row.
    Rows(Bound<'py, PyArrayDyn<T>>),
    /// An array (rows, columns), column after column.
    ColumnMajor(Bound<'py, PyArrayDyn<T>>),
    /// An array (rows,) for each column.
    Columns(Vec<Bound<'py, PyArrayDyn<T>>>),
}

impl<'py, T: Element + Scalar> Table<'py, T> {
    /// The table `x`: an array of numbers, or a tuple of arrays of which each is a column.
    ///
    /// # Errors
    /// TypeError if `x` does not hold real numbers, ValueError if a column has several axes.
    pub fn new(x: &Bound<'py, PyAny>) -> PyResult<Self> {
        require_numpy(x.py())?;
        if let Ok(columns) = x.cast::<PyTuple>() {
            return columns.iter().map(|column| as_column(&column)).collect::<PyResult<_>>().map(Table::Columns);
        }
        if let Ok(array) = x.cast::<PyArrayDyn<T>>()
            && array.ndim() == 2
            && array.is_fortran_contiguous()
            && !array.is_c_contiguous()
            && array.data().is_aligned()
        {
            check_not_masked("X", x)?;
            return Ok(Table::ColumnMajor(array.clone()));
        }
        as_array("X", x).map(Table::Rows)
    }

    /// Whether the table is an array of one row, without an axis for rows.
    pub fn is_one_row(&self) -> bool {
        matches!(self, Table::Rows(array) if array.ndim() == 1)
    }

    /// The cells of each column, or all cells in one slice.
    pub fn slices(&self) -> Vec<&[T]> {
        match self {
            Table::Rows(array) => vec![as_slice(array)],
            Table::ColumnMajor(array) => {
                let rows = array.shape()[0];
                (0..array.shape()[1]).map(|column| &as_slice(array)[column * rows..][..rows]).collect()
            }
            Table::Columns(columns) => columns.iter().map(as_slice).collect(),
        }
    }

    /// The table as the core reads it, from what [`Table::slices`] returned.
    ///
    /// # Errors
    /// ValueError if an array has too many axes, or columns differ in length.
    pub fn cells<'a>(&self, slices: &'a [&'a [T]]) -> PyResult<Cells<'a, T>> {
        let cells = match self {
            Table::Rows(array) => {
                let (rows, columns) = rows_and_columns(array.shape())?;
                Matrix::new("X", slices[0], rows, columns).map(Cells::from)
            }
            Table::ColumnMajor(array) => Cells::by_column("X", slices, array.shape()[0]),
            Table::Columns(_) => Cells::by_column("X", slices, slices.first().map_or(0, |column| column.len())),
        };
        cells.map_err(to_python)
    }
}

/// An array of shape (rows,).
fn as_column<'py, T: Element + Scalar>(column: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArrayDyn<T>>> {
    let array = as_array("X", column)?;
    if array.ndim() != 1 {
        let message = format!("X: expected columns of shape (rows,), got {}", tuple(array.shape()));
        return Err(PyValueError::new_err(message));
    }
    Ok(array)
}

/// Whether the cells of the table `x` are f32. Those of any other table are read as f64.
///
/// # Errors
/// ImportError without NumPy.
pub fn is_f32_table(x: &Bound<PyAny>) -> PyResult<bool> {
    let Ok(columns) = x.cast::<PyTuple>() else { return is_f32(x) };
    columns.iter().try_fold(true, |all, column| Ok(all && is_f32(&column)?))
}
