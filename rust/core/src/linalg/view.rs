//! Views of matrices: a pointer to the first element, a shape and a row stride. They are the operands of every kernel.
//!
//! [`View`] is read, [`ViewMut`] is written. Both are row-major: element (i, j) is `i * stride + j` elements after the
//! first. [`Lhs`], [`Rhs`] and [`Out`] are the operands of a product that reads packed panels.

use std::marker::PhantomData;
use std::ops::Range;

use crate::matrix::Matrix;

/// A read-only (rows, cols) matrix whose rows are `stride` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T> {
    first: *const T,
    rows: usize,
    cols: usize,
    stride: usize,
    borrowed: PhantomData<&'a [T]>,
}

// SAFETY: a view is used like the slice `&'a [T]`, which threads can share.
unsafe impl<T: Sync> Sync for View<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for View<'_, T> {}

impl<'a, T> View<'a, T> {
    /// A matrix without gaps between its rows.
    #[inline]
    pub(crate) fn contiguous(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert!(data.len() == rows * cols);
        View { first: data.as_ptr(), rows, cols, stride: cols, borrowed: PhantomData }
    }

    /// A matrix at `first`.
    ///
    /// # Safety
    /// The elements that are read through the view exist, and nothing writes them during `'a`.
    #[inline(always)]
    pub(crate) unsafe fn new(first: *const T, rows: usize, cols: usize, stride: usize) -> Self {
        View { first, rows, cols, stride, borrowed: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Row `i`.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.rows);
        // SAFETY: the row exists, and the constructors' callers promise that it is readable.
        unsafe { std::slice::from_raw_parts(self.at(i, 0), self.cols) }
    }

    /// The address of element (i, j), which need not exist.
    #[inline(always)]
    pub(crate) fn at(&self, i: usize, j: usize) -> *const T {
        self.first.wrapping_add(i * self.stride + j)
    }

    /// The rows from `i` on, which may be none.
    #[inline(always)]
    pub(crate) fn rows_from(&self, i: usize) -> Self {
        assert!(i <= self.rows);
        View { first: self.at(i, 0), rows: self.rows - i, ..*self }
    }
}

impl<'a, T> From<Matrix<'a, T>> for View<'a, T> {
    fn from(matrix: Matrix<'a, T>) -> Self {
        View::contiguous(matrix.data(), matrix.rows(), matrix.cols())
    }
}

/// A writable (rows, cols) matrix whose rows are `stride` elements apart.
///
/// A raw pointer with a shape: threads hold views of one buffer and write disjoint parts of it, or write it in different
/// phases of work. Reading or writing through it is `unsafe`; the reason is given there.
pub(crate) struct ViewMut<T> {
    first: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<T> Clone for ViewMut<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ViewMut<T> {}

// SAFETY: the view alone accesses nothing; whoever reads or writes through it justifies that.
unsafe impl<T: Send> Sync for ViewMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for ViewMut<T> {}

impl<T> ViewMut<T> {
    #[inline(always)]
    pub(crate) fn new(first: *mut T, rows: usize, cols: usize, stride: usize) -> Self {
        ViewMut { first, rows, cols, stride }
    }

    #[inline(always)]
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Elements from one row to the next.
    #[inline(always)]
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The address of element (i, j), which need not exist.
    #[inline(always)]
    pub(crate) fn at(&self, i: usize, j: usize) -> *mut T {
        self.first.wrapping_add(i * self.stride + j)
    }

    /// Some of the rows.
    #[inline(always)]
    pub(crate) fn row_range(&self, rows: Range<usize>) -> Self {
        debug_assert!(rows.start <= rows.end && rows.end <= self.rows);
        ViewMut { first: self.at(rows.start, 0), rows: rows.len(), ..*self }
    }

    /// Some of the columns.
    #[inline(always)]
    pub(crate) fn col_range(&self, cols: Range<usize>) -> Self {
        debug_assert!(cols.start <= cols.end && cols.end <= self.cols);
        ViewMut { first: self.at(0, cols.start), cols: cols.len(), ..*self }
    }

    /// Row `i`.
    ///
    /// # Safety
    /// The row exists, and nothing else reads or writes its elements while the slice is alive.
    #[inline(always)]
    pub(crate) unsafe fn row<'a>(&self, i: usize) -> &'a mut [T] {
        debug_assert!(i < self.rows);
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.at(i, 0), self.cols) }
    }

    /// The same matrix, for reading.
    ///
    /// # Safety
    /// As for [`View::new`].
    #[inline(always)]
    pub(crate) unsafe fn as_view<'a>(&self) -> View<'a, T> {
        // SAFETY: the caller's promise.
        unsafe { View::new(self.first, self.rows, self.cols, self.stride) }
    }
}

/// The left operand (m, k) of a product: a matrix, or the transpose of one that is stored as (k, m).
#[derive(Clone, Copy)]
pub(crate) struct Lhs<'a, T> {
    pub stored: View<'a, T>,
    pub transposed: bool,
}

impl<T> Lhs<'_, T> {
    #[inline(always)]
    pub(crate) fn m(&self) -> usize {
        if self.transposed { self.stored.cols } else { self.stored.rows }
    }

    #[inline(always)]
    pub(crate) fn k(&self) -> usize {
        if self.transposed { self.stored.rows } else { self.stored.cols }
    }
}

/// The right operand (k, n) of a product, read in panels of nr columns; `Kernels::nr` gives nr.
#[derive(Clone, Copy)]
pub(crate) struct Rhs<T> {
    pub first: *const T,
    /// Elements from one row of a panel to the next.
    pub row_stride: usize,
    /// Elements from one panel to the next.
    pub panel_stride: usize,
}

impl<T> Rhs<T> {
    /// An operand of `k` rows in packed panels, see `pack`.
    #[inline(always)]
    pub(crate) fn packed(panels: *const T, nr: usize, k: usize) -> Self {
        Rhs { first: panels, row_stride: nr, panel_stride: nr * k }
    }

    /// A row-major matrix, whose panels are groups of nr neighbouring columns.
    #[inline(always)]
    pub(crate) fn row_major(matrix: View<T>, nr: usize) -> Self {
        Rhs { first: matrix.first, row_stride: matrix.stride, panel_stride: nr }
    }
}

/// The result (m, n) of a product.
#[derive(Clone, Copy)]
pub(crate) struct Out<T> {
    pub matrix: ViewMut<T>,
    /// Whether each row has room for whole panels; if not, nothing after the last column is written.
    pub padded: bool,
    /// Whether the product is added to the present values.
    pub accumulate: bool,
}
