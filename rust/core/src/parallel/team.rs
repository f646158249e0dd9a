//! The one place that knows rayon, thread counts and fork.
//!
//! A pass enters the pool once: [`run`] gives every member of a team the same closure, and the members meet at a
//! barrier between layers. Waking rayon for each 20 us layer would cost more than the layer. The calling thread is
//! a member, so a team of two wakes one worker.
//!
//! The pool is private, made at first use, and belongs to one process: after `fork` the child has none of the
//! parent's threads, so it makes its own. One team runs at a time; a caller that finds the pool taken works alone
//! rather than wait, which is right when several Python threads predict at once, and cannot deadlock.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, TryLockError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::affinity::CallersCore;
use super::barrier::Barrier;
use super::work_queue::Left;

/// One member's view of the team that runs a pass.
pub(crate) struct Team<'a> {
    /// 0 is the calling thread.
    pub index: usize,
    /// How many members there are: what was asked for, or 1.
    pub size: usize,
    barrier: &'a Barrier,
    /// What each member has not begun of the items of [`Team::for_each`], and how often that was called.
    left: &'a [Left],
    round: Cell<u16>,
}

/// Where nobody waits.
static ALONE: Barrier = Barrier::new();

impl Team<'_> {
    /// A member that shares its work with nobody.
    pub(crate) fn alone() -> Self {
        Team { index: 0, size: 1, barrier: &ALONE, left: &[], round: Cell::new(0) }
    }

    /// Returns when every member has called it; what they wrote before is then visible to all.
    pub fn barrier(&self) {
        self.barrier.wait(self.size);
    }

    /// This member's share of `total` items, in multiples of `unit` but for the last.
    pub fn share(&self, total: usize, unit: usize) -> Range<usize> {
        self.share_of(self.index, total, unit)
    }

    /// The share of member `index`.
    pub fn share_of(&self, index: usize, total: usize, unit: usize) -> Range<usize> {
        if self.size == 1 {
            return 0..total;
        }
        let units = total.div_ceil(unit);
        let bound = |index: usize| (units * index / self.size * unit).min(total);
        bound(index)..bound(index + 1)
    }

    /// Calls `work(owner, item)` for items 0, 1, ... of this member, of which each member has `count(member)`; then for
    /// those that others have not begun, from their ends. So who is held up, by a neighbour on its core say, holds the
    /// others up by one item at most. All members call it with the same `count`, and meet at a barrier before the next
    /// time.
    pub fn for_each(&self, count: impl Fn(usize) -> usize, mut work: impl FnMut(usize, usize)) {
        if self.size == 1 {
            return (0..count(0)).for_each(|item| work(0, item));
        }
        let round = self.round.get().wrapping_add(1);
        self.round.set(round);
        let own = &self.left[self.index];
        own.begin(round, count(self.index));
        while let Some(item) = own.take_first() {
            work(self.index, item);
        }
        for other in (1..self.size).map(|distance| (self.index + distance) % self.size) {
            self.left[other].begin(round, count(other));
            while let Some(item) = self.left[other].take_last() {
                work(other, item);
            }
        }
    }
}

/// About 1 us after the last barrier, in which the workers leave the pool's scope. A caller that gets there first
/// goes to sleep, is woken on the worker's core, and the next pass begins with both on it: 3 layers of 512 x 512 took
/// 100 us a pass, and 21 with this.
const PARTING_SPINS: usize = 30;

/// The pool of one process.
struct Process {
    pid: u32,
    pool: Mutex<Option<Pool>>,
}

struct Pool {
    threads: ThreadPool,
    /// One for each of the threads and for the caller.
    left: Vec<Left>,
}

/// This process's pool, made anew after a fork. What the parent had is left alone: its lock may be held by a thread
/// that does not exist here.
fn process() -> &'static Process {
    static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
    let pid = std::process::id();
    let mut current = CURRENT.load(Ordering::Acquire);
    loop {
        // SAFETY: null, or a leaked box that nothing frees.
        match unsafe { current.as_ref() } {
            Some(process) if process.pid == pid => return process,
            _ => {}
        }
        let new = Box::into_raw(Box::new(Process { pid, pool: Mutex::new(None) }));
        match CURRENT.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just leaked, and nothing frees it from now on.
            Ok(_) => return unsafe { &*new },
            Err(other) => {
                // SAFETY: made above and shared with nobody.
                drop(unsafe { Box::from_raw(new) });
                current = other;
            }
        }
    }
}

/// Calls `f` on a team of `size` members, or of one if another team is at work or no threads can be had. A panic
/// of any member is the caller's panic.
pub(crate) fn run(size: usize, f: impl Fn(&Team) + Sync) {
    let alone = || f(&Team::alone());
    if size == 1 {
        return alone();
    }
    let mut pool = match process().pool.try_lock() {
        Ok(pool) => pool,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return alone(),
    };
    let workers = size - 1;
    if pool.as_ref().is_none_or(|pool| pool.left.len() < size) {
        let threads = ThreadPoolBuilder::new().num_threads(workers).thread_name(|i| format!("tinyrs-{i}")).build();
        let left = (0..size).map(|_| Left::default()).collect();
        *pool = threads.ok().map(|threads| Pool { threads, left });
    }
    let Some(Pool { threads: pool, left }) = pool.as_ref() else { return alone() };
    left.iter().for_each(Left::forget);
    let callers_core = CallersCore::now();
    let barrier = Barrier::new();
    let member = |index| {
        barrier.guard(|| {
            let team = Team { index, size, barrier: &barrier, left, round: Cell::new(0) };
            f(&team);
            team.barrier();
        });
    };
    pool.in_place_scope(|scope| {
        scope.spawn_broadcast(|_, context| {
            // A pool made for a larger team has workers to spare.
            if context.index() < workers {
                if let Some(core) = callers_core {
                    core.keep_off();
                }
                member(context.index() + 1);
            }
        });
        member(0);
        (0..PARTING_SPINS).for_each(|_| std::hint::spin_loop());
    });
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use super::*;

    #[test]
    fn shares_cover_everything_once_and_end_on_units() {
        let barrier = Barrier::new();
        for size in [1, 2, 3, 8] {
            for total in [0, 1, 15, 16, 17, 100, 1024] {
                let shares: Vec<_> = (0..size)
                    .map(|index| {
                        Team { index, size, barrier: &barrier, left: &[], round: Cell::new(0) }.share(total, 16)
                    })
                    .collect();
                assert_eq!(
                    shares.iter().flat_map(|share| share.clone()).collect::<Vec<_>>(),
                    (0..total).collect::<Vec<_>>()
                );
                assert!(shares.iter().all(|share| share.end == total || share.end % 16 == 0));
            }
        }
    }

    /// Runs `f` on a team of `size`, whenever other tests leave the pool alone.
    fn run_all(size: usize, f: impl Fn(&Team) + Sync) {
        let complete = AtomicBool::new(false);
        while !complete.load(Ordering::Relaxed) {
            run(size, |team| {
                if team.size == size {
                    complete.store(true, Ordering::Relaxed);
                    f(team);
                }
            });
            std::thread::yield_now();
        }
    }

    #[test]
    fn every_item_is_done_once_whoever_does_it() {
        // More rounds than a round's 16 bits count, for a few items; and some for more.
        for (size, rounds, most) in [(1, 300, 20), (2, 70_000, 2), (3, 300, 20), (8, 300, 20)] {
            let count = |round: usize, member: usize| (7 * member + round) % 5 * most / 4;
            let done: Vec<AtomicUsize> = (0..8 * 20).map(|_| AtomicUsize::new(0)).collect();
            run_all(size, |team| {
                for round in 1..=rounds {
                    team.for_each(
                        |member| count(round, member),
                        |owner, item| {
                            done[owner * 20 + item].fetch_add(1, Ordering::Relaxed);
                        },
                    );
                    team.barrier();
                    if team.index == 0 {
                        for (place, done) in done.iter().enumerate() {
                            let (owner, item) = (place / 20, place % 20);
                            let due = owner < size && item < count(round, owner);
                            assert_eq!(done.swap(0, Ordering::Relaxed), usize::from(due), "{size} {round} {place}");
                        }
                    }
                    team.barrier();
                }
            });
        }
    }

    #[test]
    fn others_do_what_a_late_member_has_not_begun() {
        let (done, by_the_late) = (AtomicUsize::new(0), AtomicUsize::new(0));
        run_all(2, |team| {
            // Until all is done by the other, or a minute has shown that it is not.
            let start = std::time::Instant::now();
            while team.index == 1 && done.load(Ordering::Acquire) < 20 && start.elapsed().as_secs() < 60 {
                std::thread::yield_now();
            }
            team.for_each(
                |_| 10,
                |_, _| {
                    by_the_late.fetch_add(team.index, Ordering::Relaxed);
                    done.fetch_add(1, Ordering::AcqRel);
                },
            );
        });
        assert_eq!((done.into_inner(), by_the_late.into_inner()), (20, 0));
    }

    #[test]
    fn a_barrier_keeps_members_in_step() {
        for size in [1, 2, 3, 8] {
            let steps: Vec<AtomicUsize> = (0..size).map(|_| AtomicUsize::new(0)).collect();
            run(size, |team| {
                for step in 1..200 {
                    steps[team.index].store(step, Ordering::Relaxed);
                    team.barrier();
                    for other in &steps[..team.size] {
                        assert!(other.load(Ordering::Relaxed) >= step);
                    }
                    team.barrier();
                }
            });
        }
    }

    #[test]
    fn a_panic_of_one_member_reaches_the_caller_and_the_pool_survives() {
        for culprit in [0, 1] {
            let result = catch_unwind(|| {
                run(2, |team| {
                    assert!(team.size == 2 && team.index != culprit, "planted");
                    team.barrier();
                });
            });
            assert!(result.is_err());
        }
        let members = AtomicUsize::new(0);
        run(2, |_| {
            members.fetch_add(1, Ordering::Relaxed);
        });
        assert!(members.into_inner() >= 1);
    }

    #[test]
    fn callers_at_the_same_time_all_finish() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        run(3, |team| team.barrier());
                    }
                });
            }
        });
    }
}
