//! `Network.fit`: from Python arguments to a call of the core's `fit`, and back.

use numpy::Element;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use tinyrs_core::{Dispatch, FitData, Network, Optimizer, OptimizerConfig, TrainingReport};

use crate::arguments::random_seed;
use crate::calls::call;
use crate::checkpoint::{self, Saver};
use crate::errors::to_python;
use crate::fit_arguments::FitArguments;
use crate::optimizer::in_use;
use crate::parameters::Pairs;
use crate::precision::{AnyNetwork, AnyOptimizer, Precision, not_trainable};
use crate::records::record_of;
use crate::samples::OwnedSamples;
use crate::shared::{Claim, Shared};
use crate::watcher::Watcher;

/// The records of the epochs, the best epoch and why training stopped: the arguments of a `History`.
pub type HistoryArguments<'py> = (Bound<'py, PyList>, usize, &'static str);

/// Trains a copy of `network`, then replaces `network` with it.
pub fn fit<'py>(network: &Shared<AnyNetwork>, arguments: &FitArguments<'py>) -> PyResult<HistoryArguments<'py>> {
    let py = arguments.x.py();
    let network = network.claim_for_fit().ok_or_else(being_trained)?;
    let copy = network.current().try_clone()?;
    let report = match copy {
        AnyNetwork::F32(copy) => train(&network, copy, arguments)?,
        AnyNetwork::F64(copy) => train(&network, copy, arguments)?,
        other => return Err(not_trainable(&other)),
    };
    let records = PyList::empty(py);
    for epoch in &report.epochs {
        records.append(record_of(py, epoch)?)?;
    }
    Ok((records, report.best_epoch, report.stop.name()))
}

/// The error for a network that a call of `fit` trains at present.
pub fn being_trained() -> PyErr {
    PyRuntimeError::new_err("the network is being trained by another thread; wait for its fit to end")
}

/// Trains `copy`, then puts it into `network` and the optimizer's state back, also after an error or a panic.
fn train<T: Precision>(
    network: &Claim<AnyNetwork>,
    copy: Network<T>,
    arguments: &FitArguments,
) -> PyResult<TrainingReport> {
    let py = arguments.x.py();
    let mut config = arguments.config.clone();
    let samples = OwnedSamples::new(&copy, &arguments.data(), config.loss, "")?;
    let validation = arguments.validation();
    let validation = validation.map(|data| OwnedSamples::new(&copy, &data, config.loss, "validation ")).transpose()?;
    let keeps_digests = arguments.write_checkpoint.is_some() || arguments.read_checkpoint.is_some();
    let digests = keeps_digests.then(|| data_digests(py, &samples, validation.as_ref())).transpose()?;
    let (samples, validation) = (samples.borrow()?, validation.as_ref().map(OwnedSamples::borrow).transpose()?);

    let settings =
        checkpoint::settings::<T>(py, &config, arguments.seed, &arguments.optimizer_config, samples.x.rows())?;
    settings.set_item("data", digests)?;
    let resume = arguments.read_checkpoint.as_ref().map(|read| checkpoint::read(read, &settings, &copy)).transpose()?;
    let (resume, seed) = resume.unzip();
    config.seed = seed.or(arguments.seed).unwrap_or_else(random_seed);
    settings.set_item("seed", config.seed)?;

    let watcher = watcher(network, arguments, settings)?;
    let claim = arguments.optimizer.as_ref().map(|optimizer| optimizer.get().0.claim_for_fit().ok_or_else(in_use));
    let claim = claim.transpose()?;
    let optimizer = match &claim {
        Some(claim) => take_state(claim, arguments.optimizer_config)?,
        None => Optimizer::new(arguments.optimizer_config).map_err(to_python)?,
    };
    let mut trained = scopeguard::guard((copy, optimizer), |(copy, optimizer)| {
        network.replace(T::any_network(copy));
        if let Some(claim) = &claim {
            claim.replace(T::any_optimizer(optimizer));
        }
    });
    let result = py.detach(|| {
        let (copy, optimizer) = &mut *trained;
        let (data, resume) = (FitData { train: &samples, validation: validation.as_ref() }, resume.as_ref());
        watcher.watch(config.epochs, |hooks| tinyrs_core::fit(copy, optimizer, data, &config, resume, hooks))
    });
    drop(trained);
    watcher.close(py)?;
    result
}

/// A dict of the digests of what a checkpoint's training reads, by argument; None for an argument that is not given.
fn data_digests<'py, T: Dispatch + Element>(
    py: Python<'py>,
    samples: &OwnedSamples<T>,
    validation: Option<&OwnedSamples<T>>,
) -> PyResult<Bound<'py, PyDict>> {
    let digests = PyDict::new(py);
    let [x, y, sample_weight] = samples.digests(py);
    let [validation_x, validation_y, _] = validation.map(|samples| samples.digests(py)).unwrap_or_default();
    digests.set_item("X", x)?;
    digests.set_item("y", y)?;
    digests.set_item("sample_weight", sample_weight)?;
    digests.set_item("validation X", validation_x)?;
    digests.set_item("validation y", validation_y)?;
    Ok(digests)
}

fn watcher<'a>(
    network: &'a Claim<'a, AnyNetwork>,
    arguments: &FitArguments,
    settings: Bound<PyDict>,
) -> PyResult<Watcher<'a>> {
    let progress = arguments.progress.as_ref().map(|class| call(class, (arguments.config.epochs,))).transpose()?;
    let write = arguments.write_checkpoint.as_ref().map(|write| write.clone().unbind());
    let every = arguments.checkpoint_every;
    Ok(Watcher {
        network,
        callback: arguments.callback.as_ref().map(|callback| callback.clone().unbind()),
        progress: progress.map(Bound::unbind),
        saver: write.map(|write| Saver { write, every, settings: settings.unbind() }),
    })
}

/// The state of the caller's optimizer, which is a new one until it is put back.
fn take_state<T: Precision>(optimizer: &Claim<AnyOptimizer>, config: OptimizerConfig) -> PyResult<Optimizer<T>> {
    let state = optimizer.take(AnyOptimizer::New(config));
    let state = state.map_or_else(|| optimizer.current().try_clone(), Ok)?;
    match state {
        AnyOptimizer::New(config) => Optimizer::new(config).map_err(to_python),
        used => T::optimizer_from(used).map_err(|used| {
            let error = other_precision::<T>(&used);
            optimizer.replace(used);
            error
        }),
    }
}

/// The error for an optimizer that was used with networks of another precision.
fn other_precision<T: Precision>(used: &AnyOptimizer) -> PyErr {
    let (network, state) = (T::NAME, used.precision());
    let message = format!("optimizer: the network is {network}, but the optimizer was used with {state}");
    PyValueError::new_err(format!("{message}; pass a new Optimizer"))
}

/// The arguments of `Network.apply_gradients`.
pub struct Step<'a, 'py> {
    pub optimizer: &'a Shared<AnyOptimizer>,
    pub gradients: &'a Bound<'py, PyAny>,
    pub learning_rate: f64,
    pub weight_decay: f64,
}

/// Replaces `network` and the optimizer by copies that have taken the step; both are unchanged after an error.
pub fn step(network: &Shared<AnyNetwork>, step: &Step) -> PyResult<()> {
    let network = network.claim_for_fit().ok_or_else(being_trained)?;
    let copy = network.current().try_clone()?;
    match copy {
        AnyNetwork::F32(copy) => take_step(&network, copy, step),
        AnyNetwork::F64(copy) => take_step(&network, copy, step),
        other => Err(not_trainable(&other)),
    }
}

fn take_step<T: Precision>(network: &Claim<AnyNetwork>, mut copy: Network<T>, step: &Step) -> PyResult<()> {
    let gradients = Pairs::<T>::new("gradients", step.gradients)?;
    let gradients = gradients.borrow()?;
    let claim = step.optimizer.claim_for_fit().ok_or_else(in_use)?;
    let mut optimizer = match claim.current().try_clone()? {
        AnyOptimizer::New(config) => Optimizer::new(config).map_err(to_python)?,
        used => T::optimizer_from(used).map_err(|used| other_precision::<T>(&used))?,
    };
    let (learning_rate, weight_decay) = (step.learning_rate, step.weight_decay);
    let taken = || optimizer.step(&mut copy, &gradients, learning_rate, weight_decay);
    step.gradients.py().detach(taken).map_err(to_python)?;
    network.replace(T::any_network(copy));
    claim.replace(T::any_optimizer(optimizer));
    Ok(())
}
