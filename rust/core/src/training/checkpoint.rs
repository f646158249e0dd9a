//! The state of training between two epochs, and checkpoints: copies of it from which training can resume.

use crate::error::{Error, Result};
use crate::memory::collect;
use crate::network::Network;
use crate::network::layer::Layer;
use crate::scalar::Scalar;
use crate::training::config::TrainingConfig;
use crate::training::optimizer::{Moment, Optimizer, OptimizerConfig};
use crate::training::report::EpochRecord;
use crate::training::snapshot::{SharedArray, Snapshot};

/// The state of training after an epoch, as the callback sees it.
pub struct TrainingState<'a, T: Scalar> {
    /// The records of all epochs so far.
    pub epochs: &'a [EpochRecord],
    /// The current parameters.
    pub layers: &'a [Layer<T>],
    /// A weight and a bias for each layer: the first moments, then the second.
    pub(crate) moments: &'a [SharedArray<T>],
    /// The parameters of the best epoch, if training keeps them.
    pub(crate) best: Option<&'a Snapshot>,
    pub(crate) optimizer: OptimizerConfig,
    /// The number of steps that the optimizer has made.
    pub(crate) steps: u64,
}

impl<T: Scalar> TrainingState<'_, T> {
    /// A copy of everything that is needed to resume training.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn checkpoint(&self) -> Result<Checkpoint<T>> {
        let layers = || self.layers.iter().map(Layer::try_clone).collect::<Result<Vec<_>>>();
        let mut best = self.best.map(|_| layers()).transpose()?;
        if let (Some(snapshot), Some(best)) = (self.best, &mut best) {
            snapshot.restore_layers(best);
        }
        let moment = |pair: &[SharedArray<T>]| Moment::new(pair[0].as_slice(), pair[1].as_slice());
        let mut first = self.moments.chunks_exact(2).map(moment).collect::<Result<Vec<_>>>()?;
        let second = first.split_off(self.layers.len());
        let optimizer = Optimizer::with_state(self.optimizer, self.steps, first, second)?;
        let epochs = collect("epochs", self.epochs.iter().copied())?;
        Ok(Checkpoint { epochs, layers: layers()?, best, optimizer })
    }
}

/// The state of training after an epoch. Training that resumes from it ends with the same bits as training that was
/// never interrupted.
#[derive(Debug)]
pub struct Checkpoint<T> {
    /// The records of the finished epochs.
    pub epochs: Vec<EpochRecord>,
    /// The parameters.
    pub layers: Vec<Layer<T>>,
    /// The parameters of the best epoch, if training keeps them.
    pub best: Option<Vec<Layer<T>>>,
    /// The optimizer and its state.
    pub optimizer: Optimizer<T>,
}

impl<T: Scalar> Checkpoint<T> {
    /// Checks that training of `network` with `config` can resume from this checkpoint. `keeps_best` tells whether it
    /// keeps the parameters of the best epoch.
    pub(crate) fn check(&self, network: &Network<T>, config: &TrainingConfig, keeps_best: bool) -> Result<()> {
        let invalid = |expected: String, got: String| Err(Error::invalid("resume", expected, got));
        let shapes = |layers: &[Layer<T>]| layers.iter().map(|l| (l.inputs(), l.outputs())).collect::<Vec<_>>();
        for layers in std::iter::once(&self.layers).chain(&self.best) {
            if shapes(layers) != shapes(network.layers()) {
                let inputs = layers.first().map(Layer::inputs);
                let sizes: Vec<_> = inputs.into_iter().chain(layers.iter().map(Layer::outputs)).collect();
                let expected = format!("a checkpoint of a network of sizes {:?}", network.layer_sizes());
                return invalid(expected, format!("one of sizes {sizes:?}"));
            }
        }
        if self.best.is_some() != keeps_best {
            let (with, without) = ("with the best epoch's parameters", "without the best epoch's parameters");
            let (expected, got) = if keeps_best { (with, without) } else { (without, with) };
            return invalid(format!("a checkpoint {expected}"), format!("one {got}"));
        }
        if self.epochs.len() > config.epochs {
            return invalid(format!("a checkpoint of at most {} epochs", config.epochs), self.epochs.len().to_string());
        }
        Ok(())
    }
}
