//! Where the rows of a pass come from.

use std::ops::Range;

use crate::linalg::view::View;
use crate::matrix::Matrix;
use crate::parallel::{Shared, Team};
use crate::scalar::Scalar;
use crate::simd::CACHE_LINE;

/// Where the rows of a pass come from: a matrix, or something that computes them.
pub(crate) trait Rows<T>: Sync {
    /// How many there are.
    fn rows(&self) -> usize;
    /// The features of each.
    fn cols(&self) -> usize;
    /// The elements of memory that reading `rows` rows takes.
    fn scratch_len(&self, rows: usize) -> usize;
    /// The features of `rows`, which the threads of `team` may put into `scratch` together.
    ///
    /// # Safety
    /// `scratch` is as large as [`Rows::scratch_len`] says, and nothing else uses it while the result is alive.
    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, scratch: &Shared<T>) -> View<'a, T>;
}

/// Rows that are read where they are; unless they lie whole pages apart, where those of a tile would compete for the
/// same few places of the first-level cache.
impl<T: Scalar> Rows<T> for Matrix<'_, T> {
    fn rows(&self) -> usize {
        Matrix::rows(self)
    }

    fn cols(&self) -> usize {
        Matrix::cols(self)
    }

    fn scratch_len(&self, rows: usize) -> usize {
        let bytes = self.cols() * size_of::<T>();
        let crowded = rows >= CROWD && bytes.is_multiple_of(4096) && bytes <= COPIED_BYTES;
        if crowded { rows * spread::<T>(self.cols()) } else { 0 }
    }

    unsafe fn read<'a>(&'a self, team: &Team, rows: Range<usize>, scratch: &Shared<T>) -> View<'a, T> {
        let (n, cols) = (rows.len(), self.cols());
        if self.scratch_len(n) == 0 {
            return View::contiguous(&self.data()[rows.start * cols..rows.end * cols], n, cols);
        }
        let stride = spread::<T>(cols);
        team.for_each_range(n, 1, 1, |_, range| {
            for i in range {
                // SAFETY: the caller's promise; ranges are disjoint.
                unsafe { scratch.slice(i * stride..i * stride + cols) }.copy_from_slice(self.row(rows.start + i));
            }
        });
        // SAFETY: as above; nothing writes any more.
        unsafe { View::new(scratch.0, n, cols, stride) }
    }
}

/// From how many rows on they may get in each other's way, as many as the smallest cache has places for a line.
const CROWD: usize = 8;

/// Longer rows are left where they are: a block of them would take megabytes, for a gain of 15 % at most.
const COPIED_BYTES: usize = 32 << 10;

/// Elements from one row to the next that keep rows of `cols` out of each other's way.
fn spread<T>(cols: usize) -> usize {
    cols + CACHE_LINE / size_of::<T>()
}
