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

/// Bytes of a block of hidden values, of which two are in use. The weights of all layers are read again for every block:
/// 10 x 1024 with a batch of 256 took, on one thread of a Zen 4 core with 1 MiB of second-level cache, in f32 and f64, 55.6
/// and 135.8 ms with 256 KiB, 53.3 and 112.3 with 512, 51.6 and 106.8 with 1 MiB, 51.2 and 108.1 with 2 MiB; three layers of
/// 256, batch 4,096, the same within 1 %. More than 256 rows gained nothing.
const BLOCK_BYTES: usize = 1 << 20;

/// Rows of a batch that go through all layers together; `row_bytes` is a row of the widest hidden layer.
pub(crate) fn batch_block(batch: usize, row_bytes: usize) -> usize {
    (BLOCK_BYTES / row_bytes.max(1) / 4 * 4).clamp(16, 256).min(batch.max(1))
}
