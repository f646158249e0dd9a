//! A layer's product and what follows it, for one row or for a batch.

use super::epilogue::{DenseRows, finish};
use super::gemm::{Columns, gemm};
use super::gemv::{Source, gemv};
use super::outer::{Left, Right, Sizes, Target, panel, product};
use crate::activation::Epilogue;
use crate::simd::Lanes;
use crate::simd::math::ExpConstants;

/// What multiplies the weights of a layer with a block of rows; `plan` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// One row, with weights that come from there.
    Gemv(Source),
    /// Several rows.
    Gemm,
    /// Any number of rows, with packed weights.
    Outer,
}

/// Rows of inputs: (rows, cols), `stride` elements from one row to the next.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub cols: usize,
    pub stride: usize,
}

impl<'a, T> Inputs<'a, T> {
    /// Rows without a gap.
    pub(crate) fn contiguous(data: &'a [T], cols: usize) -> Self {
        Inputs { data, rows: data.len() / cols, cols, stride: cols }
    }

    /// Row `i`.
    #[inline(always)]
    pub(super) fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.stride..][..self.cols]
    }
}

/// The work of one thread on one layer: some rows of the weights, and the inputs to multiply them with.
pub(crate) struct Dense<'a, T> {
    pub rows: DenseRows<'a, T>,
    /// The same weights in panels, see `pack`; empty but for [`Kernel::Outer`].
    pub panels: &'a [T],
    pub x: Inputs<'a, T>,
    pub epilogue: &'a Epilogue<T>,
    pub kernel: Kernel,
}

/// `out[i][j] = activation(weight[j] . x[i] + bias[j]) * scale`
///
/// # Safety
/// `out` has as many rows as x and as many columns as there are rows of weights, and nobody else uses them.
#[inline(always)]
pub(super) unsafe fn dense<T: ExpConstants, S: Lanes<T>>(s: S, work: &Dense<T>, out: Columns<T>) {
    let Dense { rows, panels, x, .. } = *work;
    assert!(rows.bias.len() == out.width && rows.weight.len() == out.width * x.cols);
    // SAFETY: the caller's promise; one slice of a row is alive at a time.
    unsafe {
        match work.kernel {
            Kernel::Gemv(source) => {
                assert!(x.rows == 1);
                gemv(s, rows.weight, x.row(0), source, out.row(0));
            }
            Kernel::Gemm => gemm(s, rows.weight, x, out),
            Kernel::Outer => {
                let width = panel::<T, S>();
                assert!(panels.len() >= out.width.next_multiple_of(width) * x.cols);
                product(
                    s,
                    Sizes { rows: x.rows, columns: out.width, sum: x.cols },
                    Left { first: x.data.as_ptr(), stride: x.stride, transposed: false },
                    Right { first: panels.as_ptr(), stride: width, panel_stride: width * x.cols },
                    Target { first: out.first, stride: out.stride, padded: false, accumulate: false },
                );
            }
        }
        for i in 0..x.rows {
            finish(s, rows, work.epilogue, x.row(i), out.row(i));
        }
    }
}
