//! The optimizer's update of one array of parameters: SGD, Adam and AdamW on lanes, in place.

use super::rows::bounded_square;
use crate::scalar::Scalar;
use crate::simd::Lanes;

/// A rule with its numbers for one step.
#[derive(Clone, Copy)]
pub(crate) enum Rule<T> {
    Sgd { momentum: T, nesterov: bool },
    Adam { beta1: T, beta2: T, rest1: T, rest2: T, correction1: T, correction2: T, epsilon: T, square_bound: T },
}

/// What one step does to an array of parameters.
#[derive(Clone, Copy)]
pub(crate) struct Update<T> {
    pub rule: Rule<T>,
    pub rate: T,
    /// This times the parameter is added to the gradient.
    pub l2: T,
    /// What the parameter is multiplied by first.
    pub shrink: T,
    /// What the gradient is multiplied by.
    pub gradient_factor: T,
}

/// One array of parameters and what belongs to it, all of the same length; `second` is empty for SGD.
pub(crate) struct Slots<'a, T> {
    pub parameters: &'a mut [T],
    pub gradient: &'a [T],
    pub first: &'a mut [T],
    pub second: &'a mut [T],
}

/// Changes the parameters and the moments by one step.
#[inline(always)]
pub(crate) fn update<T: Scalar, S: Lanes<T>>(s: S, by: &Update<T>, slots: Slots<T>) {
    let n = slots.parameters.len();
    let adaptive = matches!(by.rule, Rule::Adam { .. });
    assert!(slots.gradient.len() == n && slots.first.len() == n && (!adaptive || slots.second.len() == n));
    let w = slots.parameters.as_mut_ptr();
    let (g, first, second) = (slots.gradient.as_ptr(), slots.first.as_mut_ptr(), slots.second.as_mut_ptr());
    let (full, tail) = (n / S::N * S::N, n % S::N);
    let mut i = 0;
    while i < full {
        // SAFETY: i + N <= n, the length of each; `second` is only used by Adam.
        unsafe {
            let old = if adaptive { s.load(second.add(i)) } else { s.splat(T::ZERO) };
            let (new, m, v) = stepped(s, by, s.load(w.add(i)), s.load(g.add(i)), (s.load(first.add(i)), old));
            s.store(w.add(i), new);
            s.store(first.add(i), m);
            if adaptive {
                s.store(second.add(i), v);
            }
        }
        i += S::N;
    }
    if tail > 0 {
        // SAFETY: i + tail = n.
        unsafe {
            let old = if adaptive { s.load_first(second.add(i), tail) } else { s.splat(T::ZERO) };
            let (w_old, g) = (s.load_first(w.add(i), tail), s.load_first(g.add(i), tail));
            let (new, m, v) = stepped(s, by, w_old, g, (s.load_first(first.add(i), tail), old));
            s.store_first(w.add(i), new, tail);
            s.store_first(first.add(i), m, tail);
            if adaptive {
                s.store_first(second.add(i), v, tail);
            }
        }
    }
}

/// (parameter, first moment, second moment) after a step.
#[inline(always)]
fn stepped<T: Scalar, S: Lanes<T>>(
    s: S,
    by: &Update<T>,
    w: S::V,
    g: S::V,
    (first, second): (S::V, S::V),
) -> (S::V, S::V, S::V) {
    let g = s.mul_add(s.splat(by.l2), w, s.mul(g, s.splat(by.gradient_factor)));
    let w = s.mul(w, s.splat(by.shrink));
    let (step, first, second) = match by.rule {
        Rule::Sgd { momentum, nesterov } => {
            let velocity = normal(s, s.mul_add(s.splat(momentum), first, g));
            let step = if nesterov { s.mul_add(s.splat(momentum), velocity, g) } else { velocity };
            (step, velocity, second)
        }
        Rule::Adam { beta1, beta2, rest1, rest2, correction1, correction2, epsilon, square_bound } => {
            let square = bounded_square(s, square_bound, g);
            let m = normal(s, s.mul_add(s.splat(beta1), first, s.mul(s.splat(rest1), g)));
            let v = normal(s, s.mul_add(s.splat(beta2), second, s.mul(s.splat(rest2), square)));
            let root = s.sqrt(s.mul(v, s.splat(correction2)));
            (s.div(s.mul(m, s.splat(correction1)), s.add(root, s.splat(epsilon))), m, v)
        }
    };
    (s.sub(w, s.mul(s.splat(by.rate), step)), first, second)
}

/// 0 instead of a denormal number: moments of inputs that are always 0 fade into them, and stay.
#[inline(always)]
fn normal<T: Scalar, S: Lanes<T>>(s: S, v: S::V) -> S::V {
    s.select_less(s.abs(v), s.splat(T::MIN_POSITIVE), s.splat(T::ZERO), v)
}
