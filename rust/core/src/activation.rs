//! Activation functions by name, and their values on lanes.

use crate::scalar::Scalar;
use crate::simd::Lanes;
use crate::simd::math::{self, ExpConstants};
use crate::stabilizer::Stabilizer;
use crate::string_enum::string_enum;

string_enum! {
    /// What a layer does to each of its sums.
    Activation("activation") {
        /// 1 / (1 + exp(clip(-x))), with the bounds of the stabilizer.
        Sigmoid = "sigmoid",
        /// tanh(x)
        Tanh = "tanh",
        /// max(0, x)
        Relu = "relu",
        /// x where x > 0, else 0.01 x (Maas et al. 2013)
        LeakyRelu = "leaky_relu",
        /// 1.0507 x where x > 0, else 1.0507 * 1.6733 (exp(x) - 1) (Klambauer et al. 2017)
        Selu = "selu",
        /// x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form (Hendrycks and Gimpel 2016)
        Gelu = "gelu",
        /// x * sigmoid(x) (Elfwing et al. 2017)
        Silu = "silu",
        /// x
        Identity = "identity",
    }
}

string_enum! {
    /// What the last layer does to its sums.
    OutputActivation("output_activation") {
        /// Nothing: logits, or the values of a regression.
        Identity = "identity",
        /// What the hidden layers do, activation and scale.
        Same = "same",
        /// exp(x_i) / sum_j exp(x_j): probabilities of classes.
        Softmax = "softmax",
        /// 1 / (1 + exp(clip(-x))): a probability for each of several labels.
        Sigmoid = "sigmoid",
    }
}

/// What is done to a sum once it is known: `activation(sum + bias) * scale`.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<T> {
    pub(crate) activation: Activation,
    pub(crate) scale: T,
    pub(crate) stabilizer: Stabilizer<T>,
}

/// `$body`, compiled for each activation with `$known` for `$activation`, so that a loop in it does not ask for every register
/// which one it is: 64-64-64-10 (batch 32) trained 1.05 times as fast, with the loss of labels apart in `loss` (Zen 4,
/// medians of nine rounds in turn); passes alone gained nothing. Not a function of a closure, which would have no CPU
/// features.
macro_rules! for_activation {
    ($activation:expr, $known:ident => $body:expr) => {
        $crate::activation::for_activation!(
            @ $activation, $known, $body, Sigmoid Tanh Relu LeakyRelu Selu Gelu Silu Identity
        )
    };
    (@ $activation:expr, $known:ident, $body:expr, $($name:ident)*) => {
        match $activation {
            $($crate::activation::Activation::$name => {
                const $known: $crate::activation::Activation = $crate::activation::Activation::$name;
                $body
            })*
        }
    };
}
pub(crate) use for_activation;

/// The slope of leaky_relu below 0.
const LEAK: f64 = 0.01;
/// The two constants of selu, lambda and lambda * alpha.
const SELU: (f64, f64) = (1.050_700_987_355_480_5, 1.050_700_987_355_480_5 * 1.673_263_242_354_377_2);
/// The two constants of gelu, 2 sqrt(2 / pi) and the factor of the cube.
const GELU: (f64, f64) = (1.595_769_121_605_730_7, 0.044715);

/// `activation(v) * scale` for finite v; finite.
#[inline(always)]
pub(crate) fn activate<T: ExpConstants, S: Lanes<T>>(s: S, epilogue: &Epilogue<T>, v: S::V) -> S::V {
    let (zero, stabilizer) = (s.splat(T::ZERO), &epilogue.stabilizer);
    let value = match epilogue.activation {
        Activation::Sigmoid => sigmoid(s, stabilizer, v),
        Activation::Tanh => math::tanh(s, v),
        Activation::Relu => s.max(zero, v),
        Activation::LeakyRelu => s.select_less(zero, v, v, s.mul(v, s.splat(T::from_f64(LEAK)))),
        Activation::Selu => selu(s, v),
        Activation::Gelu => s.mul(v, gelu_gate(s, stabilizer, v)),
        Activation::Silu => s.mul(v, sigmoid(s, stabilizer, v)),
        Activation::Identity => v,
    };
    // A scale above 1 could overflow; this cannot.
    clip(s, s.mul(value, s.splat(epilogue.scale)))
}

/// The derivative of `activation(v) * scale` by v; finite.
#[inline(always)]
pub(crate) fn slope<T: ExpConstants, S: Lanes<T>>(s: S, epilogue: &Epilogue<T>, v: S::V) -> S::V {
    let (one, stabilizer) = (s.splat(T::ONE), &epilogue.stabilizer);
    let value = match epilogue.activation {
        Activation::Gelu => {
            // g + v g (1 - g) 2 u', where the square cannot overflow and 0 times it is 0.
            let g = gelu_gate(s, stabilizer, v);
            let square = squared(s, stabilizer, v);
            let inner = s.mul_add(square, s.splat(T::from_f64(3.0 * GELU.0 * GELU.1)), s.splat(T::from_f64(GELU.0)));
            s.mul_add(s.mul(s.mul(g, s.sub(one, g)), v), inner, g)
        }
        Activation::Silu => {
            let g = sigmoid(s, stabilizer, v);
            s.mul(g, s.mul_add(v, s.sub(one, g), one))
        }
        // The others know it from their output.
        _ => {
            let unscaled = Epilogue { scale: T::ONE, ..*epilogue };
            slope_from_output(s, epilogue.activation, activate(s, &unscaled, v))
        }
    };
    clip(s, s.mul(value, s.splat(epilogue.scale)))
}

/// The derivative of the activation by its argument, written from its value `y`.
#[inline(always)]
pub(crate) fn slope_from_output<T: ExpConstants, S: Lanes<T>>(s: S, activation: Activation, y: S::V) -> S::V {
    let (zero, one) = (s.splat(T::ZERO), s.splat(T::ONE));
    match activation {
        Activation::Sigmoid => s.mul(y, s.sub(one, y)),
        Activation::Tanh => s.sub(one, s.mul(y, y)),
        Activation::Relu => s.select_less(zero, y, one, zero),
        Activation::LeakyRelu => s.select_less(zero, y, one, s.splat(T::from_f64(LEAK))),
        Activation::Selu => {
            let below = s.add(y, s.splat(T::from_f64(SELU.1)));
            s.select_less(zero, y, s.splat(T::from_f64(SELU.0)), below)
        }
        Activation::Identity | Activation::Gelu | Activation::Silu => one,
    }
}

impl Activation {
    /// Whether the derivative can be written from the output: gelu and silu are not monotone.
    pub(crate) fn slope_from_output(self) -> bool {
        !matches!(self, Activation::Gelu | Activation::Silu)
    }
}

/// 1 / (1 + exp(clip(-v)))
#[inline(always)]
fn sigmoid<T: ExpConstants, S: Lanes<T>>(s: S, stabilizer: &Stabilizer<T>, v: S::V) -> S::V {
    let (low, high) = stabilizer.exp_bounds();
    let negated = s.sub(s.splat(T::ZERO), v);
    math::logistic_of_negated(s, s.max(s.splat(low), s.min(s.splat(high), negated)))
}

#[inline(always)]
fn selu<T: ExpConstants, S: Lanes<T>>(s: S, v: S::V) -> S::V {
    let zero = s.splat(T::ZERO);
    let below = s.mul(math::expm1_of_negative(s, s.min(zero, v)), s.splat(T::from_f64(SELU.1)));
    s.select_less(zero, v, s.mul(v, s.splat(T::from_f64(SELU.0))), below)
}

/// What gelu multiplies its argument with: sigmoid(2 u).
#[inline(always)]
fn gelu_gate<T: ExpConstants, S: Lanes<T>>(s: S, stabilizer: &Stabilizer<T>, v: S::V) -> S::V {
    let inner = s.mul_add(squared(s, stabilizer, v), s.splat(T::from_f64(GELU.1)), s.splat(T::ONE));
    sigmoid(s, stabilizer, s.mul(s.mul(v, inner), s.splat(T::from_f64(GELU.0))))
}

/// v^2, finite.
#[inline(always)]
fn squared<T: ExpConstants, S: Lanes<T>>(s: S, stabilizer: &Stabilizer<T>, v: S::V) -> S::V {
    let bounded = bound(s, stabilizer.square_bound(), v);
    s.mul(bounded, bounded)
}

/// Infinity becomes the largest finite value.
#[inline(always)]
fn clip<T: ExpConstants, S: Lanes<T>>(s: S, v: S::V) -> S::V {
    bound(s, T::MAX, v)
}

/// v within plus or minus `bound`; NaN stays NaN.
#[inline(always)]
pub(crate) fn bound<T: Scalar, S: Lanes<T>>(s: S, bound: T, v: S::V) -> S::V {
    s.max(s.splat(-bound), s.min(s.splat(bound), v))
}
