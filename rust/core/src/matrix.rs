//! Borrowed row-major matrices: a slice with a matching shape.

use crate::error::{Error, Result};

/// A read-only (rows, cols) matrix, row-major and contiguous.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// A view of `data` as (rows, cols); errors call it `argument`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `data` does not hold rows * cols values.
    pub fn new(argument: &str, data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        check(argument, data.len(), rows, cols)?;
        Ok(Matrix { data, rows, cols })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, row after row.
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.cols..][..self.cols]
    }
}

/// A writable (rows, cols) matrix, row-major and contiguous.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// A view of `data` as (rows, cols); errors call it `argument`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `data` does not hold rows * cols values.
    pub fn new(argument: &str, data: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        check(argument, data.len(), rows, cols)?;
        Ok(MatrixMut { data, rows, cols })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, row after row.
    pub fn data_mut(&mut self) -> &mut [T] {
        self.data
    }
}

fn check(argument: &str, len: usize, rows: usize, cols: usize) -> Result<()> {
    if rows.checked_mul(cols) == Some(len) {
        return Ok(());
    }
    Err(Error::invalid(argument, format!("{rows} x {cols} values"), format!("{len} values")))
}
