//! Weights (outputs, inputs) laid out in the panels that `outer` reads: once for Z = X W^T, once for dX = dZ W.

use std::ops::Range;

use super::outer::panel;
use crate::scalar::Scalar;
use crate::simd::Lanes;

/// Elements of the panels of a (sum, columns) operand.
pub(crate) fn panels_len(sum: usize, columns: usize, panel: usize) -> usize {
    columns.div_ceil(panel) * panel * sum
}

/// Elements from one row of `width` elements to the next, for rows that a product reads or writes: whole panels, and no
/// power of two, or the rows of a tile would compete for the same few places of the first-level cache. At 1,024 f32 a
/// product by itself, in a throw-away loop, took 1.15 times as long without (Zen 4).
pub(crate) fn row_stride<T>(width: usize, panel: usize) -> usize {
    let stride = width.next_multiple_of(panel);
    if (stride * size_of::<T>()).is_multiple_of(2048) { stride + panel } else { stride }
}

/// Lays the rows `outputs` of W down as columns of W^T (inputs, outputs): `panels[o / n][i][o % n] = weight[o][i]` for
/// panels of n columns. Other elements are left as they are.
///
/// # Safety
/// `weight` has these rows of `inputs` elements and `panels` as many as [`panels_len`] says; nobody else uses the
/// elements that are written.
#[inline(always)]
pub(super) unsafe fn pack_transposed<T: Scalar, S: Lanes<T>>(
    s: S,
    weight: *const T,
    inputs: usize,
    outputs: Range<usize>,
    panels: *mut T,
) {
    let (width, mut o) = (panel::<T, S>(), outputs.start);
    while o < outputs.end {
        // Rows that fall into one panel, and one register.
        let rows = (outputs.end - o).min(width - o % width).min(S::N);
        for i in (0..inputs).step_by(S::N) {
            let columns = (inputs - i).min(S::N);
            let from = weight.wrapping_add(o * inputs + i);
            let to = panels.wrapping_add(o / width * width * inputs + i * width + o % width);
            // SAFETY: the caller's promise, for a block of so many rows and columns.
            unsafe {
                if (rows, columns) == (S::N, S::N) {
                    transpose::<T, S, true>(s, (from, inputs), (to, width), (rows, columns));
                } else {
                    transpose::<T, S, false>(s, (from, inputs), (to, width), (rows, columns));
                }
            }
        }
        o += rows;
    }
}

/// The most elements that a register of any instruction set has.
const MOST: usize = 16;

/// A block of at most N rows of at most N columns becomes its transpose, in registers: after log2 N times interleaving
/// the first half of them with the second, an element has gone from (i, j) to (j, i). Each operand is its first element
/// and how many there are from row to row. WHOLE blocks have N of both. With blocks of 8 x 8 through memory,
/// 784-512-512-10 trained at 0.96 of the speed, 784-64-64-10 at 0.84 (measured as `STRIPE` in `step`).
#[inline(always)]
unsafe fn transpose<T: Scalar, S: Lanes<T>, const WHOLE: bool>(
    s: S,
    (from, from_stride): (*const T, usize),
    (to, to_stride): (*mut T, usize),
    (rows, columns): (usize, usize),
) {
    let mut block = [s.splat(T::ZERO); MOST];
    for (row, register) in block.iter_mut().enumerate().take(if WHOLE { S::N } else { rows }) {
        let p = from.wrapping_add(row * from_stride);
        // SAFETY: the caller's promise: these rows and columns are there.
        *register = unsafe { s.load_up_to(p, if WHOLE { S::N } else { columns }) };
    }
    for _ in 0..S::N.ilog2() {
        let before = block;
        for i in 0..S::N / 2 {
            (block[2 * i], block[2 * i + 1]) = s.interleave(before[i], before[i + S::N / 2]);
        }
    }
    for (column, register) in block.into_iter().enumerate().take(if WHOLE { S::N } else { columns }) {
        let p = to.wrapping_add(column * to_stride);
        // SAFETY: as above.
        unsafe { s.store_up_to(p, register, if WHOLE { S::N } else { rows }) }
    }
}

/// Lays the rows `outputs` of W (outputs, inputs) down: `panels[i / n][o][i % n] = weight[o][i]` for panels of n
/// columns; `n_outputs` is how many rows W has.
///
/// # Safety
/// As [`pack_transposed`].
#[inline(always)]
pub(super) unsafe fn pack<T: Scalar, S: Lanes<T>>(
    s: S,
    weight: *const T,
    (inputs, n_outputs): (usize, usize),
    outputs: Range<usize>,
    panels: *mut T,
) {
    let width = panel::<T, S>();
    for o in outputs {
        for i in (0..inputs).step_by(S::N) {
            let from = weight.wrapping_add(o * inputs + i);
            let to = panels.wrapping_add(i / width * width * n_outputs + o * width + i % width);
            // SAFETY: the caller's promise.
            unsafe {
                let left = S::N.min(inputs - i);
                s.store_up_to(to, s.load_up_to(from, left), left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::kernels::{Dispatch, kernels};
    use crate::simd::Isa;

    /// Some of the outputs, at sizes around registers, panels and blocks: what belongs to them is where the definitions
    /// say, the rest untouched.
    fn both_ways<T: Dispatch>() {
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
                let (panel, case) = (kernels.panel(), format!("{:?} {inputs} {n_outputs} {outputs:?}", kernels.isa()));
                let weight: Vec<T> = (1..=inputs * n_outputs).map(|i| T::from_f64(i as f64)).collect();
                // No weight, and nothing that a register is filled up with.
                let untouched = T::from_f64(-1.0);
                let mut transposed = vec![untouched; panels_len(inputs, n_outputs, panel)];
                let mut straight = vec![untouched; panels_len(n_outputs, inputs, panel)];
                let (mut want_transposed, mut want_straight) = (transposed.clone(), straight.clone());
                for (o, i) in outputs.clone().flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                    let value = weight[o * inputs + i];
                    want_transposed[o / panel * panel * inputs + i * panel + o % panel] = value;
                    want_straight[i / panel * panel * n_outputs + o * panel + i % panel] = value;
                }
                // SAFETY: all rows are there, and as many panels.
                unsafe {
                    kernels.pack_transposed(weight.as_ptr(), inputs, outputs.clone(), transposed.as_mut_ptr());
                    kernels.pack(weight.as_ptr(), (inputs, n_outputs), outputs.clone(), straight.as_mut_ptr());
                }
                assert!(transposed == want_transposed, "transposed, {case}");
                assert!(straight == want_straight, "straight, {case}");
            }
        }
    }

    #[test]
    fn every_weight_is_where_the_product_looks_for_it() {
        both_ways::<f32>();
        both_ways::<f64>();
    }
}
