//! How to train: the numbers that `fit` takes, and what they may be.

use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::string_enum::string_enum;
use crate::training::loss::Loss;
use crate::training::schedule::Schedule;

string_enum! {
    /// What tells whether an epoch was better than those before it.
    Monitor("monitor") {
        /// The validation loss, or the training loss where nothing is held out.
        Loss = "loss",
        /// The validation score; of equal ones the last.
        Score = "score",
    }
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingConfig {
    /// What is made small.
    pub loss: Loss,
    /// The largest learning rate, above 0.
    pub learning_rate: f64,
    /// Factor of the learning rate.
    pub schedule: Schedule,
    /// Factors of the learning rate of each layer's weights and biases; none for 1 everywhere.
    pub learning_rate_factors: Option<Vec<(f64, f64)>>,
    /// Rows in a step; the last of an epoch may have fewer.
    pub batch_size: usize,
    /// Times all rows are seen.
    pub epochs: usize,
    /// Of weights, not of biases; see [`crate::Algorithm`].
    pub weight_decay: f64,
    /// Factor of the weight decay.
    pub weight_decay_schedule: Schedule,
    /// The share of hidden values that are dropped, in [0, 1).
    pub dropout: f64,
    /// Factor of that share.
    pub dropout_schedule: Schedule,
    /// The share of each target that is spread over all classes, in [0, 1).
    pub label_smoothing: f64,
    /// Gradients whose 2-norm over all parameters is larger are scaled down to it.
    pub clip_norm: Option<f64>,
    /// StopReason after so many epochs without a better one.
    pub patience: Option<usize>,
    /// What a better one is.
    pub monitor: Monitor,
    /// End with the parameters of the best epoch, where a validation set tells which that is.
    pub restore_best: bool,
    /// Whether each epoch has an order of its own.
    pub shuffle: bool,
    /// Of shuffling and dropout.
    pub seed: u64,
    /// At most so many threads.
    pub n_threads: usize,
}

impl TrainingConfig {
    /// Ten epochs in batches of 256 at a constant rate of 0.001, and nothing else.
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
            clip_norm: None,
            patience: None,
            monitor: Monitor::Loss,
            restore_best: true,
            shuffle: true,
            seed: 0,
            n_threads: 1,
        }
    }

    pub(crate) fn check<T: Scalar>(&self, n_layers: usize, has_validation: bool) -> Result<()> {
        let at_least_one = [("batch_size", self.batch_size), ("epochs", self.epochs)];
        for (argument, value) in at_least_one.into_iter().chain(self.patience.map(|n| ("patience", n))) {
            if value == 0 {
                return Err(Error::invalid(argument, "at least 1", value));
            }
        }
        let above_zero = [("learning_rate", self.learning_rate)];
        for (argument, value) in above_zero.into_iter().chain(self.clip_norm.map(|norm| ("clip_norm", norm))) {
            // Neither 0 nor infinity in the network's precision either.
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
                let expected = format!("{n_layers} pairs (of W, of b), one a layer");
                return Err(Error::invalid("learning_rate_factors", expected, factors.len()));
            }
            if let Some(bad) = factors.iter().flat_map(|(w, b)| [w, b]).find(|f| !(0.0..f64::INFINITY).contains(*f)) {
                return Err(Error::invalid("learning_rate_factors", "finite numbers of at least 0", bad));
            }
        }
        if self.monitor == Monitor::Score && !has_validation {
            return Err(Error::invalid("monitor", "\"loss\" where there is no validation set", "\"score\""));
        }
        Ok(())
    }
}
