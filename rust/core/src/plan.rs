//! What a pass does, decided from shapes alone: pure functions, with the measurements behind their constants.

use crate::linalg::gemv::Source;

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

/// Threads for `batch` rows through `n_parameters` in `nbytes`, at most `available`.
pub(crate) fn threads(n_parameters: usize, nbytes: usize, batch: usize, available: usize) -> usize {
    let worthwhile = match batch {
        1 => nbytes >= 1 << 20,
        _ => n_parameters.saturating_mul(batch) >= 1 << 21,
    };
    if worthwhile { available } else { 1 }
}

/// Threads for training steps of `batch` rows through `n_parameters`, at most `available`. At twice the threshold
/// (64-64-64-10, batch 32) two threads took 21 us a step and one 30; where they break even was not measured.
pub(crate) fn training_threads(n_parameters: usize, batch: usize, available: usize) -> usize {
    if n_parameters.saturating_mul(batch) >= 1 << 17 { available } else { 1 }
}

/// Bytes of a block of hidden values: two of them, and the weights of a tile, in a second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// Rows of a batch that go through all layers together; `row_bytes` is a row of the widest hidden layer.
pub(crate) fn batch_block(batch: usize, row_bytes: usize) -> usize {
    (BLOCK_BYTES / row_bytes.max(1) / 4 * 4).clamp(16, 256).min(batch.max(1))
}
