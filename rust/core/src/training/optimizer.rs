//! Optimizers: SGD, Adam and AdamW, their settings and their state. `linalg::optimizer_update` has the arithmetic.

use crate::error::{Error, Result};
use crate::linalg::optimizer_update::{OptimizerUpdate, ParameterArrays, Rule, Update};
use crate::matrix::Matrix;
use crate::memory::{Aligned, copy_of, zeros};
use crate::network::Network;
use crate::network::layer::{Layer, check_parameters, layer_sizes};
use crate::scalar::Scalar;
use crate::simd::dispatch::Dispatch;
use crate::string_enum::string_enum;

string_enum! {
    /// The update rule.
    Algorithm("optimizer") {
        /// v = momentum * v + g, w -= rate * v; with Nesterov momentum w -= rate * (g + momentum * v) (Sutskever et al.
        /// 2013, in PyTorch's form).
        Sgd = "sgd",
        /// Adam (Kingma and Ba 2015); weight decay is added to the gradient as an L2 penalty.
        Adam = "adam",
        /// Adam with decoupled weight decay, w -= rate * weight_decay * w (Loshchilov and Hutter 2019).
        AdamW = "adamw",
    }
}

/// An update rule and its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerConfig {
    /// The update rule.
    pub algorithm: Algorithm,
    /// The momentum of SGD, in [0, 1).
    pub momentum: f64,
    /// Whether SGD uses Nesterov momentum.
    pub nesterov: bool,
    /// The decay rate of Adam's mean of gradients, in [0, 1).
    pub beta1: f64,
    /// The decay rate of Adam's mean of squared gradients, in [0, 1).
    pub beta2: f64,
    /// Added to the square root of Adam's mean of squared gradients; at least 1e-30.
    pub epsilon: f64,
}

impl OptimizerConfig {
    /// The default settings: momentum 0.9, betas 0.9 and 0.999, epsilon 1e-8.
    pub fn new(algorithm: Algorithm) -> Self {
        OptimizerConfig { algorithm, momentum: 0.9, nesterov: false, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }

    /// Step number `step`, from 1. `square_bound` bounds gradients before Adam squares them.
    pub(crate) fn step<T: Scalar>(
        &self,
        step: u64,
        learning_rate: f64,
        weight_decay: f64,
        square_bound: T,
    ) -> OptimizerStep<T> {
        let t = T::from_f64;
        let rule = match self.algorithm {
            Algorithm::Sgd => Rule::Sgd { momentum: t(self.momentum), nesterov: self.nesterov },
            Algorithm::Adam | Algorithm::AdamW => Rule::Adam {
                beta1: t(self.beta1),
                beta2: t(self.beta2),
                one_minus_beta1: t(1.0 - self.beta1),
                one_minus_beta2: t(1.0 - self.beta2),
                bias_correction1: t(1.0 / (1.0 - power(self.beta1, step))),
                bias_correction2: t(1.0 / (1.0 - power(self.beta2, step))),
                epsilon: t(self.epsilon),
                square_bound,
            },
        };
        let decoupled = self.algorithm == Algorithm::AdamW;
        OptimizerStep { rule, learning_rate, weight_decay, decoupled, gradient_factor: 1.0 }
    }

    /// Checks that all settings are in their ranges.
    fn check(&self) -> Result<()> {
        for (argument, value) in [("momentum", self.momentum), ("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::invalid(argument, format!("0 <= {argument} < 1"), value));
            }
        }
        // Smaller values make 1 / epsilon overflow in f32.
        if !(1e-30..f64::INFINITY).contains(&self.epsilon) {
            return Err(Error::invalid("epsilon", "a number of at least 1e-30", self.epsilon));
        }
        Ok(())
    }
}

/// A moment of one layer's gradient, or SGD's velocity: one number for each weight and each bias.
#[derive(Debug)]
pub struct Moment<T> {
    /// (outputs, inputs), like the weights.
    weight: Aligned<T>,
    /// (outputs,)
    bias: Aligned<T>,
}

impl<T: Scalar> Moment<T> {
    /// A copy of `weight` (outputs, inputs) and `bias` (outputs,).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(weight: &[T], bias: &[T]) -> Result<Self> {
        Ok(Moment { weight: copy_of("optimizer", weight)?, bias: copy_of("optimizer", bias)? })
    }

    /// Pointers to the moments of the weights and of the biases.
    pub(crate) fn as_mut_ptrs(&mut self) -> (*mut T, *mut T) {
        (self.weight.as_mut_ptr(), self.bias.as_mut_ptr())
    }

    /// The moments of the weights (outputs, inputs) and of the biases (outputs,).
    pub fn values(&self) -> (&[T], &[T]) {
        (&self.weight, &self.bias)
    }
}

/// An optimizer with its state, which the next call of `fit` continues.
#[derive(Debug)]
pub struct Optimizer<T> {
    config: OptimizerConfig,
    /// The number of steps so far.
    pub(crate) steps: u64,
    /// SGD's velocity or Adam's mean of gradients, for each layer; empty before the first call of `fit`.
    pub(crate) first: Vec<Moment<T>>,
    /// Adam's mean of squared gradients, for each layer; empty for SGD.
    pub(crate) second: Vec<Moment<T>>,
}

impl<T: Scalar> Optimizer<T> {
    /// An optimizer before its first step.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting out of its range.
    pub fn new(config: OptimizerConfig) -> Result<Self> {
        config.check()?;
        Ok(Optimizer { config, steps: 0, first: Vec::new(), second: Vec::new() })
    }

    /// An optimizer that has made `steps` steps and has these moments, see [`Optimizer::moments`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting out of its range.
    pub fn with_state(
        config: OptimizerConfig,
        steps: u64,
        first: Vec<Moment<T>>,
        second: Vec<Moment<T>>,
    ) -> Result<Self> {
        Ok(Optimizer { steps, first, second, ..Optimizer::new(config)? })
    }

    /// A copy of the optimizer. Not `Clone`, which could not report a failed allocation.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_clone(&self) -> Result<Self> {
        let copies = |moments: &[Moment<T>]| -> Result<Vec<Moment<T>>> {
            moments.iter().map(|moment| Moment::new(&moment.weight, &moment.bias)).collect()
        };
        let (first, second) = (copies(&self.first)?, copies(&self.second)?);
        Ok(Optimizer { config: self.config, steps: self.steps, first, second })
    }

    /// The update rule and its settings.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The first moments (SGD's velocity or Adam's mean of gradients) and Adam's second moments (its mean of squared
    /// gradients), for each layer.
    pub fn moments(&self) -> (&[Moment<T>], &[Moment<T>]) {
        (&self.first, &self.second)
    }

    /// Whether it has made no steps and fits any network.
    pub fn is_new(&self) -> bool {
        self.steps == 0 && self.first.is_empty() && self.second.is_empty()
    }

    /// Frees the moments of an optimizer that has made no steps, so that it fits any network again.
    pub(crate) fn forget_unused_moments(&mut self) {
        if self.steps == 0 {
            (self.first, self.second) = (Vec::new(), Vec::new());
        }
    }

    /// Allocates moments for `layers`, or checks that the existing moments have the same shapes.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the moments belong to a network of other sizes; [`Error::OutOfMemory`].
    pub(crate) fn prepare(&mut self, layers: &[Layer<T>]) -> Result<()> {
        let fresh = |wanted: bool| -> Result<Vec<Moment<T>>> {
            let layers = if wanted { layers } else { &[] };
            let moment = |layer: &Layer<T>| {
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
            moments.len() == if wanted { layers.len() } else { 0 }
                && moments.iter().zip(layers).all(|(moment, layer)| {
                    moment.weight.len() == layer.weight().len() && moment.bias.len() == layer.bias().len()
                })
        };
        if !fits(&self.first, true) || !fits(&self.second, adaptive) {
            let expected = format!("one used with a network of sizes {:?}, or a new one", layer_sizes(layers));
            return Err(Error::invalid("optimizer", expected, "one used with a network of other sizes"));
        }
        Ok(())
    }
}

impl<T: Dispatch> Optimizer<T> {
    /// Changes the parameters of `network` by one step, as [`crate::fit`] does after a batch. `gradients` are those of
    /// [`crate::loss_and_gradients`], or sums of them: dLoss/dW (outputs, inputs) and dLoss/db (outputs,) for each layer.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NonFinite`] or [`Error::OutOfMemory`]. If the step makes a parameter infinite, that is
    /// an [`Error::NonFinite`] too, and neither the network nor the optimizer should be used any more.
    pub fn step(
        &mut self,
        network: &mut Network<T>,
        gradients: &[(Matrix<T>, &[T])],
        learning_rate: f64,
        weight_decay: f64,
    ) -> Result<()> {
        check_step(network, gradients, learning_rate, weight_decay)?;
        self.prepare(network.layers())?;
        let (kernels, square_bound) = (network.kernels(), network.epilogue(0).stabilizer.square_bound());
        let step = self.config.step(self.steps + 1, learning_rate, weight_decay, square_bound);
        let n_embedding = network.config().n_embedding_layers();
        for (l, (layer, (dw, db))) in network.layers_mut().iter_mut().zip(gradients).enumerate() {
            // An embedding does not decay.
            let weight_update = if l < n_embedding { step.bias_update(1.0) } else { step.weight_update(1.0) };
            let (weight, bias) = layer.parameters_mut();
            let (first, second) = (&mut self.first[l], self.second.get_mut(l));
            let (second_weight, second_bias): (&mut [T], &mut [T]) =
                second.map_or((&mut [], &mut []), |moment| (&mut moment.weight, &mut moment.bias));
            kernels.run(OptimizerUpdate {
                update: &weight_update,
                arrays: ParameterArrays {
                    parameters: weight,
                    gradient: dw.data(),
                    first_moment: &mut first.weight,
                    second_moment: second_weight,
                },
            });
            kernels.run(OptimizerUpdate {
                update: &step.bias_update(1.0),
                arrays: ParameterArrays {
                    parameters: bias,
                    gradient: db,
                    first_moment: &mut first.bias,
                    second_moment: second_bias,
                },
            });
        }
        self.steps += 1;
        network.layers().iter().enumerate().try_for_each(|(l, layer)| {
            let weight = Matrix::new("W", layer.weight(), layer.outputs(), layer.inputs())?;
            check_parameters(
                &format!("after the step, parameters[{l}]"),
                (layer.outputs(), layer.inputs()),
                weight,
                layer.bias(),
            )
        })
    }
}

/// Checks the arguments of [`Optimizer::step`].
fn check_step<T: Scalar>(
    network: &Network<T>,
    gradients: &[(Matrix<T>, &[T])],
    learning_rate: f64,
    weight_decay: f64,
) -> Result<()> {
    if !(learning_rate > 0.0 && learning_rate.is_finite()) {
        return Err(Error::invalid("learning_rate", "a finite number above 0", learning_rate));
    }
    if !(weight_decay >= 0.0 && weight_decay.is_finite()) {
        return Err(Error::invalid("weight_decay", "a finite number of at least 0", weight_decay));
    }
    let layers = network.layers();
    if gradients.len() != layers.len() {
        let expected = format!("{} (dW, db) pairs, one for each layer", layers.len());
        return Err(Error::invalid("gradients", expected, gradients.len()));
    }
    for (l, (layer, (dw, db))) in layers.iter().zip(gradients).enumerate() {
        check_parameters(&format!("gradients[{l}]"), (layer.outputs(), layer.inputs()), *dw, db)?;
    }
    Ok(())
}

/// base^n by repeated squaring, which gives the same bits on every platform, unlike `powi`.
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

/// One step of an optimizer, before it is applied to the parameters.
#[derive(Clone, Copy)]
pub(crate) struct OptimizerStep<T> {
    rule: Rule<T>,
    learning_rate: f64,
    weight_decay: f64,
    /// Whether weight decay is decoupled from the gradient.
    decoupled: bool,
    /// The factor of all gradients, below 1 if they are clipped.
    pub gradient_factor: f64,
}

impl<T: Scalar> OptimizerStep<T> {
    /// The update of weights; `factor` is their factor of the learning rate.
    pub(crate) fn weight_update(&self, factor: f64) -> Update<T> {
        let learning_rate = self.learning_rate * factor;
        let (l2, decay_factor) =
            if self.decoupled { (0.0, 1.0 - learning_rate * self.weight_decay) } else { (self.weight_decay, 1.0) };
        Update { l2: T::from_f64(l2), decay_factor: T::from_f64(decay_factor), ..self.bias_update(factor) }
    }

    /// The update of biases, without weight decay; `factor` is their factor of the learning rate.
    pub(crate) fn bias_update(&self, factor: f64) -> Update<T> {
        let (learning_rate, gradient_factor) =
            (T::from_f64(self.learning_rate * factor), T::from_f64(self.gradient_factor));
        Update { rule: self.rule, learning_rate, l2: T::ZERO, decay_factor: T::ONE, gradient_factor }
    }
}
