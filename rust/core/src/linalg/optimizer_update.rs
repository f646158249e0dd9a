//! One optimizer step for one array of parameters, in place: SGD, Adam and AdamW.

use crate::scalar::Scalar;
use crate::simd::Lanes;
use crate::simd::dispatch::{Operation, SafeOperation};
use crate::simd::math::clamped_square;

/// An optimizer's rule with its hyperparameters at one step.
#[derive(Clone, Copy)]
pub(crate) enum Rule<T> {
    Sgd {
        momentum: T,
        nesterov: bool,
    },
    Adam {
        beta1: T,
        beta2: T,
        one_minus_beta1: T,
        one_minus_beta2: T,
        /// 1 / (1 - beta1^t), for step t.
        bias_correction1: T,
        /// 1 / (1 - beta2^t)
        bias_correction2: T,
        epsilon: T,
        /// The magnitude to which gradients are clamped before they are squared.
        square_bound: T,
    },
}

/// What one step does to an array of parameters.
#[derive(Clone, Copy)]
pub(crate) struct Update<T> {
    pub rule: Rule<T>,
    pub learning_rate: T,
    /// L2 regularization: this times the parameter is added to the gradient.
    pub l2: T,
    /// Decoupled weight decay: the parameter is multiplied by this first.
    pub decay_factor: T,
    /// The gradient is multiplied by this, to clip its norm.
    pub gradient_factor: T,
}

/// An array of parameters, its gradient and its moments. All have the same length; `second_moment` is empty for SGD.
pub(crate) struct ParameterArrays<'a, T> {
    pub parameters: &'a mut [T],
    pub gradient: &'a [T],
    /// SGD's velocity or Adam's first moment.
    pub first_moment: &'a mut [T],
    pub second_moment: &'a mut [T],
}

/// One parameter in each lane, with its moments.
#[derive(Clone, Copy)]
struct ParameterLanes<V> {
    parameter: V,
    first_moment: V,
    second_moment: V,
}

/// Changes parameters and moments by one step.
pub(crate) struct OptimizerUpdate<'a, T> {
    pub update: &'a Update<T>,
    pub arrays: ParameterArrays<'a, T>,
}

impl<T: Scalar> Operation<T> for OptimizerUpdate<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Lanes<T>>(self, s: S) {
        optimizer_update(s, self.update, self.arrays);
    }
}

// SAFETY: `run` has no requirements.
unsafe impl<T: Scalar> SafeOperation<T> for OptimizerUpdate<'_, T> {}

/// A function, because the compiler knows of a reference argument, but not of a reference in a struct, that the arrays
/// do not alias it. Otherwise it loads the fields of `update` again in every iteration.
#[inline(always)]
fn optimizer_update<T: Scalar, S: Lanes<T>>(s: S, update: &Update<T>, arrays: ParameterArrays<T>) {
    let n = arrays.parameters.len();
    let adaptive = matches!(update.rule, Rule::Adam { .. });
    assert!(arrays.gradient.len() == n && arrays.first_moment.len() == n);
    assert!(!adaptive || arrays.second_moment.len() == n);
    let (w, g) = (arrays.parameters.as_mut_ptr(), arrays.gradient.as_ptr());
    let (first, second) = (arrays.first_moment.as_mut_ptr(), arrays.second_moment.as_mut_ptr());
    let (full, tail) = (n / S::N * S::N, n % S::N);
    let mut i = 0;
    while i < full {
        // SAFETY: i + N <= n, the length of each array; only Adam uses `second`.
        unsafe {
            let old = ParameterLanes {
                parameter: s.load(w.add(i)),
                first_moment: s.load(first.add(i)),
                second_moment: if adaptive { s.load(second.add(i)) } else { s.splat(T::ZERO) },
            };
            let new = update_lanes(s, update, old, s.load(g.add(i)));
            s.store(w.add(i), new.parameter);
            s.store(first.add(i), new.first_moment);
            if adaptive {
                s.store(second.add(i), new.second_moment);
            }
        }
        i += S::N;
    }
    if tail > 0 {
        // SAFETY: i + tail = n, the length of each array; only Adam uses `second`.
        unsafe {
            let old = ParameterLanes {
                parameter: s.load_first(w.add(i), tail),
                first_moment: s.load_first(first.add(i), tail),
                second_moment: if adaptive { s.load_first(second.add(i), tail) } else { s.splat(T::ZERO) },
            };
            let new = update_lanes(s, update, old, s.load_first(g.add(i), tail));
            s.store_first(w.add(i), new.parameter, tail);
            s.store_first(first.add(i), new.first_moment, tail);
            if adaptive {
                s.store_first(second.add(i), new.second_moment, tail);
            }
        }
    }
}

/// The parameters and moments after one step, `g` being the gradient.
#[inline(always)]
fn update_lanes<T: Scalar, S: Lanes<T>>(
    s: S,
    update: &Update<T>,
    old: ParameterLanes<S::V>,
    g: S::V,
) -> ParameterLanes<S::V> {
    let g = s.mul_add(s.splat(update.l2), old.parameter, s.mul(g, s.splat(update.gradient_factor)));
    let w = s.mul(old.parameter, s.splat(update.decay_factor));
    let (step, first_moment, second_moment) = match update.rule {
        Rule::Sgd { momentum, nesterov } => {
            let velocity = flush_denormals(s, s.mul_add(s.splat(momentum), old.first_moment, g));
            let step = if nesterov { s.mul_add(s.splat(momentum), velocity, g) } else { velocity };
            (step, velocity, old.second_moment)
        }
        Rule::Adam {
            beta1,
            beta2,
            one_minus_beta1,
            one_minus_beta2,
            bias_correction1,
            bias_correction2,
            epsilon,
            square_bound,
        } => {
            let square = clamped_square(s, square_bound, g);
            let m = s.mul_add(s.splat(beta1), old.first_moment, s.mul(s.splat(one_minus_beta1), g));
            let v = s.mul_add(s.splat(beta2), old.second_moment, s.mul(s.splat(one_minus_beta2), square));
            let (m, v) = (flush_denormals(s, m), flush_denormals(s, v));
            let root = s.sqrt(s.mul(v, s.splat(bias_correction2)));
            (s.div(s.mul(m, s.splat(bias_correction1)), s.add(root, s.splat(epsilon))), m, v)
        }
    };
    let parameter = s.sub(w, s.mul(s.splat(update.learning_rate), step));
    ParameterLanes { parameter, first_moment, second_moment }
}

/// Subnormal numbers become 0. The moments of inputs that are always 0 decay until they are subnormal, and slow.
#[inline(always)]
fn flush_denormals<T: Scalar, S: Lanes<T>>(s: S, v: S::V) -> S::V {
    s.select_less(s.abs(v), s.splat(T::MIN_POSITIVE), s.splat(T::ZERO), v)
}
