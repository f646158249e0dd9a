//! The network inside the class `Network`: predictions read it while training replaces it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use pyo3::exceptions::PyRuntimeError;
use pyo3::{PyErr, PyResult};

use crate::precision::AnyNetwork;

/// A network that is replaced as a whole: a pass reads it without a lock, and a change does not wait for passes to end.
pub struct SharedNetwork {
    network: ArcSwap<AnyNetwork>,
    /// Whether `fit` is training a copy that will replace this network.
    is_training: AtomicBool,
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
pub struct TrainingGuard<'a>(&'a AtomicBool);

impl Drop for TrainingGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl SharedNetwork {
    pub fn new(network: AnyNetwork) -> Self {
        SharedNetwork { network: ArcSwap::from_pointee(network), is_training: AtomicBool::new(false) }
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
        if self.is_training.swap(true, Ordering::AcqRel) {
            return Err(being_trained());
        }
        Ok(TrainingGuard(&self.is_training))
    }

    /// # Errors
    /// RuntimeError if the network is being trained.
    pub fn check_not_training(&self) -> PyResult<()> {
        if self.is_training.load(Ordering::Acquire) { Err(being_trained()) } else { Ok(()) }
    }
}

fn being_trained() -> PyErr {
    PyRuntimeError::new_err("the network is being trained by another thread; wait for its fit to end")
}
