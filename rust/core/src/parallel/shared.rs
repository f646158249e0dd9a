//! A raw pointer that the threads of a team share.

use std::ops::Range;

/// A pointer through which several threads write: each to its own elements, or one phase of work after the other.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub *mut T);

// SAFETY: the pointer alone gives no access; the unsafe code that uses it says why no two threads conflict.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer to the element `count` elements further on.
    pub(crate) fn at(&self, count: usize) -> Self {
        Shared(self.0.wrapping_add(count))
    }

    /// The elements of `range`, to read.
    ///
    /// # Safety
    /// They exist, and nothing writes them while the slice is alive.
    pub(crate) unsafe fn slice<'a>(&self, range: Range<usize>) -> &'a [T] {
        // SAFETY: guaranteed by the caller.
        unsafe { std::slice::from_raw_parts(self.0.add(range.start), range.len()) }
    }

    /// The elements of `range`, to write.
    ///
    /// # Safety
    /// They exist, and nothing else reads or writes them while the slice is alive.
    pub(crate) unsafe fn slice_mut<'a>(&self, range: Range<usize>) -> &'a mut [T] {
        // SAFETY: guaranteed by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}
