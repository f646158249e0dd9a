//! Where training stands between two epochs: what it came to so far, and all that it needs to go on from there.

use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::network::Network;
use crate::optimizer::{Moment, Optimizer, OptimizerConfig};
use crate::scalar::Scalar;
use crate::threads::Shared;
use crate::training_config::{Monitor, TrainingConfig};
use crate::workspace::{Aligned, zeros};

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Counted from 0.
    pub epoch: usize,
    /// The mean over the rows of their weighted losses, each as it was when its batch came by.
    pub loss: f64,
    /// The mean loss of the validation set, without dropout or weights, after the epoch.
    pub validation_loss: Option<f64>,
    /// Its share of rows predicted right, or for the squared error 1 - residual / total sum of squares.
    pub validation_score: Option<f64>,
    /// Of the epoch's last step.
    pub learning_rate: f64,
    /// What the epoch took, validation included.
    pub seconds: f64,
    /// Training rows by that time.
    pub samples_per_second: f64,
}

/// Training as it stands after an epoch.
pub struct Standing<'a, T: Scalar> {
    /// All epochs up to it.
    pub epochs: &'a [Epoch],
    /// The parameters.
    pub layers: &'a [Layer<T>],
    /// Parameters and moments.
    pub(crate) finished: &'a Copies<T>,
    /// Parameters of the best epoch, where they are kept.
    pub(crate) best: Option<&'a Copies<T>>,
    pub(crate) optimizer: OptimizerConfig,
    pub(crate) steps: u64,
}

impl<T: Scalar> Standing<'_, T> {
    /// A copy of all that training has to know to go on.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn checkpoint(&self) -> Result<Checkpoint<T>> {
        let mut best = None;
        if let Some(copies) = self.best {
            let mut layers = self.layers.to_vec();
            for (layer, pair) in layers.iter_mut().zip(copies.0.chunks_exact(2)) {
                layer.copy_from(&pair[0], &pair[1]);
            }
            best = Some(layers);
        }
        let pairs = self.finished.0[2 * self.layers.len()..].chunks_exact(2);
        let mut first = pairs.map(|pair| Moment::new(&pair[0], &pair[1])).collect::<Result<Vec<_>>>()?;
        let second = first.split_off(self.layers.len());
        let optimizer = Optimizer::with_state(self.optimizer, self.steps, first, second)?;
        Ok(Checkpoint { epochs: self.epochs.to_vec(), layers: self.layers.to_vec(), best, optimizer })
    }
}

/// All that training has to know to go on after an epoch as if it had never stopped.
#[derive(Debug, Clone)]
pub struct Checkpoint<T> {
    /// What was made.
    pub epochs: Vec<Epoch>,
    /// The parameters.
    pub layers: Vec<Layer<T>>,
    /// The parameters of the best epoch, where they are kept.
    pub best: Option<Vec<Layer<T>>>,
    /// With its state.
    pub optimizer: Optimizer<T>,
}

impl<T: Scalar> Checkpoint<T> {
    /// Whether it is one of training such a network.
    pub(crate) fn check(&self, network: &Network<T>, config: &TrainingConfig, keeps_best: bool) -> Result<()> {
        let invalid = |expected: String, got: String| Err(Error::invalid("resume", expected, got));
        let sizes = |layers: &[Layer<T>]| layers.iter().map(|l| (l.inputs(), l.outputs())).collect::<Vec<_>>();
        for layers in std::iter::once(&self.layers).chain(&self.best) {
            if sizes(layers) != sizes(network.layers()) {
                let expected = format!("a checkpoint of a network of {:?}", network.layer_sizes());
                return invalid(expected, format!("layers of {:?}", sizes(layers)));
            }
        }
        if self.best.is_some() != keeps_best {
            let with =
                |best| if best { "one with the best epoch's parameters" } else { "one without the best epoch's" };
            return invalid(with(keeps_best).into(), with(self.best.is_some()).into());
        }
        if self.epochs.len() > config.epochs {
            return invalid(format!("at most {} epochs", config.epochs), self.epochs.len().to_string());
        }
        Ok(())
    }
}

/// Which epoch was the best so far.
pub(crate) struct Best {
    /// The smaller the better.
    pub value: f64,
    pub epoch: usize,
    /// Epochs since then that were not better.
    pub stale: usize,
}

impl Best {
    /// Whether the epoch is the best.
    pub(crate) fn update(&mut self, monitor: Monitor, record: &Epoch) -> bool {
        let value = match monitor {
            Monitor::Loss => record.validation_loss.unwrap_or(record.loss),
            Monitor::Score => -record.validation_score.unwrap_or(0.0),
        };
        self.stale = if value < self.value { 0 } else { self.stale + 1 };
        let is_best = value < self.value || (value == self.value && monitor == Monitor::Score);
        if is_best {
            (self.value, self.epoch) = (value, record.epoch);
        }
        is_best
    }
}

/// Copies of some arrays, to go back to.
pub(crate) struct Copies<T: Scalar>(Vec<Aligned<T>>);

impl<T: Scalar> Copies<T> {
    pub(crate) fn of(arrays: &[(Shared<T>, usize)]) -> Result<Self> {
        let mut copies = Copies(arrays.iter().map(|(_, len)| zeros("layer_sizes", *len)).collect::<Result<_>>()?);
        copies.take(arrays);
        Ok(copies)
    }

    pub(crate) fn take(&mut self, arrays: &[(Shared<T>, usize)]) {
        for (copy, (array, len)) in self.0.iter_mut().zip(arrays) {
            // SAFETY: between epochs nobody else uses the arrays, which are that long.
            copy.copy_from_slice(unsafe { array.slice(0..*len) });
        }
    }

    /// Copies of their weights and biases.
    pub(crate) fn take_layers(&mut self, layers: &[Layer<T>]) {
        for (pair, layer) in self.0.chunks_exact_mut(2).zip(layers) {
            pair[0].copy_from_slice(layer.weight());
            pair[1].copy_from_slice(layer.bias());
        }
    }

    pub(crate) fn restore(&self, arrays: &[(Shared<T>, usize)]) {
        for (copy, (array, len)) in self.0.iter().zip(arrays) {
            // SAFETY: as above.
            unsafe { array.slice(0..*len) }.copy_from_slice(copy);
        }
    }
}
