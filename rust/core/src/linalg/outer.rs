//! C = A B from tiles of outer products, with every sum in a lane of its own: what packed weights are multiplied with,
//! and all of training.
//!
//! A step of training needs three products a layer, each over another index: Z = X W^T over the inputs, dX = dZ W
//! over the outputs, dW = dZ^T X over the batch. Whatever is row-major, one of the operands lies the wrong way round
//! for dot products of rows. Here B is read by rows of [`panel`] neighbouring columns and A one number at a time, so
//! B has to lie in rows along the result, and A may lie either way. Only W^T has to be rearranged: see `pack`.
//!
//! Each element of C is summed along its index in order, in one lane, so its bits depend neither on the tile that it
//! falls into nor on the number of threads.

use crate::scalar::Scalar;
use crate::simd::{CACHE_LINE, Lanes};

/// Registers in a row of a panel.
const REGISTERS_WIDE: usize = 2;

/// Rows of a tile: with two registers of each, and two of B, as many as there are registers for.
pub(crate) const fn tile_rows(registers: usize) -> usize {
    if registers >= 32 { 12 } else { 6 }
}

/// Members of a team split rows in multiples of this, which are multiplied at full speed: tiles are seldom cut. With 3, as
/// for dot products, two threads had 18 and 14 of 32 rows: 4 x 128 took 1.02 with a batch of 32, 1.06 with 64, 1.01 with
/// 256, 10 x 1024 1.07 with 32, 4 x 512 1.02 with 256 (Emerald Rapids, medians of nine rounds in turn).
pub(crate) const ROW_UNIT: usize = 4;

/// Columns of a panel of B, and of a tile of several rows.
pub(crate) const fn panel<T: Scalar, S: Lanes<T>>() -> usize {
    REGISTERS_WIDE * S::N
}

/// The summed index is cut into runs of so many: a panel of B is then 128 KiB at most, and stays in the second-level
/// cache while all rows of A go by. With runs of 256 (512) a pass took, over the time with 1,024, by
/// `quick_benchmark.py` on two threads of Zen 4 (medians of five runs in turn): 10 x 1024 with a batch of 256 1.04
/// (1.06), in f64 1.04 (1.00), 3 x 1024 with 1,024 1.03 (1.05), in f64 1.15 (1.02); narrower layers between 0.97 and
/// 1.03.
const RUN: usize = 1024;

/// The same where the rows of B do not follow each other in memory, which fills the first-level cache unevenly and
/// leaves it to this loop to ask for lines: so many of them, and of A, stay there while all rows of A go by. dW of
/// 784-512 and 784-256 (batches of 256 and 200, A without gaps), in a throw-away loop, ran at 157 GFLOP/s with 1,024, 163
/// and 164 with this, 160 and 157 with 64 (one thread of Emerald Rapids, whose peak is 176); training as a whole took,
/// with 256, 1.03 and 1.01.
const RUN_APART: usize = 128;

/// An operand A (rows, sum), one number of which is read at a time.
#[derive(Clone, Copy)]
pub(crate) struct Left<T> {
    pub first: *const T,
    /// Elements between neighbours in memory that are no neighbours: from row to row, or, where `transposed`, from one
    /// summed index to the next.
    pub stride: usize,
    /// Whether the rows of A are columns in memory.
    pub transposed: bool,
}

/// An operand B (sum, columns) in panels of [`panel`] columns.
#[derive(Clone, Copy)]
pub(crate) struct Right<T> {
    pub first: *const T,
    /// Elements from one summed index to the next.
    pub stride: usize,
    /// Elements from one panel to the next.
    pub panel_stride: usize,
}

/// The result C (rows, columns).
#[derive(Clone, Copy)]
pub(crate) struct Target<T> {
    pub first: *mut T,
    pub stride: usize,
    /// Whether rows have room for whole panels; else nothing behind the last column is written.
    pub padded: bool,
    /// Whether the product is added to what is there.
    pub accumulate: bool,
}

/// The sizes of a product.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub rows: usize,
    pub columns: usize,
    pub sum: usize,
}

/// C = A B, or C += A B.
///
/// # Safety
/// The operands hold what `sizes` says, B whole panels (zeros or anything finite behind the last column), and nobody
/// else uses C or writes A or B.
#[inline(always)]
pub(super) unsafe fn product<T: Scalar, S: Lanes<T>>(s: S, sizes: Sizes, a: Left<T>, b: Right<T>, c: Target<T>) {
    let (longest, mut start) = (if b.stride == panel::<T, S>() { RUN } else { RUN_APART }, 0);
    while start < sizes.sum || (start == 0 && sizes.sum == 0) {
        let run = Sizes { sum: longest.min(sizes.sum - start), ..sizes };
        let a = Left { first: a.first.wrapping_add(start * if a.transposed { a.stride } else { 1 }), ..a };
        let b = Right { first: b.first.wrapping_add(start * b.stride), ..b };
        let c = Target { accumulate: c.accumulate || start > 0, ..c };
        // SAFETY: the caller's promise, for a part of the summed index.
        unsafe { run_of_panels(s, run, a, b, c) };
        start += longest;
    }
}

/// [`product`] for a run of the summed index: panel by panel, in each all rows. Few rows have too few sums in one panel
/// for the next multiply-add not to wait for the last: they take two panels side by side. Four were no faster (Zen 4).
#[inline(always)]
unsafe fn run_of_panels<T: Scalar, S: Lanes<T>>(s: S, sizes: Sizes, a: Left<T>, b: Right<T>, c: Target<T>) {
    let (width, mut column, mut panel_first) = (panel::<T, S>(), 0, b.first);
    while column < sizes.columns {
        let here = Sizes { columns: sizes.columns - column, ..sizes };
        let b = Right { first: panel_first, ..b };
        let c = Target { first: c.first.wrapping_add(column), ..c };
        // SAFETY: the caller's promise, for the columns of some panels.
        let panels = unsafe {
            match (sizes.rows, here.columns.div_ceil(S::N)) {
                (1..4, 3..) => columns_of_tiles::<T, S, { 2 * REGISTERS_WIDE }>(s, here, a, b, c),
                (_, 2..) => columns_of_tiles::<T, S, REGISTERS_WIDE>(s, here, a, b, c),
                _ => columns_of_tiles::<T, S, 1>(s, here, a, b, c),
            }
        };
        column += panels * width;
        panel_first = panel_first.wrapping_add(panels * b.panel_stride);
    }
}

/// All rows of W registers of columns, in tiles as high as are left and as W leaves registers for; returns the panels
/// that were done with.
#[inline(always)]
unsafe fn columns_of_tiles<T: Scalar, S: Lanes<T>, const W: usize>(
    s: S,
    sizes: Sizes,
    a: Left<T>,
    b: Right<T>,
    c: Target<T>,
) -> usize {
    let (mut row, mut ahead) = (0, Ahead::of_panel::<S>(sizes, b));
    while row < sizes.rows {
        let rest = Sizes { rows: sizes.rows - row, ..sizes };
        let a = Left { first: a.first.wrapping_add(row * if a.transposed { 1 } else { a.stride }), ..a };
        let c = Target { first: c.first.wrapping_add(row * c.stride), ..c };
        // SAFETY: the caller's promise, for the rows from `row` on, of which there are that many.
        row += unsafe {
            match rest.rows {
                12.. if W <= REGISTERS_WIDE && tile_rows(S::REGISTERS) == 12 => {
                    tile::<T, S, 12, W, true>(s, rest, a, b, c, ahead)
                }
                // What blocks of 128 rows leave. Of six and two, the two would have too few sums: 3 x 1024 with 1,024
                // took 1.02 (measured as `Ahead` was).
                8 | 9 if W <= REGISTERS_WIDE && tile_rows(S::REGISTERS) == 12 => {
                    tile::<T, S, 8, W, false>(s, rest, a, b, c, ahead)
                }
                6.. if W <= REGISTERS_WIDE && tile_rows(S::REGISTERS) == 6 => {
                    tile::<T, S, 6, W, true>(s, rest, a, b, c, ahead)
                }
                6.. if W <= REGISTERS_WIDE => tile::<T, S, 6, W, false>(s, rest, a, b, c, ahead),
                4.. if W <= REGISTERS_WIDE => tile::<T, S, 4, W, false>(s, rest, a, b, c, ahead),
                2.. => tile::<T, S, 2, W, false>(s, rest, a, b, c, ahead),
                _ => tile::<T, S, 1, W, false>(s, rest, a, b, c, ahead),
            }
        };
        ahead = ahead.next_tile(sizes.sum, b);
    }
    W.div_ceil(REGISTERS_WIDE)
}

/// What the tiles of a panel ask for while they compute: the next panel, each its share, so that memory is read all the
/// time. Asking for all of it in the first tile, as had been best on Zen 4, took, over the time with shares, on two
/// threads of Emerald Rapids (medians of five rounds in turn): 10 x 1024 with a batch of 256 1.11, in f64 1.22, with 64
/// 1.05 and 1.23, with 32 0.97 in both, 3 x 1024 with 1,024 in f64 1.04, 4 x 512 with 256 1.10. With AVX2, which had
/// not asked, 10 x 1024 with 256 took 1.12, in f64 1.19, with 12 1.05 and 2.2. Training 784-512-512-10 took 1.03,
/// 784-256-128-10 1.08, 784-64-64-10 1.07.
#[derive(Clone, Copy)]
struct Ahead<T> {
    /// The next row of B to ask for.
    row: *const T,
    /// For how many summed indices of a tile one row of the next panel is asked for: as many as there are tiles.
    every: usize,
}

impl<T: Scalar> Ahead<T> {
    /// For the first of the tiles of B's first panel.
    #[inline(always)]
    fn of_panel<S: Lanes<T>>(sizes: Sizes, b: Right<T>) -> Self {
        Ahead { row: b.first.wrapping_add(b.panel_stride), every: (sizes.rows / tile_rows(S::REGISTERS)).max(1) }
    }

    /// For the tile below, when this one has asked for its share.
    #[inline(always)]
    fn next_tile(self, sum: usize, b: Right<T>) -> Self {
        Ahead { row: self.row.wrapping_add(sum.div_ceil(self.every) * b.stride), ..self }
    }
}

/// The first R rows and W registers of columns; returns R.
///
/// ```text
///            b[k][0..N]   b[k][N..2N]         two registers, loaded for every k
/// a[0][k]    sum[0][0]    sum[0][1]           12 x 2 accumulators (6 x 2 with 16 registers), or 2 x 4, 1 x 4;
/// ...                                         each a[i][k] is one broadcast
/// a[R-1][k]  sum[R-1][0]  sum[R-1][1]
/// ```
///
/// With AHEAD, its share of the next panel is asked for.
#[inline(always)]
unsafe fn tile<T: Scalar, S: Lanes<T>, const R: usize, const W: usize, const AHEAD: bool>(
    s: S,
    sizes: Sizes,
    a: Left<T>,
    b: Right<T>,
    c: Target<T>,
    ahead: Ahead<T>,
) -> usize {
    // SAFETY: the caller's promise; the two ways of A have loops of their own, so that addresses are simple in each.
    unsafe {
        let sums = if a.transposed {
            sums::<T, S, R, W, AHEAD>(s, sizes.sum, a.first, (1, a.stride), b, ahead)
        } else {
            sums::<T, S, R, W, AHEAD>(s, sizes.sum, a.first, (a.stride, 1), b, ahead)
        };
        for (i, row) in sums.into_iter().enumerate() {
            store_row::<T, S, W>(s, row, c.first.add(i * c.stride), sizes.columns, c);
        }
    }
    R
}

/// The sums of one tile.
#[inline(always)]
unsafe fn sums<T: Scalar, S: Lanes<T>, const R: usize, const W: usize, const AHEAD: bool>(
    s: S,
    sum: usize,
    a: *const T,
    (row_stride, step): (usize, usize),
    b: Right<T>,
    mut ahead: Ahead<T>,
) -> [[S::V; W]; R] {
    let mut sums = [[s.splat(T::ZERO); W]; R];
    // One pointer for three rows: base, base + stride and base + 2 stride are addresses that x86 computes by itself.
    let mut groups: [*const T; 4] = std::array::from_fn(|group| a.wrapping_add(3 * group * row_stride));
    let (mut b_row, mut wait) = (b.first, 0);
    for _ in 0..sum {
        if AHEAD {
            if wait == 0 {
                for line in (0..W * S::N).step_by(CACHE_LINE / size_of::<T>()) {
                    s.prefetch(ahead.row.wrapping_add(line));
                }
                ahead.row = ahead.row.wrapping_add(b.stride);
                wait = ahead.every;
            }
            wait -= 1;
        }
        let mut registers = [s.splat(T::ZERO); W];
        for (w, register) in registers.iter_mut().enumerate() {
            // SAFETY: the caller's promise: B holds whole panels.
            *register = unsafe { s.load(b_row.add(w / REGISTERS_WIDE * b.panel_stride + w % REGISTERS_WIDE * S::N)) };
        }
        for (i, row) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise: row i is there.
            let value = s.splat(unsafe { *groups[i / 3].add(i % 3 * row_stride) });
            for (sum, register) in row.iter_mut().zip(&registers) {
                *sum = s.mul_add(value, *register, *sum);
            }
        }
        for group in &mut groups {
            *group = group.wrapping_add(step);
        }
        b_row = b_row.wrapping_add(b.stride);
    }
    sums
}

/// Writes `columns` sums to the row at `p`.
#[inline(always)]
unsafe fn store_row<T: Scalar, S: Lanes<T>, const W: usize>(
    s: S,
    sums: [S::V; W],
    p: *mut T,
    columns: usize,
    c: Target<T>,
) {
    for (w, sum) in sums.into_iter().enumerate() {
        let (p, left) = (p.wrapping_add(w * S::N), columns.saturating_sub(w * S::N));
        // SAFETY: the caller's promise: `left` columns, or room for whole panels.
        unsafe {
            if c.padded || left >= S::N {
                s.store(p, if c.accumulate { s.add(s.load(p), sum) } else { sum });
            } else if left > 0 {
                s.store_first(p, if c.accumulate { s.add(s.load_first(p, left), sum) } else { sum }, left);
            }
        }
    }
}
