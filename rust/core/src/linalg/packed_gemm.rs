//! Packed GEMM, C = A B with B in panels of [`nr`] columns: the product of packed weights, and all products of
//! training.
//!
//! A training step needs three products a layer: Z = X W^T, summed over the inputs, dX = dZ W, over the outputs, and
//! dW = dZ^T X, over the batch. The micro-kernel adds outer products: it reads B by rows of nr neighbouring columns and
//! A one element at a time. So B must have its rows along those of C, and A may be stored either way. Only the weights
//! have to be rearranged, see `pack`.
//!
//! Each element of C is summed along k in order, in one lane, so its bits depend neither on the tile it falls into nor
//! on the number of threads.
//!
//! Loops, from the outside: blocks of k, panels of n, tiles of m ([`mr`] rows), then the micro-kernel.

use super::view::{Lhs, Out, Rhs};
use crate::scalar::Scalar;
use crate::simd::dispatch::{Kernels, Operation};
use crate::simd::{CACHE_LINE, Lanes};

/// Vector registers in one row of a panel.
const PANEL_REGISTERS: usize = 2;

/// Rows of the largest tile: the accumulators, with two registers for B and one for A, fill the register file.
pub(crate) const fn mr(registers: usize) -> usize {
    if registers >= 32 { 12 } else { 6 }
}

/// Columns of a panel of B.
pub(crate) const fn nr<T, S: Lanes<T>>() -> usize {
    PANEL_REGISTERS * S::N
}

impl<T> Kernels<T> {
    /// Columns of a panel of a packed right operand.
    #[inline]
    pub(crate) fn nr(&self) -> usize {
        PANEL_REGISTERS * self.lanes()
    }
}

/// Threads split rows in multiples of this, which tiles cover without a slow remainder.
/// Measured: `rust/core/TUNING.md`, "Row unit".
pub(crate) const ROW_UNIT: usize = 4;

/// The block size along k for packed panels: a block of a panel is at most 128 KiB and stays in the second-level cache
/// while all rows of A go by. Measured: `rust/core/TUNING.md`, "Block size along k".
const KC: usize = 1024;

/// The same for a B that is not packed. Its rows are apart in memory and fill the first-level cache unevenly; this many
/// of them, and of A, stay there. Measured: `rust/core/TUNING.md`, "Block size along k".
const KC_UNPACKED: usize = 128;

/// The part of a product that is still to be computed: its sizes, and the addresses where its operands begin.
#[derive(Clone, Copy)]
struct Product<T> {
    m: usize,
    n: usize,
    k: usize,
    lhs: *const T,
    lhs_stride: usize,
    lhs_transposed: bool,
    rhs: Rhs<T>,
    out: *mut T,
    out_stride: usize,
    padded: bool,
    accumulate: bool,
}

impl<T: Scalar> Product<T> {
    /// The terms `start` to `start + len` of every sum. All but the first block add to what the blocks before stored.
    #[inline(always)]
    fn k_block(self, start: usize, len: usize) -> Self {
        let lhs = self.lhs.wrapping_add(start * if self.lhs_transposed { self.lhs_stride } else { 1 });
        let rhs = Rhs { first: self.rhs.first.wrapping_add(start * self.rhs.row_stride), ..self.rhs };
        Product { k: len, lhs, rhs, accumulate: self.accumulate || start > 0, ..self }
    }

    /// The columns after the first `panels` panels of `nr` columns.
    #[inline(always)]
    fn columns_after(self, panels: usize, nr: usize) -> Self {
        let rhs = Rhs { first: self.rhs.first.wrapping_add(panels * self.rhs.panel_stride), ..self.rhs };
        Product { n: self.n.saturating_sub(panels * nr), rhs, out: self.out.wrapping_add(panels * nr), ..self }
    }

    /// The rows from `row` on.
    #[inline(always)]
    fn rows_from(self, row: usize) -> Self {
        let lhs = self.lhs.wrapping_add(row * if self.lhs_transposed { 1 } else { self.lhs_stride });
        Product { m: self.m - row, lhs, out: self.out.wrapping_add(row * self.out_stride), ..self }
    }
}

/// C = A B, or C += A B, with A = `lhs` (m, k), B = `rhs` (k, n) and C = `out` (m, n).
///
/// # Safety
/// - `rhs` has k rows and n columns, rounded up to whole panels (anything finite after column n).
/// - All elements of `out`, in whole panels if it is padded, are writable, and nothing else accesses them meanwhile.
/// - Nothing writes `lhs` or `rhs` meanwhile.
pub(crate) struct PackedGemm<'a, T> {
    pub lhs: Lhs<'a, T>,
    pub rhs: Rhs<T>,
    pub out: Out<T>,
}

impl<T: Scalar> Operation<T> for PackedGemm<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let PackedGemm { lhs, rhs, out } = self;
        debug_assert!(lhs.m() == out.matrix.rows());
        let product = Product {
            m: out.matrix.rows(),
            n: out.matrix.cols(),
            k: lhs.k(),
            lhs: lhs.stored.at(0, 0),
            lhs_stride: lhs.stored.stride(),
            lhs_transposed: lhs.transposed,
            rhs,
            out: out.matrix.at(0, 0),
            out_stride: out.matrix.stride(),
            padded: out.padded,
            accumulate: out.accumulate,
        };
        let kc = if rhs.row_stride == nr::<T, S>() { KC } else { KC_UNPACKED };
        let mut start = 0;
        // A k of 0 is one empty block, which stores zeros.
        while start < product.k || (start == 0 && product.k == 0) {
            // SAFETY: the caller's promise, for a part of each sum.
            unsafe { k_block(s, product.k_block(start, kc.min(product.k - start))) };
            start += kc;
        }
    }
}

/// All panels of one block along k, in each of them all rows.
///
/// With fewer than four rows, one panel has too few accumulators to hide the latency of multiply-adds, so two panels go
/// side by side. Four panels were no faster.
#[inline(always)]
unsafe fn k_block<T: Scalar, S: Lanes<T>>(s: S, block: Product<T>) {
    let mut rest = block;
    while rest.n > 0 {
        // SAFETY: the caller's promise, for the columns of these panels.
        let panels = unsafe {
            match (rest.m, rest.n.div_ceil(S::N)) {
                (1..4, 3..) => panels::<T, S, { 2 * PANEL_REGISTERS }>(s, rest),
                (_, 2..) => panels::<T, S, PANEL_REGISTERS>(s, rest),
                _ => panels::<T, S, 1>(s, rest),
            }
        };
        rest = rest.columns_after(panels, nr::<T, S>());
    }
}

/// All rows of the first W registers of columns, in tiles; returns the number of panels they belong to.
#[inline(always)]
unsafe fn panels<T: Scalar, S: Lanes<T>, const W: usize>(s: S, product: Product<T>) -> usize {
    let (mut row, mut prefetch) = (0, PanelPrefetch::first_tile::<S>(&product));
    while row < product.m {
        let rest = product.rows_from(row);
        // SAFETY: the caller's promise, for the rows from `row` on, of which there are at least as many as in the tile.
        row += unsafe {
            match rest.m {
                12.. if W <= PANEL_REGISTERS && mr(S::REGISTERS) == 12 => tile::<T, S, 12, W, true>(s, rest, prefetch),
                // The remainder of 128 rows. Tiles of six and two are slower: the two have too few accumulators.
                8 | 9 if W <= PANEL_REGISTERS && mr(S::REGISTERS) == 12 => tile::<T, S, 8, W, false>(s, rest, prefetch),
                6.. if W <= PANEL_REGISTERS && mr(S::REGISTERS) == 6 => tile::<T, S, 6, W, true>(s, rest, prefetch),
                6.. if W <= PANEL_REGISTERS => tile::<T, S, 6, W, false>(s, rest, prefetch),
                4.. if W <= PANEL_REGISTERS => tile::<T, S, 4, W, false>(s, rest, prefetch),
                2.. => tile::<T, S, 2, W, false>(s, rest, prefetch),
                _ => tile::<T, S, 1, W, false>(s, rest, prefetch),
            }
        };
        prefetch = prefetch.next_tile(&product);
    }
    W.div_ceil(PANEL_REGISTERS)
}

/// The prefetch of the next panel, spread evenly over the tiles of this one, so that memory is read all the time.
/// Measured against prefetching it all in the first tile: `rust/core/TUNING.md`, "Panel prefetch".
#[derive(Clone, Copy)]
struct PanelPrefetch<T> {
    /// The next row of B to prefetch.
    row: *const T,
    /// A tile prefetches one row for this many steps along k.
    every: usize,
}

impl<T: Scalar> PanelPrefetch<T> {
    /// For the first tile of a panel.
    #[inline(always)]
    fn first_tile<S: Lanes<T>>(product: &Product<T>) -> Self {
        let row = product.rhs.first.wrapping_add(product.rhs.panel_stride);
        PanelPrefetch { row, every: (product.m / mr(S::REGISTERS)).max(1) }
    }

    /// For the tile after one that has prefetched its share.
    #[inline(always)]
    fn next_tile(self, product: &Product<T>) -> Self {
        let rows = product.k.div_ceil(self.every);
        PanelPrefetch { row: self.row.wrapping_add(rows * product.rhs.row_stride), ..self }
    }
}

/// Computes and stores the first R rows and W registers of columns; returns R.
#[inline(always)]
unsafe fn tile<T: Scalar, S: Lanes<T>, const R: usize, const W: usize, const PREFETCH: bool>(
    s: S,
    product: Product<T>,
    prefetch: PanelPrefetch<T>,
) -> usize {
    // SAFETY: the caller's promise. Each layout of A has its own loop, so that addresses are simple in both.
    unsafe {
        let sums = if product.lhs_transposed {
            micro_kernel::<T, S, R, W, PREFETCH>(s, &product, (1, product.lhs_stride), prefetch)
        } else {
            micro_kernel::<T, S, R, W, PREFETCH>(s, &product, (product.lhs_stride, 1), prefetch)
        };
        for (i, row) in sums.into_iter().enumerate() {
            store_row::<T, S, W>(s, row, product.out.add(i * product.out_stride), &product);
        }
    }
    R
}

/// The sums of one tile; `lhs_strides` are the steps in A from row to row and along k.
///
/// ```text
///            b[k][0..N]   b[k][N..2N]         two registers, loaded for every k
/// a[0][k]    sum[0][0]    sum[0][1]           12 x 2 accumulators (6 x 2 with 16 registers), or 2 x 4, 1 x 4;
/// ...                                         each a[i][k] is one broadcast
/// a[R-1][k]  sum[R-1][0]  sum[R-1][1]
/// ```
#[inline(always)]
unsafe fn micro_kernel<T: Scalar, S: Lanes<T>, const R: usize, const W: usize, const PREFETCH: bool>(
    s: S,
    product: &Product<T>,
    (row_stride, k_stride): (usize, usize),
    mut prefetch: PanelPrefetch<T>,
) -> [[S::V; W]; R] {
    let rhs = product.rhs;
    let mut sums = [[s.splat(T::ZERO); W]; R];
    // One pointer for three rows: base, base + stride and base + 2 stride are addressing modes of x86.
    let mut groups: [*const T; 4] = std::array::from_fn(|group| product.lhs.wrapping_add(3 * group * row_stride));
    let (mut rhs_row, mut wait) = (rhs.first, 0);
    for _ in 0..product.k {
        if PREFETCH {
            if wait == 0 {
                for line in (0..W * S::N).step_by(CACHE_LINE / size_of::<T>()) {
                    s.prefetch(prefetch.row.wrapping_add(line));
                }
                prefetch.row = prefetch.row.wrapping_add(rhs.row_stride);
                wait = prefetch.every;
            }
            wait -= 1;
        }
        let mut registers = [s.splat(T::ZERO); W];
        for (w, register) in registers.iter_mut().enumerate() {
            let offset = w / PANEL_REGISTERS * rhs.panel_stride + w % PANEL_REGISTERS * S::N;
            // SAFETY: the caller's promise: B holds whole panels.
            *register = unsafe { s.load(rhs_row.add(offset)) };
        }
        for (i, row) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise: row i exists.
            let value = s.splat(unsafe { *groups[i / 3].add(i % 3 * row_stride) });
            for (sum, register) in row.iter_mut().zip(&registers) {
                *sum = s.mul_add(value, *register, *sum);
            }
        }
        for group in &mut groups {
            *group = group.wrapping_add(k_stride);
        }
        rhs_row = rhs_row.wrapping_add(rhs.row_stride);
    }
    sums
}

/// Stores one row of sums at `p`, in the columns that exist or that the padding has room for.
#[inline(always)]
unsafe fn store_row<T: Scalar, S: Lanes<T>, const W: usize>(s: S, sums: [S::V; W], p: *mut T, product: &Product<T>) {
    let accumulate = product.accumulate;
    for (w, sum) in sums.into_iter().enumerate() {
        let (p, columns) = (p.wrapping_add(w * S::N), product.n.saturating_sub(w * S::N));
        // SAFETY: the caller's promise: `columns` elements exist, or whole panels.
        unsafe {
            if product.padded || columns >= S::N {
                s.store(p, if accumulate { s.add(s.load(p), sum) } else { sum });
            } else if columns > 0 {
                s.store_first(p, if accumulate { s.add(s.load_first(p, columns), sum) } else { sum }, columns);
            }
        }
    }
}
