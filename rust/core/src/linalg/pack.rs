//! Packing: weights (outputs, inputs) in the panels that `packed_gemm` reads, for Z = X W^T and for dX = dZ W.

use std::ops::Range;

use super::packed_gemm::nr;
use super::view::View;
use crate::scalar::Scalar;
use crate::simd::dispatch::Operation;
use crate::simd::{Lanes, MAX_LANES};

/// Elements in the panels of a (k, n) operand.
pub(crate) fn panels_len(k: usize, n: usize, nr: usize) -> usize {
    n.div_ceil(nr) * nr * k
}

/// The row stride of a buffer (rows, width) that a product reads or writes: whole panels, and not a large power of two,
/// with which the rows of a tile would compete for the same sets of the first-level cache.
/// Measured: `rust/core/TUNING.md`, "Row stride".
pub(crate) fn row_stride<T>(width: usize, nr: usize) -> usize {
    let stride = width.next_multiple_of(nr);
    if (stride * size_of::<T>()).is_multiple_of(2048) { stride + nr } else { stride }
}

/// Packs the rows `outputs` of W as columns of W^T (inputs, outputs): `panels[o / nr][i][o % nr] = weight[o][i]`. Other
/// elements of the panels keep their values.
///
/// # Safety
/// - `weight` (outputs, inputs) has no gaps between its rows, and `outputs` are some of them.
/// - `panels` has room for [`panels_len`] elements, and nothing else accesses those that are written.
pub(crate) struct PackTransposed<'a, T> {
    pub weight: View<'a, T>,
    pub outputs: Range<usize>,
    pub panels: *mut T,
}

impl<T: Scalar> Operation<T> for PackTransposed<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let PackTransposed { weight, outputs, panels } = self;
        let (nr, inputs, mut o) = (nr::<T, S>(), weight.cols(), outputs.start);
        while o < outputs.end {
            // Rows that fall into one panel and one register.
            let rows = (outputs.end - o).min(nr - o % nr).min(S::N);
            for i in (0..inputs).step_by(S::N) {
                let cols = (inputs - i).min(S::N);
                let to = panels.wrapping_add(o / nr * nr * inputs + i * nr + o % nr);
                // SAFETY: the caller's promise, for a block of this many rows and columns.
                unsafe {
                    let from = View::new(weight.at(o, i), rows, cols, weight.stride());
                    if (rows, cols) == (S::N, S::N) {
                        transpose::<T, S, true>(s, from, to, nr);
                    } else {
                        transpose::<T, S, false>(s, from, to, nr);
                    }
                }
            }
            o += rows;
        }
    }
}

/// Writes the transpose of a block of at most N x N elements to `to`, whose rows are `to_stride` apart. A FULL block
/// has N rows and N columns.
///
/// In registers: interleaving the first half of them with the second, log2 N times, moves an element from (i, j) to
/// (j, i). Measured against a transpose through memory: `rust/core/TUNING.md`, "Packing".
#[inline(always)]
unsafe fn transpose<T: Scalar, S: Lanes<T>, const FULL: bool>(s: S, from: View<T>, to: *mut T, to_stride: usize) {
    let (rows, cols) = if FULL { (S::N, S::N) } else { (from.rows(), from.cols()) };
    let mut block = [s.splat(T::ZERO); MAX_LANES];
    for (row, register) in block.iter_mut().enumerate().take(rows) {
        // SAFETY: the row has `cols` elements.
        *register = unsafe { s.load_up_to(from.at(row, 0), cols) };
    }
    for _ in 0..S::N.ilog2() {
        let before = block;
        for i in 0..S::N / 2 {
            (block[2 * i], block[2 * i + 1]) = s.interleave(before[i], before[i + S::N / 2]);
        }
    }
    for (column, register) in block.into_iter().enumerate().take(cols) {
        // SAFETY: the caller's promise: `to` has room for the transpose.
        unsafe { s.store_up_to(to.wrapping_add(column * to_stride), register, rows) }
    }
}

/// Packs the rows `outputs` of W (outputs, inputs) as they are: `panels[i / nr][o][i % nr] = weight[o][i]`.
///
/// # Safety
/// As for [`PackTransposed`].
pub(crate) struct Pack<'a, T> {
    pub weight: View<'a, T>,
    pub outputs: Range<usize>,
    pub panels: *mut T,
}

impl<T: Scalar> Operation<T> for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let Pack { weight, outputs, panels } = self;
        let (nr, inputs, n_outputs) = (nr::<T, S>(), weight.cols(), weight.rows());
        for o in outputs {
            for i in (0..inputs).step_by(S::N) {
                let to = panels.wrapping_add(i / nr * nr * n_outputs + o * nr + i % nr);
                // SAFETY: the caller's promise.
                unsafe {
                    let n = S::N.min(inputs - i);
                    s.store_up_to(to, s.load_up_to(weight.at(o, i), n), n);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Isa;
    use crate::simd::dispatch::{Dispatch, kernels};

    /// Packs some of the outputs, at sizes around those of registers, panels and blocks. Each weight must be where the
    /// documentation says, and other elements unchanged.
    fn check_both_layouts<T: Dispatch>() {
        for kernels in Isa::ALL.into_iter().filter_map(|isa| kernels::<T>(isa).ok()) {
            for (inputs, n_outputs, outputs) in [
                (1, 1, 0..1),
                (3, 2, 0..2),
                (7, 5, 1..4),
                (16, 16, 0..16),
                (17, 33, 0..33),
                (33, 31, 4..29),
                (32, 64, 32..64),
                (67, 97, 20..97),
            ] {
                let (nr, case) = (kernels.nr(), format!("{:?} {inputs} {n_outputs} {outputs:?}", kernels.isa()));
                let weight: Vec<T> = (1..=inputs * n_outputs).map(|i| T::from_f64(i as f64)).collect();
                // Neither a weight nor the zero that pads a register.
                let untouched = T::from_f64(-1.0);
                let mut transposed = vec![untouched; panels_len(inputs, n_outputs, nr)];
                let mut straight = vec![untouched; panels_len(n_outputs, inputs, nr)];
                let (mut want_transposed, mut want_straight) = (transposed.clone(), straight.clone());
                for (o, i) in outputs.clone().flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                    let value = weight[o * inputs + i];
                    want_transposed[o / nr * nr * inputs + i * nr + o % nr] = value;
                    want_straight[i / nr * nr * n_outputs + o * nr + i % nr] = value;
                }
                let view = View::contiguous(&weight, n_outputs, inputs);
                // SAFETY: `outputs` are rows of the weights, and the panels have the length of these.
                unsafe {
                    let panels = transposed.as_mut_ptr();
                    kernels.run_unchecked(PackTransposed { weight: view, outputs: outputs.clone(), panels });
                    kernels.run_unchecked(Pack {
                        weight: view,
                        outputs: outputs.clone(),
                        panels: straight.as_mut_ptr(),
                    });
                }
                assert!(transposed == want_transposed, "transposed, {case}");
                assert!(straight == want_straight, "straight, {case}");
            }
        }
    }

    #[test]
    fn every_weight_is_where_the_product_reads_it() {
        check_both_layouts::<f32>();
        check_both_layouts::<f64>();
    }
}
