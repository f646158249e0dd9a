//! The arguments of `Network.fit`, which `tinyrs.network` hands over as one dict.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;
use tinyrs_core::{Algorithm, Monitor, OptimizerConfig, OutputActivation, Schedule, TrainingConfig};

use crate::arguments::{as_count, as_seed, thread_count};
use crate::errors::to_python;
use crate::optimizer::Optimizer;
use crate::samples::{Data, loss_of};

/// The arguments of `fit`, each converted or `None`.
pub struct FitArguments<'py> {
    pub x: Bound<'py, PyAny>,
    y: Bound<'py, PyAny>,
    sample_weight: Option<Bound<'py, PyAny>>,
    /// X and y of the validation set.
    validation: Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    /// The settings, with a seed of 0: the seed of a checkpoint is not known yet.
    pub config: TrainingConfig,
    /// None for the seed of the checkpoint, or a random one.
    pub seed: Option<u64>,
    pub optimizer_config: OptimizerConfig,
    /// The caller's optimizer, unless it is only a name.
    pub optimizer: Option<Bound<'py, Optimizer>>,
    /// A callable that takes the record of an epoch and returns whether to stop.
    pub callback: Option<Bound<'py, PyAny>>,
    /// The class of the progress bar.
    pub progress: Option<Bound<'py, PyAny>>,
    /// A callable that writes a checkpoint; see [`crate::checkpoint::Saver`].
    pub write_checkpoint: Option<Bound<'py, PyAny>>,
    /// The number of epochs between two checkpoints.
    pub checkpoint_every: usize,
    /// A callable that reads the checkpoint to resume from; see [`crate::checkpoint::read`].
    pub read_checkpoint: Option<Bound<'py, PyAny>>,
}

impl<'py> FitArguments<'py> {
    /// Converts the dict `arguments` for a network with this output activation.
    ///
    /// # Errors
    /// TypeError or ValueError that names the argument.
    pub fn new(arguments: &Bound<'py, PyDict>, output: OutputActivation) -> PyResult<Self> {
        let arguments = Arguments(arguments);
        let config = arguments.config(output)?;
        let (optimizer_config, optimizer) = arguments.optimizer()?;
        Ok(FitArguments {
            x: arguments.get("X")?,
            y: arguments.get("y")?,
            sample_weight: arguments.optional("sample_weight")?,
            validation: arguments.validation()?,
            config,
            seed: as_seed(arguments.optional("seed")?.as_ref())?,
            optimizer_config,
            optimizer,
            callback: arguments.callback()?,
            progress: arguments.optional("progress")?,
            write_checkpoint: arguments.optional("checkpoint")?,
            checkpoint_every: arguments.count("checkpoint_every")?,
            read_checkpoint: arguments.optional("resume")?,
        })
    }

    /// The training set.
    pub fn data(&self) -> Data<'_, 'py> {
        Data { x: &self.x, y: &self.y, sample_weight: self.sample_weight.as_ref() }
    }

    /// The validation set.
    pub fn validation(&self) -> Option<Data<'_, 'py>> {
        self.validation.as_ref().map(|(x, y)| Data { x, y, sample_weight: None })
    }
}

/// The dict, with one method per kind of value.
struct Arguments<'a, 'py>(&'a Bound<'py, PyDict>);

impl<'py> Arguments<'_, 'py> {
    fn config(&self, output: OutputActivation) -> PyResult<TrainingConfig> {
        let loss = self.optional("loss")?.map(|name| as_name("loss", &name)).transpose()?;
        let schedule = |argument| Schedule::parse(argument, &self.name(argument)?).map_err(to_python);
        Ok(TrainingConfig {
            loss: loss_of(loss.as_deref(), output)?,
            learning_rate: self.number("learning_rate")?,
            schedule: schedule("schedule")?,
            learning_rate_factors: self.learning_rate_factors()?,
            batch_size: self.count("batch_size")?,
            epochs: self.count("epochs")?,
            weight_decay: self.number("weight_decay")?,
            weight_decay_schedule: schedule("weight_decay_schedule")?,
            dropout: self.number("dropout")?,
            dropout_schedule: schedule("dropout_schedule")?,
            label_smoothing: self.number("label_smoothing")?,
            clip_norm: self.optional("clip_norm")?.map(|value| as_number("clip_norm", &value)).transpose()?,
            patience: self.optional("patience")?.map(|_| self.count("patience")).transpose()?,
            monitor: Monitor::parse("monitor", &self.name("monitor")?).map_err(to_python)?,
            restore_best: self.flag("restore_best")?,
            shuffle: self.flag("shuffle")?,
            seed: 0,
            n_threads: thread_count(self.optional("n_threads")?.as_ref())?,
        })
    }

    /// What the optimizer does, and the caller's `Optimizer` if it is one.
    fn optimizer(&self) -> PyResult<(OptimizerConfig, Option<Bound<'py, Optimizer>>)> {
        let value = self.get("optimizer")?;
        if let Ok(optimizer) = value.cast::<Optimizer>() {
            let config = *optimizer.borrow().config();
            return Ok((config, Some(optimizer.clone())));
        }
        let Ok(name) = value.extract::<PyBackedStr>() else {
            let got = value.get_type();
            return Err(PyTypeError::new_err(format!("optimizer: expected a name or an Optimizer, got {got}")));
        };
        let algorithm = Algorithm::parse("optimizer", &name).map_err(to_python)?;
        Ok((OptimizerConfig::new(algorithm), None))
    }

    /// One pair (factor for W, factor for b) per layer.
    fn learning_rate_factors(&self) -> PyResult<Option<Vec<(f64, f64)>>> {
        let Some(value) = self.optional("learning_rate_factors")? else { return Ok(None) };
        value.extract().map(Some).map_err(|_| {
            let got = value.get_type();
            PyTypeError::new_err(format!("learning_rate_factors: expected a sequence of pairs of numbers, got {got}"))
        })
    }

    fn validation(&self) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
        let Some(value) = self.optional("validation")? else { return Ok(None) };
        value.extract().map(Some).map_err(|_| {
            let got = value.get_type();
            PyTypeError::new_err(format!("validation: expected a pair (X, y), got {got}"))
        })
    }

    fn callback(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = self.optional("callback")?;
        if let Some(value) = &value
            && !value.is_callable()
        {
            let got = value.get_type();
            return Err(PyTypeError::new_err(format!("callback: expected a callable, got {got}")));
        }
        Ok(value)
    }

    fn get(&self, argument: &str) -> PyResult<Bound<'py, PyAny>> {
        self.0.as_any().get_item(argument)
    }

    /// The value, or `None` if it is None in Python.
    fn optional(&self, argument: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.get(argument).map(|value| (!value.is_none()).then_some(value))
    }

    fn count(&self, argument: &str) -> PyResult<usize> {
        Ok(as_count(argument, &self.get(argument)?, 1)? as usize)
    }

    fn number(&self, argument: &str) -> PyResult<f64> {
        as_number(argument, &self.get(argument)?)
    }

    fn name(&self, argument: &str) -> PyResult<PyBackedStr> {
        as_name(argument, &self.get(argument)?)
    }

    fn flag(&self, argument: &str) -> PyResult<bool> {
        let value = self.get(argument)?;
        value.extract().map_err(|_| wrong_type(argument, "True or False", &value))
    }
}

fn as_number(argument: &str, value: &Bound<PyAny>) -> PyResult<f64> {
    value.extract().map_err(|_| wrong_type(argument, "a number", value))
}

fn as_name(argument: &str, value: &Bound<PyAny>) -> PyResult<PyBackedStr> {
    value.extract().map_err(|_| wrong_type(argument, "a name", value))
}

fn wrong_type(argument: &str, expected: &str, value: &Bound<PyAny>) -> PyErr {
    PyTypeError::new_err(format!("{argument}: expected {expected}, got {}", value.get_type()))
}
