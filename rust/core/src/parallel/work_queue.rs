//! What is left of a member's share of a team's work, for it and for those who take over; see `Team::for_each`.

use std::sync::atomic::{AtomicU64, Ordering};

/// The items that a member has not begun: from `first` to before `end`, 24 bits each, below 16 bits of the round that they
/// belong to. On a cache line of its own.
///
/// Relaxed order will do: what an item works on was written before the barrier in front of its round, or is written by
/// whoever takes it, and read behind the next barrier.
#[repr(align(64))]
#[derive(Default)]
pub(crate) struct Left(AtomicU64);

impl Left {
    /// Before the first round.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whoever comes first to a member's items in a new round says how many there are: it may be late itself.
    pub(crate) fn begin(&self, round: u16, count: usize) {
        debug_assert!(count < 1 << 24);
        let all = u64::from(round) << 48 | (count as u64) << 24;
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| (left >> 48 != all >> 48).then_some(all));
    }

    /// The first item, for the member itself.
    pub(crate) fn take_first(&self) -> Option<usize> {
        self.take(1).map(|(first, _)| first)
    }

    /// The last item, for others.
    pub(crate) fn take_last(&self) -> Option<usize> {
        self.take((1_u64 << 24).wrapping_neg()).map(|(_, end)| end - 1)
    }

    /// Adds `change`, if an item is left; returns first and end as they were.
    fn take(&self, change: u64) -> Option<(usize, usize)> {
        let range = |left: u64| ((left & 0xff_ffff) as usize, (left >> 24 & 0xff_ffff) as usize);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            let (first, end) = range(left);
            (first < end).then(|| left.wrapping_add(change))
        });
        taken.ok().map(range)
    }
}
