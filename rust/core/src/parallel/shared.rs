//! A raw pointer that threads of one team share.

/// A pointer that several members write through, each to its own part, or in turn with a barrier between.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub *mut T);

// SAFETY: a pointer by itself does nothing; whoever writes through it says why that is in order.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer `count` elements on.
    pub(crate) fn at(&self, count: usize) -> Self {
        Shared(self.0.wrapping_add(count))
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// They exist, and nobody else uses them as long as the slice lives.
    pub(crate) unsafe fn slice<'a>(&self, range: std::ops::Range<usize>) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}
