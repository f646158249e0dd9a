//! Keeps the pool's workers off the core that the calling thread runs on.
//!
//! Linux likes to wake a thread on the core of the one that wakes it. Two members of a team that share a core take
//! turns instead of working together, and the load balancer leaves them there for milliseconds: 30 layers of
//! 1024 x 1024 took 3.7 ms instead of 2.9 where each ten passes followed a pause, and 3 layers of 512 x 512 took 109 us
//! instead of 24 (2 cores, medians). Letting the members sleep at the barrier made it worse, 6.5 ms. Pinning each to a core of its own would get in the way of
//! other processes that do the same; forbidding one core leaves the rest to the scheduler.

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::Cell;
    use std::mem::{size_of, zeroed};

    /// The core of the calling thread, and those that it may use.
    #[derive(Clone, Copy)]
    pub(crate) struct CallersCore {
        pub(super) core: usize,
        pub(super) allowed: libc::cpu_set_t,
    }

    impl PartialEq for CallersCore {
        fn eq(&self, other: &Self) -> bool {
            // SAFETY: both sets are initialised.
            self.core == other.core && unsafe { libc::CPU_EQUAL(&self.allowed, &other.allowed) }
        }
    }

    impl CallersCore {
        /// Where the calling thread is now; none if the system does not say.
        pub(crate) fn now() -> Option<Self> {
            // SAFETY: a set of bits may be zero; the call writes at most as many bytes as it is told.
            let (mut allowed, core) = unsafe { (zeroed::<libc::cpu_set_t>(), libc::sched_getcpu()) };
            // SAFETY: as above; 0 is the calling thread.
            let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut allowed) } != 0;
            (!failed && core >= 0).then_some(CallersCore { core: core as usize, allowed })
        }

        /// Called by a worker: from now on it runs on any core that the caller may use but this one. Nothing happens
        /// if that leaves none, or if it is so already.
        pub(crate) fn keep_off(&self) {
            thread_local! {
                static KEPT_OFF: Cell<Option<CallersCore>> = const { Cell::new(None) };
            }
            if KEPT_OFF.get().is_some_and(|other| other == *self) {
                return;
            }
            // SAFETY: the set is initialised, and `core` came from the system: it is inside the set.
            unsafe {
                let mut others = self.allowed;
                libc::CPU_CLR(self.core, &mut others);
                if libc::CPU_COUNT(&others) > 0 {
                    libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &others);
                }
            }
            KEPT_OFF.set(Some(*self));
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::CallersCore;

    fn allowed() -> libc::cpu_set_t {
        CallersCore::now().unwrap().allowed
    }

    #[test]
    fn a_worker_keeps_off_the_callers_core_and_the_caller_is_left_alone() {
        let (before, caller) = (allowed(), CallersCore::now().unwrap());
        let worker = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    caller.keep_off();
                    allowed()
                })
                .join()
                .unwrap()
        });
        // SAFETY: initialised sets, and a core that the system has named.
        unsafe {
            let count = libc::CPU_COUNT(&before);
            assert_eq!(libc::CPU_ISSET(caller.core, &worker), count == 1);
            assert_eq!(libc::CPU_COUNT(&worker), (count - 1).max(1));
        }
        // SAFETY: initialised sets.
        assert!(unsafe { libc::CPU_EQUAL(&allowed(), &before) });
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::CallersCore;

/// Elsewhere the scheduler is left to itself.
#[cfg(not(target_os = "linux"))]
#[derive(Clone, Copy)]
pub(crate) struct CallersCore;

#[cfg(not(target_os = "linux"))]
impl CallersCore {
    pub(crate) fn now() -> Option<Self> {
        None
    }

    pub(crate) fn keep_off(&self) {}
}
