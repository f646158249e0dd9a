//! What happens to rows between the products of training: bias, activation, dropout, and the way back.
//!
//! All of it works in place on [`Block`]s while they are in the cache. Nothing repairs a sum that overflowed, unlike
//! `epilogue`: in training infinity and NaN shall reach the loss, where they are found.

use crate::activation::{Activation, Epilogue, activate, bound, for_activation, slope, slope_from_output};
use crate::hash::mix;
use crate::scalar::Scalar;
use crate::simd::Lanes;
use crate::simd::math::ExpConstants;

/// `rows` rows of `width` elements in a buffer whose rows have room for whole registers.
#[derive(Clone, Copy)]
pub(crate) struct Block<T> {
    pub first: *mut T,
    /// Elements from one row to the next, at least `width` rounded up to a register.
    pub stride: usize,
    pub rows: usize,
    pub width: usize,
}

/// Which hidden values to drop: those whose hash is below a threshold (Srivastava et al. 2014).
#[derive(Clone, Copy)]
pub(crate) struct Dropout<T> {
    /// floor(rate * 2^24), compared with 24 bits.
    pub threshold: u32,
    /// What the others are multiplied by, 1 / (1 - rate).
    pub scale: T,
}

/// `values = activation(values + bias) * scale`, and the slopes of it where they are wanted.
///
/// # Safety
/// The blocks have the same rows and width, and nobody else uses them; `bias` has `width` elements.
#[inline(always)]
pub(super) unsafe fn activate_rows<T: ExpConstants, S: Lanes<T>>(
    s: S,
    bias: &[T],
    epilogue: &Epilogue<T>,
    values: Block<T>,
    slopes: Option<Block<T>>,
) {
    for_activation!(epilogue.activation, ACTIVATION => {
        let epilogue = Epilogue { activation: ACTIVATION, ..*epilogue };
        // SAFETY: the caller's promise.
        unsafe { activate_known(s, bias, &epilogue, values, slopes) }
    });
}

/// [`activate_rows`], inlined where the activation is known.
#[inline(always)]
unsafe fn activate_known<T: ExpConstants, S: Lanes<T>>(
    s: S,
    bias: &[T],
    epilogue: &Epilogue<T>,
    values: Block<T>,
    slopes: Option<Block<T>>,
) {
    for row in 0..values.rows {
        let value = values.first.wrapping_add(row * values.stride);
        let slope_of = slopes.map(|slopes| slopes.first.wrapping_add(row * slopes.stride));
        let mut j = 0;
        while j < values.width {
            let left = S::N.min(values.width - j);
            // SAFETY: rows have room for whole registers, and `left` elements of bias are left.
            unsafe {
                let b = s.load_up_to(bias.as_ptr().add(j), left);
                let z = s.add(s.load(value.add(j)), b);
                if let Some(slope_of) = slope_of {
                    s.store(slope_of.add(j), slope(s, epilogue, z));
                }
                s.store(value.add(j), activate(s, epilogue, z));
            }
            j += S::N;
        }
    }
}

/// Drops elements of one row of values and of its slopes; `key` is the hash of the row.
#[inline(always)]
pub(super) fn drop_out<T: Scalar>(key: u32, dropout: Dropout<T>, values: &mut [T], slopes: &mut [T]) {
    for (j, (value, slope)) in values.iter_mut().zip(slopes).enumerate() {
        let keep = mix(key.wrapping_add(j as u32)) >> 8 >= dropout.threshold;
        let factor = if keep { dropout.scale } else { T::ZERO };
        *value = *value * factor;
        *slope = *slope * factor;
    }
}

/// Where the slopes of a layer come from.
#[derive(Clone, Copy)]
pub(crate) enum Slopes<T> {
    /// They were kept.
    Kept(Block<T>),
    /// The values of this activation tell them.
    Output(Activation, Block<T>),
}

/// `d = d * slope`. What comes close to the smallest normal number becomes 0: products with it would be denormal, which
/// some CPUs compute a hundred times slower.
///
/// # Safety
/// The blocks have the same rows and width; nobody else uses `d` or writes the other.
#[inline(always)]
pub(super) unsafe fn slope_rows<T: ExpConstants, S: Lanes<T>>(s: S, d: Block<T>, slopes: Slopes<T>) {
    // SAFETY: the caller's promise.
    unsafe {
        match slopes {
            Slopes::Kept(_) => slope_known(s, d, slopes),
            Slopes::Output(activation, values) => for_activation!(activation, ACTIVATION => {
                slope_known(s, d, Slopes::Output(ACTIVATION, values));
            }),
        }
    }
}

/// [`slope_rows`], inlined where it is known where the slopes come from.
#[inline(always)]
unsafe fn slope_known<T: ExpConstants, S: Lanes<T>>(s: S, d: Block<T>, slopes: Slopes<T>) {
    let (Slopes::Kept(other) | Slopes::Output(_, other)) = slopes;
    let least = s.splat(T::MIN_POSITIVE / T::EPSILON);
    for row in 0..d.rows {
        let (d_row, other) = (d.first.wrapping_add(row * d.stride), other.first.wrapping_add(row * other.stride));
        let mut j = 0;
        while j < d.width {
            // SAFETY: rows have room for whole registers.
            unsafe {
                let slope = match slopes {
                    Slopes::Kept(_) => s.load(other.add(j)),
                    Slopes::Output(activation, _) => slope_from_output(s, activation, s.load(other.add(j))),
                };
                let product = s.mul(s.load(d_row.add(j)), slope);
                s.store(d_row.add(j), s.select_less(s.abs(product), least, s.splat(T::ZERO), product));
            }
            j += S::N;
        }
    }
}

/// Copies the block to `to`, and `sums[j]` = the sum of column j, added to what is there if `accumulate`.
///
/// # Safety
/// The blocks have the same rows and width; nobody writes `d`, which may be some columns of a wider block, and nobody
/// else uses `to`.
#[inline(always)]
pub(super) unsafe fn copy_and_sum_columns<T: Scalar, S: Lanes<T>>(
    s: S,
    d: Block<T>,
    to: Block<T>,
    accumulate: bool,
    sums: &mut [T],
) {
    for j in (0..d.width).step_by(S::N) {
        let left = S::N.min(d.width - j);
        let (mut from, mut to_row, out) = (d.first.wrapping_add(j), to.first.wrapping_add(j), &mut sums[j..j + left]);
        // SAFETY: rows of `to` have room for whole registers, and `left` columns and sums are left.
        unsafe {
            let mut sum = if accumulate { s.load_up_to(out.as_ptr(), left) } else { s.splat(T::ZERO) };
            for _ in 0..d.rows {
                let value = s.load_up_to(from, left);
                s.store(to_row, value);
                sum = s.add(sum, value);
                (from, to_row) = (from.wrapping_add(d.stride), to_row.wrapping_add(to.stride));
            }
            s.store_up_to(out.as_mut_ptr(), sum, left);
        }
    }
}

/// Copies a row of inputs, denormal numbers as 0.
#[inline(always)]
pub(super) fn copy_normal<T: Scalar>(from: &[T], to: &mut [T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.without_denormals();
    }
}

/// The sum of squares, in f64 and in an order of its own: eight sums side by side.
#[inline(always)]
pub(super) fn sum_of_squares<T: Scalar>(values: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    for chunk in values.chunks(8) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value.to_f64() * value.to_f64();
        }
    }
    sums.iter().sum()
}

/// Brings `v` within plus or minus the largest number that can be squared, and squares it.
#[inline(always)]
pub(crate) fn bounded_square<T: Scalar, S: Lanes<T>>(s: S, square_bound: T, v: S::V) -> S::V {
    let v = bound(s, square_bound, v);
    s.mul(v, v)
}
