//! Late threads on purpose, for tests: pauses at the points where a thread can be descheduled.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Tests that want late threads at present. Other tests that run at the same time have them too.
static WANTED: AtomicUsize = AtomicUsize::new(0);

/// Calls `f` while threads are late now and then, and workers are always called.
pub(crate) fn with_late_threads<R>(f: impl FnOnce() -> R) -> R {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            WANTED.fetch_sub(1, Ordering::Relaxed);
        }
    }
    WANTED.fetch_add(1, Ordering::Relaxed);
    let _guard = Guard;
    f()
}

/// Whether [`with_late_threads`] is at work.
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed) > 0
}

/// The calling thread may be late here: a pause every few calls, sometimes as long as several passes.
pub(crate) fn delay() {
    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }
    if !is_wanted() {
        return;
    }
    let call = CALLS.get().wrapping_add(1);
    CALLS.set(call);
    match crate::hash::mix(call) % 64 {
        0 => std::thread::sleep(Duration::from_micros(300)),
        1..8 => std::thread::sleep(Duration::from_micros(1)),
        8..16 => std::thread::yield_now(),
        _ => {}
    }
}
