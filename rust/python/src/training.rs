//! `Network.fit`: training on a thread of its own, while the caller's thread looks out for Ctrl-C.
//!
//! The caller's thread is the only one that enters Python: for a callback when an epoch is done, and every
//! [`LOOK`] to see whether a signal came. So training never waits for the GIL, whoever else holds it.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use numpy::Element;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyList};
use tinyrs_core::{
    Algorithm, Checkpoint, Dispatch, EpochRecord, FitData, Hooks, Layer, Optimizer as CoreOptimizer, OptimizerConfig,
    TrainingConfig, TrainingReport, TrainingState,
};

use crate::checkpoint::{self, Saver};
use crate::errors::to_python;
use crate::gradients::{Data, OwnedSamples, as_pair};
use crate::network::{AnyNetwork, Network};
use crate::optimizer::{AnyOptimizer, Optimizer};
use crate::options::random_seed;

/// How long a signal may wait.
const LOOK: Duration = Duration::from_millis(50);

/// The arguments of `fit`.
pub struct Request<'a, 'py> {
    pub data: Data<'a, 'py>,
    pub validation: Option<&'a Bound<'py, PyAny>>,
    pub optimizer: Option<&'a Bound<'py, PyAny>>,
    pub config: TrainingConfig,
    /// None for one that the operating system draws.
    pub seed: Option<u64>,
    /// Where to write checkpoints, and after how many epochs each.
    pub checkpoint: Option<(&'a Bound<'py, PyAny>, usize)>,
    /// The checkpoint to begin with.
    pub resume: Option<&'a Bound<'py, PyAny>>,
    pub callback: Option<&'a Bound<'py, PyAny>>,
    pub progress: bool,
}

/// Trains a copy of the network, which then takes its place, and builds the History.
pub fn fit<'py>(network: &Bound<'py, Network>, request: &Request<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = network.py();
    let _in_training = network.get().start_training()?;
    let report = match AnyNetwork::clone(&network.get().current()) {
        AnyNetwork::F32(copy) => trained(network, copy, request)?,
        AnyNetwork::F64(copy) => trained(network, copy, request)?,
    };
    let records = PyList::empty(py);
    for epoch in &report.epochs {
        records.append(record(py, epoch)?)?;
    }
    py.import("tinyrs.history")?.getattr("History")?.call1((records, report.best_epoch, report.stop.name()))
}

/// An epoch as a dict.
pub fn record<'py>(py: Python<'py>, epoch: &EpochRecord) -> PyResult<Bound<'py, PyDict>> {
    let record = PyDict::new(py);
    record.set_item("epoch", epoch.epoch)?;
    record.set_item("loss", epoch.loss)?;
    if let (Some(loss), Some(score)) = (epoch.validation_loss, epoch.validation_score) {
        record.set_item("validation_loss", loss)?;
        record.set_item("validation_score", score)?;
    }
    record.set_item("learning_rate", epoch.learning_rate)?;
    record.set_item("seconds", epoch.seconds)?;
    record.set_item("samples_per_second", epoch.samples_per_second)?;
    Ok(record)
}

/// Trains `copy`, then puts it into `network` and the optimizer's state back, also after an error.
fn trained<'py, T: Precision>(
    network: &Bound<'py, Network>,
    mut copy: tinyrs_core::Network<T>,
    request: &Request<'_, 'py>,
) -> PyResult<TrainingReport> {
    let (py, mut config) = (network.py(), request.config.clone());
    let samples = OwnedSamples::new(&copy, &request.data, config.loss, "")?;
    let validation = request.validation.map(|pair| as_pair("validation", pair)).transpose()?;
    let validation = validation
        .map(|(x, y)| OwnedSamples::new(&copy, &Data { x: &x, y: &y, sample_weight: None }, config.loss, "validation "))
        .transpose()?;
    let (samples, validation) = (samples.borrow()?, validation.as_ref().map(OwnedSamples::borrow).transpose()?);
    let about = (&optimizer_config(request.optimizer)?, samples.x.rows());
    let settings = checkpoint::settings(py, &config, request.seed, about)?;
    let resume = request.resume.map(|path| checkpoint::read(path, &settings, &copy)).transpose()?;
    let (resume, seed) = resume.unzip();
    config.seed = seed.or(request.seed).unwrap_or_else(random_seed);
    settings.set_item("seed", config.seed)?;
    let mut watcher = Watcher::new(network, request)?;
    watcher.saver = request.checkpoint.map(|(path, every)| Saver::new(path, every, settings));
    let (optimizer, mut state) = optimizer_of::<T>(request.optimizer)?;

    let result = py.detach(|| {
        let (data, resume) = (FitData { train: &samples, validation: validation.as_ref() }, resume.as_ref());
        watcher.watch(config.epochs, |hooks| tinyrs_core::fit(&mut copy, &mut state, data, &config, resume, hooks))
    });
    if let Some(optimizer) = optimizer {
        optimizer.borrow_mut().0 = T::optimizer(state);
    }
    network.get().replace(T::network(copy));
    watcher.close(py)?;
    result
}

/// What the caller's optimizer does.
fn optimizer_config(value: Option<&Bound<PyAny>>) -> PyResult<OptimizerConfig> {
    let Some(value) = value else { return Ok(OptimizerConfig::new(Algorithm::Adam)) };
    if let Ok(optimizer) = value.cast::<Optimizer>() {
        return Ok(*optimizer.borrow().config());
    }
    let Ok(name) = value.extract::<PyBackedStr>() else {
        let got = value.get_type();
        return Err(PyTypeError::new_err(format!("optimizer: expected a name or an Optimizer, got {got}")));
    };
    Ok(OptimizerConfig::new(Algorithm::parse("optimizer", &name).map_err(to_python)?))
}

/// The caller's optimizer, if it is more than a name, and the state to train with.
fn optimizer_of<'py, T: Precision>(
    value: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Option<Bound<'py, Optimizer>>, CoreOptimizer<T>)> {
    let config = optimizer_config(value)?;
    let new = |config| CoreOptimizer::new(config).map_err(to_python);
    let Some(Ok(optimizer)) = value.map(|value| value.cast::<Optimizer>()) else {
        return Ok((None, new(config)?));
    };
    let (mut inside, fresh) = (optimizer.borrow_mut(), new(config)?);
    let state = match std::mem::replace(&mut inside.0, AnyOptimizer::InUse(config)) {
        AnyOptimizer::New(_) => fresh,
        AnyOptimizer::InUse(_) => {
            let message = "optimizer: expected one at rest, got one that another call of fit is using";
            return Err(PyRuntimeError::new_err(message));
        }
        used => T::state(used).map_err(|used| {
            inside.0 = used;
            let message = format!("optimizer: expected one used with {} networks, or a new one", T::NAME);
            PyValueError::new_err(format!("{message}, got one of the other precision"))
        })?,
    };
    Ok((Some(optimizer.clone()), state))
}

/// What the caller's thread does while another trains.
struct Watcher {
    network: Py<Network>,
    callback: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
    saver: Option<Saver>,
}

/// What the caller's thread is told of an epoch.
struct News<T> {
    /// For a callback or a progress bar: what it came to, and the layers as they are then.
    epoch: Option<(EpochRecord, Vec<Layer<T>>)>,
    checkpoint: Option<Checkpoint<T>>,
}

impl Watcher {
    fn new(network: &Bound<Network>, request: &Request) -> PyResult<Self> {
        let py = network.py();
        if let Some(callback) = request.callback
            && !callback.is_callable()
        {
            let got = callback.get_type();
            return Err(PyTypeError::new_err(format!("callback: expected a callable, got {got}")));
        }
        let progress = if request.progress {
            let class = py.import("tinyrs.history")?.getattr("ProgressBar")?;
            Some(class.call1((request.config.epochs,))?.unbind())
        } else {
            None
        };
        let callback = request.callback.map(|callback| callback.clone().unbind());
        Ok(Watcher { network: network.clone().unbind(), callback, progress, saver: None })
    }

    /// Runs `train` on a thread of its own, and answers its news, until it is done.
    fn watch<T: Precision>(
        &self,
        epochs: usize,
        train: impl FnOnce(&mut Hooks<T>) -> tinyrs_core::Result<TrainingReport> + Send,
    ) -> PyResult<TrainingReport> {
        let interrupt = AtomicBool::new(false);
        let (send_news, news) = sync_channel::<tinyrs_core::Result<News<T>>>(0);
        let (send_answer, answers) = sync_channel::<bool>(0);
        let is_curious = self.callback.is_some() || self.progress.is_some();
        let mut error = None;
        let result = thread::scope(|scope| {
            let interrupt = &interrupt;
            let worker = scope.spawn(move || {
                let mut on_epoch = |state: &TrainingState<T>| {
                    let made = state.epochs.len();
                    let is_due = self.saver.as_ref().is_some_and(|saver| saver.is_due(made, epochs));
                    if !is_curious && !is_due {
                        return false;
                    }
                    let checkpoint = is_due.then(|| state.checkpoint()).transpose();
                    let epoch = is_curious.then(|| (state.epochs[made - 1], state.layers.to_vec()));
                    let news = checkpoint.map(|checkpoint| News { epoch, checkpoint });
                    // A caller that is gone wants no more.
                    send_news.send(news).is_err() || answers.recv() != Ok(false)
                };
                train(&mut Hooks { on_epoch: &mut on_epoch, interrupt })
            });
            loop {
                match news.recv_timeout(LOOK) {
                    Ok(news) => {
                        let answer = news.map_err(to_python).and_then(|news| self.answer(news));
                        let answer = answer.unwrap_or_else(|failure| {
                            error = Some(failure);
                            true
                        });
                        if send_answer.send(answer).is_err() {
                            break;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if let Err(signal) = Python::attach(|py| py.check_signals()) {
                            error.get_or_insert(signal);
                            interrupt.store(true, Ordering::Relaxed);
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        match error {
            Some(error) => Err(error),
            None => result.map_err(to_python),
        }
    }

    /// Tells Python of an epoch; whether to stop.
    fn answer<T: Precision>(&self, news: News<T>) -> PyResult<bool> {
        Python::attach(|py| {
            if let (Some(saver), Some(checkpoint)) = (&self.saver, news.checkpoint) {
                saver.save(py, &self.network.bind(py).getattr("options")?, checkpoint)?;
            }
            let Some((epoch, layers)) = news.epoch else { return Ok(false) };
            let network = self.network.get();
            if let Some(core) = T::core(&network.current()) {
                network.replace(T::network(core.with_layers(layers)));
            }
            let record = record(py, &epoch)?;
            if let Some(progress) = &self.progress {
                progress.call_method1(py, "update", (&record,))?;
            }
            let stop = match &self.callback {
                Some(callback) => callback.bind(py).call1((record,))?.is_truthy()?,
                None => false,
            };
            py.check_signals()?;
            Ok(stop)
        })
    }

    fn close(&self, py: Python) -> PyResult<()> {
        match &self.progress {
            Some(progress) => progress.call_method0(py, "close").map(drop),
            None => Ok(()),
        }
    }
}

/// A precision that networks and optimizers come in.
pub trait Precision: Dispatch + Element {
    /// The state, or what was given if that is of another precision.
    fn state(any: AnyOptimizer) -> Result<CoreOptimizer<Self>, AnyOptimizer>;
    fn optimizer(optimizer: CoreOptimizer<Self>) -> AnyOptimizer;
    fn network(network: tinyrs_core::Network<Self>) -> AnyNetwork;
    fn core(any: &AnyNetwork) -> Option<&tinyrs_core::Network<Self>>;
}

macro_rules! precision {
    ($t:ty, $variant:ident) => {
        impl Precision for $t {
            fn state(any: AnyOptimizer) -> Result<CoreOptimizer<Self>, AnyOptimizer> {
                if let AnyOptimizer::$variant(optimizer) = any { Ok(optimizer) } else { Err(any) }
            }
            fn optimizer(optimizer: CoreOptimizer<Self>) -> AnyOptimizer {
                AnyOptimizer::$variant(optimizer)
            }
            fn network(network: tinyrs_core::Network<Self>) -> AnyNetwork {
                AnyNetwork::$variant(network)
            }
            fn core(any: &AnyNetwork) -> Option<&tinyrs_core::Network<Self>> {
                if let AnyNetwork::$variant(network) = any { Some(network) } else { None }
            }
        }
    };
}
precision!(f32, F32);
precision!(f64, F64);
