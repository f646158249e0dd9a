//! What a `Network` or an `Optimizer` holds: a value that is read while `fit` trains a copy of it, then replaced as a
//! whole.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use tinyrs_core::process_generation;

/// A value that is replaced as a whole: reading it takes no lock, and a replacement does not wait for readers.
pub struct Shared<T> {
    value: ArcSwap<T>,
    /// Who may replace the value: 0 if nobody has claimed it, otherwise [`Claimant::mark`].
    claim: AtomicUsize,
}

/// The value at the time of the call of [`Shared::current`].
pub struct Current<T>(Guard<Arc<T>>);

impl<T> Deref for Current<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A function that replaces a value.
#[derive(Clone, Copy)]
enum Claimant {
    /// For its whole duration.
    Fit = 1,
    /// For a moment.
    Set = 2,
}

impl Claimant {
    /// The mark of a claim in this process. A claim that a forked child inherits has another mark and counts for
    /// nothing: the thread that made it exists in the parent only.
    fn mark(self) -> usize {
        (process_generation() << 2) + self as usize
    }
}

/// The right to replace a value, until it is dropped.
pub struct Claim<'a, T>(&'a Shared<T>);

impl<T> Claim<'_, T> {
    /// The value as it is now.
    pub fn current(&self) -> Current<T> {
        self.0.current()
    }

    /// Replaces the value.
    pub fn replace(&self, value: T) {
        self.0.value.store(Arc::new(value));
    }

    /// Replaces the value and returns the old one; `None` if somebody is still reading that. It is not replaced then.
    pub fn take(&self, replacement: T) -> Option<T> {
        let current = self.0.value.swap(Arc::new(replacement));
        Arc::try_unwrap(current).map_err(|current| self.0.value.store(current)).ok()
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        self.0.claim.store(0, Ordering::Release);
    }
}

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Shared { value: ArcSwap::from_pointee(value), claim: AtomicUsize::new(0) }
    }

    /// The value as it is now; later replacements do not change it.
    pub fn current(&self) -> Current<T> {
        Current(self.value.load())
    }

    /// The value as it is now, to keep.
    pub fn snapshot(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Claims the value for `fit`; `None` if another call of `fit` has claimed it.
    pub fn claim_for_fit(&self) -> Option<Claim<'_, T>> {
        self.claim(Claimant::Fit)
    }

    /// Replaces the value unless a call of `fit` has claimed it; returns whether it did.
    #[must_use]
    pub fn set(&self, value: T) -> bool {
        self.claim(Claimant::Set).map(|claim| claim.replace(value)).is_some()
    }

    fn claim(&self, claimant: Claimant) -> Option<Claim<'_, T>> {
        let mut mark = self.claim.load(Ordering::Relaxed);
        loop {
            if mark == Claimant::Fit.mark() {
                return None;
            }
            if mark == Claimant::Set.mark() {
                std::thread::yield_now();
                mark = self.claim.load(Ordering::Relaxed);
                continue;
            }
            // Acquire: what the last claimant stored is visible.
            match self.claim.compare_exchange_weak(mark, claimant.mark(), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(Claim(self)),
                Err(now) => mark = now,
            }
        }
    }
}
