//! A dense layer's forward pass for one row or for a batch: the product, then the epilogue.

use super::epilogue::apply_epilogue;
use super::gemm::gemm;
use super::gemv::{WeightSource, gemv};
use super::packed_gemm::{nr, packed_gemm};
use super::view::{Lhs, Out, Rhs, View, ViewMut};
use crate::activation::Epilogue;
use crate::simd::Lanes;
use crate::simd::math::ExpConstants;

/// The kernel that multiplies a layer's weights with its inputs; `network::plan` chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// One row of inputs; weights as they are stored, in a cache or in memory.
    Gemv(WeightSource),
    /// Several rows of inputs; weights as they are stored.
    Gemm,
    /// Any number of rows; packed weights.
    PackedGemm,
}

/// One thread's part of a layer: some of the outputs, for all rows of the input.
pub(crate) struct Dense<'a, T> {
    /// The weights of these outputs, (outputs, inputs), without gaps between the rows.
    pub weight: View<'a, T>,
    /// The biases of these outputs.
    pub bias: &'a [T],
    /// The same weights in panels, see `pack`; only read by [`Kernel::PackedGemm`].
    pub panels: &'a [T],
    /// (batch, inputs)
    pub x: View<'a, T>,
    pub epilogue: &'a Epilogue<T>,
    pub kernel: Kernel,
}

/// `out[i][j] = activation(weight[j] . x[i] + bias[j]) * scale`; `out` is (batch, outputs).
///
/// # Safety
/// All elements of `out` are writable, and nothing else accesses them meanwhile.
#[inline(always)]
pub(super) unsafe fn dense<T: ExpConstants, S: Lanes<T>>(s: S, layer: &Dense<T>, out: ViewMut<T>) {
    let Dense { weight, bias, panels, x, .. } = *layer;
    assert!(weight.cols() == x.cols() && weight.rows() == out.cols());
    assert!(bias.len() == out.cols() && x.rows() == out.rows());
    // SAFETY: the caller's promise; only one row of `out` is borrowed at a time.
    unsafe {
        match layer.kernel {
            Kernel::Gemv(source) => {
                assert!(x.rows() == 1);
                gemv(s, weight, x, source, out.row(0));
            }
            Kernel::Gemm => gemm(s, weight, x, out),
            Kernel::PackedGemm => {
                let nr = nr::<T, S>();
                assert!(panels.len() >= out.cols().next_multiple_of(nr) * x.cols());
                packed_gemm(
                    s,
                    Lhs { stored: x, transposed: false },
                    Rhs::packed(panels.as_ptr(), nr, x.cols()),
                    Out { matrix: out, padded: false, accumulate: false },
                );
            }
        }
        for i in 0..x.rows() {
            apply_epilogue(s, weight, bias, layer.epilogue, x.row(i), out.row(i));
        }
    }
}
