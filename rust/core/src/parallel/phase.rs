//! One phase of a team's work: a number of independent items, claimed by the threads that are there.
//!
//! The caller publishes a phase and takes part in it; workers that are awake claim items too. Nobody waits for a worker
//! that holds no item: a worker that is asleep, or not scheduled, costs nothing. One that is descheduled in the middle
//! of an item delays the phase by that item.
//!
//! # Why borrowed data is safe
//!
//! The closure of a phase borrows from the caller's stack. A worker dereferences it only after it has claimed an item,
//! by a compare-and-swap on a queue that still held one. [`Phase::run`] does not return, not even by a panic, before
//! every claimed item has been counted in `finished`; and when it returns all queues are empty, so that no later claim
//! can succeed before the next phase has stored its own closure.

use std::any::Any;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use super::sync::{AtomicU64, AtomicUsize, Mutex, Ordering, UnsafeCell, spin_or_yield};

/// Calls a phase's closure: (worker, owner of the queue, item).
type Work<'a> = dyn Fn(usize, usize, usize) + Sync + 'a;

/// What workers have done in some phases, and what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Help {
    /// Items that workers did.
    pub n_items: usize,
    /// How long the caller had nothing to do but to wait for a worker's item, longer than a few microseconds each time.
    pub waited: Duration,
}

impl AddAssign for Help {
    fn add_assign(&mut self, other: Self) {
        self.n_items += other.n_items;
        self.waited += other.waited;
    }
}

/// A point where tests let a thread be late.
#[inline(always)]
pub(super) fn delay() {
    #[cfg(all(test, not(loom)))]
    super::delay::delay();
}

/// About 3 us: longer than threads with equal shares of a layer differ, short against a time slice.
const CALLERS_SPINS: u32 = 80;

/// Items and threads are counted in 24 and 16 bits.
const MAX_ITEMS: u64 = 1 << 24;
const MAX_THREADS: u64 = 1 << 16;

/// The items of one thread that nobody has claimed: `first..end`, and the number of threads of the phase. All in one
/// word, so that a claim by compare-and-swap is always a claim in the current phase, by a thread that belongs to it.
///
/// On a cache line of its own.
#[repr(align(64))]
struct WorkQueue(AtomicU64);

impl WorkQueue {
    fn fill(&self, count: usize, n_threads: usize) {
        let (count, n_threads) = (count as u64, n_threads as u64);
        assert!(count < MAX_ITEMS && n_threads < MAX_THREADS, "a phase of {count} items on {n_threads} threads");
        // Release: whoever claims an item sees what the caller wrote before, the closure included.
        self.0.store(n_threads << 48 | count << 24, Ordering::Release);
    }

    /// The first item, for the owner of the queue.
    fn take_first(&self, thread: usize) -> Option<usize> {
        self.take(thread, 1).map(|(first, _)| first)
    }

    /// The last item, for the other threads.
    fn take_last(&self, thread: usize) -> Option<usize> {
        self.take(thread, (1_u64 << 24).wrapping_neg()).map(|(_, end)| end - 1)
    }

    /// Removes all items and returns how many there were.
    fn clear(&self) -> usize {
        let (first, end) = range(self.0.swap(0, Ordering::Relaxed));
        end - first
    }

    /// Adds `change` to the word if it holds an item and `thread` belongs to the phase; returns (first, end) as they
    /// were.
    fn take(&self, thread: usize, change: u64) -> Option<(usize, usize)> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (first, end) = range(word);
            if first >= end || thread as u64 >= word >> 48 {
                return None;
            }
            match self.0.compare_exchange_weak(word, word.wrapping_add(change), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some((first, end)),
                Err(now) => word = now,
            }
        }
    }
}

/// (first, end) of a queue's word.
fn range(word: u64) -> (usize, usize) {
    ((word & 0xff_ffff) as usize, (word >> 24 & 0xff_ffff) as usize)
}

/// The closure of the current phase, or the one before. On a cache line of its own.
#[repr(align(64))]
struct Closure(UnsafeCell<Option<*const Work<'static>>>);

// SAFETY: written by the caller while no item can be claimed, read by threads that have claimed one; the closure itself
// is `Sync`.
unsafe impl Sync for Closure {}
// SAFETY: as above.
unsafe impl Send for Closure {}

/// The state that the caller and the workers of a pool share.
pub(super) struct Phase {
    /// One for each thread; 0 is the caller.
    queues: Vec<WorkQueue>,
    work: Closure,
    /// Items that workers have finished, in all phases. Wraps.
    finished: AtomicUsize,
    /// What the first panicking worker of the phase panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Phase {
    /// For a caller and `n_threads` - 1 workers at most.
    pub(super) fn new(n_threads: usize) -> Self {
        Phase {
            queues: (0..n_threads).map(|_| WorkQueue(AtomicU64::new(0))).collect(),
            work: Closure(UnsafeCell::new(None)),
            finished: AtomicUsize::new(0),
            panic: Mutex::new(None),
        }
    }

    /// The most threads that a phase can have.
    pub(super) fn capacity(&self) -> usize {
        self.queues.len()
    }

    /// Calls `work(thread, owner, item)` once for every item of every owner below `n_threads`; owner `o` has `count(o)`
    /// of them. Called by one thread at a time, which is thread 0.
    ///
    /// # Panics
    /// If `work` panics, on any thread; the items that nobody had claimed are then left out.
    pub(super) fn run(
        &self,
        n_threads: usize,
        count: impl Fn(usize) -> usize,
        work: &(dyn Fn(usize, usize, usize) + Sync),
    ) -> Help {
        let mut items = Items { phase: self, finished_before: self.finished.load(Ordering::Relaxed), n_elsewhere: 0 };
        // SAFETY: only the lifetime changes; see the module's documentation.
        let work: &Work<'static> = unsafe { std::mem::transmute::<&Work<'_>, &Work<'static>>(work) };
        // SAFETY: the queues are empty, so no worker can claim an item and read the closure.
        self.work.0.with_mut(|current| unsafe { *current = Some(std::ptr::from_ref(work)) });
        // The caller's own queue last: it is at work as soon as the others are.
        for owner in (0..n_threads).rev() {
            let count = count(owner);
            items.n_elsewhere += count;
            self.queues[owner].fill(count, n_threads);
            delay();
        }
        while let Some((owner, item)) = self.claim(0) {
            items.n_elsewhere -= 1;
            delay();
            work(0, owner, item);
        }
        let help = Help { n_items: items.n_elsewhere, waited: items.wait() };
        // All are finished: nothing to wait for again.
        std::mem::forget(items);
        if help.n_items > 0
            && let Some(panic) = self.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
        {
            resume_unwind(panic);
        }
        help
    }

    /// Whether there are items in the queue of `thread`, which is all that a waiting worker looks at: one word that
    /// nobody else reads while it waits.
    pub(super) fn has_items(&self, thread: usize) -> bool {
        let (first, end) = range(self.queues[thread].0.load(Ordering::Relaxed));
        first < end
    }

    /// Claims and does items of the current phase, of any queue, until none is left; as a worker.
    pub(super) fn help(&self, thread: usize) {
        delay();
        let mut next = self.claim(thread);
        if next.is_none() {
            return;
        }
        // SAFETY: an item has been claimed and not been counted as finished: the closure is this phase's, and alive.
        let work = self.work.0.with(|current| unsafe { &*(*current).expect("a phase with items has a closure") });
        let mut finished = 0;
        while let Some((owner, item)) = next {
            delay();
            // Workers belong to rayon, and the panic to the caller.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(thread, owner, item))) {
                self.panic.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(panic);
            }
            finished += 1;
            // Another item of the same phase, since this one is not counted yet: the same closure.
            next = self.claim(thread);
        }
        delay();
        // Release: the caller sees what the items wrote. After this line the closure may be gone.
        self.finished.fetch_add(finished, Ordering::Release);
    }

    /// (owner, item): the first item of the thread's own queue, or the last of another's.
    fn claim(&self, thread: usize) -> Option<(usize, usize)> {
        let n = self.queues.len();
        if let Some(item) = self.queues[thread].take_first(thread) {
            return Some((thread, item));
        }
        (1..n)
            .map(|distance| (thread + distance) % n)
            .find_map(|owner| Some((owner, self.queues[owner].take_last(thread)?)))
    }
}

/// The items of a phase that the caller has not claimed. If the caller panics, those that nobody has claimed are
/// removed, and those that workers hold are waited for.
struct Items<'a> {
    phase: &'a Phase,
    finished_before: usize,
    n_elsewhere: usize,
}

impl Items<'_> {
    /// Returns when workers have finished all of them; says how long that took, if longer than a few microseconds.
    fn wait(&self) -> Duration {
        let (mut rounds, mut start) = (0, None);
        let finished = self.finished_before.wrapping_add(self.n_elsewhere);
        // Acquire: what workers wrote before they counted their items.
        while self.phase.finished.load(Ordering::Acquire) != finished {
            if !spin_or_yield(&mut rounds, CALLERS_SPINS) {
                start.get_or_insert_with(Instant::now);
            }
        }
        start.map_or(Duration::ZERO, |start| start.elapsed())
    }
}

impl Drop for Items<'_> {
    fn drop(&mut self) {
        self.n_elsewhere -= self.phase.queues.iter().map(WorkQueue::clear).sum::<usize>();
        self.wait();
    }
}

/// `make loom`: every order of the operations of a caller and its workers.
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// Results in the caller's memory. Loom's cells report accesses that are not ordered.
    struct Results(Vec<UnsafeCell<usize>>);

    // SAFETY: items are different elements.
    unsafe impl Sync for Results {}

    impl Results {
        fn add(&self, place: usize, value: usize) {
            // SAFETY: the calling thread has claimed the item of this place.
            self.0[place].with_mut(|result| unsafe { *result += value });
        }
    }

    /// Workers help at any time before, in and after `n_phases` phases of `n_items` items each, which write to the
    /// caller's memory.
    fn phases_with_workers(n_workers: usize, n_phases: usize, n_items: usize) {
        loom::model(move || {
            let phase = Arc::new(Phase::new(n_workers + 1));
            let help = |index| {
                let phase = Arc::clone(&phase);
                thread::spawn(move || phase.help(index))
            };
            let workers: Vec<_> = (1..=n_workers).map(help).collect();
            let counts = [n_items - n_items / 2, n_items / 2, 0];
            for round in 1..=n_phases {
                let results = Results((0..n_items).map(|_| UnsafeCell::new(0)).collect());
                let work = |_, owner: usize, item| results.add(owner * counts[0] + item, round);
                phase.run(n_workers + 1, |owner| counts[owner], &work);
                for result in &results.0 {
                    // SAFETY: the phase is over.
                    assert_eq!(result.with(|result| unsafe { *result }), round);
                }
            }
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }

    #[test]
    fn loom_one_worker_two_phases() {
        phases_with_workers(1, 2, 2);
    }

    #[test]
    fn loom_one_worker_three_items() {
        phases_with_workers(1, 1, 3);
    }

    #[test]
    fn loom_two_workers() {
        phases_with_workers(2, 1, 2);
    }
}
