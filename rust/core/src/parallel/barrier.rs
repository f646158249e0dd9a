//! Where the members of a team meet.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Spins a little, since members finish a layer within microseconds of each other, then yields, since there may be
/// more members than cores.
pub(crate) struct Barrier {
    arrived: AtomicUsize,
    generation: AtomicUsize,
    broken: AtomicBool,
}

/// About 3 us of spinning at 40 ns a round: longer than members of equal shares differ, short against a time slice.
const SPINS: usize = 80;

impl Barrier {
    pub(crate) const fn new() -> Self {
        Barrier { arrived: AtomicUsize::new(0), generation: AtomicUsize::new(0), broken: AtomicBool::new(false) }
    }

    pub(crate) fn wait(&self, size: usize) {
        if size == 1 {
            return;
        }
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == size {
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.store(generation.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.generation.load(Ordering::Acquire) == generation {
            assert!(!self.broken.load(Ordering::Relaxed), "another thread of the same pass panicked");
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    /// Runs `f`; if it panics, the others do not wait for it.
    pub(crate) fn guard(&self, f: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
            self.broken.store(true, Ordering::Relaxed);
            resume_unwind(panic);
        }
    }
}
