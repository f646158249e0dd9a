//! Where training stands between two epochs: what it came to so far, and all that it needs to go on from there.

use crate::error::{Error, Result};
use crate::memory::Arena;
use crate::network::Network;
use crate::network::layer::Layer;
use crate::parallel::Shared;
use crate::scalar::Scalar;
use crate::training::config::{Monitor, TrainingConfig};
use crate::training::optimizer::{Moment, Optimizer, OptimizerConfig};

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochRecord {
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
pub struct TrainingState<'a, T: Scalar> {
    /// All epochs up to it.
    pub epochs: &'a [EpochRecord],
    /// The parameters.
    pub layers: &'a [Layer<T>],
    /// The optimizer's.
    pub(crate) moments: &'a Arrays<T>,
    /// Parameters of the best epoch, where they are kept.
    pub(crate) best: Option<&'a Snapshot>,
    pub(crate) optimizer: OptimizerConfig,
    pub(crate) steps: u64,
}

impl<T: Scalar> TrainingState<'_, T> {
    /// A copy of all that training has to know to go on.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn checkpoint(&self) -> Result<Checkpoint<T>> {
        let best = self.best.map(|copies| {
            let mut layers = self.layers.to_vec();
            copies.give_layers(&mut layers);
            layers
        });
        // SAFETY: as `Arrays` says, and they are that long.
        let moment =
            |pair: &Arrays<T>| unsafe { Moment::new(pair[0].0.slice(0..pair[0].1), pair[1].0.slice(0..pair[1].1)) };
        let mut first = self.moments.chunks_exact(2).map(moment).collect::<Result<Vec<_>>>()?;
        let second = first.split_off(self.layers.len());
        let optimizer = Optimizer::with_state(self.optimizer, self.steps, first, second)?;
        Ok(Checkpoint { epochs: self.epochs.to_vec(), layers: self.layers.to_vec(), best, optimizer })
    }
}

/// All that training has to know to go on after an epoch as if it had never stopped.
#[derive(Debug, Clone)]
pub struct Checkpoint<T> {
    /// What was made.
    pub epochs: Vec<EpochRecord>,
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
pub(crate) struct BestEpoch {
    /// The smaller the better.
    pub value: f64,
    pub epoch: usize,
    /// Epochs since then that were not better.
    pub epochs_without_improvement: usize,
}

impl BestEpoch {
    /// Whether the epoch is the best.
    pub(crate) fn update(&mut self, monitor: Monitor, record: &EpochRecord) -> bool {
        let value = match monitor {
            Monitor::Loss => record.validation_loss.unwrap_or(record.loss),
            Monitor::Score => -record.validation_score.unwrap_or(0.0),
        };
        self.epochs_without_improvement = if value < self.value { 0 } else { self.epochs_without_improvement + 1 };
        let is_best = value < self.value || (value == self.value && monitor == Monitor::Score);
        if is_best {
            (self.value, self.epoch) = (value, record.epoch);
        }
        is_best
    }
}

/// The arrays that training changes, with their lengths: the parameters, a weight and a bias for each layer, then the
/// optimizer's moments likewise. Between epochs nobody else uses them.
pub(crate) type Arrays<T> = [(Shared<T>, usize)];

/// Copies of some arrays, to go back to.
pub(crate) struct Snapshot(Arena);

impl Snapshot {
    /// Room for them, which holds any numbers yet.
    pub(crate) fn new<T: Scalar>(arrays: &Arrays<T>) -> Result<Self> {
        let len: usize = arrays.iter().map(|(_, len)| len).sum();
        Arena::new("layer_sizes", len.saturating_mul(size_of::<T>())).map(Snapshot)
    }

    pub(crate) fn take<T: Scalar>(&mut self, arrays: &Arrays<T>) {
        // SAFETY: as `Arrays` says, and they are that long.
        self.fill(arrays.iter().map(|(array, len)| unsafe { &*array.slice(0..*len) }));
    }

    /// Copies of their weights and biases.
    pub(crate) fn take_layers<T: Scalar>(&mut self, layers: &[Layer<T>]) {
        self.fill(layers.iter().flat_map(|layer| [layer.weight(), layer.bias()]));
    }

    fn fill<'a, T: Scalar>(&mut self, arrays: impl Iterator<Item = &'a [T]>) {
        let mut room = self.0.as_mut_slice();
        for array in arrays {
            let (copy, rest) = room.split_at_mut(array.len());
            copy.copy_from_slice(array);
            room = rest;
        }
    }

    pub(crate) fn restore<T: Scalar>(&self, arrays: &Arrays<T>) {
        let mut copies = self.0.as_slice();
        for (array, len) in arrays {
            let (copy, rest) = copies.split_at(*len);
            // SAFETY: as above.
            unsafe { array.slice(0..*len) }.copy_from_slice(copy);
            copies = rest;
        }
    }

    /// Gives them to `layers`, whose parameters they are of.
    fn give_layers<T: Scalar>(&self, layers: &mut [Layer<T>]) {
        let mut copies = self.0.as_slice();
        for layer in layers {
            let (weight, rest) = copies.split_at(layer.weight().len());
            let (bias, rest) = rest.split_at(layer.bias().len());
            layer.copy_from(weight, bias);
            copies = rest;
        }
    }
}
