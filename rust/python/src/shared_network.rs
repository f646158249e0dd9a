//! The network inside the class `Network`: predictions read it while training replaces it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use pyo3::exceptions::PyRuntimeError;
use pyo3::{PyErr, PyResult};
use tinyrs_core::process_generation;

use crate::precision::AnyNetwork;

/// A network that is replaced as a whole: a pass reads it without a lock, and a change does not wait for passes to end.
pub struct SharedNetwork {
    network: ArcSwap<AnyNetwork>,
    /// 0 if the network is not being trained; otherwise 1 plus the generation of the process whose `fit` trains a copy of
    /// it. In a process forked during training, the network counts as not being trained: the thread exists in the parent.
    trained_by: AtomicUsize,
}

/// The network at the time of the call of [`SharedNetwork::current`].
pub struct Current(Guard<Arc<AnyNetwork>>);

impl Deref for Current {
    type Target = AnyNetwork;

    fn deref(&self) -> &AnyNetwork {
        &self.0
    }
}

/// Marks the network as being trained until it is dropped.
pub struct TrainingGuard<'a>(&'a AtomicUsize);

impl Drop for TrainingGuard<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl SharedNetwork {
    pub fn new(network: AnyNetwork) -> Self {
        SharedNetwork { network: ArcSwap::from_pointee(network), trained_by: AtomicUsize::new(0) }
    }

    /// The network as it is now; later replacements do not change it.
    pub fn current(&self) -> Current {
        Current(self.network.load())
    }

    /// Replaces the network.
    pub fn replace(&self, network: AnyNetwork) {
        self.network.store(Arc::new(network));
    }

    /// Marks the network as being trained, for as long as the result lives.
    ///
    /// # Errors
    /// RuntimeError if it is being trained already.
    pub fn start_training(&self) -> PyResult<TrainingGuard<'_>> {
        let this_process = process_generation() + 1;
        if self.trained_by.swap(this_process, Ordering::AcqRel) == this_process {
            return Err(being_trained());
        }
        Ok(TrainingGuard(&self.trained_by))
    }

    /// # Errors
    /// RuntimeError if the network is being trained.
    pub fn check_not_training(&self) -> PyResult<()> {
        let is_training = self.trained_by.load(Ordering::Acquire) == process_generation() + 1;
        if is_training { Err(being_trained()) } else { Ok(()) }
    }
}

fn being_trained() -> PyErr {
    PyRuntimeError::new_err("the network is being trained by another thread; wait for its fit to end")
}
