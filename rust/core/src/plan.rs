//! What a pass does, decided from shapes alone: pure functions, with the measurements behind their constants.

use crate::linalg::gemv::Source;

/// Batches of up to this many rows go through the one-row path, row after row.
pub(crate) const MAX_ROWS_ONE_BY_ONE: usize = 1;

/// Weights of up to this many bytes are taken to be in a core's own cache, of up to this many in a shared one.
const OWN_CACHE: usize = 1 << 20;
const SHARED_CACHE: usize = 200 << 20;

/// Where the one-row path finds weights of `nbytes`; see `linalg/gemv.rs` for what was measured.
pub(crate) fn source_of_weights(nbytes: usize) -> Source {
    if nbytes <= OWN_CACHE {
        Source::Cache
    } else if nbytes <= SHARED_CACHE {
        Source::SharedCache
    } else {
        Source::Memory
    }
}

/// Threads for one row through weights of `nbytes`.
pub(crate) fn threads_for_row(nbytes: usize, available: usize) -> usize {
    if nbytes < 1 << 20 { 1 } else { available }
}

/// Threads for a batch of `batch` rows through `n_parameters`.
pub(crate) fn threads_for_batch(n_parameters: usize, batch: usize, available: usize) -> usize {
    if n_parameters * batch < 1 << 20 { 1 } else { available.min(batch.div_ceil(batch_block(batch))) }
}

/// Rows of a batch that go through all layers together.
pub(crate) fn batch_block(batch: usize) -> usize {
    batch.div_ceil(2).next_multiple_of(16).clamp(16, 128)
}
