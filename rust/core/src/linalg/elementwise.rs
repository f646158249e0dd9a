//! Element-wise kernels: exp, activations forward and backward, dropout, copies and sums.
//!
//! Those of training work in place on rows that are still in cache after a product. Unlike `epilogue` they do not
//! repair sums that overflowed: infinity and NaN must reach the loss, which reports them.

use super::view::ViewMut;
use crate::activation::{Activation, Epilogue, activate, derivative, derivative_from_output, for_activation};
use crate::hash::mix;
use crate::scalar::Scalar;
use crate::simd::Lanes;
use crate::simd::dispatch::{Operation, SafeOperation};
use crate::simd::math::{self, MathConstants};

/// exp of every element, in place.
///
/// Not a generic map over a function: closures do not inherit `target_feature`, so intrinsics are not inlined into
/// them.
#[inline(always)]
pub(crate) fn exp<T: MathConstants, S: Lanes<T>>(s: S, z: &mut [T]) {
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

/// exp of every element, in place.
pub(crate) struct Exp<'a, T> {
    pub z: &'a mut [T],
}

impl<T: MathConstants> Operation<T> for Exp<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        exp(s, self.z);
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: MathConstants> SafeOperation<T> for Exp<'_, T> {}

/// Whether no element is infinite or NaN.
pub(crate) struct AllFinite<'a, T> {
    pub z: &'a [T],
}

impl<T: Scalar> Operation<T> for AllFinite<'_, T> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) -> bool {
        let AllFinite { z } = self;
        let chunks = z.chunks_exact(S::N);
        let rest = chunks.remainder().iter().all(|v| v.is_finite());
        // SAFETY: a chunk has N elements.
        chunks.fold(true, |finite, chunk| finite & unsafe { s.all_finite(s.load(chunk.as_ptr())) }) && rest
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for AllFinite<'_, T> {}

/// `values = activation(values + bias) * scale` in place, and the derivatives at these sums if `derivatives` is given.
/// Both are (rows, width), `bias` is (width,).
///
/// # Safety
/// - All elements of the views are writable, with room for whole registers in each row.
/// - Nothing else accesses them meanwhile.
pub(crate) struct ActivationForward<'a, T> {
    pub bias: &'a [T],
    pub epilogue: &'a Epilogue<T>,
    pub values: ViewMut<T>,
    pub derivatives: Option<ViewMut<T>>,
}

impl<T: MathConstants> Operation<T> for ActivationForward<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let ActivationForward { bias, epilogue, values, derivatives } = self;
        for_activation!(epilogue.activation, ACTIVATION => {
            let epilogue = Epilogue { activation: ACTIVATION, ..*epilogue };
            // SAFETY: the caller's promise.
            unsafe { known_activation_forward(s, bias, &epilogue, values, derivatives) }
        });
    }
}

/// [`ActivationForward`] for an activation that the compiler knows.
#[inline(always)]
unsafe fn known_activation_forward<T: MathConstants, S: Lanes<T>>(
    s: S,
    bias: &[T],
    epilogue: &Epilogue<T>,
    values: ViewMut<T>,
    derivatives: Option<ViewMut<T>>,
) {
    for row in 0..values.rows() {
        let value = values.at(row, 0);
        let derivatives = derivatives.map(|derivatives| derivatives.at(row, 0));
        let mut j = 0;
        while j < values.cols() {
            let n = S::N.min(values.cols() - j);
            // SAFETY: rows have room for whole registers, and `bias` has n elements from j on.
            unsafe {
                let b = s.load_up_to(bias.as_ptr().add(j), n);
                let z = s.add(s.load(value.add(j)), b);
                if let Some(derivatives) = derivatives {
                    s.store(derivatives.add(j), derivative(s, epilogue, z));
                }
                s.store(value.add(j), activate(s, epilogue, z));
            }
            j += S::N;
        }
    }
}

/// Where [`ActivationBackward`] gets the derivatives of a layer's activation.
#[derive(Clone, Copy)]
pub(crate) enum Derivatives<T> {
    /// The forward pass stored them.
    Stored(ViewMut<T>),
    /// They are functions of the outputs of this activation.
    FromOutput(Activation, ViewMut<T>),
}

/// `d = d * derivative` in place, from the loss's derivatives by the outputs to those by the sums.
///
/// Products below `MIN_POSITIVE / EPSILON` become 0: further products with them would be subnormal, which some CPUs
/// compute a hundred times slower.
///
/// # Safety
/// - Both views have the same shape, and room for whole registers in each row.
/// - Nothing else accesses `d` or writes the other view meanwhile.
pub(crate) struct ActivationBackward<T> {
    pub d: ViewMut<T>,
    pub derivatives: Derivatives<T>,
}

impl<T: MathConstants> Operation<T> for ActivationBackward<T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let ActivationBackward { d, derivatives } = self;
        // SAFETY: the caller's promise.
        unsafe {
            match derivatives {
                Derivatives::Stored(_) => known_activation_backward(s, d, derivatives),
                Derivatives::FromOutput(activation, outputs) => for_activation!(activation, ACTIVATION => {
                    known_activation_backward(s, d, Derivatives::FromOutput(ACTIVATION, outputs));
                }),
            }
        }
    }
}

/// [`ActivationBackward`] for a source, and an activation, that the compiler knows.
#[inline(always)]
unsafe fn known_activation_backward<T: MathConstants, S: Lanes<T>>(s: S, d: ViewMut<T>, derivatives: Derivatives<T>) {
    let (Derivatives::Stored(source) | Derivatives::FromOutput(_, source)) = derivatives;
    let least = s.splat(T::MIN_POSITIVE / T::EPSILON);
    for row in 0..d.rows() {
        let (d_row, source) = (d.at(row, 0), source.at(row, 0));
        let mut j = 0;
        while j < d.cols() {
            // SAFETY: rows have room for whole registers.
            unsafe {
                let value = s.load(source.add(j));
                let derivative = match derivatives {
                    Derivatives::Stored(_) => value,
                    Derivatives::FromOutput(activation, _) => derivative_from_output(s, activation, value),
                };
                let product = s.mul(s.load(d_row.add(j)), derivative);
                s.store(d_row.add(j), s.select_less(s.abs(product), least, s.splat(T::ZERO), product));
            }
            j += S::N;
        }
    }
}

/// Which hidden values dropout sets to 0: those whose hash is below a threshold (Srivastava et al. 2014).
#[derive(Clone, Copy)]
pub(crate) struct Dropout<T> {
    /// floor(rate * 2^24), compared with 24 bits of the hash.
    pub threshold: u32,
    /// The factor of the values that are kept, 1 / (1 - rate).
    pub scale: T,
}

/// Applies dropout to one row of values and of their derivatives; `key` is the hash of the row.
pub(crate) struct ApplyDropout<'a, T> {
    pub key: u32,
    pub dropout: Dropout<T>,
    pub values: &'a mut [T],
    pub derivatives: &'a mut [T],
}

impl<T: Scalar> Operation<T> for ApplyDropout<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, _: S) {
        let ApplyDropout { key, dropout, values, derivatives } = self;
        for (j, (value, derivative)) in values.iter_mut().zip(derivatives).enumerate() {
            let keep = mix(key.wrapping_add(j as u32)) >> 8 >= dropout.threshold;
            let factor = if keep { dropout.scale } else { T::ZERO };
            *value = *value * factor;
            *derivative = *derivative * factor;
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for ApplyDropout<'_, T> {}

/// Copies `d` to `copy`, and stores the sum of column j in `sums[j]`, or adds it there if `accumulate`.
///
/// # Safety
/// - Both views have the same shape, and `copy` has room for whole registers in each row.
/// - Nothing writes `d`, which may be some columns of a wider matrix, and nothing else accesses `copy` meanwhile.
pub(crate) struct CopyAndSumColumns<'a, T> {
    pub d: ViewMut<T>,
    pub copy: ViewMut<T>,
    pub accumulate: bool,
    pub sums: &'a mut [T],
}

impl<T: Scalar> Operation<T> for CopyAndSumColumns<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        let CopyAndSumColumns { d, copy, accumulate, sums } = self;
        for j in (0..d.cols()).step_by(S::N) {
            let n = S::N.min(d.cols() - j);
            let (mut from, mut to, out) = (d.at(0, j), copy.at(0, j), &mut sums[j..j + n]);
            // SAFETY: `copy` has room for whole registers; `d` and `sums` have n columns from j on.
            unsafe {
                let mut sum = if accumulate { s.load_up_to(out.as_ptr(), n) } else { s.splat(T::ZERO) };
                for _ in 0..d.rows() {
                    let value = s.load_up_to(from, n);
                    s.store(to, value);
                    sum = s.add(sum, value);
                    (from, to) = (from.wrapping_add(d.stride()), to.wrapping_add(copy.stride()));
                }
                s.store_up_to(out.as_mut_ptr(), sum, n);
            }
        }
    }
}

/// Copies a row of inputs, subnormal numbers as 0.
pub(crate) struct CopyWithoutDenormals<'a, T> {
    pub from: &'a [T],
    pub to: &'a mut [T],
}

impl<T: Scalar> Operation<T> for CopyWithoutDenormals<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, _: S) {
        let CopyWithoutDenormals { from, to } = self;
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.without_denormals();
        }
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for CopyWithoutDenormals<'_, T> {}

/// The sum of squares in f64, as eight partial sums: the order is the same on every instruction set.
pub(crate) struct SumOfSquares<'a, T> {
    pub values: &'a [T],
}

impl<T: Scalar> Operation<T> for SumOfSquares<'_, T> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, _: S) -> f64 {
        let SumOfSquares { values } = self;
        let mut sums = [0.0; 8];
        for chunk in values.chunks(8) {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum += value.to_f64() * value.to_f64();
            }
        }
        sums.iter().sum()
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for SumOfSquares<'_, T> {}
