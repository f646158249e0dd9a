//! The workers of a process: made at first use, asleep between passes, and forgotten by a forked child.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, TryLockError};
use std::thread::JoinHandle;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::affinity::ForbiddenCore;
use super::phase::{Help, Phase, delay};
use super::sync::spin_or_yield;

/// The pool of one process, and how busy the process is.
pub(super) struct Process {
    /// How often the process had been forked when this was made.
    generation: usize,
    pool: Mutex<Option<Pool>>,
    /// Callers that are inside a pass for several threads.
    callers: AtomicUsize,
}

/// Counts the forks that led to this process. A process id would not do: in a new PID namespace a child can have its
/// parent's.
static GENERATION: AtomicUsize = AtomicUsize::new(0);

/// How often the process was forked before it became this one: two processes that share memory contents since a fork
/// differ in it. Only forks after the first call of this or of a pass for several threads count.
pub fn process_generation() -> usize {
    count_forks();
    GENERATION.load(Ordering::Relaxed)
}

/// This process's pool, made anew after a fork. What the parent had is left alone: its lock may be held by a thread
/// that does not exist in the child, and its threads do not exist either.
pub(super) fn process() -> &'static Process {
    static CURRENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
    let generation = GENERATION.load(Ordering::Relaxed);
    let mut current = CURRENT.load(Ordering::Acquire);
    loop {
        // SAFETY: null, or a leaked box that nothing frees.
        match unsafe { current.as_ref() } {
            Some(process) if process.generation == generation => return process,
            _ => {}
        }
        count_forks();
        let new = Process { generation, pool: Mutex::new(None), callers: AtomicUsize::new(0) };
        let new = Box::into_raw(Box::new(new));
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

/// Registers, once in the life of a process and its children, the handler that runs in every forked child.
fn count_forks() {
    #[cfg(all(unix, not(miri)))]
    {
        extern "C" fn in_child() {
            GENERATION.fetch_add(1, Ordering::Relaxed);
        }
        static REGISTERED: Once = Once::new();
        // SAFETY: the handler only adds to an atomic, which a forked child may do.
        REGISTERED.call_once(|| unsafe {
            libc::pthread_atfork(None, None, Some(in_child));
        });
    }
}

impl Process {
    /// Counts the calling thread as inside a pass for several threads until the result is dropped; also returns how
    /// many others are.
    pub(super) fn enter(&self) -> (Caller<'_>, usize) {
        let others = self.callers.fetch_add(1, Ordering::Relaxed);
        (Caller(&self.callers), others)
    }

    /// The pool, with at least `n_threads` - 1 workers if they can be had; none while another thread's pass uses it.
    pub(super) fn pool(&self, n_threads: usize) -> Option<MutexGuard<'_, Option<Pool>>> {
        let mut pool = match self.pool.try_lock() {
            Ok(pool) => pool,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if pool.as_ref().is_none_or(|pool| pool.control.phase.capacity() < n_threads) {
            *pool = Some(Pool::new(n_threads));
        }
        Some(pool)
    }
}

/// See [`Process::enter`].
pub(super) struct Caller<'a>(&'a AtomicUsize);

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Workers, and what they share with the caller.
pub(super) struct Pool {
    control: Arc<Control>,
    /// Each in a rayon pool of one thread, so that a pass wakes just the workers that it wants.
    workers: Vec<Worker>,
    forbidden_core: ForbiddenCore,
    /// No pass has used the pool yet.
    pub(super) is_new: bool,
}

struct Worker {
    rayon: ThreadPool,
    /// The one thread of `rayon`.
    thread: JoinHandle<()>,
    /// Whether the worker is awake and looks for work, or a job that makes it do so is on its way.
    invited: Arc<AtomicBool>,
}

/// What the caller and the workers share.
struct Control {
    phase: Phase,
    /// Whether a team is open.
    is_open: AtomicBool,
}

/// About 10 us: longer than a caller in Python takes from one pass to the next. A worker that yields meanwhile, beside
/// a thread that spins, is away for a time slice.
const WORKERS_SPINS: u32 = 250;

/// Rounds, spinning and yielding, that a worker looks for the next team before it goes back to sleep.
const LINGER_ROUNDS: u32 = 260;

impl Pool {
    /// A pool of `n_threads` - 1 workers, or fewer if the system cannot start more threads.
    fn new(n_threads: usize) -> Self {
        let control = Arc::new(Control { phase: Phase::new(n_threads), is_open: AtomicBool::new(false) });
        let worker = |index: usize| {
            let mut thread = None;
            let rayon = ThreadPoolBuilder::new()
                .num_threads(1)
                .spawn_handler(|builder| {
                    let named = std::thread::Builder::new().name(format!("tinyrs-{index}"));
                    thread = Some(named.spawn(|| builder.run())?);
                    Ok(())
                })
                .build();
            Some(Worker { rayon: rayon.ok()?, thread: thread?, invited: Arc::new(AtomicBool::new(false)) })
        };
        let workers = (1..n_threads).map_while(worker).collect();
        Pool { control, workers, forbidden_core: ForbiddenCore::default(), is_new: true }
    }

    /// The most threads, the caller included, that can work together.
    pub(super) fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Opens a team of the caller and the first `n_threads` - 1 workers, or keeps it open, and wakes those that sleep.
    /// Waits for none.
    pub(super) fn open(&mut self, n_threads: usize) {
        // All workers: the mask of one that this team does not use would be out of date for the next.
        self.forbidden_core.update(self.workers.iter().map(|worker| &worker.thread));
        // SeqCst, here and in `serve`: either the worker sees that a team is open, or this sees that it has gone.
        self.control.is_open.store(true, Ordering::SeqCst);
        delay();
        for (index, worker) in self.workers[..n_threads - 1].iter().enumerate() {
            if !worker.invited.swap(true, Ordering::SeqCst) {
                let (control, invited) = (Arc::clone(&self.control), Arc::clone(&worker.invited));
                worker.rayon.spawn(move || serve(&control, &invited, index + 1));
            }
        }
    }

    /// Closes the team: a worker that wakes only now finds nothing to claim, and all go to sleep
    /// soon. Waits for none.
    pub(super) fn close(&self) {
        self.control.is_open.store(false, Ordering::Relaxed);
    }

    /// Does a phase on the open team of `n_threads`, and returns what workers did; see [`Phase::run`].
    pub(super) fn run(
        &self,
        n_threads: usize,
        count: impl Fn(usize) -> usize,
        work: &(dyn Fn(usize, usize, usize) + Sync),
    ) -> Help {
        self.control.phase.run(n_threads, count, work)
    }
}

/// A worker's part: helps with every phase that it sees until the team has been closed for a while.
fn serve(control: &Control, invited: &AtomicBool, thread: usize) {
    delay();
    let mut rounds = 0;
    control.phase.help(thread);
    loop {
        if control.phase.has_items(thread) {
            control.phase.help(thread);
            rounds = 0;
        } else if rounds < LINGER_ROUNDS || control.is_open.load(Ordering::Relaxed) {
            spin_or_yield(&mut rounds, WORKERS_SPINS);
        } else {
            delay();
            invited.store(false, Ordering::SeqCst);
            delay();
            // If a team has been opened just now, either this job goes on or the caller has sent another.
            if !control.is_open.load(Ordering::SeqCst) || invited.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }
}
