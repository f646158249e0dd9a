//! The input rows of a pass: a matrix, or anything that computes its rows block by block.

use std::ops::Range;

use crate::linalg::view::View;
use crate::matrix::Matrix;
use crate::parallel::{Shared, Team};
use crate::scalar::Scalar;
use crate::simd::CACHE_LINE;

/// A source of input rows.
pub(crate) trait Rows<T>: Sync {
    /// The number of rows.
    fn rows(&self) -> usize;
    /// The number of features of a row.
    fn cols(&self) -> usize;
    /// The number of scratch elements that reading `rows` rows takes.
    fn scratch_len(&self, rows: usize) -> usize;
    /// The features of `rows`: borrowed from the source, or computed into `scratch` by the threads of `team`.
    ///
    /// # Safety
    /// `scratch` has [`Rows::scratch_len`] elements, and nothing else uses them while the result is alive.
    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, scratch: &Shared<T>) -> View<'a, T>;
}

/// Reads rows in place, unless they lie whole pages apart: such rows compete for the same few sets of the first-level
/// cache, so they are copied with padding between them. See rust/core/TUNING.md, "Input rows a page apart".
impl<T: Scalar> Rows<T> for Matrix<'_, T> {
    fn rows(&self) -> usize {
        Matrix::rows(self)
    }

    fn cols(&self) -> usize {
        Matrix::cols(self)
    }

    fn scratch_len(&self, rows: usize) -> usize {
        let bytes = self.cols() * size_of::<T>();
        let conflicting = rows >= MIN_CONFLICTING_ROWS && bytes.is_multiple_of(4096) && bytes <= MAX_COPIED_BYTES;
        if conflicting { rows * padded_stride::<T>(self.cols()) } else { 0 }
    }

    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, scratch: &Shared<T>) -> View<'a, T> {
        let (n, cols) = (rows.len(), self.cols());
        if self.scratch_len(n) == 0 {
            return View::contiguous(&self.data()[rows.start * cols..rows.end * cols], n, cols);
        }
        let stride = padded_stride::<T>(cols);
        team.for_each_range(n, 1, 1, |_, range| {
            for i in range {
                // SAFETY: the caller guarantees that the scratch is free; ranges are disjoint.
                unsafe { scratch.slice_mut(i * stride..i * stride + cols) }.copy_from_slice(self.row(rows.start + i));
            }
        });
        // SAFETY: as above; no thread writes any more.
        unsafe { View::new(scratch.0, n, cols, stride) }
    }
}

/// The associativity of the smallest first-level cache: fewer rows do not conflict.
const MIN_CONFLICTING_ROWS: usize = 8;

/// Longer rows are not copied: a block of them would take megabytes for a small gain.
const MAX_COPIED_BYTES: usize = 32 << 10;

/// A row stride, in elements, at which rows of `cols` columns do not conflict.
fn padded_stride<T>(cols: usize) -> usize {
    cols + CACHE_LINE / size_of::<T>()
}
