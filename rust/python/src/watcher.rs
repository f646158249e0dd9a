//! What the caller's thread does during `fit`: it calls Python after each epoch and looks for Ctrl-C.
//!
//! Training runs on a thread of its own and never needs the GIL, so it does not wait for Python code of other threads.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use tinyrs_core::{Checkpoint, EpochRecord, Hooks, Layer, TrainingReport, TrainingState};

use crate::calls::{call, call_method, wait_for_exit};
use crate::checkpoint::Saver;
use crate::errors::to_python;
use crate::precision::{AnyNetwork, Precision};
use crate::records::record_of;
use crate::shared::Claim;

/// The time between two looks for a signal.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// Calls `f` with the GIL. If the interpreter is ending, this thread, a daemon thread then, waits for the end of the
/// process: going on would panic, and Python may not be called again.
fn attached<R>(f: impl FnOnce(Python) -> R) -> R {
    Python::try_attach(f).unwrap_or_else(|| wait_for_exit())
}

pub struct Watcher<'a> {
    /// The network that a callback reads; it is replaced after each epoch.
    pub network: &'a Claim<'a, AnyNetwork>,
    pub callback: Option<Py<PyAny>>,
    /// The progress bar.
    pub progress: Option<Py<PyAny>>,
    pub saver: Option<Saver>,
}

/// What the training thread sends after an epoch.
struct Message<T> {
    /// The epoch and its layers, for a callback or a progress bar.
    epoch: Option<(EpochRecord, Vec<Layer<T>>)>,
    checkpoint: Option<Checkpoint<T>>,
}

impl Watcher<'_> {
    /// Runs `train` on another thread and handles its messages until it ends. If the system has no thread left, runs
    /// it on this one, where Ctrl-C is noticed only after an epoch.
    ///
    /// # Errors
    /// The first error of Python code, which ends training after its epoch; KeyboardInterrupt after Ctrl-C, which ends
    /// it within an epoch; or the error of `train`.
    pub fn watch<T: Precision>(
        &self,
        epochs: usize,
        train: impl FnOnce(&mut Hooks<T>) -> tinyrs_core::Result<TrainingReport> + Send,
    ) -> PyResult<TrainingReport> {
        let interrupt = AtomicBool::new(false);
        let (send_message, messages) = sync_channel::<tinyrs_core::Result<Message<T>>>(0);
        let (send_answer, answers) = sync_channel::<bool>(0);
        // Survives a thread that cannot be started.
        let train = Mutex::new(Some(train));
        let train = |on_epoch: &mut dyn FnMut(&TrainingState<T>) -> bool| {
            let train = train.lock().ok().and_then(|mut train| train.take());
            train.expect("called once")(&mut Hooks { on_epoch, interrupt: &interrupt })
        };
        let mut error = None;
        let mut stop_after = |handled: PyResult<bool>| {
            handled.unwrap_or_else(|failure| {
                error.get_or_insert(failure);
                true
            })
        };
        let result = thread::scope(|scope| {
            let worker = thread::Builder::new().name("tinyrs-fit".into()).spawn_scoped(scope, move || {
                train(&mut |state| match self.message(state, epochs) {
                    None => false,
                    // Stop if the caller's thread says so or is gone.
                    Some(message) => send_message.send(message).is_err() || answers.recv() != Ok(false),
                })
            });
            let Ok(worker) = worker else {
                return train(&mut |state| {
                    stop_after(match self.message(state, epochs) {
                        None => attached(|py| py.check_signals()).map(|()| false),
                        Some(message) => message.map_err(to_python).and_then(|message| self.handle(message)),
                    })
                });
            };
            loop {
                match messages.recv_timeout(SIGNAL_INTERVAL) {
                    Ok(message) => {
                        let handled = message.map_err(to_python).and_then(|message| self.handle(message));
                        if send_answer.send(stop_after(handled)).is_err() {
                            break;
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if let Err(signal) = attached(|py| py.check_signals()) {
                            stop_after(Err(signal));
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

    /// The message after the last epoch of `state`; `None` if Python has nothing to do then.
    fn message<T: Precision>(
        &self,
        state: &TrainingState<T>,
        epochs: usize,
    ) -> Option<tinyrs_core::Result<Message<T>>> {
        let finished = state.epochs.len();
        let is_due = self.saver.as_ref().is_some_and(|saver| saver.is_due(finished, epochs));
        let is_shown = self.callback.is_some() || self.progress.is_some();
        if !is_shown && !is_due {
            return None;
        }
        let message = || {
            let layers = || state.layers.iter().map(Layer::try_clone).collect::<tinyrs_core::Result<_>>();
            let epoch = is_shown.then(|| Ok((state.epochs[finished - 1], layers()?))).transpose()?;
            Ok(Message { epoch, checkpoint: is_due.then(|| state.checkpoint()).transpose()? })
        };
        Some(message())
    }

    /// Writes the checkpoint, then calls the progress bar and the callback. Returns whether to stop.
    fn handle<T: Precision>(&self, message: Message<T>) -> PyResult<bool> {
        attached(|py| {
            if let (Some(saver), Some(checkpoint)) = (&self.saver, message.checkpoint) {
                saver.save(py, checkpoint)?;
            }
            let Some((epoch, layers)) = message.epoch else { return Ok(false) };
            if let Some(network) = T::network_in(&self.network.current()) {
                self.network.replace(T::any_network(network.with_layers(layers)));
            }
            let record = record_of(py, &epoch)?;
            if let Some(progress) = &self.progress {
                call_method(progress.bind(py), intern!(py, "update"), (&record,))?;
            }
            let stop = match &self.callback {
                Some(callback) => call(callback.bind(py), (record,))?.is_truthy()?,
                None => false,
            };
            py.check_signals()?;
            Ok(stop)
        })
    }

    /// Closes the progress bar.
    pub fn close(&self, py: Python) -> PyResult<()> {
        match &self.progress {
            Some(progress) => call_method(progress.bind(py), intern!(py, "close"), ()).map(drop),
            None => Ok(()),
        }
    }
}
