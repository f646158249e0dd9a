//! A layer's product and what follows it, for one row or for a batch.

use super::epilogue::{DenseRows, finish};
use super::gemm::{Columns, gemm};
use super::gemv::{Source, gemv};
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
}

/// The work of one thread on one layer: some rows of the weights, and the inputs to multiply them with.
pub(crate) struct Dense<'a, T> {
    pub rows: DenseRows<'a, T>,
    /// (batch, inputs)
    pub x: &'a [T],
    pub inputs: usize,
    pub epilogue: &'a Epilogue<T>,
    pub kernel: Kernel,
}

/// `out[i][j] = activation(weight[j] . x[i] + bias[j]) * scale`
///
/// # Safety
/// `out` has as many rows as x and as many columns as there are rows of weights, and nobody else uses them.
#[inline(always)]
pub(super) unsafe fn dense<T: ExpConstants, S: Lanes<T>>(s: S, work: &Dense<T>, out: Columns<T>) {
    let Dense { rows, x, inputs, .. } = *work;
    assert!(rows.bias.len() == out.width && rows.weight.len() == out.width * inputs);
    // SAFETY: the caller's promise; one slice of a row is alive at a time.
    unsafe {
        match work.kernel {
            Kernel::Gemv(source) => {
                assert!(x.len() == inputs);
                gemv(s, rows.weight, x, source, out.row(0));
            }
            Kernel::Gemm => gemm(s, rows.weight, x, inputs, out),
        }
        for (i, x) in x.chunks_exact(inputs).enumerate() {
            finish(s, rows, work.epilogue, x, out.row(i));
        }
    }
}
