//! A team: the calling thread, and the workers that help it if they are awake in time.
//!
//! The caller runs a pass from its beginning to its end, and hands out the pieces of work in it: [`Team::for_each`]
//! returns when all of them are done, by whichever thread. With one thread the same code is a plain loop.
//!
//! One team with workers is open at a time in a process. A second caller works alone, which is right when several
//! Python threads predict at once, and cannot deadlock.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::adaptive::Gate;
use super::limits::allowed;
use super::phase::Help;
use super::pool::{Pool, process};

/// See the module's documentation.
pub(crate) struct Team<'a> {
    /// None if the caller cannot get workers.
    pool: Option<RefCell<MutexGuard<'a, Option<Pool>>>>,
    /// The number of threads of the open team; 1 while the caller works alone.
    n_threads: Cell<usize>,
    /// The number of threads of the team when it is open.
    most: usize,
    /// What workers have done in the current pass.
    help: Cell<Help>,
}

/// Calls `f` with a team of up to `n_threads` threads, which works alone until [`Team::open`] or [`Team::adaptively`]
/// lets workers help. Other callers that are inside `with_team` at the same time count: together they have at most as
/// many threads as the machine allows this process.
pub(crate) fn with_team<R>(n_threads: usize, f: impl FnOnce(&Team) -> R) -> R {
    if n_threads == 1 {
        return f(&Team::alone());
    }
    let process = process();
    let (_caller, others) = process.enter();
    let n_threads = if others == 0 { n_threads } else { n_threads.min(allowed().saturating_sub(others)).max(1) };
    let pool = if n_threads == 1 { None } else { process.pool(n_threads) };
    let most = pool.as_deref().and_then(Option::as_ref).map_or(1, |pool| pool.n_threads().min(n_threads));
    f(&Team {
        pool: pool.map(RefCell::new),
        n_threads: Cell::new(1),
        most,
        help: Cell::new(Help { n_items: 0, waited: Duration::ZERO }),
    })
}

impl Team<'_> {
    /// The calling thread alone.
    pub(crate) const fn alone() -> Self {
        Team {
            pool: None,
            n_threads: Cell::new(1),
            most: 1,
            help: Cell::new(Help { n_items: 0, waited: Duration::ZERO }),
        }
    }

    /// The number of threads that share the next piece of work: 1 while the caller works alone.
    pub(crate) fn n_threads(&self) -> usize {
        self.n_threads.get()
    }

    /// Lets workers help from now on.
    pub(crate) fn open(&self) {
        if self.n_threads.get() < self.most
            && let Some(pool) = &self.pool
            && let Some(pool) = pool.borrow_mut().as_mut()
        {
            pool.open(self.most);
            self.n_threads.set(self.most);
        }
    }

    /// From now on the caller works alone.
    pub(crate) fn close(&self) {
        if self.n_threads.replace(1) > 1
            && let Some(pool) = &self.pool
            && let Some(pool) = pool.borrow().as_ref()
        {
            pool.close();
        }
    }

    /// Calls `f`, a pass over `rows` rows: with workers unless `gate` has found that they do not make such a pass
    /// faster.
    pub(crate) fn adaptively<R>(&self, gate: &Gate, rows: usize, f: impl FnOnce() -> R) -> R {
        if self.most == 1 {
            return f();
        }
        let start = Instant::now();
        let helped = gate.wants_help(start);
        if helped {
            self.open()
        } else {
            self.close()
        }
        let is_first = self.pool.as_ref().is_some_and(|pool| match pool.borrow_mut().as_mut() {
            Some(pool) => helped && std::mem::take(&mut pool.is_new),
            None => false,
        });
        self.help.set(Help::default());
        let result = f();
        // The first pass of a pool includes the creation of its threads.
        if !is_first {
            let help = helped.then(|| self.help.get());
            gate.record(help, rows, start, Instant::now());
        }
        result
    }

    /// Calls `work(thread, owner, item)` for the items 0, 1, ... of every owner below [`Team::n_threads`], of which
    /// owner `o` has `count(o)`. A thread does its own items first, in order, then takes those that others have not
    /// begun, from the end.
    pub(crate) fn for_each_owned(&self, count: impl Fn(usize) -> usize, work: impl Fn(usize, usize, usize) + Sync) {
        let n_threads = self.n_threads.get();
        match &self.pool {
            Some(pool) if n_threads > 1 => {
                if let Some(pool) = pool.borrow().as_ref() {
                    let mut help = self.help.get();
                    help += pool.run(n_threads, count, &work);
                    self.help.set(help);
                }
            }
            _ => (0..count(0)).for_each(|item| work(0, 0, item)),
        }
    }

    /// Calls `work(thread, item)` for every item below `n_items`.
    pub(crate) fn for_each(&self, n_items: usize, work: impl Fn(usize, usize) + Sync) {
        if n_items <= 1 {
            return (0..n_items).for_each(|item| work(0, item));
        }
        let n_threads = self.n_threads();
        let share = move |owner| share(owner, n_threads, n_items, 1);
        self.for_each_owned(|owner| share(owner).len(), |thread, owner, item| work(thread, share(owner).start + item));
    }

    /// Calls `work(thread, range)` for ranges that cover `0..total` together: each thread's share in `pieces` pieces,
    /// whose bounds are multiples of `unit`. One range if the caller works alone.
    pub(crate) fn for_each_range(
        &self,
        total: usize,
        unit: usize,
        pieces: usize,
        work: impl Fn(usize, Range<usize>) + Sync,
    ) {
        match self.n_threads() {
            1 => work(0, 0..total),
            n_threads => {
                let n = (n_threads * pieces).min(total.div_ceil(unit));
                self.for_each(n, |thread, index| work(thread, share(index, n, total, unit)));
            }
        }
    }
}

impl Drop for Team<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Part `index` of `n` parts of `total` items, which start and end on multiples of `unit` except for the end of the
/// last.
pub(crate) fn share(index: usize, n: usize, total: usize, unit: usize) -> Range<usize> {
    let units = total.div_ceil(unit);
    let bound = |index: usize| (units * index / n * unit).min(total);
    bound(index)..bound(index + 1)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// Runs `f` with an open team of `n_threads`, as soon as other tests leave the pool alone.
    fn with_open_team<R>(n_threads: usize, f: impl Fn(&Team) -> R) -> R {
        loop {
            let result = with_team(n_threads, |team| {
                team.open();
                (team.n_threads() == n_threads.max(1)).then(|| f(team))
            });
            if let Some(result) = result {
                return result;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn shares_cover_everything_once_and_end_on_units() {
        for n in [1, 2, 3, 8] {
            for total in [0, 1, 15, 16, 17, 100, 1024] {
                let shares: Vec<_> = (0..n).map(|index| share(index, n, total, 16)).collect();
                assert!(shares.iter().cloned().flatten().eq(0..total));
                assert!(shares.iter().all(|share| share.end == total || share.end % 16 == 0));
            }
        }
    }

    #[test]
    fn every_item_is_done_once_whichever_thread_does_it() {
        for n_threads in [1, 2, 3, 8] {
            let count = |round: usize, owner: usize| (7 * owner + round) % 5 * 4;
            let done: Vec<AtomicUsize> = (0..8 * 20).map(|_| AtomicUsize::new(0)).collect();
            with_open_team(n_threads, |team| {
                for round in 0..2000 {
                    team.for_each_owned(
                        |owner| count(round, owner),
                        |thread, owner, item| {
                            assert!(thread < n_threads);
                            done[owner * 20 + item].fetch_add(1, Ordering::Relaxed);
                        },
                    );
                    for (place, done) in done.iter().enumerate() {
                        let (owner, item) = (place / 20, place % 20);
                        let due = owner < n_threads && item < count(round, owner);
                        assert_eq!(done.swap(0, Ordering::Relaxed), usize::from(due), "{n_threads} {round} {place}");
                    }
                }
            });
        }
    }

    #[test]
    fn ranges_cover_everything_once() {
        for (n_threads, total, unit, pieces) in
            [(1, 100, 16, 2), (2, 100, 16, 2), (3, 5, 16, 4), (3, 0, 1, 1), (2, 1000, 1, 8)]
        {
            let done: Vec<AtomicUsize> = (0..total).map(|_| AtomicUsize::new(0)).collect();
            with_open_team(n_threads, |team| {
                team.for_each_range(total, unit, pieces, |_, range| {
                    assert!(range.start % unit == 0 && (range.end % unit == 0 || range.end == total));
                    range.for_each(|i| _ = done[i].fetch_add(1, Ordering::Relaxed));
                });
            });
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn nobody_waits_for_a_worker_that_does_not_come() {
        // The first item keeps the worker busy for the length of the test; the caller does all later phases.
        let (is_held, release) = (AtomicBool::new(false), AtomicBool::new(false));
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_held.load(Ordering::Acquire) && start.elapsed() < Duration::from_secs(60) {
                    std::thread::yield_now();
                }
                release.store(true, Ordering::Release);
            });
            with_open_team(2, |team| {
                team.for_each_owned(
                    |_| 100,
                    |thread, _, _| {
                        if thread == 1 {
                            is_held.store(true, Ordering::Release);
                        }
                        // Until the worker holds an item, or a minute has shown that it never will.
                        while !release.load(Ordering::Acquire) && start.elapsed() < Duration::from_secs(60) {
                            std::thread::yield_now();
                        }
                    },
                );
            });
        });
        assert!(release.into_inner());
    }

    #[test]
    fn work_goes_on_without_workers_that_are_never_scheduled() {
        // Workers are invited, and the team is closed again before they can have started; thousands of times.
        let done = AtomicUsize::new(0);
        for _ in 0..5000 {
            with_open_team(2, |team| {
                team.for_each(2, |_, _| _ = done.fetch_add(1, Ordering::Relaxed));
            });
        }
        assert_eq!(done.into_inner(), 10_000);
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_pool_survives() {
        for culprit in [0, 1] {
            let result = catch_unwind(AssertUnwindSafe(|| {
                with_open_team(2, |team| {
                    let has_come = AtomicBool::new(false);
                    team.for_each_owned(
                        |_| 50,
                        |thread, _, _| {
                            assert!(thread != culprit, "planted");
                            has_come.store(true, Ordering::Relaxed);
                            while culprit == 1 && thread == 0 && !has_come.load(Ordering::Relaxed) {
                                std::thread::yield_now();
                            }
                            std::thread::sleep(Duration::from_millis(1));
                        },
                    );
                });
            }));
            let message = *result.expect_err("planted").downcast::<&str>().expect("a message");
            assert_eq!(message, "planted", "thread {culprit}");
        }
        let done = AtomicUsize::new(0);
        with_open_team(2, |team| team.for_each(10, |_, _| _ = done.fetch_add(1, Ordering::Relaxed)));
        assert_eq!(done.into_inner(), 10);
    }

    #[test]
    fn callers_at_the_same_time_all_finish() {
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        with_team(3, |team| {
                            team.open();
                            team.for_each(7, |_, _| _ = done.fetch_add(1, Ordering::Relaxed));
                        });
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 4 * 500 * 7);
    }

    #[test]
    fn a_team_inside_a_team_works_alone() {
        let done = AtomicUsize::new(0);
        with_open_team(2, |team| {
            team.for_each(4, |_, _| {
                with_team(2, |inner| {
                    inner.open();
                    inner.for_each(3, |_, _| _ = done.fetch_add(1, Ordering::Relaxed));
                });
            });
        });
        assert_eq!(done.into_inner(), 12);
    }

    #[test]
    fn a_pass_inside_another_rayon_pool_does_not_run_foreign_jobs() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        let (depth, deepest) = (thread_local_depth(), AtomicUsize::new(0));
        pool.scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|_| {
                    depth.with(|depth| {
                        depth.set(depth.get() + 1);
                        deepest.fetch_max(depth.get(), Ordering::Relaxed);
                        with_team(2, |team| {
                            team.open();
                            team.for_each(4, |_, _| std::thread::sleep(Duration::from_micros(20)));
                        });
                        depth.set(depth.get() - 1);
                    });
                });
            }
        });
        assert_eq!(deepest.into_inner(), 1, "a thread that waits for its pass must not begin another");
    }

    fn thread_local_depth() -> &'static std::thread::LocalKey<Cell<usize>> {
        thread_local! {
            static DEPTH: Cell<usize> = const { Cell::new(0) };
        }
        &DEPTH
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn idle_workers_use_no_processor_time() {
        with_open_team(2, |team| team.for_each(4, |_, _| {}));
        // SAFETY: plain system calls on memory of this function.
        let process_time = || unsafe {
            let mut time = std::mem::zeroed::<libc::timespec>();
            libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time);
            time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
        };
        // Other tests run meanwhile, so this looks for one quiet interval rather than at a fixed one.
        let quiet = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            let before = process_time();
            std::thread::sleep(Duration::from_millis(50));
            process_time() - before < 2e-3
        });
        assert!(quiet, "a worker spins while no team is open");
    }
}
