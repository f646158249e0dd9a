//! What follows a product while its sums are in cache: bias, overflow repair, activation and scale; and softmax.

use super::elementwise::exp;
use crate::activation::{Epilogue, activate};
use crate::scalar::Scalar;
use crate::simd::Lanes;
use crate::simd::dispatch::{Operation, SafeOperation};
use crate::simd::math::MathConstants;

/// `z[j] = activation(z[j] + bias[j]) * scale` in place.
///
/// A sum z that is not finite is replaced by `repair(j, z)`. It must have overflowed, because weights and inputs are
/// finite; [`saturating_dot`] computes it.
#[inline(always)]
pub(crate) fn apply_epilogue<T: MathConstants, S: Lanes<T>>(
    s: S,
    bias: &[T],
    epilogue: &Epilogue<T>,
    repair: impl Fn(usize, T) -> T,
    z: &mut [T],
) {
    debug_assert!(bias.len() == z.len());
    let (full, biases, out) = (z.len() / S::N * S::N, bias.as_ptr(), z.as_mut_ptr());
    let mut j = 0;
    while j < full {
        // SAFETY: j + N <= full, which is at most the length of z and of bias.
        unsafe {
            let mut v = s.add(s.load(out.add(j)), s.load(biases.add(j)));
            if !s.all_finite(v) {
                s.store(out.add(j), v);
                repair_sums(&repair, j, &mut z[j..j + S::N]);
                v = s.load(out.add(j));
            }
            s.store(out.add(j), activate(s, epilogue, v));
        }
        j += S::N;
    }
    let rest = z.len() - full;
    if rest > 0 {
        // SAFETY: full + rest is the length of z and of bias.
        unsafe {
            let mut v = s.add(s.load_first(out.add(full), rest), s.load_first(biases.add(full), rest));
            if !s.all_finite(v) {
                s.store_first(out.add(full), v, rest);
                repair_sums(&repair, full, &mut z[full..]);
                v = s.load_first(out.add(full), rest);
            }
            s.store_first(out.add(full), activate(s, epilogue, v), rest);
        }
    }
}

/// Replaces the sums that are not finite; `sums[0]` belongs to output `first`.
#[cold]
#[inline(never)]
fn repair_sums<T: Scalar>(repair: &impl Fn(usize, T) -> T, first: usize, sums: &mut [T]) {
    for (j, sum) in (first..).zip(sums).filter(|(_, sum)| !sum.is_finite()) {
        *sum = repair(j, *sum);
    }
}

/// w . x + b without intermediate overflow, clamped to the finite values of `T`; `w(i)` is the weight of input i.
///
/// Both vectors are scaled by a power of two to magnitudes of at most 2, and the sum is scaled back. The scaling
/// underflows only terms far below one rounding error of the sum.
pub(crate) fn saturating_dot<T: Scalar>(w: impl Fn(usize) -> T, x: &[T], b: T) -> T {
    let (w_exponent, x_exponent) = (exponent((0..x.len()).map(&w)), exponent(x.iter().copied()));
    let scaled = |value: T, exponent: i32| scale_by_power_of_two(value.to_f64(), -exponent);
    let mut sum = scale_by_power_of_two(scaled(b, w_exponent), -x_exponent);
    for (i, &x) in x.iter().enumerate() {
        sum += scaled(w(i), w_exponent) * scaled(x, x_exponent);
    }
    let sum = scale_by_power_of_two(sum, w_exponent + x_exponent);
    T::from_f64(sum.clamp(-T::MAX.to_f64(), T::MAX.to_f64()))
}

/// The largest binary exponent among `values`; 0 if all are zero.
fn exponent<T: Scalar>(values: impl Iterator<Item = T>) -> i32 {
    let largest = values.fold(0.0, |m: f64, v| m.max(v.to_f64().abs()));
    if largest > 0.0 { largest.log2().floor() as i32 } else { 0 }
}

/// value * 2^exponent, in two factors so that 2^exponent itself cannot overflow.
fn scale_by_power_of_two(value: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    value * 2f64.powi(half) * 2f64.powi(exponent - half)
}

/// exp(z_i - max) / sum_j exp(z_j - max), in place.
pub(crate) struct Softmax<'a, T> {
    pub z: &'a mut [T],
}

impl<T: MathConstants> Operation<T> for Softmax<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let Softmax { z } = self;
        let largest = z.iter().copied().fold(-T::MAX, |m, v| if v > m { v } else { m });
        let shift = |v: T| if v - largest < -T::MAX { -T::MAX } else { v - largest };
        for v in z.iter_mut() {
            *v = shift(*v);
        }
        exp(s, z);
        let sum = z.iter().copied().fold(T::ZERO, |a, b| a + b);
        for v in z {
            *v = *v / sum;
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: MathConstants> SafeOperation<T> for Softmax<'_, T> {}
