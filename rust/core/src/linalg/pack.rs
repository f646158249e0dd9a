//! Weights (outputs, inputs) laid out in the panels that `outer` reads: once for Z = X W^T, once for dX = dZ W.

use std::ops::Range;

use crate::scalar::Scalar;

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
pub(super) unsafe fn pack_transposed<T: Scalar>(
    weight: *const T,
    inputs: usize,
    outputs: Range<usize>,
    panel: usize,
    panels: *mut T,
) {
    /// Rows and columns of a block. Block by block across the whole panel, so that lines are written whole: in a
    /// throw-away loop 0.42 ns an element at 784 x 512 (Zen 4), where eight rows from end to end took 0.73.
    const SIDE: usize = 8;
    let mut o = outputs.start;
    while o < outputs.end {
        // Rows that fall into one panel.
        let n = (outputs.end - o).min(panel - o % panel);
        let (from, to) = (weight.wrapping_add(o * inputs), panels.wrapping_add(o / panel * panel * inputs + o % panel));
        for i in (0..inputs).step_by(SIDE) {
            for side in (0..n).step_by(SIDE) {
                let (from, to) = (from.wrapping_add(side * inputs + i), to.wrapping_add(i * panel + side));
                let (height, width) = (SIDE.min(n - side), SIDE.min(inputs - i));
                // SAFETY: the caller's promise, for a block of `height` rows and `width` columns.
                unsafe {
                    if (height, width) == (SIDE, SIDE) {
                        let rows: [[T; SIDE]; SIDE] =
                            std::array::from_fn(|row| from.add(row * inputs).cast::<[T; SIDE]>().read_unaligned());
                        for column in 0..SIDE {
                            let values = rows.map(|row| row[column]);
                            to.add(column * panel).cast::<[T; SIDE]>().write_unaligned(values);
                        }
                    } else {
                        for column in 0..width {
                            for row in 0..height {
                                *to.add(column * panel + row) = *from.add(row * inputs + column);
                            }
                        }
                    }
                }
            }
        }
        o += n;
    }
}

/// Lays the rows `outputs` of W (outputs, inputs) down: `panels[i / n][o][i % n] = weight[o][i]` for panels of n
/// columns; `n_outputs` is how many rows W has.
///
/// # Safety
/// As [`pack_transposed`].
#[inline(always)]
pub(super) unsafe fn pack<T: Scalar>(
    weight: *const T,
    inputs: usize,
    outputs: Range<usize>,
    (panel, n_outputs): (usize, usize),
    panels: *mut T,
) {
    for o in outputs {
        let mut i = 0;
        while i < inputs {
            // SAFETY: the caller's promise.
            unsafe {
                let to = panels.add(i * n_outputs + o * panel);
                std::ptr::copy_nonoverlapping(weight.add(o * inputs + i), to, panel.min(inputs - i));
            }
            i += panel;
        }
    }
}
