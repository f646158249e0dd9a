//! How many threads train the next epoch, from how long those before took.
//!
//! A step is over in microseconds, and its members wait for each other several times. Where other processes want the
//! cores, one of them is always away for a time slice, and all wait: 1,000 rows through three layers of 256, with two
//! busy processes on two cores, took 3.97 s on two threads and 1.41 on one (idle: 0.6 and 1.02). The result has the same
//! bits for any number of threads, so the faster number may be found by trying.

/// Epochs after which the number that is not in use is tried again.
const AGAIN: usize = 64;

/// Shorter trainings try nothing: a slow epoch would cost more than could be gained.
const WORTH_TRYING: usize = 16;

/// How much a new epoch counts in the mean of those before it.
const WEIGHT: f64 = 0.3;

/// All threads or one.
pub(crate) struct ThreadTuner {
    all: usize,
    epochs: usize,
    /// Seconds of an epoch on all threads and on one, means that forget; none before the first.
    seconds: [Option<f64>; 2],
    /// Epochs since both were tried.
    since: usize,
}

impl ThreadTuner {
    /// For a training of `epochs` epochs on at most `all` threads.
    pub(crate) fn new(all: usize, epochs: usize) -> Self {
        ThreadTuner { all, epochs, seconds: [None; 2], since: 0 }
    }

    /// Threads for the next epoch.
    pub(crate) fn n_threads(&self) -> usize {
        let faster_alone = match self.seconds {
            _ if self.all == 1 || self.epochs < WORTH_TRYING => false,
            [Some(all), Some(one)] => (one < all) != (self.since >= AGAIN),
            [all, _] => all.is_some(),
        };
        if faster_alone { 1 } else { self.all }
    }

    /// Notes what an epoch took that did as [`ThreadTuner::n_threads`] said.
    pub(crate) fn note(&mut self, seconds: f64) {
        let mean = &mut self.seconds[usize::from(self.n_threads() == 1)];
        let is_old = self.since >= AGAIN;
        self.since = if is_old { 0 } else { self.since + 1 };
        *mean = Some(mean.filter(|_| !is_old).map_or(seconds, |mean| mean + WEIGHT * (seconds - mean)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The threads of each epoch, if `seconds(epoch, threads)` is what they take.
    fn course(epochs: usize, seconds: impl Fn(usize, usize) -> f64) -> Vec<usize> {
        let mut pace = ThreadTuner::new(4, epochs);
        let one = |epoch| {
            let n_threads = pace.n_threads();
            pace.note(seconds(epoch, n_threads));
            n_threads
        };
        (0..epochs).map(one).collect()
    }

    #[test]
    fn the_faster_number_is_found_and_the_other_tried_now_and_then() {
        let idle = course(200, |_, n| if n == 1 { 2.0 } else { 1.0 });
        assert_eq!(idle[..3], [4, 1, 4]);
        assert!(idle.iter().filter(|n| **n == 1).count() <= 4, "{idle:?}");
        let busy = course(200, |_, n| if n == 1 { 2.0 } else { 9.0 });
        assert!(busy.iter().filter(|n| **n == 4).count() <= 4, "{busy:?}");
    }

    #[test]
    fn it_changes_when_the_machine_does() {
        let turns_busy = course(400, |epoch, n| {
            if n == 1 {
                2.0
            } else if epoch < 100 {
                1.0
            } else {
                9.0
            }
        });
        assert!(turns_busy[110..].iter().filter(|n| **n == 4).count() <= 6, "{turns_busy:?}");
        let turns_idle = course(400, |epoch, n| {
            if n == 1 {
                2.0
            } else if epoch < 100 {
                9.0
            } else {
                1.0
            }
        });
        assert!(turns_idle[390..].iter().all(|n| *n == 4), "{turns_idle:?}");
        // One slow epoch is none.
        let hiccup = course(60, |epoch, n| {
            if n == 1 {
                2.0
            } else if epoch == 30 {
                4.0
            } else {
                1.0
            }
        });
        assert_eq!(hiccup.iter().filter(|n| **n == 1).count(), 1);
    }

    #[test]
    fn short_trainings_try_nothing() {
        assert_eq!(course(15, |_, n| if n == 1 { 1.0 } else { 9.0 }), [4; 15]);
    }
}
