//! The settings of `fit` and their valid ranges.

use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::string_enum::string_enum;
use crate::training::loss::Loss;
use crate::training::schedule::Schedule;

string_enum! {
    /// The value by which epochs are compared.
    Monitor("monitor") {
        /// The validation loss, or the training loss if there is no validation set.
        Loss = "loss",
        /// The validation score; of equal scores the last one is the best.
        Score = "score",
    }
}

/// The settings of `fit`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    /// The loss to minimize.
    pub loss: Loss,
    /// The largest learning rate, above 0.
    pub learning_rate: f64,
    /// The factor of the learning rate over time.
    pub schedule: Schedule,
    /// For each layer, the factors of the learning rate for its weights and its biases; `None` means 1 everywhere.
    pub learning_rate_factors: Option<Vec<(f64, f64)>>,
    /// Rows per step; the last step of an epoch may have fewer.
    pub batch_size: usize,
    /// How many times training goes through all rows.
    pub epochs: usize,
    /// The decay of weights; biases do not decay. See [`crate::Algorithm`].
    pub weight_decay: f64,
    /// The factor of `weight_decay` over time.
    pub weight_decay_schedule: Schedule,
    /// The probability of dropping a hidden value, in [0, 1).
    pub dropout: f64,
    /// The factor of `dropout` over time.
    pub dropout_schedule: Schedule,
    /// The fraction of each target that label smoothing replaces, in [0, 1).
    pub label_smoothing: f64,
    /// What label smoothing mixes into each target: a probability for each output, (outputs,). `None`: the same for all
    /// classes, or 1/2 for each label.
    pub smoothing_prior: Option<Vec<f64>>,
    /// The largest 2-norm of the gradient over all parameters; a longer gradient is scaled down to it.
    pub clip_norm: Option<f64>,
    /// Training stops after this number of epochs without improvement.
    pub patience: Option<usize>,
    /// The value that tells which epoch is better.
    pub monitor: Monitor,
    /// Whether training ends with the parameters of the best epoch; needs a validation set.
    pub restore_best: bool,
    /// Whether rows are shuffled before each epoch.
    pub shuffle: bool,
    /// The seed of shuffling and dropout.
    pub seed: u64,
    /// The largest number of threads.
    pub n_threads: usize,
}

impl TrainingConfig {
    /// Ten epochs in batches of 256 at a constant learning rate of 0.001, without regularization or early stopping.
    pub fn new(loss: Loss) -> Self {
        TrainingConfig {
            loss,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            learning_rate_factors: None,
            batch_size: 256,
            epochs: 10,
            weight_decay: 0.0,
            weight_decay_schedule: Schedule::Constant,
            dropout: 0.0,
            dropout_schedule: Schedule::Constant,
            label_smoothing: 0.0,
            smoothing_prior: None,
            clip_norm: None,
            patience: None,
            monitor: Monitor::Loss,
            restore_best: true,
            shuffle: true,
            seed: 0,
            n_threads: 1,
        }
    }

    /// Checks the settings for a network of `n_layers` layers and precision `T`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a setting out of its range.
    pub(crate) fn check<T: Scalar>(&self, n_layers: usize, has_validation: bool) -> Result<()> {
        let at_least_one = [("batch_size", self.batch_size), ("epochs", self.epochs)];
        for (argument, value) in at_least_one.into_iter().chain(self.patience.map(|n| ("patience", n))) {
            if value == 0 {
                return Err(Error::invalid(argument, "at least 1", value));
            }
        }
        let above_zero = [("learning_rate", self.learning_rate)];
        for (argument, value) in above_zero.into_iter().chain(self.clip_norm.map(|norm| ("clip_norm", norm))) {
            // Rounding to the network's precision must not give 0 or infinity.
            if !(T::from_f64(value) > T::ZERO && T::from_f64(value).is_finite()) {
                return Err(Error::invalid(argument, "a finite number above 0", value));
            }
        }
        if !(0.0..f64::INFINITY).contains(&self.weight_decay) {
            return Err(Error::invalid("weight_decay", "a finite number of at least 0", self.weight_decay));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::invalid("dropout", "0 <= dropout < 1", self.dropout));
        }
        if let Some(factors) = &self.learning_rate_factors {
            if factors.len() != n_layers {
                let expected = format!("{n_layers} pairs (factor of W, factor of b), one per layer");
                return Err(Error::invalid("learning_rate_factors", expected, factors.len()));
            }
            if let Some(bad) = factors.iter().flat_map(|(w, b)| [w, b]).find(|f| !(0.0..f64::INFINITY).contains(*f)) {
                return Err(Error::invalid("learning_rate_factors", "finite numbers of at least 0", bad));
            }
        }
        if self.monitor == Monitor::Score && !has_validation {
            return Err(Error::invalid("monitor", "\"loss\", because there is no validation set", "\"score\""));
        }
        Ok(())
    }
}
