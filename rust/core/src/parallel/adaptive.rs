//! Learns from recent passes whether workers make a kind of work faster, and when to try again.
//!
//! On a quiet machine they do. Beside other busy threads a worker may come too late, or be descheduled while it holds
//! an item, for a time slice of milliseconds. Both are measured the same way: what a pass with workers took, against
//! what it takes the caller alone.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::phase::Help;

/// Whether workers are called for one kind of work.
#[derive(Default)]
pub(crate) struct Gate(Mutex<History>);

/// What [`Gate`] remembers.
#[derive(Default)]
struct History {
    /// Seconds per row of the fastest pass with workers; grows slowly, because machines change.
    fastest: Option<f64>,
    /// Seconds per row of passes by the caller alone: an exponential moving average. It is not measured before a pass
    /// with workers was suspiciously slow, so that a quiet machine pays nothing.
    alone: Option<f64>,
    /// Whether the next pass is to measure `alone`.
    measures_alone: bool,
    /// Seconds gained by workers minus seconds lost, within bounds; none before the first pass and after a pause.
    credit: Option<f64>,
    /// Passes with workers since `alone` was measured.
    passes_since_alone: u32,
    /// Passes in a row in which workers were called and did nothing.
    n_unhelped: u32,
    /// Set while workers are not called.
    pause: Option<Pause>,
    /// How long the next pause is, in milliseconds and in passes.
    pause_length: u32,
}

struct Pause {
    until: Instant,
    passes_left: u32,
}

/// The weight of a new measurement in the moving average.
const WEIGHT: f64 = 0.25;

/// A measurement counts as at most this multiple of the average, because the caller itself may have been descheduled. A
/// pass with workers that takes more than this multiple of the fastest one is suspicious.
const OUTLIER: f64 = 2.0;

/// A pass is suspicious if the caller spent more than this share of it waiting for workers.
const SUSPICIOUS_WAIT: f64 = 0.25;

/// The value of `alone` before it is measured, as a multiple of the fastest pass with workers.
const ASSUMED_ALONE: f64 = 1.5;

/// The factor by which `fastest` may grow with each pass.
const AGEING: f64 = 1.001;

/// The maximum credit in seconds: about two time slices. Losing a time slice once in several hundred short passes then
/// leads to a pause, once in several thousand does not.
const MOST_CREDIT: f64 = 8e-3;

/// The credit at the start and after a pause: seconds, plus a number of passes. Waking a worker can cost the first pass
/// 100 us, which later passes regain if the worker stays awake between them.
const FIRST_CREDIT: (f64, f64) = (3e-4, 2.0);

/// The number of consecutive passes without any help that lead to a pause.
const MOST_UNHELPED: u32 = 16;

/// The number of passes with workers after which `alone`, once measured, is measured again.
const PASSES_WITH_WORKERS: u32 = 500;

/// The shortest and the longest pause, in milliseconds and in passes.
const PAUSES: [u32; 2] = [16, 1024];

impl Gate {
    /// Whether to call workers for a pass that starts at `now`.
    pub(super) fn wants_help(&self, now: Instant) -> bool {
        #[cfg(test)]
        if super::delay::is_wanted() {
            return true;
        }
        self.0.try_lock().is_ok_and(|mut history| history.wants_help(now))
    }

    /// Takes note of a pass over `rows` rows: `help` is what workers did, if they were called.
    pub(super) fn record(&self, help: Option<Help>, rows: usize, start: Instant, end: Instant) {
        if let Ok(mut history) = self.0.try_lock() {
            let (seconds, rows) = (end.duration_since(start).as_secs_f64(), rows.max(1) as f64);
            match help {
                None => history.record_alone(seconds / rows),
                Some(help) => history.record_helped(seconds, rows, help, end),
            }
        }
    }

    /// Whether workers are not called at present because they did not help.
    pub(crate) fn is_paused(&self) -> bool {
        self.0.try_lock().is_ok_and(|history| history.pause.is_some())
    }
}

impl History {
    fn wants_help(&mut self, now: Instant) -> bool {
        if let Some(pause) = &self.pause {
            if pause.passes_left > 0 || now < pause.until {
                return false;
            }
            self.pause = None;
            (self.credit, self.n_unhelped) = (None, 0);
        }
        !self.measures_alone
    }

    fn record_alone(&mut self, per_row: f64) {
        let alone = self.alone.unwrap_or(per_row);
        self.alone = Some(alone + WEIGHT * (per_row.min(OUTLIER * alone) - alone));
        (self.measures_alone, self.passes_since_alone) = (false, 0);
        if let Some(pause) = &mut self.pause {
            pause.passes_left = pause.passes_left.saturating_sub(1);
        }
    }

    fn record_helped(&mut self, seconds: f64, rows: f64, help: Help, now: Instant) {
        let per_row = seconds / rows;
        let fastest = self.fastest.map_or(per_row, |fastest| per_row.min(fastest * AGEING));
        self.fastest = Some(fastest);
        self.passes_since_alone += 1;
        self.measures_alone = match self.alone {
            None => {
                let waited = help.waited.as_secs_f64() > SUSPICIOUS_WAIT * seconds;
                help.n_items == 0 || waited || per_row > OUTLIER * fastest
            }
            Some(_) => self.passes_since_alone >= PASSES_WITH_WORKERS,
        };
        let alone = rows * self.alone.unwrap_or(ASSUMED_ALONE * fastest);
        let first_credit = FIRST_CREDIT.0 + FIRST_CREDIT.1 * alone;
        let credit = (self.credit.unwrap_or(first_credit) + alone - seconds).min(MOST_CREDIT.max(first_credit));
        self.credit = Some(credit);
        self.n_unhelped = if help.n_items == 0 { self.n_unhelped + 1 } else { 0 };
        let [shortest, longest] = PAUSES;
        if credit < 0.0 || self.n_unhelped >= MOST_UNHELPED {
            let length = self.pause_length.clamp(shortest, longest);
            self.pause = Some(Pause { until: now + Duration::from_millis(length.into()), passes_left: length });
            self.pause_length = length * 2;
        } else if credit >= MOST_CREDIT {
            self.pause_length = shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose passes take `alone` and `helped` microseconds; returns for each of `n` passes whether workers
    /// were called.
    fn course(n: usize, alone: impl Fn(usize) -> f64, helped: impl Fn(usize) -> (f64, usize)) -> Vec<bool> {
        let (gate, mut now) = (Gate::default(), Instant::now());
        let pass = |index| {
            let wants = gate.0.lock().unwrap().wants_help(now);
            let (micros, n_items) = if wants { helped(index) } else { (alone(index), 0) };
            let end = now + Duration::from_nanos((micros * 1e3) as u64);
            // What is longer than the caller alone was spent waiting for a worker.
            let waited = if n_items > 0 { (micros - alone(index)).max(0.0) } else { 0.0 };
            let help = Help { n_items, waited: Duration::from_nanos((waited * 1e3) as u64) };
            gate.record(wants.then_some(help), 32, now, end);
            now = end;
            wants
        };
        (0..n).map(pass).collect()
    }

    fn count(calls: &[bool]) -> usize {
        calls.iter().filter(|called| **called).count()
    }

    #[test]
    fn quiet_machines_never_wait_for_a_measurement() {
        assert_eq!(count(&course(10_000, |_| 40.0, |_| (27.0, 1))), 10_000);
    }

    #[test]
    fn workers_that_come_too_late_are_given_up_within_twenty_passes() {
        let calls = course(2000, |_| 40.0, |_| (46.0, 0));
        assert!(count(&calls[..20]) < 20 && count(&calls[20..]) < 100, "{}", count(&calls));
    }

    #[test]
    fn workers_that_are_descheduled_now_and_then_are_given_up() {
        // A lost time slice in 150 passes costs more than the other 149 gain.
        let calls = course(100_000, |_| 40.0, |i| (if i % 150 == 149 { 4000.0 } else { 27.0 }, 1));
        assert!(count(&calls) < 10_000, "{}", count(&calls));
        // In 2,000 passes it does not.
        let calls = course(100_000, |_| 40.0, |i| (if i % 2000 == 1999 { 4000.0 } else { 27.0 }, 1));
        assert!(count(&calls) > 95_000, "{}", count(&calls));
    }

    #[test]
    fn workers_are_tried_again_when_the_machine_becomes_quiet() {
        let calls = course(60_000, |_| 40.0, |i| (if i < 20_000 { 4000.0 } else { 27.0 }, 1));
        assert!(count(&calls[100..20_000]) < 20, "{}", count(&calls[100..20_000]));
        assert!(calls[50_000..].iter().filter(|called| !**called).count() < 50);
    }

    #[test]
    fn large_passes_beside_a_busy_thread_keep_their_workers() {
        let calls = course(1000, |_| 25_000.0, |i| (if i % 3 == 0 { 24_000.0 } else { 14_000.0 }, 1));
        assert!(count(&calls) > 950, "{}", count(&calls));
    }
}
