//! `fit`'s checkpoints as Python sees them; `tinyrs.files.checkpoint` writes and reads the files.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tinyrs_core::{Checkpoint, EpochRecord, Layer, Network as CoreNetwork, OptimizerConfig, TrainingConfig};

use crate::optimizer::{AnyOptimizer, Optimizer};
use crate::parameters::{copies_of, network_of};
use crate::training::{Precision, record};

/// Where to write checkpoints, and how often.
pub struct Saver {
    path: Py<PyAny>,
    every: usize,
    settings: Py<PyDict>,
}

impl Saver {
    pub fn new(path: &Bound<PyAny>, every: usize, settings: Bound<PyDict>) -> Self {
        Saver { path: path.clone().unbind(), every, settings: settings.unbind() }
    }

    /// Whether there is to be one after `made` of `epochs` epochs.
    pub fn is_due(&self, made: usize, epochs: usize) -> bool {
        made.is_multiple_of(self.every) || made == epochs
    }

    /// Writes one.
    pub fn save<T: Precision>(&self, py: Python, options: &Bound<PyAny>, checkpoint: Checkpoint<T>) -> PyResult<()> {
        let state = PyDict::new(py);
        state.set_item("options", options)?;
        state.set_item("parameters", copies_of(py, &checkpoint.layers)?)?;
        state.set_item("best", checkpoint.best.map(|layers| copies_of(py, &layers)).transpose()?)?;
        state.set_item("optimizer", Bound::new(py, Optimizer(T::optimizer(checkpoint.optimizer)))?)?;
        let records = checkpoint.epochs.iter().map(|epoch| record(py, epoch)).collect::<PyResult<Vec<_>>>()?;
        state.set_item("records", records)?;
        state.set_item("settings", &self.settings)?;
        py.import("tinyrs.files.checkpoint")?.call_method1("write", (&self.path, state)).map(drop)
    }
}

/// All that decides what bits training ends with, but for the data. A seed of None stands for any.
pub fn settings<'py>(
    py: Python<'py>,
    config: &TrainingConfig,
    seed: Option<u64>,
    (optimizer, rows): (&OptimizerConfig, usize),
) -> PyResult<Bound<'py, PyDict>> {
    let settings = PyDict::new(py);
    settings.set_item("seed", seed)?;
    settings.set_item("rows", rows)?;
    settings.set_item("loss", config.loss.name())?;
    settings.set_item("optimizer", Optimizer(AnyOptimizer::New(*optimizer)).__repr__())?;
    settings.set_item("learning_rate", config.learning_rate)?;
    settings.set_item("schedule", config.schedule.name())?;
    let factors = config.learning_rate_factors.as_ref();
    settings
        .set_item("learning_rate_factors", factors.map(|f| f.iter().map(|(w, b)| vec![*w, *b]).collect::<Vec<_>>()))?;
    settings.set_item("batch_size", config.batch_size)?;
    settings.set_item("epochs", config.epochs)?;
    settings.set_item("weight_decay", config.weight_decay)?;
    settings.set_item("weight_decay_schedule", config.weight_decay_schedule.name())?;
    settings.set_item("dropout", config.dropout)?;
    settings.set_item("dropout_schedule", config.dropout_schedule.name())?;
    settings.set_item("label_smoothing", config.label_smoothing)?;
    settings.set_item("clip_norm", config.clip_norm)?;
    settings.set_item("patience", config.patience)?;
    settings.set_item("monitor", config.monitor.name())?;
    settings.set_item("restore_best", config.restore_best)?;
    settings.set_item("shuffle", config.shuffle)?;
    Ok(settings)
}

/// What the file at `path` holds, which must be of the same training as `settings`; and its seed.
pub fn read<T: Precision>(
    path: &Bound<PyAny>,
    settings: &Bound<PyDict>,
    network: &CoreNetwork<T>,
) -> PyResult<(Checkpoint<T>, u64)> {
    let state = path.py().import("tinyrs.files.checkpoint")?.call_method1("read", (path, settings))?;
    let layers = |name: &str| -> PyResult<Option<Vec<Layer<T>>>> {
        let parameters = state.get_item(name)?;
        if parameters.is_none() {
            return Ok(None);
        }
        Ok(Some(network_of::<T>(&parameters, network.config().clone())?.layers().to_vec()))
    };
    let optimizer = state.get_item("optimizer")?.cast_into::<Optimizer>()?;
    let expected = || {
        let message =
            format!("resume: expected a checkpoint of a network of {}, got one of the other precision", T::NAME);
        PyValueError::new_err(message)
    };
    let epochs = state.get_item("records")?.try_iter()?.map(|item| epoch_of(&item?)).collect::<PyResult<_>>()?;
    let checkpoint = Checkpoint {
        epochs,
        layers: layers("parameters")?.unwrap_or_default(),
        best: layers("best")?,
        optimizer: T::state(optimizer.borrow().0.clone()).map_err(|_| expected())?,
    };
    Ok((checkpoint, state.get_item("seed")?.extract()?))
}

/// The inverse of [`record`].
fn epoch_of(record: &Bound<PyAny>) -> PyResult<EpochRecord> {
    let number = |name: &str| record.get_item(name)?.extract::<f64>();
    let has_validation = record.contains("validation_loss")?;
    let optional = |name: &str| if has_validation { number(name).map(Some) } else { Ok(None) };
    Ok(EpochRecord {
        epoch: record.get_item("epoch")?.extract()?,
        loss: number("loss")?,
        validation_loss: optional("validation_loss")?,
        validation_score: optional("validation_score")?,
        learning_rate: number("learning_rate")?,
        seconds: number("seconds")?,
        samples_per_second: number("samples_per_second")?,
    })
}
