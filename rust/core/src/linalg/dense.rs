//! A dense layer's forward pass for one row or for a batch: the product, then the epilogue.

use super::epilogue::{apply_epilogue, saturating_dot};
use super::gemm::gemm;
use super::gemv::{WeightSource, gemv};
use super::packed_gemm::{PackedGemm, nr};
use super::view::{Lhs, Out, Rhs, View, ViewMut};
use crate::activation::Epilogue;
use crate::simd::Lanes;
use crate::simd::dispatch::Operation;
use crate::simd::math::MathConstants;

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

/// One thread's part of a layer, some of the outputs for all rows of the input:
/// `out[i][j] = activation(weight[j] . x[i] + bias[j]) * scale`.
///
/// # Safety
/// All elements of `out` are writable, and nothing else accesses them meanwhile.
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
    /// (batch, outputs)
    pub out: ViewMut<T>,
}

impl<T: MathConstants> Operation<T> for Dense<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let Dense { weight, bias, panels, x, epilogue, kernel, out } = self;
        assert!(weight.cols() == x.cols() && weight.rows() == out.cols());
        assert!(bias.len() == out.cols() && x.rows() == out.rows());
        // SAFETY: the caller's promise; only one row of `out` is borrowed at a time.
        unsafe {
            match kernel {
                Kernel::Gemv(source) => {
                    assert!(x.rows() == 1);
                    gemv(s, weight, x, source, out.row(0));
                }
                Kernel::Gemm => gemm(s, weight, x, out),
                Kernel::PackedGemm => {
                    let nr = nr::<T, S>();
                    assert!(panels.len() >= out.cols().next_multiple_of(nr) * x.cols());
                    let lhs = Lhs { stored: x, transposed: false };
                    let rhs = Rhs::packed(panels.as_ptr(), nr, x.cols());
                    PackedGemm { lhs, rhs, out: Out { matrix: out, padded: false, accumulate: false } }.run(s);
                }
            }
            for i in 0..x.rows() {
                let repair = |j: usize, _| saturating_dot(|k| weight.row(j)[k], x.row(i), bias[j]);
                apply_epilogue(s, bias, epilogue, repair, out.row(i));
            }
        }
    }
}
