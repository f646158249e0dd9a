//! Checkpoints of `fit` as Python objects. `tinyrs.files.checkpoint` writes them to files and reads them.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tinyrs_core::{Checkpoint, Layer, Network, OptimizerConfig, TrainingConfig};

use crate::calls::call;
use crate::optimizer::{self, Optimizer};
use crate::parameters::{copies_of, network_of};
use crate::precision::Precision;
use crate::records::{epoch_of, record_of};

/// Writes a checkpoint every few epochs.
pub struct Saver {
    /// A callable that writes the dict of a checkpoint to a file.
    pub write: Py<PyAny>,
    /// The number of epochs between two checkpoints.
    pub every: usize,
    /// The dict that [`settings`] returns.
    pub settings: Py<PyDict>,
}

impl Saver {
    /// Whether to write a checkpoint after `finished` of `epochs` epochs.
    pub fn is_due(&self, finished: usize, epochs: usize) -> bool {
        finished.is_multiple_of(self.every) || finished == epochs
    }

    pub fn save<T: Precision>(&self, py: Python, checkpoint: Checkpoint<T>) -> PyResult<()> {
        let state = PyDict::new(py);
        state.set_item("parameters", copies_of(py, &checkpoint.layers)?)?;
        state.set_item("best", checkpoint.best.map(|layers| copies_of(py, &layers)).transpose()?)?;
        state.set_item("optimizer", Bound::new(py, Optimizer::from(T::any_optimizer(checkpoint.optimizer)))?)?;
        let records = checkpoint.epochs.iter().map(|epoch| record_of(py, epoch)).collect::<PyResult<Vec<_>>>()?;
        state.set_item("records", records)?;
        state.set_item("settings", &self.settings)?;
        call(self.write.bind(py), (state,)).map(drop)
    }
}

/// The settings that decide, together with the data, the bits that training ends with. A seed of None matches any seed.
pub fn settings<'py, T: Precision>(
    py: Python<'py>,
    config: &TrainingConfig,
    seed: Option<u64>,
    optimizer: &OptimizerConfig,
    rows: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let settings = PyDict::new(py);
    let factors = config.learning_rate_factors.as_ref();
    let factors = factors.map(|factors| factors.iter().map(|(weight, bias)| [*weight, *bias]).collect::<Vec<_>>());
    settings.set_item("precision", T::NAME)?;
    settings.set_item("seed", seed)?;
    settings.set_item("rows", rows)?;
    settings.set_item("loss", config.loss.name())?;
    settings.set_item("optimizer", optimizer::repr(optimizer))?;
    settings.set_item("learning_rate", config.learning_rate)?;
    settings.set_item("schedule", config.schedule.name())?;
    settings.set_item("learning_rate_factors", factors)?;
    settings.set_item("batch_size", config.batch_size)?;
    settings.set_item("epochs", config.epochs)?;
    settings.set_item("weight_decay", config.weight_decay)?;
    settings.set_item("weight_decay_schedule", config.weight_decay_schedule.name())?;
    settings.set_item("dropout", config.dropout)?;
    settings.set_item("dropout_schedule", config.dropout_schedule.name())?;
    settings.set_item("label_smoothing", config.label_smoothing)?;
    settings.set_item("smoothing_prior", config.smoothing_prior.as_ref())?;
    settings.set_item("clip_norm", config.clip_norm)?;
    settings.set_item("patience", config.patience)?;
    settings.set_item("monitor", config.monitor.name())?;
    settings.set_item("restore_best", config.restore_best)?;
    settings.set_item("shuffle", config.shuffle)?;
    Ok(settings)
}

/// The checkpoint that the callable `read` returns for these settings, and its seed.
///
/// # Errors
/// ValueError if the checkpoint has other settings, or does not fit `network`.
pub fn read<T: Precision>(
    read: &Bound<PyAny>,
    settings: &Bound<PyDict>,
    network: &Network<T>,
) -> PyResult<(Checkpoint<T>, u64)> {
    let state = call(read, (settings,))?;
    let layers = |name: &str| -> PyResult<Option<Vec<Layer<T>>>> {
        let parameters = state.get_item(name)?;
        if parameters.is_none() {
            return Ok(None);
        }
        Ok(Some(network_of::<T>(&parameters, network.config().clone())?.into_layers()))
    };
    let optimizer = state.get_item("optimizer")?.cast_into::<Optimizer>()?;
    let optimizer = T::optimizer_from(optimizer.get().0.current().try_clone()?).map_err(|other| {
        let (network, checkpoint) = (T::NAME, other.precision());
        PyValueError::new_err(format!("resume: the network is {network}, but the checkpoint is {checkpoint}"))
    })?;
    let epochs = state.get_item("records")?.try_iter()?.map(|item| epoch_of(&item?)).collect::<PyResult<_>>()?;
    let (layers, best) = (layers("parameters")?.unwrap_or_default(), layers("best")?);
    Ok((Checkpoint { epochs, layers, best, optimizer }, state.get_item("seed")?.extract()?))
}
