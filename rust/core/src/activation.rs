//! Activation functions by name, and their values on lanes.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::simd::Lanes;
use crate::simd::math::{self, ExpConstants};
use crate::stabilizer::Stabilizer;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name that [`FromStr`] reads.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text),*
                }
            }

            pub(crate) fn parse(argument: &str, text: &str) -> Result<Self> {
                Self::ALL.iter().copied().find(|variant| variant.name() == text).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|variant| format!("{:?}", variant.name())).collect();
                    Error::invalid(argument, format!("one of {}", names.join(", ")), format!("{text:?}"))
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// What a layer does to each of its sums.
    Activation {
        /// 1 / (1 + exp(clip(-x))), with the bounds of the stabilizer.
        Sigmoid = "sigmoid",
        /// tanh(x)
        Tanh = "tanh",
        /// max(0, x)
        Relu = "relu",
        /// x
        Identity = "identity",
    }
}

named! {
    /// What the last layer does to its sums.
    OutputActivation {
        /// Nothing: logits, or the values of a regression.
        Identity = "identity",
        /// What the hidden layers do, activation and scale.
        Same = "same",
        /// exp(x_i) / sum_j exp(x_j): probabilities.
        Softmax = "softmax",
    }
}

impl FromStr for Activation {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Activation::parse("activation", text)
    }
}

impl FromStr for OutputActivation {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        OutputActivation::parse("output_activation", text)
    }
}

/// What is done to a sum once it is known: `activation(sum + bias) * scale`.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue<T> {
    pub(crate) activation: Activation,
    pub(crate) scale: T,
    pub(crate) stabilizer: Stabilizer<T>,
}

/// `activation(v) * scale` for finite v; finite.
#[inline(always)]
pub(crate) fn activate<T: ExpConstants, S: Lanes<T>>(s: S, epilogue: &Epilogue<T>, v: S::V) -> S::V {
    let value = match epilogue.activation {
        Activation::Sigmoid => {
            let (low, high) = epilogue.stabilizer.exp_bounds();
            let negated = s.sub(s.splat(T::ZERO), v);
            math::logistic_of_negated(s, s.max(s.splat(low), s.min(s.splat(high), negated)))
        }
        Activation::Tanh => math::tanh(s, v),
        Activation::Relu => s.max(s.splat(T::ZERO), v),
        Activation::Identity => v,
    };
    // A scale above 1 could overflow; this cannot.
    clip(s, s.mul(value, s.splat(epilogue.scale)))
}

/// Infinity becomes the largest finite value.
#[inline(always)]
fn clip<T: ExpConstants, S: Lanes<T>>(s: S, v: S::V) -> S::V {
    s.max(s.splat(-T::MAX), s.min(s.splat(T::MAX), v))
}
