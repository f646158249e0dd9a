//! The arguments of `Network.fit`, which `tinyrs/network.py` passes as three tuples.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use tinyrs_core::{Algorithm, Monitor, OptimizerConfig, OutputActivation, Schedule, TrainingConfig};

use crate::arguments::{as_count, as_seed, thread_count};
use crate::errors::to_python;
use crate::optimizer::Optimizer;
use crate::samples::{Data, loss_of};

/// The arguments of `fit`, converted.
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

/// One argument of `fit`.
struct Argument<'py> {
    name: &'static str,
    value: Bound<'py, PyAny>,
}

/// The [`Argument`] with the name and the value of a variable.
macro_rules! argument {
    ($name:ident) => {
        Argument { name: stringify!($name), value: $name }
    };
}

/// X, y, sample_weight and validation.
pub type DataTuple<'py> = [Bound<'py, PyAny>; 4];
/// The settings of training, from loss to n_threads.
pub type SettingsTuple<'py> = [Bound<'py, PyAny>; 18];
/// The optimizer, the seed, and what to do after each epoch.
pub type ControlTuple<'py> = [Bound<'py, PyAny>; 7];

impl<'py> FitArguments<'py> {
    /// Converts the arguments for a network with this output activation.
    ///
    /// # Errors
    /// TypeError or ValueError that names the argument.
    pub fn new(
        data: DataTuple<'py>,
        settings: SettingsTuple<'py>,
        control: ControlTuple<'py>,
        output: OutputActivation,
    ) -> PyResult<Self> {
        let [x, y, sample_weight, validation] = data;
        let config = training_config(settings, output)?;
        let [optimizer, seed, write_checkpoint, checkpoint_every, read_checkpoint, callback, progress] = control;
        let (optimizer_config, optimizer) = argument!(optimizer).optimizer()?;
        Ok(FitArguments {
            x,
            y,
            sample_weight: argument!(sample_weight).value_or_none(),
            validation: argument!(validation).optional(|pair| pair.extract("a pair (X, y)"))?,
            config,
            seed: as_seed(argument!(seed).value_or_none().as_ref())?,
            optimizer_config,
            optimizer,
            callback: argument!(callback).optional(Argument::callable)?,
            progress: argument!(progress).value_or_none(),
            write_checkpoint: argument!(write_checkpoint).value_or_none(),
            checkpoint_every: argument!(checkpoint_every).count()?,
            read_checkpoint: argument!(read_checkpoint).value_or_none(),
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

fn training_config(settings: SettingsTuple, output: OutputActivation) -> PyResult<TrainingConfig> {
    let [
        loss,
        learning_rate,
        schedule,
        learning_rate_factors,
        batch_size,
        epochs,
        weight_decay,
        weight_decay_schedule,
        dropout,
        dropout_schedule,
        label_smoothing,
        smoothing_prior,
        clip_norm,
        patience,
        monitor,
        restore_best,
        shuffle,
        n_threads,
    ] = settings;
    let loss = argument!(loss).optional(Argument::text)?;
    let factors = argument!(learning_rate_factors);
    Ok(TrainingConfig {
        loss: loss_of(loss.as_deref(), output)?,
        learning_rate: argument!(learning_rate).number()?,
        schedule: argument!(schedule).schedule()?,
        learning_rate_factors: factors.optional(|factors| factors.extract("a sequence of pairs of numbers"))?,
        batch_size: argument!(batch_size).count()?,
        epochs: argument!(epochs).count()?,
        weight_decay: argument!(weight_decay).number()?,
        weight_decay_schedule: argument!(weight_decay_schedule).schedule()?,
        dropout: argument!(dropout).number()?,
        dropout_schedule: argument!(dropout_schedule).schedule()?,
        label_smoothing: argument!(label_smoothing).number()?,
        smoothing_prior: argument!(smoothing_prior).optional(|prior| prior.extract("a sequence of numbers"))?,
        clip_norm: argument!(clip_norm).optional(Argument::number)?,
        patience: argument!(patience).optional(Argument::count)?,
        monitor: Monitor::parse("monitor", &argument!(monitor).text()?).map_err(to_python)?,
        restore_best: argument!(restore_best).flag()?,
        shuffle: argument!(shuffle).flag()?,
        seed: 0,
        n_threads: thread_count(argument!(n_threads).value_or_none().as_ref())?,
    })
}

impl<'py> Argument<'py> {
    fn value_or_none(self) -> Option<Bound<'py, PyAny>> {
        (!self.value.is_none()).then_some(self.value)
    }

    /// Converts the value with `convert` unless it is None.
    fn optional<R>(self, convert: impl FnOnce(&Self) -> PyResult<R>) -> PyResult<Option<R>> {
        if self.value.is_none() { Ok(None) } else { convert(&self).map(Some) }
    }

    /// # Errors
    /// TypeError, which says that `expected` was expected.
    fn extract<R: for<'a> FromPyObject<'a, 'py>>(&self, expected: &str) -> PyResult<R> {
        self.value.extract().map_err(|_| self.wrong_type(expected))
    }

    fn count(&self) -> PyResult<usize> {
        Ok(as_count(self.name, &self.value, 1)? as usize)
    }

    fn number(&self) -> PyResult<f64> {
        self.extract("a number")
    }

    fn flag(&self) -> PyResult<bool> {
        self.extract("True or False")
    }

    fn text(&self) -> PyResult<PyBackedStr> {
        self.extract("a name")
    }

    fn schedule(&self) -> PyResult<Schedule> {
        Schedule::parse(self.name, &self.text()?).map_err(to_python)
    }

    fn callable(&self) -> PyResult<Bound<'py, PyAny>> {
        if self.value.is_callable() { Ok(self.value.clone()) } else { Err(self.wrong_type("a callable")) }
    }

    /// The configuration of the optimizer, and the caller's `Optimizer` unless the value is only a name.
    fn optimizer(&self) -> PyResult<(OptimizerConfig, Option<Bound<'py, Optimizer>>)> {
        if let Ok(optimizer) = self.value.cast::<Optimizer>() {
            return Ok((optimizer.get().config(), Some(optimizer.clone())));
        }
        let name: PyBackedStr = self.extract("a name or an Optimizer")?;
        let algorithm = Algorithm::parse(self.name, &name).map_err(to_python)?;
        Ok((OptimizerConfig::new(algorithm), None))
    }

    fn wrong_type(&self, expected: &str) -> PyErr {
        PyTypeError::new_err(format!("{}: expected {expected}, got {}", self.name, self.value.get_type()))
    }
}
