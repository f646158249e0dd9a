//! Keeps the pool's workers off the core that the calling thread runs on.
//!
//! Linux likes to wake a thread on the core of the thread that wakes it. Two threads of a team that share a core take
//! turns instead of working together, and the load balancer can leave them there for milliseconds. Forbidding workers
//! the caller's core leaves the rest to the scheduler; pinning each to one core would get in the way of other processes
//! that do the same. The caller tells them, before it wakes them and only if it has moved since, so that no worker is
//! stuck behind the caller.
//!
//! Measured: rust/core/TUNING.md, "Affinity".

#[cfg(all(target_os = "linux", not(miri)))]
mod linux {
    use std::mem::{size_of, zeroed};
    use std::os::unix::thread::JoinHandleExt;
    use std::thread::JoinHandle;

    /// The core that workers were last told to keep off.
    #[derive(Default)]
    pub(crate) struct ForbiddenCore(Option<usize>);

    impl ForbiddenCore {
        /// Lets `workers` run on any core that the calling thread may use except the one that it is on, even if they
        /// have not started yet. Nothing happens if that leaves none, or if the caller has not moved since the last
        /// time.
        pub(crate) fn update<'a>(&mut self, workers: impl Iterator<Item = &'a JoinHandle<()>>) {
            // SAFETY: the call only returns a number, below 0 if it fails.
            let core = usize::try_from(unsafe { libc::sched_getcpu() }).ok();
            if core == self.0 {
                return;
            }
            self.0 = core;
            let Some(others) = core.and_then(other_cores) else { return };
            for worker in workers {
                // SAFETY: the set is initialised, and the handle has not been joined, so it names a thread.
                unsafe { libc::pthread_setaffinity_np(worker.as_pthread_t(), size_of::<libc::cpu_set_t>(), &others) };
            }
        }
    }

    /// The cores that the calling thread may use, without `core`; none if there are no others.
    pub(super) fn other_cores(core: usize) -> Option<libc::cpu_set_t> {
        let mut cores = allowed()?;
        // SAFETY: the set is initialised, and `core` came from the system, so it is inside the set.
        unsafe {
            libc::CPU_CLR(core, &mut cores);
            (libc::CPU_COUNT(&cores) > 0).then_some(cores)
        }
    }

    /// The cores that the calling thread may use.
    pub(super) fn allowed() -> Option<libc::cpu_set_t> {
        // SAFETY: a set of bits may be zero; the call writes at most as many bytes as it is told, and 0 is the calling
        // thread.
        unsafe {
            let mut allowed = zeroed::<libc::cpu_set_t>();
            (libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut allowed) == 0).then_some(allowed)
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::sync::mpsc::channel;

    use super::ForbiddenCore;
    use super::linux::allowed;

    #[test]
    fn a_worker_keeps_off_the_callers_core_and_the_caller_is_left_alone() {
        let before = allowed().unwrap();
        let (told, is_told) = channel();
        let (report, reported) = channel();
        let thread = std::thread::spawn(move || {
            is_told.recv().unwrap();
            report.send(allowed().unwrap()).unwrap();
        });
        let mut forbidden = ForbiddenCore::default();
        forbidden.update([&thread].into_iter());
        told.send(()).unwrap();
        let worker = reported.recv().unwrap();
        thread.join().unwrap();
        // SAFETY: initialised sets.
        unsafe {
            let count = libc::CPU_COUNT(&before);
            assert_eq!(libc::CPU_COUNT(&worker), (count - 1).max(1));
            assert!(
                (0..libc::CPU_SETSIZE as usize)
                    .all(|core| !libc::CPU_ISSET(core, &worker) || libc::CPU_ISSET(core, &before))
            );
            assert!(libc::CPU_EQUAL(&allowed().unwrap(), &before));
        }
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use linux::ForbiddenCore;

/// Elsewhere, and under Miri, the scheduler is left to itself.
#[cfg(not(all(target_os = "linux", not(miri))))]
#[derive(Default)]
pub(crate) struct ForbiddenCore;

#[cfg(not(all(target_os = "linux", not(miri))))]
impl ForbiddenCore {
    pub(crate) fn update<'a>(&mut self, _workers: impl Iterator<Item = &'a std::thread::JoinHandle<()>>) {}
}
