//! Activation functions: their names, values and derivatives. A new one needs a variant and an arm in [`activate`], and
//! one in [`derivative`] or [`derivative_from_output`].

use crate::simd::Lanes;
use crate::simd::math::{self, MathConstants};
use crate::stabilizer::Stabilizer;
use crate::string_enum::string_enum;

string_enum! {
    /// The function that a layer applies to each of its sums.
    Activation("activation") {
        /// 1 / (1 + exp(clip(-x))), clipped to the bounds of the [`Stabilizer`].
        Sigmoid = "sigmoid",
        /// tanh(x)
        Tanh = "tanh",
        /// max(0, x)
        Relu = "relu",
        /// x if x > 0, else 0.01 x (Maas et al. 2013)
        LeakyRelu = "leaky_relu",
        /// 1.0507 x if x > 0, else 1.0507 * 1.6733 (exp(x) - 1) (Klambauer et al. 2017)
        Selu = "selu",
        /// x * sigmoid(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3): the tanh form (Hendrycks and Gimpel 2016)
        Gelu = "gelu",
        /// x * sigmoid(x) (Elfwing et al. 2017)
        Silu = "silu",
        /// x
        Identity = "identity",
    }
}

string_enum! {
    /// The function that the last layer applies to its sums.
    OutputActivation("output_activation") {
        /// x: logits, or the values of a regression
        Identity = "identity",
        /// Activation and scale, as in a hidden layer
        Same = "same",
        /// exp(x_i) / sum_j exp(x_j): the probabilities of classes
        Softmax = "softmax",
        /// 1 / (1 + exp(clip(-x))): a probability for each label
        Sigmoid = "sigmoid",
    }
}

/// How a layer's sums become its outputs: `activation(sum + bias) * scale`.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<T> {
    pub(crate) activation: Activation,
    pub(crate) scale: T,
    pub(crate) stabilizer: Stabilizer<T>,
}

/// Compiles `$body` once for each activation, with the constant `$known` equal to `$activation`, so that loops in it do
/// not branch on the activation for every register. Measured: `rust/core/TUNING.md`, "Known activations".
///
/// A macro, because closures do not inherit `target_feature`.
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

/// The derivative of leaky_relu below 0.
const LEAK: f64 = 0.01;
/// The constants of selu: lambda and lambda * alpha.
const SELU: (f64, f64) = (1.050_700_987_355_480_5, 1.050_700_987_355_480_5 * 1.673_263_242_354_377_2);
/// The constants of gelu: 2 sqrt(2 / pi) and the factor of the cube.
const GELU: (f64, f64) = (1.595_769_121_605_730_7, 0.044715);

/// `activation(v) * scale`; finite if v is.
#[inline(always)]
pub(crate) fn activate<T: MathConstants, S: Lanes<T>>(s: S, epilogue: &Epilogue<T>, v: S::V) -> S::V {
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
    // A scale above 1 can overflow.
    clip(s, s.mul(value, s.splat(epilogue.scale)))
}

/// d(activation(v) * scale) / dv; finite if v is.
#[inline(always)]
pub(crate) fn derivative<T: MathConstants, S: Lanes<T>>(s: S, epilogue: &Epilogue<T>, v: S::V) -> S::V {
    let (one, stabilizer) = (s.splat(T::ONE), &epilogue.stabilizer);
    let value = match epilogue.activation {
        Activation::Gelu => {
            // g + v g (1 - g) 2 u'. The clamped square keeps u' finite, so that 0 times it is 0.
            let g = gelu_gate(s, stabilizer, v);
            let square = math::clamped_square(s, stabilizer.square_bound(), v);
            let inner = s.mul_add(square, s.splat(T::from_f64(3.0 * GELU.0 * GELU.1)), s.splat(T::from_f64(GELU.0)));
            s.mul_add(s.mul(s.mul(g, s.sub(one, g)), v), inner, g)
        }
        Activation::Silu => {
            let g = sigmoid(s, stabilizer, v);
            s.mul(g, s.mul_add(v, s.sub(one, g), one))
        }
        _ => {
            let unscaled = Epilogue { scale: T::ONE, ..*epilogue };
            derivative_from_output(s, epilogue.activation, activate(s, &unscaled, v))
        }
    };
    clip(s, s.mul(value, s.splat(epilogue.scale)))
}

/// d(activation(v)) / dv as a function of y = activation(v); see [`Activation::has_derivative_from_output`].
#[inline(always)]
pub(crate) fn derivative_from_output<T: MathConstants, S: Lanes<T>>(s: S, activation: Activation, y: S::V) -> S::V {
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
    /// Whether the derivative is a function of the output. Those of gelu and silu are not, since they are not monotone.
    pub(crate) fn has_derivative_from_output(self) -> bool {
        !matches!(self, Activation::Gelu | Activation::Silu)
    }
}

/// 1 / (1 + exp(clip(-v)))
#[inline(always)]
fn sigmoid<T: MathConstants, S: Lanes<T>>(s: S, stabilizer: &Stabilizer<T>, v: S::V) -> S::V {
    let (low, high) = stabilizer.exp_bounds();
    let negated = s.sub(s.splat(T::ZERO), v);
    math::logistic_of_negated(s, s.max(s.splat(low), s.min(s.splat(high), negated)))
}

#[inline(always)]
fn selu<T: MathConstants, S: Lanes<T>>(s: S, v: S::V) -> S::V {
    let zero = s.splat(T::ZERO);
    let below = s.mul(math::expm1_of_negative(s, s.min(zero, v)), s.splat(T::from_f64(SELU.1)));
    s.select_less(zero, v, s.mul(v, s.splat(T::from_f64(SELU.0))), below)
}

/// The factor of gelu's argument, sigmoid(2 u).
#[inline(always)]
fn gelu_gate<T: MathConstants, S: Lanes<T>>(s: S, stabilizer: &Stabilizer<T>, v: S::V) -> S::V {
    let inner =
        s.mul_add(math::clamped_square(s, stabilizer.square_bound(), v), s.splat(T::from_f64(GELU.1)), s.splat(T::ONE));
    sigmoid(s, stabilizer, s.mul(s.mul(v, inner), s.splat(T::from_f64(GELU.0))))
}

/// Infinity becomes the largest finite value.
#[inline(always)]
fn clip<T: MathConstants, S: Lanes<T>>(s: S, v: S::V) -> S::V {
    math::clamp_magnitude(s, T::MAX, v)
}
