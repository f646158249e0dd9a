//! SGD, Adam and AdamW: one pass over each array of parameters, in place.

use crate::error::{Error, Result};
use crate::linalg::rows::bounded_square;
use crate::named::named;
use crate::network::Network;
use crate::scalar::Scalar;
use crate::simd::Lanes;
use crate::workspace::{Aligned, zeros};

named! {
    /// The rule by which gradients change parameters.
    Algorithm("optimizer") {
        /// v = momentum v + g, w -= rate v; with Nesterov's step w -= rate (g + momentum v) (Sutskever et al. 2013, as
        /// PyTorch writes it).
        Sgd = "sgd",
        /// Kingma and Ba 2015; weight decay is added to the gradient.
        Adam = "adam",
        /// Adam with weight decay apart from the gradient, W -= rate * decay * W (Loshchilov and Hutter 2019).
        AdamW = "adamw",
    }
}

/// An algorithm and its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerConfig {
    /// Which rule.
    pub algorithm: Algorithm,
    /// Of SGD, in [0, 1).
    pub momentum: f64,
    /// Of SGD: look ahead by one step.
    pub nesterov: bool,
    /// Of Adam: what is kept of the mean of the gradient, in [0, 1).
    pub beta1: f64,
    /// Of Adam: what is kept of the mean of its square, in [0, 1).
    pub beta2: f64,
    /// Of Adam: added to the root of that mean, above 0.
    pub epsilon: f64,
}

impl OptimizerConfig {
    /// The usual numbers: momentum 0.9, betas 0.9 and 0.999, epsilon 1e-8.
    pub fn new(algorithm: Algorithm) -> Self {
        OptimizerConfig { algorithm, momentum: 0.9, nesterov: false, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }

    /// Step number `step` (1, 2, ...) at learning rate `rate`.
    pub(crate) fn step<T: Scalar>(&self, step: u64, rate: f64, weight_decay: f64, square_bound: T) -> Step<T> {
        let t = T::from_f64;
        let rule = match self.algorithm {
            Algorithm::Sgd => Rule::Sgd { momentum: t(self.momentum), nesterov: self.nesterov },
            Algorithm::Adam | Algorithm::AdamW => Rule::Adam {
                beta1: t(self.beta1),
                beta2: t(self.beta2),
                rest1: t(1.0 - self.beta1),
                rest2: t(1.0 - self.beta2),
                correction1: t(1.0 / (1.0 - power(self.beta1, step))),
                correction2: t(1.0 / (1.0 - power(self.beta2, step))),
                epsilon: t(self.epsilon),
                square_bound,
            },
        };
        Step { rule, rate, weight_decay, decoupled: self.algorithm == Algorithm::AdamW, gradient_factor: 1.0 }
    }

    fn check(&self) -> Result<()> {
        for (argument, value) in [("momentum", self.momentum), ("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::invalid(argument, format!("0 <= {argument} < 1"), value));
            }
        }
        // Below it 1 / epsilon overflows in f32.
        if !(1e-30..f64::INFINITY).contains(&self.epsilon) {
            return Err(Error::invalid("epsilon", "a number of at least 1e-30", self.epsilon));
        }
        Ok(())
    }
}

/// What an optimizer remembers of one layer: a number for each weight and for each bias.
#[derive(Debug, Clone)]
pub struct Moment<T> {
    /// As the weights lie, (outputs, inputs).
    pub(crate) weight: Aligned<T>,
    /// (outputs,)
    pub(crate) bias: Aligned<T>,
}

impl<T: Scalar> Moment<T> {
    /// A copy of these numbers.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(weight: &[T], bias: &[T]) -> Result<Self> {
        let copy = |values: &[T]| -> Result<Aligned<T>> {
            let mut copy = zeros("optimizer", values.len())?;
            copy.copy_from_slice(values);
            Ok(copy)
        };
        Ok(Moment { weight: copy(weight)?, bias: copy(bias)? })
    }

    /// Those of the weights (outputs, inputs), and of the biases (outputs,).
    pub fn values(&self) -> (&[T], &[T]) {
        (&self.weight, &self.bias)
    }
}

/// An optimizer with its state, which later calls of `fit` go on with.
#[derive(Debug, Clone)]
pub struct Optimizer<T> {
    config: OptimizerConfig,
    /// Steps made so far.
    pub(crate) steps: u64,
    /// SGD's velocity or Adam's mean of the gradient, a layer each; empty before the first step.
    pub(crate) first: Vec<Moment<T>>,
    /// Adam's mean of the gradient's square; empty for SGD.
    pub(crate) second: Vec<Moment<T>>,
}

impl<T: Scalar> Optimizer<T> {
    /// An optimizer before its first step.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number out of its range.
    pub fn new(config: OptimizerConfig) -> Result<Self> {
        config.check()?;
        Ok(Optimizer { config, steps: 0, first: Vec::new(), second: Vec::new() })
    }

    /// An optimizer that goes on where another stopped: after `steps` steps, with these moments.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a number out of its range.
    pub fn with_state(
        config: OptimizerConfig,
        steps: u64,
        first: Vec<Moment<T>>,
        second: Vec<Moment<T>>,
    ) -> Result<Self> {
        Ok(Optimizer { steps, first, second, ..Optimizer::new(config)? })
    }

    /// The algorithm and its numbers.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// (SGD's velocity or Adam's mean of the gradient, Adam's mean of its square), a layer each.
    pub fn moments(&self) -> (&[Moment<T>], &[Moment<T>]) {
        (&self.first, &self.second)
    }

    /// Makes room for the moments of `network`, or checks that those that are there are its.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they belong to a network of other sizes, [`Error::OutOfMemory`].
    pub(crate) fn prepare(&mut self, network: &Network<T>) -> Result<()> {
        let fresh = |wanted: bool| -> Result<Vec<Moment<T>>> {
            let layers = if wanted { network.layers() } else { &[] };
            let moment = |layer: &crate::layer::Layer<T>| {
                let zeros = |len| zeros("optimizer", len);
                Ok(Moment { weight: zeros(layer.weight().len())?, bias: zeros(layer.bias().len())? })
            };
            layers.iter().map(moment).collect()
        };
        let adaptive = self.config.algorithm != Algorithm::Sgd;
        if self.first.is_empty() && self.second.is_empty() {
            (self.first, self.second) = (fresh(true)?, fresh(adaptive)?);
        }
        let fits = |moments: &[Moment<T>], wanted: bool| {
            moments.len() == if wanted { network.layers().len() } else { 0 }
                && moments.iter().zip(network.layers()).all(|(moment, layer)| {
                    moment.weight.len() == layer.weight().len() && moment.bias.len() == layer.bias().len()
                })
        };
        if !fits(&self.first, true) || !fits(&self.second, adaptive) {
            let expected = format!("one used with a network of {:?}, or a new one", network.layer_sizes());
            return Err(Error::invalid("optimizer", expected, "the state of another network"));
        }
        Ok(())
    }
}

/// base^n by squaring: the same on every platform.
fn power(mut base: f64, mut n: u64) -> f64 {
    let mut result = 1.0;
    while n > 0 {
        if n % 2 == 1 {
            result *= base;
        }
        base *= base;
        n /= 2;
    }
    result
}

/// A rule with its numbers for one step.
#[derive(Clone, Copy)]
enum Rule<T> {
    Sgd { momentum: T, nesterov: bool },
    Adam { beta1: T, beta2: T, rest1: T, rest2: T, correction1: T, correction2: T, epsilon: T, square_bound: T },
}

/// One step of an optimizer, for all parameters.
#[derive(Clone, Copy)]
pub(crate) struct Step<T> {
    rule: Rule<T>,
    rate: f64,
    weight_decay: f64,
    /// Whether weight decay goes past the gradient.
    decoupled: bool,
    /// What gradients are multiplied by, to clip them.
    pub gradient_factor: f64,
}

impl<T: Scalar> Step<T> {
    /// What it does to weights whose learning rate has this factor.
    pub(crate) fn of_weights(&self, factor: f64) -> Update<T> {
        let rate = self.rate * factor;
        let (l2, shrink) =
            if self.decoupled { (0.0, 1.0 - rate * self.weight_decay) } else { (self.weight_decay, 1.0) };
        Update { l2: T::from_f64(l2), shrink: T::from_f64(shrink), ..self.of_biases(factor) }
    }

    /// What it does to biases, which do not decay.
    pub(crate) fn of_biases(&self, factor: f64) -> Update<T> {
        let (rate, gradient_factor) = (T::from_f64(self.rate * factor), T::from_f64(self.gradient_factor));
        Update { rule: self.rule, rate, l2: T::ZERO, shrink: T::ONE, gradient_factor }
    }
}

/// What one step does to an array of parameters.
#[derive(Clone, Copy)]
pub(crate) struct Update<T> {
    rule: Rule<T>,
    rate: T,
    /// This times the parameter is added to the gradient.
    l2: T,
    /// What the parameter is multiplied by first.
    shrink: T,
    /// What the gradient is multiplied by.
    gradient_factor: T,
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
