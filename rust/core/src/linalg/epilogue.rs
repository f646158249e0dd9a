//! What follows a product while its sums are still in cache: bias, repair of overflow, activation, scale; softmax.

use crate::activation::{Epilogue, activate};
use crate::scalar::Scalar;
use crate::simd::Lanes;
use crate::simd::math::{self, ExpConstants};

/// One layer's rows of weights (outputs, inputs), row-major, and their biases; all of them, or a thread's share.
#[derive(Clone, Copy)]
pub(crate) struct DenseRows<'a, T> {
    pub weight: &'a [T],
    pub bias: &'a [T],
}

/// `z[j] = activation(z[j] + bias[j]) * scale`, where `z[j]` is the product of row j with `x`.
///
/// A sum that overflowed is computed again, see [`saturating_sum`].
#[inline(always)]
pub(crate) fn finish<T: ExpConstants, S: Lanes<T>>(
    s: S,
    rows: DenseRows<T>,
    epilogue: &Epilogue<T>,
    x: &[T],
    z: &mut [T],
) {
    debug_assert_eq!(rows.bias.len(), z.len());
    let (full, bias, out) = (z.len() / S::N * S::N, rows.bias.as_ptr(), z.as_mut_ptr());
    let mut j = 0;
    while j < full {
        // SAFETY: j + N <= full <= the length of z and of bias.
        unsafe {
            let mut v = s.add(s.load(out.add(j)), s.load(bias.add(j)));
            if !s.all_finite(v) {
                s.store(out.add(j), v);
                repair(rows, x, j, &mut z[j..j + S::N]);
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
            let mut v = s.add(s.load_first(out.add(full), rest), s.load_first(bias.add(full), rest));
            if !s.all_finite(v) {
                s.store_first(out.add(full), v, rest);
                repair(rows, x, full, &mut z[full..]);
                v = s.load_first(out.add(full), rest);
            }
            s.store_first(out.add(full), activate(s, epilogue, v), rest);
        }
    }
}

/// Replaces those of `sums` that are not finite; the first belongs to row `first`.
#[cold]
#[inline(never)]
fn repair<T: Scalar>(rows: DenseRows<T>, x: &[T], first: usize, sums: &mut [T]) {
    for (row, sum) in (first..).zip(sums).filter(|(_, sum)| !sum.is_finite()) {
        *sum = saturating_sum(&rows.weight[row * x.len()..][..x.len()], x, rows.bias[row]);
    }
}

/// w . x + b computed so that nothing overflows on the way, then bounded to the finite values of `T`.
///
/// Both operands are scaled by a power of two to magnitudes of at most 2, and the sum is scaled back. What is lost
/// to underflow is far below one rounding of the sum, which is at least as large as what overflowed.
fn saturating_sum<T: Scalar>(w: &[T], x: &[T], b: T) -> T {
    let (w_exponent, x_exponent) = (exponent(w), exponent(x));
    let scaled = |value: T, exponent: i32| scale_by_power_of_two(value.to_f64(), -exponent);
    let mut sum = scale_by_power_of_two(scaled(b, w_exponent), -x_exponent);
    for (&w, &x) in w.iter().zip(x) {
        sum += scaled(w, w_exponent) * scaled(x, x_exponent);
    }
    let sum = scale_by_power_of_two(sum, w_exponent + x_exponent);
    T::from_f64(sum.clamp(-T::MAX.to_f64(), T::MAX.to_f64()))
}

/// The largest binary exponent among `values`, 0 where all are zero.
fn exponent<T: Scalar>(values: &[T]) -> i32 {
    let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.to_f64().abs()));
    if largest > 0.0 { largest.log2().floor() as i32 } else { 0 }
}

/// value * 2^exponent, in halves so that a large exponent does not overflow before the product does.
fn scale_by_power_of_two(value: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    value * 2f64.powi(half) * 2f64.powi(exponent - half)
}

/// exp(z_i - max) / sum_j exp(z_j - max), in place.
#[inline(always)]
pub(crate) fn softmax<T: ExpConstants, S: Lanes<T>>(s: S, z: &mut [T]) {
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

/// exp of every element, in place.
///
/// Not as a loop over any function: a closure has no CPU features, so none of the instructions that it is made of were
/// inlined into it, and a register took 290 ns.
#[inline(always)]
pub(crate) fn exp<T: ExpConstants, S: Lanes<T>>(s: S, z: &mut [T]) {
    let mut chunks = z.chunks_exact_mut(S::N);
    for chunk in &mut chunks {
        // SAFETY: a chunk has N elements.
        unsafe { s.store(chunk.as_mut_ptr(), math::exp(s, s.load(chunk.as_ptr()))) };
    }
    let rest = chunks.into_remainder();
    if !rest.is_empty() {
        // SAFETY: the remainder has fewer than N elements.
        unsafe { s.store_first(rest.as_mut_ptr(), math::exp(s, s.load_first(rest.as_ptr(), rest.len())), rest.len()) };
    }
}

/// Whether no element is infinite or NaN.
#[inline(always)]
pub(crate) fn all_finite<T: Scalar, S: Lanes<T>>(s: S, z: &[T]) -> bool {
    let chunks = z.chunks_exact(S::N);
    let rest = chunks.remainder().iter().all(|v| v.is_finite());
    // SAFETY: a chunk has N elements.
    chunks.fold(true, |finite, chunk| finite & unsafe { s.all_finite(s.load(chunk.as_ptr())) }) && rest
}
