//! How many threads a pass may use.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// The limit set by [`set_num_threads`]; 0 if none was set.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// The maximum number of threads of a pass: the minimum of `requested`, the number set by [`set_num_threads`], the
/// environment variables `TINYRS_NUM_THREADS`, `RAYON_NUM_THREADS` and `OMP_NUM_THREADS` (read once), and the number of
/// cores that the affinity mask and the cgroup quota allow.
pub fn num_threads(requested: Option<usize>) -> usize {
    let set = match LIMIT.load(Ordering::Relaxed) {
        0 => usize::MAX,
        n => n,
    };
    requested.unwrap_or(usize::MAX).min(set).min(allowed()).max(1)
}

/// Sets the maximum number of threads of a pass, in this process, from now on.
///
/// # Errors
/// [`Error::Invalid`] if `n` is 0.
pub fn set_num_threads(n: usize) -> Result<()> {
    if n == 0 {
        return Err(Error::invalid("n_threads", "a number of threads of at least 1", n));
    }
    LIMIT.store(n, Ordering::Relaxed);
    Ok(())
}

/// The number of threads that the environment and the machine allow; read once, because asking the system reads files.
pub(super) fn allowed() -> usize {
    static ALLOWED: OnceLock<usize> = OnceLock::new();
    *ALLOWED.get_or_init(|| {
        let machine = std::thread::available_parallelism().map_or(1, |n| n.get());
        ["TINYRS_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"]
            .iter()
            .filter_map(|name| positive(&std::env::var(name).ok()?))
            .fold(machine, usize::min)
    })
}

/// The number in `text`, or the first of a list as in OpenMP ("4,2"); none if it is not a positive integer.
fn positive(text: &str) -> Option<usize> {
    text.split(',').next()?.trim().parse().ok().filter(|&n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_values_are_read_as_their_owners_write_them() {
        assert_eq!(positive("4"), Some(4));
        assert_eq!(positive(" 4,2 "), Some(4));
        for nothing in ["", "0", "-1", "many"] {
            assert_eq!(positive(nothing), None);
        }
    }
}
